"""What an exported ONNX file says about itself: names of its input and output, and the metadata that it carries."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from detector.classes import canonical_class
from detector.errors import ModelError, UsageError
from detector.retinanet_config import ModelConfig, model_config_from_dict, model_config_to_dict

__all__ = ["INPUT", "METADATA_KEY", "OUTPUT", "OnnxHeader"]

INPUT, OUTPUT = "images", "predictions"
METADATA_KEY = "retina_censor"

# The layout of the metadata that this code reads.
FORMAT_VERSION = 1

# What is written is 128 or 1; a file that asks for more than this would only ask for memory.
_MOST_STEP = 1024

# ModelProto.metadata_props in onnx.proto, and key and value of one of its entries.
_METADATA_FIELD, _KEY_FIELD, _VALUE_FIELD = 14, 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, kw_only=True)
class OnnxHeader:
    """The metadata of an exported file.

    Attributes:
        config: of the model: anchors, box coding and preprocessing among it.
        class_names: K canonical names.
        step: both sides of the input must be multiples of it.
        quantized: whether its convolutions are in 8 bits.
        extra: further texts.
    """

    config: ModelConfig
    class_names: tuple[str, ...]
    step: int
    quantized: bool
    extra: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.class_names) != self.config.num_classes or len(set(self.class_names)) != len(self.class_names):
            raise UsageError(f"class_names must be {self.config.num_classes} different names; got {self.class_names}")
        if not 1 <= self.step <= _MOST_STEP:
            raise UsageError(f"step must lie in [1, {_MOST_STEP}]; got {self.step}")

    def as_quantized(self) -> "OnnxHeader":
        """Return the header of the 8-bit version."""
        return replace(self, quantized=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready table that `read` reads."""
        return {
            "version": FORMAT_VERSION,
            "config": model_config_to_dict(self.config),
            "class_names": list(self.class_names),
            "step": self.step,
            "quantized": self.quantized,
            "extra": self.extra,
        }

    @classmethod
    def read(cls, data: bytes, what: str) -> "OnnxHeader":
        """Return the metadata of an exported file, without the onnx package.

        Args:
            data: the whole file.
            what: its name, for messages.

        Raises:
            ModelError: when the file was not written by `detector export`, or says something that is not understood.
        """
        try:
            table = json.loads(_metadata(data)[METADATA_KEY])
            if table["version"] != FORMAT_VERSION:
                raise ModelError(f"{what} must have metadata of version {FORMAT_VERSION}; it has {table['version']}")
            return cls(
                config=model_config_from_dict(table["config"], f"{what} config"),
                class_names=tuple(canonical_class(name) for name in table["class_names"]),
                step=int(table["step"]),
                quantized=bool(table["quantized"]),
                extra={str(key): str(value) for key, value in table["extra"].items()},
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError, OverflowError) as error:
            raise ModelError(
                f"{what} must be a RetinaNet written by `detector export`; its metadata cannot be read ({error})"
            ) from error


def _metadata(data: bytes) -> dict[str, str]:
    """Return the metadata_props of a serialised ModelProto."""
    found = {}
    for number, value in _fields(memoryview(data)):
        if number == _METADATA_FIELD:
            entry = {part: bytes(text).decode("utf-8") for part, text in _fields(value)}
            found[entry[_KEY_FIELD]] = entry.get(_VALUE_FIELD, "")
    return found


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of each length-delimited field of a protobuf message; others are passed over.

    Source: protobuf.dev/programming-guides/encoding.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("the file ends too early")
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            raise ValueError("this is no protobuf message")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number that starts at `at`, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("this is no protobuf message")
