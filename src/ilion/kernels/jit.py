"""Whether kernels can be compiled here: with numba, for this processor."""

from __future__ import annotations

import importlib
import platform
from functools import cache
from importlib.util import find_spec

X86 = ("x86_64", "amd64")


@cache
def compiles(*features: str) -> bool:
    """Say whether numba is there and compiles for an x86 with these features, as LLVM names them.

    >>> compiles("a feature that no processor has")
    False
    """
    if platform.machine().lower() not in X86 or find_spec("numba") is None:
        return False
    try:
        config = importlib.import_module("numba").config
        binding = importlib.import_module("llvmlite.binding")
    except ImportError:  # installed, but not for this numpy or Python
        return False
    # another target than this processor, which caches are shared for, or one without its AVX: an instruction
    # that the target lacks would end the process
    if config.DISABLE_JIT or config.CPU_NAME or config.CPU_FEATURES or not config.ENABLE_AVX:
        return False
    present = binding.get_host_cpu_features()
    return all(present.get(feature, False) for feature in features)
