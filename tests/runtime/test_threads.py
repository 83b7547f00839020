"""What is learnt is the same, byte for byte, with one thread and with two."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

LEARN = """
import numpy as np
from ilion.localfeatures.codecs import CodecSettings, fit_codec
from ilion.searching.asmk.codebook import learn_codebook
from ilion.searching.codes import Code, Coder
from ilion.types import LocalFeatures

rng = np.random.default_rng(0)
values = rng.random((40, 200, 128), dtype=np.float32)
values /= np.linalg.norm(values, axis=2, keepdims=True)
features = [
    LocalFeatures(rng.random((200, 2), dtype=np.float32), v, np.ones(200, np.float32), (9, 9)) for v in values
]
"""
MAKE = {
    "vlad": """
from ilion.descriptors.vlad import VladExtractor
images = [rng.integers(0, 255, (300, 300, 3)).astype(np.uint8) for _ in range(20)]
model = VladExtractor("default", words=256, dims=48, side=300)
model.fit(images, 0)
print(model.spec.revision)
""",
    "asmk": "print(learn_codebook(features, words=512).digest)",
    "pq": "print(fit_codec(CodecSettings('pq', 16), 'cosine', features, 0).digest)",
    "binary": "print(fit_codec(CodecSettings('binary', 16), 'cosine', features, 0).digest)",
    "codes": "print(Coder.learn(Code.parse('pq32'), values.reshape(-1, 128)[:8000], 0).digest)",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", MAKE)
def test_bytes_do_not_depend_on_threads(what: str) -> None:
    digests = set()
    for threads in "12":
        # a kernel whose float32 products do depend on threads, unlike those of the newest processors
        limits = {"OPENBLAS_CORETYPE": "Haswell"} if platform.machine() in ("x86_64", "AMD64") else {}
        limits |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        done = subprocess.run(
            [sys.executable, "-c", LEARN + MAKE[what]],
            env=os.environ | limits,
            check=True,
            capture_output=True,
            text=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1
