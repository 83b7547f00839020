"""Settings of a proof of concept to and from ``poc.toml``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ilion.config.plain import apply_overrides, from_dict, load_toml
from ilion.errors import ConfigError
from ilion.opening import full_path
from ilion.poc.settings import PocConfig
from ilion.types import Where

FILE = "poc.toml"


def load_poc(folder: Where, overrides: Sequence[str] = ()) -> PocConfig:
    """Read the settings of a proof of concept; its paths start at its folder.

    Args:
        folder: Folder of the proof of concept, or its ``poc.toml``.
        overrides: Settings as ``section.key=value``.

    Raises:
        ConfigError: There is no ``poc.toml``, or a setting is unknown or out of its range.
    """
    path = Path(folder)
    path = path / FILE if path.is_dir() else path
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file; 'ilion poc new DIR' makes a proof of concept")
    try:
        config = from_dict(PocConfig, apply_overrides(load_toml(path), overrides))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    base = full_path(path).parent

    def placed(text: str) -> str:
        return str(full_path(base, os.path.expanduser(text))) if text else ""

    return replace(
        config,
        photos=replace(config.photos, folder=placed(config.photos.folder)),
        plan=replace(config.plan, pilot=placed(config.plan.pilot)),
        designs=replace(config.designs, labels=placed(config.designs.labels)),
    )
