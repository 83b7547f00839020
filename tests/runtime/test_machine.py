"""Facts about the machine."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ilion.runtime.machine import machine, peak_memory


def test_the_peak_grows_with_what_is_held() -> None:
    before = peak_memory()
    held = np.ones(8 * 2**20)
    assert held.sum() > 0
    assert peak_memory() >= before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems hand the number down")
def test_the_peak_is_that_of_this_program_and_not_of_its_parent() -> None:
    held = np.ones(40 * 2**20)
    code = "from ilion.runtime.machine import peak_memory; print(peak_memory())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert held.nbytes <= peak_memory()
    assert int(told) < held.nbytes / 2


def test_the_machine_is_described() -> None:
    found = machine("a card")
    assert found.cores >= 1
    assert found.memory_bytes > 2**28
    assert found.accelerator == "a card"
    assert found.cpu
