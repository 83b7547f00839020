"""Well-known models that a hub serves, as data: what `ilion models` lists besides the embedded ones.

Sides follow the ILIAS recipe (longer side at the family's test resolution). The figures in ``ilias`` are the
mAP@1k that the ILIAS paper and its leaderboard give on mini-ILIAS (5 million distractors) or the whole (100
million); they were not measured here. Download sizes are those of float32 weights.
"""

from __future__ import annotations

from collections.abc import Mapping

from ilion.descriptors.registry import ModelInfo, register

DINOV3_LICENCE = "DINOv3 License (Meta's own terms; read and accept them first)"
_NOT_OPEN = "its licence is not an open-source one"


def _openclip(
    family: str,
    name: str,
    source: str,
    dim: int,
    side: int,
    licence: str,
    download_mb: int,
    note: str,
    ilias: Mapping[str, float] | None = None,
) -> ModelInfo:
    return ModelInfo(
        name,
        "openclip",
        dim,
        side,
        licence,
        download_mb,
        text=True,
        extra="torch",
        source=source,
        note=note,
        settings={"pooling": "head"},
        family=family,
        ilias=ilias or {},
    )


def _timm(
    family: str,
    name: str,
    source: str,
    dim: int,
    side: int,
    licence: str,
    download_mb: int,
    pooling: str,
    note: str,
    ilias: Mapping[str, float] | None = None,
    domain: str = "",
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
        family=family,
        domain=domain,
        ilias=ilias or {},
    )


# fmt: off
PRESETS: tuple[ModelInfo, ...] = (
    _openclip("SigLIP", "siglip-b-384", "ViT-B-16-SigLIP-384/webli", 768, 384, "Apache-2.0", 814,
              "the smaller SigLIP"),
    _openclip("SigLIP", "siglip-l-384", "ViT-L-16-SigLIP-384/webli", 1024, 384, "Apache-2.0", 2610,
              "the large SigLIP", {"5M": 0.242, "5M adapted": 0.343}),
    _openclip("SigLIP", "siglip-so400m-384", "ViT-SO400M-14-SigLIP-384/webli", 1152, 384, "Apache-2.0", 3512,
              "the largest SigLIP"),
    _openclip("SigLIP2", "siglip2-b-384", "ViT-B-16-SigLIP2-384/webli", 768, 384, "Apache-2.0", 1500,
              "the smaller SigLIP2"),
    _openclip("SigLIP2", "siglip2-b-512", "ViT-B-16-SigLIP2-512/webli", 768, 512, "Apache-2.0", 1503,
              "as siglip2-b-384 at a higher resolution"),
    _openclip("SigLIP2", "siglip2-l-384", "ViT-L-16-SigLIP2-384/webli", 1024, 384, "Apache-2.0", 3530,
              "as siglip2-l-512, half the work"),
    _openclip("SigLIP2", "siglip2-l-512", "ViT-L-16-SigLIP2-512/webli", 1024, 512, "Apache-2.0", 3530,
              "text queries come close to image queries",
              {"5M": 0.253, "100M": 0.208, "5M adapted": 0.373, "5M text": 0.247}),
    _openclip("SigLIP2", "siglip2-so400m-384", "ViT-SO400M-16-SigLIP2-384/webli", 1152, 384, "Apache-2.0",
              4540, "larger than siglip2-l"),
    _openclip("SigLIP2", "siglip2-so400m-512", "ViT-SO400M-16-SigLIP2-512/webli", 1152, 512, "Apache-2.0",
              4550, "as siglip2-so400m-384 at a higher resolution"),
    _openclip("SigLIP2", "siglip2-g-384", "ViT-gopt-16-SigLIP2-384/webli", 1536, 384, "Apache-2.0", 7488,
              "the largest SigLIP2"),
    _openclip("Perception Encoder", "pe-core-t-384", "PE-Core-T-16-384/meta", 512, 384, "Apache-2.0", 278,
              "the smallest Perception Encoder"),
    _openclip("Perception Encoder", "pe-core-s-384", "PE-Core-S-16-384/meta", 512, 384, "Apache-2.0", 349,
              "a small Perception Encoder"),
    _openclip("Perception Encoder", "pe-core-b-224", "PE-Core-B-16/meta", 1024, 224, "Apache-2.0", 1790,
              "the medium Perception Encoder"),
    _openclip("Perception Encoder", "pe-core-l-336", "PE-Core-L-14-336/meta", 1024, 336, "Apache-2.0", 2680,
              "the best adapted figure known", {"5M": 0.271, "100M": 0.220, "5M adapted": 0.396}),
    _openclip("Perception Encoder", "pe-core-g-448", "PE-Core-bigG-14-448/meta", 1280, 448, "Apache-2.0",
              9677, "the largest Perception Encoder"),
    _openclip("OpenCLIP", "openclip-b-224", "ViT-B-32/laion2b_s34b_b79k", 512, 224, "MIT", 605,
              "small and quick, with text"),
    _openclip("OpenCLIP", "openclip-l-224", "ViT-L-14/laion2b_s32b_b82k", 768, 224, "MIT", 1710,
              "trained on LAION-2B", {"5M": 0.127, "100M": 0.098}),
    _openclip("OpenCLIP", "openclip-l-224-datacomp", "ViT-L-14/datacomp_xl_s13b_b90k", 768, 224, "MIT", 1710,
              "as openclip-l-224, other training data"),
    _openclip("OpenCLIP", "openclip-h-224", "ViT-H-14/laion2b_s32b_b79k", 1024, 224, "MIT", 3944,
              "larger than openclip-l-224"),
    _openclip("CLIP", "clip-b-224", "ViT-B-16-quickgelu/openai", 512, 224, "MIT", 598,
              "OpenAI's original, smaller"),
    _openclip("CLIP", "clip-l-336", "ViT-L-14-336-quickgelu/openai", 768, 336, "MIT", 1710,
              "OpenAI's original"),
    _openclip("MetaCLIP", "metaclip-l-224", "ViT-L-14-quickgelu/metaclip_fullcc", 768, 224, "CC-BY-NC-4.0",
              1710, _NOT_OPEN + " and forbids commercial use"),
    _openclip("EVA-CLIP", "eva-clip-b-224", "EVA02-B-16/merged2b_s8b_b131k", 512, 224, "MIT", 599,
              "the smaller EVA-02 trained as CLIP"),
    _openclip("EVA-CLIP", "eva-clip-l-336", "EVA02-L-14-336/merged2b_s6b_b61k", 768, 336, "MIT", 1710,
              "EVA-02 trained as CLIP"),
    _openclip("OpenCLIP", "convnext-l-clip-320", "convnext_large_d_320/laion2b_s29b_b131k_ft_soup", 768, 320,
              "MIT", 1410, "a convolutional network trained as CLIP"),
    _timm("DINOv3", "dinov3-s", "vit_small_patch16_dinov3.lvd1689m", 384, 768, DINOV3_LICENCE, 86, "cls",
          "the smallest DINOv3; " + _NOT_OPEN),
    _timm("DINOv3", "dinov3-b", "vit_base_patch16_dinov3.lvd1689m", 768, 768, DINOV3_LICENCE, 343, "cls",
          _NOT_OPEN),
    _timm("DINOv3", "dinov3-l", "vit_large_patch16_dinov3.lvd1689m", 1024, 768, DINOV3_LICENCE, 1212, "cls",
          _NOT_OPEN, {"5M": 0.311, "100M": 0.265}),
    _timm("DINOv3", "dinov3-h-plus", "vit_huge_plus_patch16_dinov3.lvd1689m", 1280, 768, DINOV3_LICENCE, 3362,
          "cls", "larger than dinov3-l; " + _NOT_OPEN),
    _timm("DINOv3", "dinov3-l-sat", "vit_large_patch16_dinov3.sat493m", 1024, 768, DINOV3_LICENCE, 1212,
          "cls", "trained on satellite images only; " + _NOT_OPEN, domain="satellite images"),
    _timm("DINOv3", "dinov3-convnext-b", "convnext_base.dinov3_lvd1689m", 1024, 768, DINOV3_LICENCE, 350,
          "head", "a convolutional network trained as DINOv3; " + _NOT_OPEN),
    _timm("DINOv2", "dinov2-s", "vit_small_patch14_dinov2.lvd142m", 384, 724, "Apache-2.0", 88, "cls",
          "the smallest DINOv2"),
    _timm("DINOv2", "dinov2-b", "vit_base_patch14_dinov2.lvd142m", 768, 724, "Apache-2.0", 346, "cls",
          "the medium DINOv2"),
    _timm("DINOv2", "dinov2-b-reg", "vit_base_patch14_reg4_dinov2.lvd142m", 768, 724, "Apache-2.0", 346,
          "cls", "with registers"),
    _timm("DINOv2", "dinov2-l", "vit_large_patch14_dinov2.lvd142m", 1024, 724, "Apache-2.0", 1217, "cls",
          "the large DINOv2", {"5M": 0.185, "100M": 0.153, "5M adapted": 0.235}),
    _timm("DINOv2", "dinov2-l-reg", "vit_large_patch14_reg4_dinov2.lvd142m", 1024, 724, "Apache-2.0", 1217,
          "cls", "with registers"),
    _timm("DINOv2", "dinov2-g", "vit_giant_patch14_dinov2.lvd142m", 1536, 724, "Apache-2.0", 4546, "cls",
          "the largest DINOv2"),
    _timm("DINO", "dino-s", "vit_small_patch16_224.dino", 384, 384, "Apache-2.0", 87, "cls",
          "self-supervised on ImageNet, small"),
    _timm("DINO", "dino-b", "vit_base_patch16_224.dino", 768, 384, "Apache-2.0", 343, "cls",
          "self-supervised on ImageNet"),
    _timm("ViT", "vit-b-in21k", "vit_base_patch16_224.augreg_in21k", 768, 384, "Apache-2.0", 410, "cls",
          "a classifier of ImageNet's 21,000 classes"),
    _timm("ViT", "vit-l-in21k", "vit_large_patch16_224.augreg_in21k", 1024, 384, "Apache-2.0", 1303, "cls",
          "a classifier of ImageNet's 21,000 classes, large"),
    _timm("DeiT III", "deit3-l-384", "deit3_large_patch16_384.fb_in22k_ft_in1k", 1024, 384, "Apache-2.0",
          1219, "cls", "a classifier of ImageNet"),
    _timm("EVA-02", "eva02-b", "eva02_base_patch14_224.mim_in22k", 768, 384, "MIT", 343, "head",
          "learnt by predicting CLIP features of hidden patches"),
    _timm("ConvNeXt", "convnext-b", "convnext_base.fb_in22k_ft_in1k", 1024, 384, "Apache-2.0", 354, "gem",
          "a modern convolutional network, trained on ImageNet"),
    _timm("ConvNeXt", "convnext-l", "convnext_large.fb_in22k_ft_in1k", 1536, 384, "Apache-2.0", 791, "gem",
          "larger than convnext-b"),
    _timm("ResNet", "resnet50", "resnet50.tv_in1k", 2048, 384, "BSD-3-Clause", 102, "gem",
          "the classic", {"5M": 0.025, "100M": 0.018}),
    _timm("ResNet", "resnet101", "resnet101.tv_in1k", 2048, 384, "BSD-3-Clause", 178, "gem",
          "deeper than resnet50"),
    _timm("TinyCLIP", "tinyclip-s", "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m", 256, 224, "MIT", 33,
          "head", "image side of the smallest TinyCLIP; for machines with little power"),
    _timm("TinyCLIP", "tinyclip-b", "vit_betwixt_patch32_clip_224.tinyclip_laion400m", 640, 224, "MIT", 244,
          "head", "image side of a small TinyCLIP"),
)
# fmt: on

for _info in PRESETS:
    register(_info)
