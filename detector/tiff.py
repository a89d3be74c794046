"""Read a TIFF file's directory defensively, and give Pillow a copy that holds only what decoding needs.

Pillow and libtiff read every tag of a TIFF: EXIF, XMP, Photoshop blocks, whole other pictures. They warn where a tag is
broken, and Python's warnings can neither be silenced nor caught in a program of several threads. So the directory is
read here, checked, and written afresh at the file's end with an allow-list of tags.

Source: TIFF 6.0 (1992); BigTIFF as libtiff's specification has it.
"""

import struct
from dataclasses import dataclass

from detector.errors import InputError
from detector.limits import Limits

__all__ = ["BITS", "PHOTOMETRIC", "TiffDirectory", "decodable_tiff", "read_tiff_directory", "single_page", "tiff_pages"]

WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, ICC_PROFILE = 256, 257, 258, 262, 274, 34675
_SUBFILE_TYPE, _TILE_WIDTH, _TILE_HEIGHT = 254, 322, 323

# Tags that say how the pixels are coded. TIFF allows several values only in some of them.
_SCALARS = frozenset({256, 257, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323, 512, 513, 514, 515, 531})
_LISTS = frozenset({258, 273, 279, 320, 324, 325, 338, 339, 347, 519, 520, 521, 529, 530, 532})

# Struct letters and bytes of each field type: bytes, text, shorts, longs, rationals, the same signed, floats, 64 bit.
_TYPES = {1: ("B", 1), 2: ("B", 1), 3: ("H", 2), 4: ("I", 4), 5: ("2I", 8), 6: ("b", 1), 7: ("B", 1), 8: ("h", 2)}
_TYPES |= {9: ("i", 4), 10: ("2i", 8), 11: ("f", 4), 12: ("d", 8), 16: ("Q", 8)}
_LONG, _LONG8 = 4, 16


@dataclass(frozen=True)
class TiffDirectory:
    """The first directory of a TIFF file: what matters for decoding, each value checked to lie inside the file.

    Attributes:
        order: "<" or ">", the file's byte order.
        fields: per tag its type and its values as serialised in that order.
        scalars: the whole-number tags' first values.
        icc_profile: the embedded profile, or None.
    """

    order: str
    fields: dict[int, tuple[int, bytes]]
    scalars: dict[int, int]
    icc_profile: bytes | None

    @property
    def orientation(self) -> int:
        """1..8; 1 where the file does not say or says something else."""
        value = self.scalars.get(ORIENTATION, 1)
        return value if 1 <= value <= 8 else 1


def read_tiff_directory(data: bytes, name: str, limits: Limits) -> TiffDirectory:
    """Read and check the first directory.

    Raises:
        InputError: when the file has several pages, or its first one is a preview of something else, or a tag that
            decoding needs is broken.
        LimitError: when the picture, or one of its tiles, is larger than the limits allow.
    """
    order = "<" if data[:2] == b"II" else ">"
    try:
        (version,) = struct.unpack_from(order + "H", data, 2)
        entries, following = _entries(data, order, big=version == 43)
        fields, scalars, profile = _fields(data, order, entries)
    except struct.error as error:
        raise _broken(name, "its directory must lie inside the file") from error
    except InputError as error:
        raise InputError(f"{name}: {error}") from error.__cause__
    if following:
        raise InputError(
            f"{name}: a picture must have one page; this TIFF has several; "
            "save each page as a file of its own and pass those"
        )
    if scalars.get(_SUBFILE_TYPE, 0) & 1:
        raise InputError(
            f"{name}: a picture must be the full one; this TIFF's first page is a preview (a camera's raw file?); "
            "export it as JPEG or PNG and pass that"
        )
    limits.check_size(scalars.get(WIDTH, 0), scalars.get(HEIGHT, 0), name)
    if _TILE_WIDTH in scalars or _TILE_HEIGHT in scalars:  # the decoder sets a whole tile aside
        limits.check_size(scalars.get(_TILE_WIDTH, 0), scalars.get(_TILE_HEIGHT, 0), f"{name} (a tile of it)")
    return TiffDirectory(order=order, fields=fields, scalars=scalars, icc_profile=profile)


def tiff_pages(data: bytes, name: str, limits: Limits) -> list[int]:
    """Return where the directory of each page stands, in their order; what hangs below a page (SubIFDs) is left out.

    Raises:
        InputError: when the chain of directories leaves the file or leads in a circle.
        LimitError: when there are more pages than the limits allow.
    """
    order = "<" if data[:2] == b"II" else ">"
    pages: list[int] = []
    try:
        big = struct.unpack_from(order + "H", data, 2)[0] == 43
        pointer, number, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
        (start,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
        while start:
            if start in pages:
                raise _broken(name, "its pages must follow one another, not in a circle")
            pages.append(start)
            limits.check_frames(len(pages), 0, name)
            if start >= len(data):
                raise struct.error("the directory lies outside the file")
            (count,) = struct.unpack_from(order + number, data, start)
            at = start + struct.calcsize("<" + number) + count * entry
            if at >= len(data):
                raise struct.error("the directory reaches over the file's end")
            (start,) = struct.unpack_from(order + pointer, data, at)
    except struct.error as error:
        raise _broken(name, "its directories must lie inside the file") from error
    return pages


def single_page(data: bytes, start: int) -> bytes:
    """Return the file with the page whose directory stands at `start` as its first and only one."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    pointer, number, entry, first = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    (count,) = struct.unpack_from(order + number, data, start)
    page = bytearray(data)
    struct.pack_into(order + pointer, page, first, start)
    struct.pack_into(order + pointer, page, start + struct.calcsize("<" + number) + count * entry, 0)
    return bytes(page)


def decodable_tiff(data: bytes, directory: TiffDirectory) -> bytes:
    """Return the file with a fresh directory at its end, in which only the tags for decoding stand.

    No page follows, no orientation is left for the decoder to apply, and BigTIFF has become plain TIFF.
    """
    order = directory.order
    start = len(data) + len(data) % 2
    table = struct.pack(order + "H", len(directory.fields))
    values_at = start + 2 + 12 * len(directory.fields) + 4
    values = b""
    for tag, (kind, value) in sorted(directory.fields.items()):
        size = _TYPES[kind][1]
        table += struct.pack(order + "HHI", tag, kind, len(value) // size)
        if len(value) <= 4:
            table += value.ljust(4, b"\0")
        else:
            table += struct.pack(order + "I", values_at + len(values))
            values += value + bytes(len(value) % 2)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start)
    return b"".join([head, data[8:], bytes(len(data) % 2), table, bytes(4), values])


def _entries(data: bytes, order: str, *, big: bool) -> tuple[dict[int, tuple[int, int, int]], int]:
    """Return tag -> (type, count, offset of the values) of the first directory, and where the next one is."""
    pointer, number, wide = ("Q", "Q", 8) if big else ("I", "H", 4)
    (start,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
    if start >= len(data):
        raise struct.error("the directory lies outside the file")
    (count,) = struct.unpack_from(order + number, data, start)
    at = start + struct.calcsize("<" + number)
    entries: dict[int, tuple[int, int, int]] = {}
    size = 4 + 2 * wide
    if at + count * size > len(data):
        raise struct.error("the directory reaches over the file's end")
    for i in range(count):
        tag, kind, values = struct.unpack_from(f"{order}HH{pointer}", data, at + i * size)
        where = at + i * size + 4 + wide
        if kind in _TYPES and values * _TYPES[kind][1] > wide:
            (where,) = struct.unpack_from(order + pointer, data, where)
        entries.setdefault(tag, (kind, values, where))
    (following,) = struct.unpack_from(order + pointer, data, at + count * size)
    return entries, following


def _fields(
    data: bytes, order: str, entries: dict[int, tuple[int, int, int]]
) -> tuple[dict[int, tuple[int, bytes]], dict[int, int], bytes | None]:
    fields: dict[int, tuple[int, bytes]] = {}
    scalars: dict[int, int] = {}
    profile: bytes | None = None
    for tag, (kind, count, where) in entries.items():
        needed = tag in _SCALARS or tag in _LISTS
        if not needed and tag not in (ORIENTATION, ICC_PROFILE, _SUBFILE_TYPE):
            continue
        size = count * _TYPES.get(kind, ("", 0))[1]
        if kind not in _TYPES or not size or where + size > len(data):
            if needed:
                raise InputError(f"a TIFF's tags must lie inside the file; tag {tag} does not; export it again")
            continue
        value = data[where : where + size]
        if tag == ICC_PROFILE:
            profile = value
            continue
        if kind == _LONG8:
            kind, value = _LONG, _narrowed(order, value, tag)
        whole = kind in (1, 3, 4)
        if tag in _SCALARS and (not whole or count != 1):
            raise InputError(
                f"a TIFF's tag {tag} must be one whole number; got {count} of type {kind}; export it again"
            )
        if whole:
            (scalars[tag],) = struct.unpack_from(order + _TYPES[kind][0], value)
        if needed:
            fields[tag] = (kind, value)
    return fields, scalars, profile


def _narrowed(order: str, value: bytes, tag: int) -> bytes:
    numbers = struct.unpack(f"{order}{len(value) // 8}Q", value)
    if max(numbers) >= 1 << 32:
        raise InputError(f"a TIFF's offsets must lie inside the file; tag {tag} does not; export it again")
    return struct.pack(f"{order}{len(numbers)}I", *numbers)


def _broken(name: str, must: str) -> InputError:
    return InputError(f"{name}: a TIFF must be whole: {must}; it is truncated or corrupt; export it again")
