"""Facts about the machine that a cost was measured on."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from pathlib import Path

from ilion.outcome import Machine


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
