"""The metadata of an exported file: read without the onnx package, and refused where it makes no sense."""

import json
from typing import Any

import pytest

from detector.classes import CLASSES
from detector.errors import ModelError
from detector.exchange.onnx_format import METADATA_KEY, OnnxHeader
from detector.retinanet_config import ModelConfig

HEADER = OnnxHeader(config=ModelConfig(), class_names=CLASSES, step=128, quantized=False, extra={"origin": "test"})


def varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field of a protobuf message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def model_of(text: str) -> bytes:
    """Return a ModelProto that has only an IR version and one entry of metadata."""
    return b"\x08\x0a" + field(14, field(1, METADATA_KEY.encode()) + field(2, text.encode()))


def test_what_was_written_is_read() -> None:
    assert OnnxHeader.read(model_of(json.dumps(HEADER.to_dict())), "m") == HEADER


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "metadata of version 1; it has 2"),
        ({"step": 0}, r"step must lie in \[1, 1024\]; got 0"),
        ({"step": 10**12}, r"step must lie in \[1, 1024\]"),
        ({"step": None}, "cannot be read"),
        ({"class_names": list(CLASSES[:5])}, "must be 6 different names"),
        ({"class_names": [*CLASSES[:5], "FEMALE_GENITALIA"]}, "must be 6 different names"),
        ({"class_names": [*CLASSES[:5], "MALE_BREAST_EXPOSD"]}, "the nearest is MALE_BREAST_EXPOSED"),
        ({"config": {"preprocessing": {"std": [float("inf")] * 3}}}, "positive stds"),
        ({"config": {"preprocessing": {"long_side": 10**9}}}, "must lie in"),
        ({"extra": None}, "cannot be read"),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        OnnxHeader.read(model_of(json.dumps({**HEADER.to_dict(), **changes})), "m")


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff" * 50, b"\x72\x7f", model_of("[" * 100_000), model_of("[]"), model_of("")],
    ids=["empty", "endless", "cut", "deep", "a list", "no text"],
)
def test_what_is_no_exported_file_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="m must be a RetinaNet written by `detector export`"):
        OnnxHeader.read(data, "m")
