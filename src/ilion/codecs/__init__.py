"""Codecs: local features in few bytes."""

from ilion.codecs.base import Codec
from ilion.codecs.layout import Layout
from ilion.codecs.settings import CodecSettings, fit_codec, raw_codec, rebuild, settings_for

__all__ = ["Codec", "CodecSettings", "Layout", "fit_codec", "raw_codec", "rebuild", "settings_for"]
