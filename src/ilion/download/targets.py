"""Published figures on ILIAS as targets: the commands that reproduce one, and what they take.

Figures are those of `ilion.descriptors.registry.ModelInfo.ilias`. Nothing is invented: without a speed there
are no hours, and without rates no price.
"""

from __future__ import annotations

from dataclasses import dataclass

from ilion.descriptors.registry import model_info, models
from ilion.errors import ConfigError
from ilion.forecast.cost import GIGABYTE, Prices

SETTINGS = ("5M", "100M", "5M adapted", "5M text")
"""Settings in which a figure may be known, as in `ModelInfo.ilias`."""
DISTRACTORS = {"5M": 5_000_000, "100M": 100_000_000}
OTHERS = 4_715 + 1_232
"""Positives and image queries."""
SHARDS_BYTES = 6_300_000_000_000
"""Bytes of all 1,000 shards (Kordopatis-Zilos et al., CVPR 2025); the 5 million are spread over them."""
MINI_IDS = "ilias/image_ids/mini_ilias_yfcc100m_ids.txt"


@dataclass(frozen=True)
class _Official:
    """How the benchmark describes with a model (feature_extraction/scripts/models.sh of its repository).

    Args:
        name: Name of its folder of features and of its layer.
        side: Longer side in pixels.
        pooling: Pooling, where it is not that of the preset.
        square: Whether the library here takes square photos only, where the benchmark's takes any.
    """

    name: str
    side: int
    pooling: str = ""
    square: bool = False


_OFFICIAL = {
    "siglip-l-384": _Official("vit_large_patch16_siglip_384.webli", 512),
    "siglip2-l-512": _Official("vit_large_patch16_siglip_512.v2_webli", 724),
    "pe-core-l-336": _Official("vit_pe_core_large_patch14_336.fb", 512),
    "openclip-l-224": _Official("vit_large_patch14_clip_224.laion2b", 384, square=True),
    "dinov3-b": _Official("dinov3_vitb16", 768),
    "dinov3-l": _Official("dinov3_vitl16", 768),
    "dinov2-l": _Official("dinov2_vitl14", 724),
    "alexnet": _Official("alexnet", 384),
    "vgg16": _Official("vgg16.tv_in1k", 384),
    "resnet50": _Official("resnet50.tv_in1k", 384, "head"),
    "resnet101": _Official("resnet101.tv_in1k", 384, "head"),
}


@dataclass(frozen=True)
class Step:
    """One command.

    Args:
        command: Line for a shell.
        fetched: Bytes that it fetches; None where the source does not publish them.
        stored: Bytes that it leaves on the disk.
        hours: Hours that it takes; None where no speed was given.
    """

    command: str
    fetched: float | None = 0.0
    stored: float = 0.0
    hours: float | None = 0.0


@dataclass(frozen=True)
class Target:
    """A published figure and the way to it.

    Args:
        model: Name of the model.
        setting: One of `SETTINGS`.
        figure: The published mAP@1k, a fraction.
        steps: The commands in their order.
        notes: Obstacles, and differences from the benchmark's own way, one sentence each.
        prices: Rates.
    """

    model: str
    setting: str
    figure: float
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    prices: Prices

    @property
    def fetched(self) -> float:
        """Bytes fetched in all, as far as they are known."""
        return sum(step.fetched or 0.0 for step in self.steps)

    @property
    def stored(self) -> float:
        """Bytes on the disk in the end."""
        return sum(step.stored for step in self.steps)

    @property
    def hours(self) -> float | None:
        """Hours in all; None where a speed is missing."""
        hours = [step.hours for step in self.steps]
        return None if None in hours else sum(h for h in hours if h is not None)

    @property
    def price(self) -> float | None:
        """Price of machine and disk; None without rates or hours."""
        if self.hours is None or not (self.prices.hour or self.prices.gigabyte_month):
            return None
        disk = self.stored / GIGABYTE * self.prices.gigabyte_month * self.prices.months
        return self.hours * self.prices.hour + disk


def list_targets() -> list[tuple[str, str, float]]:
    """Return model, setting and published mAP of all targets, by model."""
    return [(info.name, s, info.ilias[s]) for info in models() for s in SETTINGS if s in info.ilias]


def plan_target(
    name: str,
    setting: str = "5M",
    *,
    descriptors: bool = False,
    images_per_second: float = 0.0,
    megabits_per_second: float = 0.0,
    prices: Prices | None = None,
) -> Target:
    """Say how a published figure is reproduced, and what that takes.

    Args:
        name: Name of a model with a published figure.
        setting: One of `SETTINGS`.
        descriptors: Whether to start from the benchmark's published descriptors in place of the photos.
        images_per_second: Photos that the machine describes in a second; 0 if unknown.
        megabits_per_second: Speed of the network; 0 if unknown.
        prices: Rates; None for none.

    Raises:
        ConfigError: There is no such model, or no published figure of it in that setting.
    """
    info = model_info(name)
    if setting not in info.ilias:
        known = ", ".join(f"{model} {s}" for model, s, _ in list_targets())
        raise ConfigError(f"no figure of {name!r} in the setting {setting!r} is known; known are: {known}")
    size, _, variant = setting.partition(" ")
    images = DISTRACTORS[size] + OTHERS
    row = 2 * info.dim
    network = megabits_per_second * 1e6 / 8
    notes = []

    def fetch(parts: str, size: float | None) -> Step:
        hours = size / network / 3600 if size and network else (None if size else 0.0)
        return Step(f"ilion download ilias {parts}", size, size or 0.0, hours)

    official = _OFFICIAL[name]
    run = f"ilion run ilias --model {name}"
    steps = [fetch("--core --ids", None)]
    if descriptors:
        steps.append(fetch(f"--features {official.name} --shards all", (DISTRACTORS["100M"] + OTHERS) * row))
        steps.append(
            Step("ilion import features ilias/features --output ilias-descriptors", stored=images * row)
        )
        run = "ilion run ilias --model imported:ilias-descriptors"
        notes.append(
            f"whether descriptors of {official.name!r} are published is known once the server answers"
        )
    else:
        steps.append(fetch("--shards all", SHARDS_BYTES))
        run += "" if official.square else " --set extraction.like=ilias"
        run += f" --set extraction.side={official.side}"
        if official.square:
            notes.append("photos are padded to a square here, and not by the benchmark: expect a difference")
        if official.pooling:
            run += f" --set extraction.pooling={official.pooling}"
    run += " --set evaluation.ties=step"
    if size == "5M":
        run += f" --set dataset.subset={MINI_IDS}"
        notes.append(
            "the 5 million are spread over all shards, so all are fetched; afterwards they can be deleted"
        )
    if variant == "text":
        run += " --set dataset.queries=text"
    if variant == "adapted":
        steps.append(fetch(f"--layers {official.name}", None))
        run += f" --set adaptation.layer=ilias/lin_adapt_layers/{official.name}.pth"
    hours = images / images_per_second / 3600 if images_per_second else None
    steps.append(Step(run, stored=0 if descriptors else images * row, hours=0.0 if descriptors else hours))
    if not info.open_licence:
        notes.append(f"the weights have the licence {info.licence}")
    if not (images_per_second or descriptors):
        notes.append(
            "hours of describing: give --images-per-second, as 'ilion run' on a few shards measures it"
        )
    notes.append("core, lists and layers come on top: their sizes are not published; so do import and search")
    if not network:
        notes.append("hours of fetching: give --megabits-per-second")
    return Target(name, setting, info.ilias[setting], tuple(steps), tuple(notes), prices or Prices())
