"""What kernels may be compiled for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ilion.kernels.jit import compiles


@pytest.mark.skipif(not compiles("avx"), reason="needs an x86 with AVX")
@pytest.mark.parametrize(
    "setting", [{"NUMBA_ENABLE_AVX": "0"}, {"NUMBA_CPU_NAME": "generic"}, {"NUMBA_DISABLE_JIT": "1"}]
)
def test_nothing_is_compiled_for_instructions_that_numba_leaves_out(setting: dict[str, str]) -> None:
    """LLVM ends the process where an instruction is asked for that its target lacks."""
    code = "from ilion.kernels.jit import compiles; print(compiles('avx'))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=300, env={**os.environ, **setting}
    )
    assert done.stdout == "False\n"
