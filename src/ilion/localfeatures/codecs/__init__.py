"""Codecs: local features in few bytes."""

from ilion.localfeatures.codecs.base import Codec
from ilion.localfeatures.codecs.layout import Layout
from ilion.localfeatures.codecs.settings import CodecSettings, fit_codec, raw_codec, rebuild, settings_for

__all__ = ["Codec", "CodecSettings", "Layout", "fit_codec", "raw_codec", "rebuild", "settings_for"]
