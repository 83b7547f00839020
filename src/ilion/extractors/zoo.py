"""Well-known models that a hub serves, as data: what `ilion models` lists besides the embedded ones.

Sides follow the ILIAS recipe (longer side at the family's test resolution). The mAP@1k in a note is the one
that the ILIAS paper and its leaderboard give for image queries on mini-ILIAS (5 million distractors) or the
whole (100 million); "adapted" is with a linear adaptation layer. They were not measured here.
Download sizes are those of float32 weights.
"""

from __future__ import annotations

from ilion.extractors.base import ModelInfo, register

DINOV3_LICENCE = "DINOv3 License (Meta's own terms; read and accept them first)"


def _openclip(
    name: str, source: str, dim: int, side: int, licence: str, download_mb: int, note: str
) -> ModelInfo:
    return ModelInfo(
        name, "openclip", dim, side, licence, download_mb, text=True, extra="torch", source=source, note=note
    )


def _timm(
    name: str, source: str, dim: int, side: int, licence: str, download_mb: int, pooling: str, note: str
) -> ModelInfo:
    return ModelInfo(
        name,
        "timm",
        dim,
        side,
        licence,
        download_mb,
        extra="torch",
        source=source,
        note=note,
        settings={"pooling": pooling},
    )


# fmt: off
PRESETS: tuple[ModelInfo, ...] = (
    _openclip("siglip-l-384", "ViT-L-16-SigLIP-384/webli", 1024, 384, "Apache-2.0", 2610,
              "ILIAS 24.2 (5M), adapted 34.3"),
    _openclip("siglip2-b-384", "ViT-B-16-SigLIP2-384/webli", 768, 384, "Apache-2.0", 1500,
              "the smaller SigLIP2"),
    _openclip("siglip2-l-384", "ViT-L-16-SigLIP2-384/webli", 1024, 384, "Apache-2.0", 3530,
              "as siglip2-l-512, half the work"),
    _openclip("siglip2-l-512", "ViT-L-16-SigLIP2-512/webli", 1024, 512, "Apache-2.0", 3530,
              "ILIAS 25.3 (5M), 20.8 (100M), adapted 37.3 (5M); text queries 24.7 (5M)"),
    _openclip("siglip2-so400m-384", "ViT-SO400M-16-SigLIP2-384/webli", 1152, 384, "Apache-2.0", 4540,
              "larger than siglip2-l"),
    _openclip("siglip2-so400m-512", "ViT-SO400M-16-SigLIP2-512/webli", 1152, 512, "Apache-2.0", 4550,
              "the largest SigLIP2 here"),
    _openclip("pe-core-b-224", "PE-Core-B-16/meta", 1024, 224, "Apache-2.0", 1790,
              "the smaller Perception Encoder"),
    _openclip("pe-core-l-336", "PE-Core-L-14-336/meta", 1024, 336, "Apache-2.0", 2680,
              "ILIAS 27.1 (5M), 22.0 (100M), adapted 39.6 (5M)"),
    _openclip("openclip-b-224", "ViT-B-32/laion2b_s34b_b79k", 512, 224, "MIT", 605,
              "small and quick, with text"),
    _openclip("openclip-l-224", "ViT-L-14/laion2b_s32b_b82k", 768, 224, "MIT", 1710,
              "ILIAS 12.7 (5M), 9.8 (100M)"),
    _openclip("openclip-l-224-datacomp", "ViT-L-14/datacomp_xl_s13b_b90k", 768, 224, "MIT", 1710,
              "as openclip-l-224, other training data"),
    _openclip("clip-l-336", "ViT-L-14-336-quickgelu/openai", 768, 336, "MIT", 1710,
              "OpenAI's original"),
    _openclip("eva-clip-l-336", "EVA02-L-14-336/merged2b_s6b_b61k", 768, 336, "MIT", 1710,
              "EVA-02 trained as CLIP"),
    _openclip("convnext-l-clip-320", "convnext_large_d_320/laion2b_s29b_b131k_ft_soup", 768, 320, "MIT", 1410,
              "a convolutional network trained as CLIP"),
    _timm("dinov3-s", "vit_small_patch16_dinov3.lvd1689m", 384, 768, DINOV3_LICENCE, 86, "cls",
          "the smallest DINOv3; its licence is not an open-source one"),
    _timm("dinov3-b", "vit_base_patch16_dinov3.lvd1689m", 768, 768, DINOV3_LICENCE, 343, "cls",
          "its licence is not an open-source one"),
    _timm("dinov3-l", "vit_large_patch16_dinov3.lvd1689m", 1024, 768, DINOV3_LICENCE, 1212, "cls",
          "ILIAS 31.1 (5M), 26.5 (100M); its licence is not an open-source one"),
    _timm("dinov2-s", "vit_small_patch14_dinov2.lvd142m", 384, 724, "Apache-2.0", 88, "cls",
          "the smallest DINOv2"),
    _timm("dinov2-b", "vit_base_patch14_dinov2.lvd142m", 768, 724, "Apache-2.0", 346, "cls", ""),
    _timm("dinov2-b-reg", "vit_base_patch14_reg4_dinov2.lvd142m", 768, 724, "Apache-2.0", 346, "cls",
          "with registers"),
    _timm("dinov2-l", "vit_large_patch14_dinov2.lvd142m", 1024, 724, "Apache-2.0", 1217, "cls",
          "ILIAS 18.5 (5M), 15.3 (100M), adapted 23.5 (5M)"),
    _timm("dinov2-l-reg", "vit_large_patch14_reg4_dinov2.lvd142m", 1024, 724, "Apache-2.0", 1217, "cls",
          "with registers"),
    _timm("convnext-b", "convnext_base.fb_in22k_ft_in1k", 1024, 384, "Apache-2.0", 354, "gem",
          "a modern convolutional network, trained on ImageNet"),
    _timm("resnet50", "resnet50.tv_in1k", 2048, 384, "BSD-3-Clause", 102, "gem",
          "the classic; ILIAS 2.5 (5M), 1.8 (100M)"),
    _timm("tinyclip-s", "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m", 256, 224, "MIT", 33, "head",
          "image side of the smallest TinyCLIP; for machines with little power"),
    _timm("tinyclip-b", "vit_betwixt_patch32_clip_224.tinyclip_laion400m", 640, 224, "MIT", 244, "head",
          "image side of a small TinyCLIP"),
)
# fmt: on

for _info in PRESETS:
    register(_info)
