"""Facts about the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import cv2
import numpy as np
import pytest

from ilion.runtime.machine import compare_environments, environment, machine, peak_memory


def test_the_peak_grows_with_what_is_held() -> None:
    before = peak_memory()
    held = np.ones(8 * 2**20)
    assert held.sum() > 0
    assert peak_memory() >= before


@pytest.mark.slow
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


def test_what_numbers_depend_on_is_described() -> None:
    found: dict[str, Any] = environment()
    assert found["libraries"]["numpy"] == np.__version__
    assert found["libraries"]["opencv-python-headless"].startswith(cv2.__version__)
    assert {"faiss-cpu", "onnxruntime", "pillow", "simplejpeg", "h5py"} <= set(found["libraries"])
    assert found["processor"] == machine().cpu
    assert "SSE2" in found["opencv instructions"] or "NEON" in found["opencv instructions"]
    assert found["numpy linear algebra"]


@pytest.mark.slow
@pytest.mark.skipif("*AVX2" not in cv2.getCPUFeaturesLine().split(), reason="the processor has no AVX2")
def test_instructions_that_opencv_leaves_unused_are_not_listed() -> None:
    code = "from ilion.runtime.machine import environment; print(environment()['opencv instructions'])"
    without = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"OPENCV_CPU_DISABLE": "AVX2"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "AVX2" in str(environment()["opencv instructions"]).split()
    assert "AVX2" not in without


def test_environments_are_compared_fact_by_fact() -> None:
    one: dict[str, Any] = environment()
    other = one | {"processor": "an older one", "libraries": one["libraries"] | {"numpy": "1.0"}}
    assert compare_environments(one, one) == compare_environments(one, {}) == ()
    assert compare_environments(one, other) == (
        f"processor {one['processor']} and an older one",
        f"numpy {np.__version__} and 1.0",
    )
