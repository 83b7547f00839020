"""PP-OCR: a text detector and a recogniser of the PaddleOCR project, as ONNX files in the package RapidOCR.

Du et al., "PP-OCR: a practical ultra lightweight OCR system", 2020, and its later versions. The weights are
Apache-2.0. Only the two files are used; finding the lines, cutting them out and decoding are in `regions` and
`lines`, because an image can then be read without batches, on one thread, and so beside other images.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ilion.errors import ExtractionError, MissingExtraError
from ilion.opening import read_bytes
from ilion.reading.base import ReaderOptions, ReaderSpec
from ilion.reading.lines import decode_ctc, prepare_line, straighten
from ilion.reading.regions import find_text_regions, sides, sort_as_read
from ilion.types import RGB, Float32, TextLine
from ilion.wording import counted

PACKAGE = "rapidocr"
VERSION = 1
"""Raised when this module reads something else from the same image."""
_MULTIPLE = 32
"""Sides of the detector's input are multiples of this."""
_INVISIBLE = 2.0
"""Pixels; a line of less height at the detector's size holds no letters."""


class PaddleReader:
    """Reads images with PP-OCR.

    Raises:
        MissingExtraError: The extra ``reading`` is not installed.
        ExtractionError: The package has no weights, or other ones than expected.
    """

    def __init__(self, options: ReaderOptions) -> None:
        found = find_spec(PACKAGE)
        if found is None or found.origin is None:
            raise MissingExtraError("reading text in images", "reading")
        folder = Path(found.origin).parent / "models"
        detector, recogniser = _only(folder, "*_det_*.onnx"), _only(folder, "*_rec_*.onnx")
        self._options = options
        self._detector = _open(detector, options.threads)
        self._recogniser = _open(recogniser, options.threads)
        first = self._recogniser.get_inputs()[0]
        self._recogniser_input, shape = first.name, first.shape
        listed = self._recogniser.get_modelmeta().custom_metadata_map.get("character", "")
        # the file lists all classes but the blank, which is the first, and the space, which is the last
        self._characters = [*listed.splitlines(), " "]
        classes = self._recogniser.get_outputs()[0].shape[-1]
        if not isinstance(shape[2], int) or classes != len(self._characters) + 1:
            raise ExtractionError(
                f"{recogniser}: {counted(classes, 'class', 'classes')} and "
                f"{counted(len(self._characters) - 1, 'character does', 'characters do')} not fit "
                f"together; install the package anew: pip install 'ilion[reading]'"
            )
        self._height = shape[2]
        digest = hashlib.blake2b(read_bytes(detector) + read_bytes(recogniser), digest_size=8)
        self.spec = ReaderSpec(
            name="pp-ocr",
            weights=f"{PACKAGE} {metadata.version(PACKAGE)}: {detector.name}, {recogniser.name}",
            revision=f"{VERSION}-{digest.hexdigest()}",
            side=options.side,
            licence="Apache-2.0",
            options={"smallest": options.smallest},
        )

    def read(self, image: RGB) -> tuple[TextLine, ...]:
        """Read one upright image; see `ilion.reading.base.Reader`."""
        quads = self._find(image)
        lines = []
        for i in sort_as_read(quads):
            network_input = prepare_line(straighten(image, quads[i]), self._height)
            probabilities = self._recogniser.run(None, {self._recogniser_input: network_input})[0][0]
            text, confidence = decode_ctc(probabilities, self._characters)
            if text.strip():
                lines.append(TextLine(text, confidence, quads[i]))
        return tuple(lines)

    def _find(self, image: RGB) -> list[Float32]:
        """Return quads in pixels of the image, inside it."""
        height, width = image.shape[:2]
        scale = self._options.side / max(height, width)
        inside = [max(1, round(n * scale / _MULTIPLE)) * _MULTIPLE for n in (width, height)]
        shrinks = scale < 1
        resized = cv2.resize(image, inside, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        pixels = resized[:, :, ::-1].transpose(2, 0, 1)[None] / np.float32(127.5) - 1
        name = self._detector.get_inputs()[0].name
        probability = self._detector.run(None, {name: np.ascontiguousarray(pixels, np.float32)})[0][0, 0]
        factor = np.array([width / inside[0], height / inside[1]], np.float32)
        least = max(self._options.smallest * max(height, width), _INVISIBLE / scale)
        quads = [
            np.clip(quad * factor, 0, (width - 1, height - 1)) for quad in find_text_regions(probability)
        ]
        return [np.asarray(quad, np.float32) for quad in quads if min(sides(quad)) >= least]


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ExtractionError(
            f"{folder}: expected one file {pattern}, found {names}; install the package anew: "
            "pip install 'ilion[reading]'"
        )
    return found[0]


def _open(path: Path, threads: int) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExtractionError(f"{path}: cannot be loaded ({error}); install the package anew") from error
