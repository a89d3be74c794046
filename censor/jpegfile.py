"""Rewrite a JPEG without decoding it: the same coded picture, and nothing else of the file.

Every segment is parsed and written again from the parsed values, so that no byte can ride along in a length that is
too long, between segments or after the end. What is not understood is refused; the caller then re-encodes.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import NoReturn

from detector.errors import InputError

__all__ = ["has_restarts", "icc_segments", "rewrite_jpeg"]

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SOS, DQT, DHT, DRI, COM = 0xDA, 0xDB, 0xC4, 0xDD, 0xFE
APP0, APP14, APP15 = 0xE0, 0xEE, 0xEF
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2

# Version 1.01, no density unit, square pixels, no thumbnail.
_JFIF = b"JFIF\0\x01\x01\x00\x00\x01\x00\x01\x00\x00"
# libjpeg looks for no JFIF or Adobe marker in a segment shorter than these.
_JFIF_LEAST, _ADOBE_LEAST = 14, 12
# A segment's length field counts itself and is 16 bits wide; an ICC chunk starts with 14 bytes of its own.
_ICC_CHUNK = 65533 - 14
# One block is at most a DC code (16 + 11 bits) and 63 AC codes (16 + 10 bits), each byte doubled by stuffing; a
# refinement or end-of-band code is shorter. A scan that is longer than its blocks can be holds something else.
_MOST_BYTES_A_BLOCK = 2 * (27 + 63 * 26 + 7) // 8
# The identifiers that tell a decoder the colour space where there is neither JFIF nor Adobe: RGB, and libjpeg 9's
# wide-gamut YCC. Any others are numbered 1, 2, 3, as JFIF asks.
_TELLING_IDS = (b"RGB", b"\x01\x22\x23")

_SCAN_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")


def rewrite_jpeg(data: bytes, *, icc_profile: bytes | None = None) -> bytes:
    """Write a JPEG's coded picture into a fresh file, losslessly.

    Kept are the quantisation and Huffman tables that a scan uses, the frame and scan headers, the restart interval,
    the entropy-coded data, and of JFIF and Adobe segments only that they were there and the one byte that decides the
    colours. Dropped are all other APPn and comments, thumbnails, density, tables that no scan uses, fill bytes, and
    everything after EOI (MPF and gain-map pictures among it). Rewriting the result changes nothing.

    Refused is what another picture could hide in: scans that overwrite earlier ones, missing or surplus restart
    markers, more entropy-coded data than the picture's blocks can take.

    Not promised: finding bytes that lie inside the entropy-coded data, between the last block and the next marker,
    or codes in a used Huffman table that no block uses. Only a Huffman decoder sees those; the pipeline asks it
    (`Picture.has_slack`) and re-encodes such files, and those with several scans or restart markers. Whoever must be
    sure against a sender who hides data in the pixels' low bits re-encodes always.

    Args:
        data: the whole file.
        icc_profile: a checked profile to embed. Without one none is written, so the file must have had none, or one
            that means sRGB.

    Raises:
        InputError: when the file is malformed, or is of a kind that cannot be rewritten this way: CMYK, 12-bit,
            arithmetic, lossless or hierarchical coding, a height that is given after the scan. Decode and encode then.
    """
    parser = _Parser(data)
    parser.parse()
    head = [SOI]
    if parser.jfif:
        head.append(_segment(APP0, _JFIF))
    if parser.adobe_transform is not None and len(parser.components) == 3:
        # 0 means RGB; decoders take anything else in three components for YCbCr. Grey has no choice.
        head.append(_segment(APP14, b"Adobe\0\x64\0\0\0\0" + bytes([parser.adobe_transform != 0])))
    head.extend(icc_segments(icc_profile or b""))
    return b"".join([*head, *parser.out, EOI])


def has_restarts(data: bytes) -> bool:
    """Return whether a JPEG as `rewrite_jpeg` writes it holds restart markers in its scan."""
    at = 2
    while data[at + 1] != 0xDA:  # SOS
        if data[at + 1] == 0xDD:  # DRI
            return True
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def icc_segments(icc_profile: bytes) -> Iterator[bytes]:
    """Yield the APP2 segments that carry a profile; none for an empty one.

    Raises:
        InputError: for a profile of more than 255 segments, about 16 MB, which the format cannot number.
    """
    count = _ceil(len(icc_profile), _ICC_CHUNK)
    if count > 255:
        raise InputError(
            f"a colour profile in a JPEG must be at most {255 * _ICC_CHUNK} bytes; got {len(icc_profile)}; "
            "convert the picture to sRGB"
        )
    for i in range(count):
        chunk = icc_profile[i * _ICC_CHUNK : (i + 1) * _ICC_CHUNK]
        yield _segment(0xE2, b"ICC_PROFILE\0" + bytes([i + 1, count]) + chunk)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _refuse(must: str, got: str) -> NoReturn:
    raise InputError(f"to rewrite a JPEG without re-encoding it, {must}; got {got}; re-encode the picture instead")


@dataclass
class _Component:
    """One colour component of the frame, and how far its coefficients are known."""

    new_id: int
    h: int  # sampling factors, 1 to 4
    v: int
    table: int  # slot of its quantisation table
    quantised: bool = False  # its table was written, at its first scan, where decoders take it
    # Bits still missing of each coefficient, as the scans so far leave it; -1 where no scan has begun it.
    missing_bits: list[int] = field(default_factory=lambda: [-1] * 64)


class _Parser:
    """One pass over the file. `out` grows by what is to be written between the application segments and EOI."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.view = memoryview(data)
        self.out: list[bytes | memoryview] = []
        self.jfif = False
        self.adobe_transform: int | None = None
        self.sof = 0
        self.height = self.width = 0
        self.components: dict[int, _Component] = {}  # by the identifier in the file
        self.scans = 0
        self.restart_interval = 0
        # What the file has set, and what was written: tables go out only when a scan needs them.
        self.quantisation: dict[int, bytes] = {}
        self.huffman: dict[int, bytes] = {}  # by class << 4 | slot, as in the file
        self.written_quantisation: dict[int, bytes] = {}
        self.written_huffman: dict[int, bytes] = {}
        self.written_interval = 0

    def parse(self) -> None:
        """Walk from SOI to EOI; what follows is never looked at."""
        if self.data[:2] != SOI:
            _refuse("it must start with the bytes FF D8", repr(self.data[:2]))
        position = 2
        while True:
            marker, position = self._marker(position)
            if marker == EOI[1]:
                break
            length = int.from_bytes(self.data[position : position + 2], "big")
            end = position + length
            # 01 and C0 to FE, without the markers that stand alone, have a length.
            if marker < 0xC0 or 0xD0 <= marker <= 0xD8 or length < 2 or end > len(self.data):
                _refuse("each segment must lie inside the file", f"marker {marker:02X} at byte {position - 2}")
            payload = self.data[position + 2 : end]
            position = self._scan(payload, end) if marker == SOS else end
            if marker != SOS:
                self._dispatch(marker, payload)
        for component in self.components.values():
            if component.missing_bits[0] < 0:
                _refuse("every component must have a scan", "a component without one")
        if not self.scans:
            _refuse("there must be a scan", "none")

    def _marker(self, position: int) -> tuple[int, int]:
        """Return the marker at `position`, past any fill bytes, and where its segment's length stands."""
        if self.data[position : position + 1] != b"\xff":
            _refuse("a marker must follow each segment", f"something else, or the end, at byte {position}")
        position += 1
        while self.data[position : position + 1] == b"\xff":
            position += 1
        if position >= len(self.data):
            _refuse("the file must end with the bytes FF D9", "a file that ends before")
        return self.data[position], position + 1

    def _dispatch(self, marker: int, payload: bytes) -> None:
        if marker == DQT:
            self._quantisation_tables(payload)
        elif marker == DHT:
            self._huffman_tables(payload)
        elif marker == DRI:
            if len(payload) != 2:
                _refuse("a restart interval must be 2 bytes", str(len(payload)))
            self.restart_interval = int.from_bytes(payload, "big")
        elif marker in (BASELINE, EXTENDED, PROGRESSIVE):
            self._frame(marker, payload)
        elif APP0 <= marker <= APP15:
            self._application(marker, payload)
        elif marker != COM:
            _refuse("the coding must be baseline, extended or progressive Huffman", f"marker {marker:02X}")

    def _application(self, marker: int, payload: bytes) -> None:
        """Note the two facts that decide colours; decoders settle them at the first scan."""
        if self.scans:
            return
        if marker == APP0 and payload.startswith(b"JFIF\0") and len(payload) >= _JFIF_LEAST:
            self.jfif = True
        elif marker == APP14 and payload.startswith(b"Adobe") and len(payload) >= _ADOBE_LEAST:
            self.adobe_transform = payload[11]

    def _quantisation_tables(self, payload: bytes) -> None:
        position = 0
        while position < len(payload):
            wide, slot = payload[position] >> 4, payload[position] & 15
            end = position + 1 + (128 if wide else 64)
            if wide > 1 or slot > 3 or end > len(payload):
                _refuse("a quantisation table must be 64 values of 8 or 16 bits in slots 0 to 3", "another")
            self.quantisation[slot] = payload[position:end]
            position = end

    def _huffman_tables(self, payload: bytes) -> None:
        position = 0
        while position < len(payload):
            key, counts = payload[position], payload[position + 1 : position + 17]
            end = position + 17 + sum(counts)
            values = payload[position + 17 : end]
            taken = sum(count << (15 - i) for i, count in enumerate(counts))
            # All ones is no code (T.81, C.2), so some of the space stays free.
            prefix_code = len(counts) == 16 and end <= len(payload) and taken < 1 << 16
            # A DC value is a number of bits; a value that comes twice would be one that no block needs.
            useful = len(set(values)) == len(values) and (key >= 16 or all(value < 16 for value in values))
            if key & 0xEF > 3 or not prefix_code or not useful:
                _refuse("a Huffman table must be a prefix code of distinct values in slots 0 to 3", "another")
            self.huffman[key] = payload[position:end]
            position = end

    def _frame(self, marker: int, payload: bytes) -> None:
        """Check and write the frame header; from here on the picture's size is known."""
        count = payload[5] if len(payload) > 5 else 0
        if self.sof or len(payload) != 6 + 3 * count or count not in (1, 3) or payload[0] != 8:
            _refuse("there must be one frame, grey or of three 8-bit components", f"header {payload[:6].hex(' ')}")
        self.sof = marker
        self.height, self.width = struct.unpack(">HH", payload[1:5])
        if not self.height or not self.width:
            _refuse("the frame header must say the size", f"{self.width} x {self.height}")
        ids = payload[6::3]
        new_ids = ids if ids in _TELLING_IDS else bytes(range(1, count + 1))
        header = bytearray(payload)
        header[6::3] = new_ids
        for i, identifier in enumerate(ids):
            factors, table = payload[7 + 3 * i], payload[8 + 3 * i]
            component = _Component(new_ids[i], factors >> 4, factors & 15, table)
            if identifier in self.components or not (0 < component.h < 5 and 0 < component.v < 5) or table > 3:
                _refuse("components must be distinct, sampled 1 to 4 times, with tables 0 to 3", payload[6:].hex(" "))
            self.components[identifier] = component
        self.out.append(_segment(marker, bytes(header)))

    def _scan(self, payload: bytes, start: int) -> int:
        """Write a scan with the tables that it needs; return where its entropy-coded data ends."""
        count = payload[0] if payload else 0
        if not self.sof or len(payload) != 4 + 2 * count or not 0 < count <= len(self.components):
            _refuse("a scan must follow the frame and name its components", f"header {payload[:10].hex(' ')}")
        self.scans += 1
        ids, tables = payload[1 : 1 + 2 * count : 2], payload[2 : 2 + 2 * count : 2]
        if not set(ids) <= self.components.keys():
            _refuse("each scan must name components of the frame", f"scan {self.scans}")
        components = [self.components[identifier] for identifier in ids]
        first, last, high, low = payload[-3], payload[-2], payload[-1] >> 4, payload[-1] & 15
        if self.sof != PROGRESSIVE:
            # Decoders take these for granted in sequential pictures, whatever stands there.
            first, last, high, low = 0, 63, 0, 0
        self._advance(components, first, last, high, low)
        header = bytes([count])
        for component, table in zip(components, tables, strict=True):
            uses_dc, uses_ac = first == 0 and high == 0, last > 0
            self._write_tables(component, table >> 4 if uses_dc else None, table & 15 if uses_ac else None)
            header += bytes([component.new_id, (table & 0xF0) * uses_dc + (table & 15) * uses_ac])
        if self.restart_interval != self.written_interval:
            self.out.append(_segment(DRI, self.restart_interval.to_bytes(2, "big")))
            self.written_interval = self.restart_interval
        self.out.append(_segment(SOS, header + bytes([first, last, high << 4 | low])))
        end = self._entropy_end(start)
        self._check_entropy(components, start, end)
        self.out.append(self.view[start:end])
        return end

    def _advance(self, components: list[_Component], first: int, last: int, high: int, low: int) -> None:
        """Note which bits of which coefficients a scan brings; each bit may come once.

        A decoder lets a later scan overwrite an earlier one, so a scan that brings known bits could stand over a
        whole other picture.
        """
        sequential = self.sof != PROGRESSIVE
        band = last == 0 if first == 0 else first <= last <= 63 and len(components) == 1
        if not (sequential or band) or low > 13 or (high and high != low + 1):
            _refuse("a progressive scan must cover one band, one bit deeper", f"{first}-{last}, {high}-{low}")
        for component in components:
            known = component.missing_bits
            expected = high if high else -1
            if (first and known[0] < 0) or any(bits != expected for bits in known[first : last + 1]):
                _refuse("each scan must bring what no scan before it brought", f"scan {self.scans}")
            known[first : last + 1] = [low] * (last + 1 - first)

    def _write_tables(self, component: _Component, dc_slot: int | None, ac_slot: int | None) -> None:
        """Write the tables that a component's scan uses, where they are not already in force."""
        slot = component.table
        if slot not in self.quantisation:
            _refuse("every component must have its quantisation table before its scan", "one without")
        if not component.quantised and self.written_quantisation.get(slot) != self.quantisation[slot]:
            self.out.append(_segment(DQT, self.quantisation[slot]))
            self.written_quantisation[slot] = self.quantisation[slot]
        component.quantised = True
        for kind, huffman_slot in ((0, dc_slot), (1, ac_slot)):
            if huffman_slot is None:
                continue
            key = kind << 4 | huffman_slot
            if key not in self.huffman:
                _refuse("every scan must have its Huffman tables before it", "one without")
            if self.written_huffman.get(key) != self.huffman[key]:
                self.out.append(_segment(DHT, self.huffman[key]))
                self.written_huffman[key] = self.huffman[key]

    def _entropy_end(self, start: int) -> int:
        """Find the marker that ends the entropy-coded data, restart markers not counted."""
        found = _SCAN_MARKER.search(self.data, start)
        if found is None:
            _refuse("the file must end with the bytes FF D9", "a file that ends before")
        marker, _ = self._marker(found.start())
        # Fill bytes are allowed before a marker. Before a stuffed zero decoders swallow them, any number.
        if marker == 0 or 0xD0 <= marker <= 0xD7:
            _refuse("there must be no fill bytes inside the entropy-coded data", f"some at byte {found.start()}")
        return found.start()

    def _check_entropy(self, components: list[_Component], start: int, end: int) -> None:
        """Check that restart markers are exactly where they count right, and that the data is not too long."""
        h_most = max(component.h for component in self.components.values())
        v_most = max(component.v for component in self.components.values())
        if len(components) > 1:
            columns, rows = _ceil(self.width, 8 * h_most), _ceil(self.height, 8 * v_most)
            blocks = sum(component.h * component.v for component in components)
        else:
            columns = _ceil(_ceil(self.width * components[0].h, h_most), 8)
            rows = _ceil(_ceil(self.height * components[0].v, v_most), 8)
            blocks = 1
        mcus = columns * rows
        wanted = _ceil(mcus, self.restart_interval) - 1 if self.restart_interval else 0
        restarts = b"".join(_RESTART.findall(self.view[start:end]))
        if restarts != bytes(islice(cycle(range(0xD0, 0xD8)), wanted)):
            _refuse(f"the scan must have {wanted} restart markers in order", f"{len(restarts)}")
        # A restart marker is two bytes more, after bits that fill a byte.
        if end - start > mcus * blocks * _MOST_BYTES_A_BLOCK + 4 * (wanted + 1):
            _refuse("the entropy-coded data must fit the picture's blocks", f"{end - start} bytes for {mcus * blocks}")
