"""Read ICC colour profiles defensively, and write the simple ones afresh with nothing in them but colorimetry.

A profile is a small file system: names, dates, serial numbers, private tags and bytes between tags travel in it. What
a censored picture carries is therefore built here from parsed numbers. Only two kinds are simple enough for that: RGB
with a matrix and three tone curves, and grey with one tone curve. Everything else is for `PIL.ImageCms` to convert.

Source: ICC.1:2001-04 (version 2) and ICC.1:2022 (version 4.4), sections 7 to 10.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["colour_space", "is_srgb", "rebuild_profile"]

_HEADER = 128
# Common profiles have 9 to 20 tags, and no tone curve more than 4096 entries.
_MAX_TAGS = 100
_MAX_CURVE = 4096

# What Pillow's modes call the colour spaces that this package understands.
_SPACES = {b"RGB ": "RGB", b"GRAY": "GRAY", b"CMYK": "CMYK"}
_CLASSES = {b"mntr", b"scnr", b"prtr", b"spac"}
_XYZ_TAGS = {"RGB": (b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ"), "GRAY": (b"wtpt",)}
_CURVE_TAGS = {"RGB": (b"rTRC", b"gTRC", b"bTRC"), "GRAY": (b"kTRC",)}
# With one of these a colour engine takes the lookup table and leaves the matrix aside.
_TABLE_TAGS = (b"A2B", b"B2A", b"D2B", b"B2D")
# How many numbers a parametric curve of each type has (ICC.1:2022, table 68).
_PARAMETERS = (1, 3, 4, 5, 7)

# sRGB's primaries adapted to D50, in the order red, green, blue (IEC 61966-2-1, Bradford).
_SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
# Published sRGB profiles differ from each other by up to 0.0006 here; Adobe RGB and Display P3 by 0.05 and more.
_SRGB_TOLERANCE = 0.002
# A tone curve is sRGB's when no 8-bit value comes out more than this far away, in 8-bit levels.
_LEVEL_TOLERANCE = 0.75

_D50 = (0xF6D6, 0x10000, 0xD32D)
_DESCRIPTION = "retina-censor rebuilt colour profile"
_COPYRIGHT = "No copyright, use freely"


@dataclass(frozen=True)
class _Curve:
    """A tone curve as the integers that the file holds; `kind` is -1 for a table, else the parametric type."""

    kind: int
    numbers: tuple[int, ...]

    def __call__(self, x: float) -> float:
        """Return the linear light, in [0, 1] for sane curves, of an encoded value in [0, 1]."""
        if self.kind >= 0:
            return _parametric(self.kind, [number / 65536 for number in self.numbers], x)
        if not self.numbers:
            return x
        if len(self.numbers) == 1:
            return float(x ** (self.numbers[0] / 256))
        position = x * (len(self.numbers) - 1)
        low = min(int(position), len(self.numbers) - 2)
        first, second = self.numbers[low : low + 2]
        return (first + (second - first) * (position - low)) / 65535

    def serialise(self) -> bytes:
        if self.kind >= 0:
            return b"para" + struct.pack(f">4xHxx{len(self.numbers)}i", self.kind, *self.numbers)
        return b"curv" + struct.pack(f">4xI{len(self.numbers)}H", len(self.numbers), *self.numbers)


@dataclass(frozen=True)
class _Simple:
    """The numbers of a matrix or grey profile, as the integers that the file holds."""

    space: str
    version: int
    xyz: dict[bytes, tuple[int, ...]]
    curves: dict[bytes, _Curve]
    adaptation: tuple[int, ...] | None


def colour_space(data: bytes) -> str | None:
    """Return "RGB", "GRAY" or "CMYK" as the header declares it; None for anything else and for what is no profile."""
    if len(data) < _HEADER + 4 or data[36:40] != b"acsp":
        return None
    return _SPACES.get(data[16:20])


def rebuild_profile(data: bytes) -> bytes | None:
    """Write a matrix or grey profile afresh from its numbers.

    The result holds the white point, the primaries, the tone curves and the adaptation matrix, and a name and
    copyright text of ours; date, creator, ids and every other tag are gone. Colours convert as with the original.
    Rebuilding the result gives the same bytes.

    Args:
        data: an ICC profile, version 2 or 4, from anywhere.

    Returns:
        The fresh profile, or None when `data` is not one of these two kinds, or is broken: the picture is then to be
        converted to sRGB.
    """
    simple = _parse(data)
    return None if simple is None else _serialise(simple)


def is_srgb(data: bytes) -> bool:
    """Tell whether a profile means sRGB (or, if grey, sRGB's tone curve) to within an 8-bit level.

    Such a profile need not be kept: a picture without one is taken for sRGB everywhere.
    """
    simple = _parse(data)
    if simple is None:
        return False
    if simple.space == "RGB":
        columns = [simple.xyz[tag] for tag in (b"rXYZ", b"gXYZ", b"bXYZ")]
        pairs = [
            (number / 65536, wanted)
            for column, target in zip(columns, _SRGB, strict=True)
            for number, wanted in zip(column, target, strict=True)
        ]
        if any(abs(number - wanted) > _SRGB_TOLERANCE for number, wanted in pairs):
            return False
    return all(
        abs(_encode_srgb(curve(level / 255)) * 255 - level) <= _LEVEL_TOLERANCE
        for curve in simple.curves.values()
        for level in range(256)
    )


def _encode_srgb(linear: float) -> float:
    linear = min(max(linear, 0.0), 1.0)
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def _parametric(kind: int, numbers: list[float], x: float) -> float:
    """Evaluate a parametric curve (ICC.1:2022, table 68)."""
    g, a, b, c, d, e, f = (numbers + [0.0] * 7)[:7]
    if kind == 0:
        a, b, c, d, e, f = 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
    elif kind in (1, 2):
        # Below -b / a the curve is constant: 0, or the offset that type 2 adds everywhere.
        e = f = c if kind == 2 else 0.0
        c, d = 0.0, (-b / a if a else 0.0)
    elif kind == 3:
        e = f = 0.0
    if x >= d:
        base = a * x + b
        return (base**g if base > 0 else 0.0) + e
    return c * x + f


def _parse(data: bytes) -> _Simple | None:
    """Read a matrix or grey profile; None for whatever else it is, and for any inconsistency."""
    try:
        return _parse_strictly(data)
    except (struct.error, ArithmeticError, IndexError):
        return None


def _parse_strictly(data: bytes) -> _Simple | None:
    space = colour_space(data)
    if space not in _XYZ_TAGS or data[12:16] not in _CLASSES or data[20:24] != b"XYZ " or data[8] not in (2, 4):
        return None
    tags = _tag_table(data)
    if tags is None or any(tag[:3] in _TABLE_TAGS for tag in tags):
        return None
    xyz = {tag: _numbers(tags.get(tag, b""), b"XYZ ", 3) for tag in _XYZ_TAGS[space]}
    curves = {tag: _curve(tags.get(tag, b"")) for tag in _CURVE_TAGS[space]}
    adaptation = _numbers(tags[b"chad"], b"sf32", 9) if b"chad" in tags else None
    found_xyz = {tag: numbers for tag, numbers in xyz.items() if numbers is not None}
    found_curves = {tag: curve for tag, curve in curves.items() if curve is not None}
    if len(found_xyz) < len(xyz) or len(found_curves) < len(curves) or (b"chad" in tags and adaptation is None):
        return None
    if space == "RGB" and not _invertible([found_xyz[tag] for tag in _XYZ_TAGS[space][1:]]):
        return None
    return _Simple(space=space, version=data[8], xyz=found_xyz, curves=found_curves, adaptation=adaptation)


def _tag_table(data: bytes) -> dict[bytes, bytes] | None:
    (count,) = struct.unpack_from(">I", data, _HEADER)
    if count > _MAX_TAGS:
        return None
    tags: dict[bytes, bytes] = {}
    for i in range(count):
        name, offset, size = struct.unpack_from(">4sII", data, _HEADER + 4 + 12 * i)
        if name in tags or offset < _HEADER + 4 + 12 * count or offset + size > len(data):
            return None
        tags[name] = data[offset : offset + size]
    return tags


def _numbers(tag: bytes, kind: bytes, count: int) -> tuple[int, ...] | None:
    """Return the first `count` s15Fixed16 numbers of a tag of the stated type, as integers."""
    return struct.unpack_from(f">{count}i", tag, 8) if tag[:4] == kind else None


def _curve(tag: bytes) -> _Curve | None:
    if tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        if kind >= len(_PARAMETERS):
            return None
        curve = _Curve(kind, struct.unpack_from(f">{_PARAMETERS[kind]}i", tag, 12))
    elif tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count > _MAX_CURVE:
            return None
        curve = _Curve(-1, struct.unpack_from(f">{count}H", tag, 12))
    else:
        return None
    # A real tone curve rises from about 0 to about 1. One that does not is broken, or carries something else.
    values = [curve(level / 255) for level in range(256)]
    rises = all(second >= first for first, second in pairwise(values)) and values[-1] > values[0]
    if curve.kind < 0 and len(curve.numbers) > 1:
        rises = rises and all(second >= first for first, second in pairwise(curve.numbers))
    # Gamma 1 has its middle at 0.5, gamma 2.8 at 0.14: one far off shows a viewer without colour management, or with
    # its own idea of a profile, another picture than the detector sees. It is converted instead of kept.
    middle = 0.05 < curve(0.5) < 0.6
    return curve if rises and middle and values[0] > -0.1 and values[-1] < 1.1 else None


def _invertible(columns: list[tuple[int, ...]]) -> bool:
    (a, b, c), (d, e, f), (g, h, i) = ([number / 65536 for number in column] for column in columns)
    # sRGB's determinant is 0.10; primaries on one line, as broken profiles have them, give 0.
    return abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)) > 0.001


def _text(version: int, name: bytes, text: str) -> bytes:
    """Serialise a description or copyright: plain text in version 2, one English string in version 4."""
    if version >= 4:
        utf16 = text.encode("utf-16-be")
        return b"mluc" + struct.pack(">4xII4sII", 1, 12, b"enUS", len(utf16), 28) + utf16
    ascii_text = text.encode("ascii") + b"\0"
    if name == b"cprt":
        return b"text" + bytes(4) + ascii_text
    # textDescriptionType: the ASCII part, then an empty Unicode part and an empty 67-byte Macintosh part.
    return b"desc" + struct.pack(">4xI", len(ascii_text)) + ascii_text + bytes(4 + 4 + 2 + 1 + 67)


def _serialise(simple: _Simple) -> bytes:
    bodies = {name: _text(simple.version, name, text) for name, text in _TEXTS.items()}
    bodies |= {name: b"XYZ " + struct.pack(">4x3i", *numbers) for name, numbers in simple.xyz.items()}
    bodies |= {name: curve.serialise() for name, curve in simple.curves.items()}
    if simple.adaptation is not None:
        bodies[b"chad"] = b"sf32" + struct.pack(">4x9i", *simple.adaptation)
    table, blob = struct.pack(">I", len(bodies)), b""
    start = _HEADER + 4 + 12 * len(bodies)
    offsets: dict[bytes, int] = {}
    for name, body in bodies.items():
        if body not in offsets:  # three equal tone curves are stored once
            offsets[body] = start + len(blob)
            blob += body + bytes(-len(body) % 4)
        table += struct.pack(">4sII", name, offsets[body], len(body))
    space = {"RGB": b"RGB ", "GRAY": b"GRAY"}[simple.space]
    version = {2: 0x02100000, 4: 0x04200000}[simple.version]
    header = struct.pack(">I4xI4s4s4s12x4s", start + len(blob), version, b"mntr", space, b"XYZ ", b"acsp")
    header += bytes(68 - len(header)) + struct.pack(">3I", *_D50)
    return header + bytes(_HEADER - len(header)) + table + blob


_TEXTS = {b"desc": _DESCRIPTION, b"cprt": _COPYRIGHT}
