"""Facts about the machine that a cost was measured on."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ilion.outcome import Machine

LIBRARIES = (
    *("numpy", "opencv-python-headless", "opencv-python", "faiss-cpu", "faiss-gpu", "onnxruntime"),
    *("onnxruntime-gpu", "pillow", "pillow-heif", "simplejpeg", "numba", "h5py", "rapidocr", "rapidfuzz"),
    *("scipy", "scikit-learn", "torch", "torchvision", "timm", "open-clip-torch", "transformers", "kornia"),
)
"""Libraries that touch numbers, as they are installed."""


def machine(accelerator: str = "") -> Machine:
    """Describe this machine.

    Args:
        accelerator: Name of the device that computes, or "".
    """
    return Machine(
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        accelerator=accelerator,
    )


def environment() -> dict[str, object]:
    """Describe what the last digits of numbers depend on: libraries, processor, instructions, linear algebra.

    Only what is installed counts, not what happens to be loaded, so that all runs of a machine say the same.
    """
    return {
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "processor": _cpu_name(),
        "opencv instructions": _opencv_instructions(),
        "numpy linear algebra": _linear_algebra(),
    }


def compare_environments(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, ...]:
    """Say in which facts two results of `environment` differ; a fact that one of them lacks is left out.

    >>> compare_environments({"libraries": {"numpy": "2.0"}}, {"libraries": {"numpy": "2.4", "faiss": "1"}})
    ('numpy 2.0 and 2.4',)
    """
    one, two = ({**facts, **facts.get("libraries", {})} for facts in (a, b))
    names = [name for name in one if name != "libraries" and one[name] != two.get(name, one[name])]
    return tuple(f"{name} {one[name]} and {two[name]}" for name in names)


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


@cache
def _opencv_instructions() -> str:
    """Return the instruction sets that OpenCV uses here, as one text."""
    import cv2

    return " ".join(name.lstrip("*") for name in cv2.getCPUFeaturesLine().split() if not name.endswith("?"))


@cache
def _linear_algebra() -> str:
    """Return library, version and kernel of NumPy's matrix products, "" where they are not told."""
    import numpy as np
    from threadpoolctl import threadpool_info

    places = (Path(np.__file__).parent, Path(np.__file__).parent.with_name("numpy.libs"))
    found = [facts for facts in threadpool_info() if facts["user_api"] == "blas"]
    own = [facts for facts in found if any(place in Path(facts["filepath"]).parents for place in places)]
    parts = own or found[:1]
    return " ".join(
        str(facts.get(name) or "")
        for facts in parts[:1]
        for name in ("internal_api", "version", "architecture")
    ).strip()


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes.

    Where the system tells it (Linux), that of this program alone: the number of ``getrusage`` is handed down
    from the process that started it.
    """
    try:
        told = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        told = None
    if told:
        return int(told[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
