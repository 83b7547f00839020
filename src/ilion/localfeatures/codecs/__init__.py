"""Codecs: local features in few bytes."""

from ilion.localfeatures.codecs.base import CODECS, Code, Codec, CodecSettings
from ilion.localfeatures.codecs.settings import fit_codec, raw_codec, rebuild, settings_for

__all__ = ["CODECS", "Code", "Codec", "CodecSettings", "fit_codec", "raw_codec", "rebuild"]
__all__ += ["settings_for"]
