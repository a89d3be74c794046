"""A rewritten JPEG shows the same pixels, holds nothing else of its source, and is refused where that is not sure."""

import io
import itertools
import random
import struct
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from censor.jpegfile import icc_segments, rewrite_jpeg
from detector.errors import InputError

MARK = b"RIDES-ALONG"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def drawing(width: int = 61, height: int = 43, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A picture with smooth parts, edges and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    planes = [128 + 90 * np.sin(x / (5 + c)) * np.cos(y / (7 + c)) for c in range(3)]
    array = np.stack(planes, axis=2) + rng.normal(0, 12, (height, width, 3))
    array[height // 3 : height // 2, width // 4 : width // 2] = (250, 20, 60)
    return Image.fromarray(np.clip(array, 0, 255).astype(np.uint8)).convert(mode)


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or drawing()).save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.asarray(image)


def segments(data: bytes) -> list[tuple[int, bytes]]:
    """(marker, payload) up to and including the first SOS, read independently of the code under test."""
    found, position = [], 2
    while True:
        assert data[position] == 0xFF
        marker, length = data[position + 1], struct.unpack_from(">H", data, position + 2)[0]
        found.append((marker, data[position + 4 : position + 2 + length]))
        if marker == 0xDA:
            return found
        position += 2 + length


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def after_soi(data: bytes, *extra: bytes) -> bytes:
    return data[:2] + b"".join(extra) + data[2:]


def before_sos(data: bytes, *extra: bytes) -> bytes:
    at = data.index(b"\xff\xda")
    return data[:at] + b"".join(extra) + data[at:]


def segment_at(data: bytes, marker: int) -> tuple[int, int]:
    """Start and end of the first segment of a kind."""
    start = data.index(bytes([0xFF, marker]))
    return start, start + 2 + struct.unpack_from(">H", data, start + 2)[0]


def entropy(data: bytes) -> slice:
    """Where the entropy-coded data of a single scan lies."""
    return slice(segment_at(data, 0xDA)[1], data.rindex(b"\xff\xd9"))


KINDS = {
    f"{mode}-{'progressive' if progressive else 'baseline'}-{subsampling}-{restart}-{width}x{height}": (
        drawing(width, height, mode),
        {"progressive": progressive, "subsampling": subsampling, "optimize": width % 2 == 0} | restart,
    )
    for (mode, subsampling), progressive, restart, (width, height) in itertools.product(
        [("RGB", 0), ("RGB", 1), ("RGB", 2), ("L", 0)],
        [False, True],
        [{}, {"restart_marker_blocks": 3}, {"restart_marker_rows": 1}],
        [(1, 1), (61, 43), (16, 160)],
    )
}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_stay_and_a_second_rewrite_changes_nothing(kind: str) -> None:
    image, options = KINDS[kind]
    data = jpeg(image, **options)
    once = rewrite_jpeg(data)
    assert np.array_equal(pixels(once), pixels(data))
    assert rewrite_jpeg(once) == once
    assert once.endswith(b"\xff\xd9")
    assert len(once) <= len(data)


@pytest.mark.parametrize("options", [{"keep_rgb": True}, {"qtables": [[3] * 64, [5] * 64, [7] * 64]}, {"quality": 1}])
def test_rgb_and_unusual_tables(options: dict[str, object]) -> None:
    data = jpeg(**options)
    assert np.array_equal(pixels(rewrite_jpeg(data)), pixels(data))


def without_jfif(data: bytes) -> bytes:
    start, end = segment_at(data, 0xE0)
    return data[:start] + data[end:]


def with_ids(data: bytes, ids: bytes) -> bytes:
    """Give the components other identifiers, in the frame and in the one scan."""
    out = bytearray(data)
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    for i, identifier in enumerate(ids):
        out[frame + 10 + 3 * i] = identifier
        out[scan + 5 + 2 * i] = identifier
    return bytes(out)


@pytest.mark.parametrize("transform", [0, 1, 2, 77])
@pytest.mark.parametrize("jfif", [True, False])
def test_adobe_and_jfif_decide_the_colours_as_before(transform: int, jfif: bool) -> None:
    data = jpeg(subsampling=0)
    data = before_sos(data if jfif else without_jfif(data), segment(0xEE, b"Adobe" + MARK[:6] + bytes([transform])))
    once = rewrite_jpeg(data)
    assert np.array_equal(pixels(once), pixels(data))
    assert MARK[:6] not in once
    assert (0xE0 in [marker for marker, _ in segments(once)]) == jfif


@pytest.mark.parametrize("ids", [b"RGB", b"\0\1\2", b"\x01\x22\x23", b"SIN", b"\3\2\1"])
def test_component_identifiers_go_unless_they_tell_the_colours(ids: bytes) -> None:
    data = with_ids(without_jfif(jpeg()), ids)
    once = rewrite_jpeg(data)
    assert np.array_equal(pixels(once), pixels(data))
    frame = next(payload for marker, payload in segments(once) if marker == 0xC0)
    assert frame[6::3] == (ids if ids in (b"RGB", b"\x01\x22\x23") else b"\1\2\3")


def thumbnail() -> bytes:
    """A JPEG with a marker string in its tables and in its comment."""
    small = jpeg(drawing(32, 24), comment=MARK)
    start, _ = segment_at(small, 0xDB)
    return small[: start + 10] + MARK + small[start + 10 + len(MARK) :]


def exif_block(marker_text: str, thumb: bytes) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = marker_text  # Make
    exif.get_ifd(0x8769)[0x927C] = b"MakerNote" + marker_text.encode()
    exif.get_ifd(0x8825)[29] = marker_text  # GPS date
    return b"Exif\0\0" + exif.tobytes()[6:] + thumb


PLANTS: dict[str, Callable[[bytes], bytes]] = {
    "exif": lambda d: after_soi(d, segment(0xE1, exif_block(MARK.decode(), thumbnail()))),
    "exif last": lambda d: before_sos(d, segment(0xE1, exif_block(MARK.decode(), thumbnail()))),
    "xmp": lambda d: after_soi(d, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x>" + MARK)),
    "extended xmp": lambda d: after_soi(d, segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + MARK * 5000)),
    "iptc": lambda d: after_soi(
        d, segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x10\x1c\2\x78\0\x0b" + MARK)
    ),
    "8bim thumbnail": lambda d: after_soi(d, segment(0xED, b"Photoshop 3.0\x008BIM\x04\x0c\0\0" + thumbnail())),
    "icc text": lambda d: after_soi(d, *icc_segments(SRGB + MARK)),
    "jfxx": lambda d: d[:20] + segment(0xE0, b"JFXX\0\x10" + thumbnail()) + d[20:],
    "jfif thumbnail": lambda d: (
        d[:2] + segment(0xE0, b"JFIF\0\1\2\1\1\2\1\3\2\2" + (MARK * 2)[:12] + MARK) + d[segment_at(d, 0xE0)[1] :]
    ),
    "comment": lambda d: before_sos(d, segment(0xFE, MARK)),
    "c2pa": lambda d: after_soi(d, segment(0xEB, b"JP\0\1\0\0\0\1jumb" + MARK), segment(0xEB, MARK * 5000)),
    "every application segment": lambda d: after_soi(d, *(segment(0xE0 + i, MARK) for i in range(16))),
    "mpf": lambda d: after_soi(d, segment(0xE2, b"MPF\0MM\0*" + MARK)) + thumbnail(),
    "after the end": lambda d: d + MARK,
    "fill bytes": lambda d: before_sos(d, b"\xff" * 300),
    "fill bytes before the end": lambda d: d[:-2] + b"\xff" * 300 + b"\xd9",
    "unused quantisation table": lambda d: before_sos(d, segment(0xDB, b"\x03" + (MARK * 6)[:64])),
    "unused wide table": lambda d: before_sos(d, segment(0xDB, b"\x12" + (MARK * 12)[:128])),
    "unused Huffman table": lambda d: before_sos(d, segment(0xC4, b"\x13" + bytes(7) + b"\x08" + bytes(8) + MARK[:8])),
    "table set twice": lambda d: after_soi(d, segment(0xDB, b"\0" + (MARK * 6)[:64])),
    "density": lambda d: d[:11] + b"EXIF!!!"[:7] + d[18:],
}
GONE = {
    "unused Huffman table": MARK[:8],
    "fill bytes": b"\xff\xff",
    "fill bytes before the end": b"\xff\xff",
    "density": b"EXIF!!!",
}


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("plant", PLANTS)
def test_planted_bytes_are_gone_and_the_pixels_stay(plant: str, progressive: bool) -> None:
    clean = jpeg(progressive=progressive)
    data = PLANTS[plant](clean)
    wanted = GONE.get(plant, MARK)
    assert wanted in data
    once = rewrite_jpeg(data)
    assert wanted not in once
    assert once == rewrite_jpeg(clean)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the broken MPF index
        assert np.array_equal(pixels(once), pixels(data))


def test_segments_between_scans_are_gone_and_tables_there_stay() -> None:
    data = jpeg(progressive=True)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for at in reversed(scans[1:]):  # Adobe's transform has no say any more after the first scan
        planted = segment(0xFE, MARK) + segment(0xE1, MARK) + segment(0xEE, b"Adobe" + bytes(7))
        data = data[:at] + planted + data[at:]
    once = rewrite_jpeg(data)
    assert MARK not in once
    assert once == rewrite_jpeg(jpeg(progressive=True))


def test_header_fields_that_decoders_ignore_are_written_as_they_must_be() -> None:
    clean = rewrite_jpeg(PLAIN)
    for offset, value in ((-3, 7), (-2, 0), (-1, 0x5A)):
        assert rewrite_jpeg(scan_header(PLAIN, 0, offset, value)) == clean
    # The first scan of a progressive picture has only first coefficients: no AC table is used.
    assert rewrite_jpeg(scan_header(PROGRESSIVE, 0, -4, 0x13)) == rewrite_jpeg(scan_header(PROGRESSIVE, 0, -4, 0x10))


def test_a_quantisation_table_that_comes_too_late_for_its_component_is_gone() -> None:
    """Decoders take a component's table at its first scan; what is set later would only ride along."""
    late = segment(0xDB, b"\0" + (MARK * 6)[:64])
    data = reordered(PROGRESSIVE, lambda scans: [scans[0], late + scans[1], *scans[2:]])
    once = rewrite_jpeg(data)
    assert np.array_equal(pixels(once), pixels(data))
    assert once == rewrite_jpeg(PROGRESSIVE)


@pytest.mark.parametrize("cut_jfif", [0, 5])
def test_segments_too_short_for_a_decoder_decide_nothing(cut_jfif: int) -> None:
    short = segment(0xE0, b"JFIF\0" + bytes(8)), segment(0xEE, b"Adobe" + bytes(6))
    rgb = segment(0xEE, b"Adobe" + bytes(7)) if cut_jfif else b""
    data = after_soi(without_jfif(jpeg(subsampling=0)), *short, rgb)
    once = rewrite_jpeg(data)
    assert np.array_equal(pixels(once), pixels(data))
    assert 0xE0 not in [marker for marker, _ in segments(once)]


def test_the_profile_is_the_one_given_whatever_its_length() -> None:
    profile = bytes(range(256)) * 1024  # five segments
    once = rewrite_jpeg(PLANTS["icc text"](jpeg()), icc_profile=profile)
    with Image.open(io.BytesIO(once)) as image:
        assert image.info["icc_profile"] == profile
    assert rewrite_jpeg(once, icc_profile=profile) == once
    with pytest.raises(InputError, match="convert the picture to sRGB"):
        rewrite_jpeg(jpeg(), icc_profile=bytes(255 * 65519 + 1))


def test_nothing_is_left_of_exif() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 5, MARK.decode()
    once = rewrite_jpeg(jpeg(exif=exif))
    assert b"Exif" not in once
    assert MARK not in once


def sized(data: bytes, width: int, height: int) -> bytes:
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def second_scan(data: bytes) -> bytes:
    """The scan of one picture, overwritten by the scan of another: decoders show the second."""
    other = jpeg(drawing(seed=9))
    start, _ = segment_at(data, 0xDA)
    return data[:-2] + other[start : entropy(other).stop] + b"\xff\xd9"


def swap(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def cut(data: bytes, marker: int) -> bytes:
    start, end = segment_at(data, marker)
    return data[:start] + data[end:]


def long_segment(data: bytes, marker: int) -> bytes:
    """Make a segment longer than what it says, with slack bytes hidden in it."""
    start, end = segment_at(data, marker)
    return data[:start] + segment(marker, data[start + 4 : end] + b"\0" * 7) + data[end:]


def scan_starts(data: bytes) -> list[int]:
    """Where the scans of a progressive file begin, each with the tables that stand before it, and where the last ends.

    Only for files without restart markers, made by Pillow: their entropy-coded data holds no FF but FF 00.
    """
    starts, position = [], segment_at(data, 0xC2)[1]
    while data[position : position + 2] != b"\xff\xd9":
        starts.append(position)
        while data[position + 1] != 0xDA:
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
        while data[position] != 0xFF or data[position + 1] == 0:
            position += 1
    return [*starts, position]


def reordered(data: bytes, order: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """Put a progressive file's scans into another order."""
    starts = scan_starts(data)
    scans = [data[start:end] for start, end in itertools.pairwise(starts)]
    return data[: starts[0]] + b"".join(order(scans)) + b"\xff\xd9"


def scan_header(data: bytes, number: int, offset: int, value: int) -> bytes:
    """Change one of the last bytes of a scan's header: -3 and -2 the band, -1 the bits, -4 the tables."""
    at = -1
    for _ in range(number + 1):
        at = data.index(b"\xff\xda", at + 1)
    end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
    return data[: end + offset] + bytes([value]) + data[end + offset + 1 :]


PLAIN, RESTARTS, PROGRESSIVE = jpeg(), jpeg(restart_marker_blocks=3), jpeg(progressive=True)
HEADER_END = segment_at(PLAIN, 0xDA)[1]
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "FF D8"),
    "a PNG": (b"\x89PNG\r\n\x1a\n" + bytes(50), "FF D8"),
    "only a start": (PLAIN[:2], "a marker must follow"),
    "no end": (PLAIN[:-2], "FF D9"),
    "half of it": (PLAIN[: len(PLAIN) // 2], "FF D9"),
    "no scan": (PLAIN[: PLAIN.index(b"\xff\xda")] + b"\xff\xd9", "every component must have a scan"),
    "nothing at all": (b"\xff\xd8\xff\xd9", "there must be a scan"),
    "bytes between segments": (after_soi(PLAIN, MARK), "a marker must follow"),
    "a second start": (after_soi(PLAIN, b"\xff\xd8"), "lie inside the file"),
    "a segment past the end": (after_soi(PLAIN, b"\xff\xe1\xff\xff"), "lie inside the file"),
    "a segment of length 1": (after_soi(PLAIN, b"\xff\xe1\0\1"), "lie inside the file"),
    "a reserved marker": (after_soi(PLAIN, segment(0x02, MARK)), "lie inside the file"),
    "a private extension": (after_soi(PLAIN, segment(0xF7, MARK)), "baseline, extended or progressive"),
    "arithmetic coding": (swap(PLAIN, b"\xff\xc0", b"\xff\xc9"), "baseline, extended or progressive"),
    "lossless coding": (swap(PLAIN, b"\xff\xc0", b"\xff\xc3"), "baseline, extended or progressive"),
    "a hierarchical frame": (swap(PLAIN, b"\xff\xc0", b"\xff\xc5"), "baseline, extended or progressive"),
    "CMYK": (jpeg(drawing().convert("CMYK")), "grey or of three 8-bit"),
    "12 bits": (swap(PLAIN, b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "grey or of three 8-bit"),
    "two frames": (before_sos(PLAIN, PLAIN[slice(*segment_at(PLAIN, 0xC0))]), "one frame"),
    "no height": (sized(PLAIN, 61, 0), "must say the size"),
    "a height after the scan": (PLAIN[:-2] + segment(0xDC, b"\0\x2b") + b"\xff\xd9", "baseline, extended"),
    "slack in the frame": (long_segment(PLAIN, 0xC0), "grey or of three 8-bit"),
    "slack in the scan": (long_segment(PLAIN, 0xDA), "a scan must follow the frame"),
    "slack in a quantisation table": (long_segment(PLAIN, 0xDB), "quantisation table"),
    "slack in a Huffman table": (long_segment(PLAIN, 0xC4), "Huffman table"),
    "slack in the restart interval": (long_segment(RESTARTS, 0xDD), "must be 2 bytes"),
    "no quantisation table": (cut(cut(PLAIN, 0xDB), 0xDB), "have its quantisation table"),
    "no Huffman table": (cut(PLAIN, 0xC4), "have its Huffman tables"),
    "a full Huffman table": (before_sos(PLAIN, segment(0xC4, b"\x03\x02" + bytes(15) + b"\0\1")), "prefix code"),
    "a value twice": (before_sos(PLAIN, segment(0xC4, b"\x03\0\x02" + bytes(14) + b"\1\1")), "prefix code"),
    "a DC value of 16 bits": (before_sos(PLAIN, segment(0xC4, b"\x03\0\x01" + bytes(14) + b"\x10")), "prefix code"),
    "a component that is not there": (swap(PLAIN, b"\xff\xda\0\x0c\3\1\0", b"\xff\xda\0\x0c\3\7\0"), "of the frame"),
    "a component twice": (with_ids(PLAIN, b"\1\1\2"), "distinct"),
    "scans over scans": (second_scan(PLAIN), "what no scan before it brought"),
    "a progressive scan twice": (reordered(PROGRESSIVE, lambda s: [s[0], *s]), "what no scan before it brought"),
    "a band before its first coefficient": (reordered(PROGRESSIVE, lambda s: [s[1], s[0], *s[2:]]), "what no scan"),
    "a refinement before what it refines": (reordered(PROGRESSIVE, lambda s: s[::-1]), "what no scan before"),
    "a band with the first coefficient": (scan_header(PROGRESSIVE, 0, -2, 5), "one band, one bit deeper"),
    "a band that ends too far": (scan_header(PROGRESSIVE, 1, -2, 64), "one band, one bit deeper"),
    "a band of several components": (
        scan_header(scan_header(PROGRESSIVE, 0, -3, 1), 0, -2, 5),
        "one band, one bit deeper",
    ),
    "bits that no picture has": (scan_header(PROGRESSIVE, 0, -1, 14), "one band, one bit deeper"),
    "two bits deeper": (scan_header(PROGRESSIVE, 0, -1, 0x31), "one band, one bit deeper"),
    "no sampling": (swap(PLAIN, b"\x03\x01\x22", b"\x03\x01\x02"), "sampled 1 to 4 times"),
    "a component's table out of range": (swap(PLAIN, b"\x03\x01\x22\0", b"\x03\x01\x22\4"), "with tables 0 to 3"),
    "a quantisation table of 24 bits": (before_sos(PLAIN, segment(0xDB, b"\x23" + bytes(128))), "8 or 16 bits"),
    "a quantisation table in slot 4": (before_sos(PLAIN, segment(0xDB, b"\x04" + bytes(64))), "slots 0 to 3"),
    "half a quantisation table": (before_sos(PLAIN, segment(0xDB, b"\x00" + bytes(32))), "64 values"),
    "a Huffman table in slot 4": (before_sos(PLAIN, segment(0xC4, b"\x04" + bytes(16))), "slots 0 to 3"),
    "half a Huffman table": (before_sos(PLAIN, segment(0xC4, b"\0\0\2" + bytes(14) + b"\1")), "prefix code"),
    "a restart marker too many": (PLAIN[: HEADER_END + 9] + b"\xff\xd0" + PLAIN[HEADER_END + 9 :], "0 restart markers"),
    "a restart marker too few": (swap(RESTARTS, b"\xff\xd1", b""), "restart markers in order"),
    "restart markers out of order": (swap(RESTARTS, b"\xff\xd1", b"\xff\xd2"), "restart markers in order"),
    "fill bytes before a restart marker": (swap(RESTARTS, b"\xff\xd1", b"\xff\xff\xd1"), "no fill bytes"),
    "fill bytes before a stuffed zero": (PLAIN[:-2] + b"\xff\xff\0" + b"\xff\xd9", "no fill bytes"),
    "another picture in the scan": (PLAIN[:-2] + thumbnail() + b"\xff\xd9", "lie inside the file"),
    "more data than blocks": (PLAIN[:-2] + MARK * 4000 + b"\xff\xd9", "must fit the picture's blocks"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_hide_something_or_is_not_understood_is_refused(case: str) -> None:
    data, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        rewrite_jpeg(data)
    assert "re-encode the picture instead" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tables_that_change_between_scans_are_in_force_as_before() -> None:
    """Progressive files with tables of their own a scan: each must be written again before the scan that uses it."""
    data = jpeg(drawing(200, 150), progressive=True)
    tables = data.count(b"\xff\xc4")
    assert tables > 4
    once = rewrite_jpeg(data)
    assert once.count(b"\xff\xc4") >= tables
    assert np.array_equal(pixels(once), pixels(data))


BASES = [jpeg(drawing(40, 30), **options) for options in ({}, {"progressive": True}, {"restart_marker_blocks": 2})]


def mutants(count: int) -> Iterator[bytes]:
    rng = random.Random(1)
    for _ in range(count):
        data = bytearray(rng.choice(BASES))
        for _ in range(rng.randint(1, 6)):
            at, what = rng.randrange(len(data)), rng.randrange(4)
            if what == 0:
                data[at] = rng.randrange(256)
            elif what == 1:
                data[at : at + rng.randrange(40)] = b""
            elif what == 2:
                data[at:at] = rng.randbytes(rng.randrange(20))
            else:
                data[at : at + 2] = bytes([0xFF, rng.choice([0xC4, 0xDB, 0xDA, 0xD9, 0xD0, 0xDD, 0xC0, 0xC2, 0xFF])])
            data = data or bytearray(b"\xff")
        yield bytes(data)


def decoded(data: bytes) -> tuple[object, ...]:
    """What Pillow makes of a file: its pixels, or that it refuses it."""
    try:
        array = pixels(data)
    except Exception:  # Pillow raises many classes on broken files
        return ("refused",)
    return array.shape, array.tobytes()


def assert_output_or_input_error(data: bytes) -> bool:
    try:
        once = rewrite_jpeg(data)
    except InputError:
        return False
    assert rewrite_jpeg(once) == once
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert decoded(once) == decoded(data)
    return True


@pytest.mark.parametrize("count", [2000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_mutated_files_give_output_or_input_error(count: int) -> None:
    accepted = sum(assert_output_or_input_error(data) for data in mutants(count))
    assert 0 < accepted < count


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=80)), max_size=8), st.binary(max_size=30))
@example([(0xDB, b"\0" + bytes(64))] * 3, b"\xff\xd9")
def test_any_segments_give_output_or_input_error(parts: list[tuple[int, bytes]], tail: bytes) -> None:
    data = b"".join(segment(marker, payload) for marker, payload in parts)
    assert_output_or_input_error(b"\xff\xd8" + data + tail)
    assert_output_or_input_error(before_sos(BASES[0], data) + tail)
