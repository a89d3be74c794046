"""Nothing of the input but its pixels gets into the output, whatever was planted wherever a format has room.

Every planted file shows the same pixels as its clean twin, so the whole output must be the same bytes; a search for
the marker string and for the thumbnail guards against twins that are wrong in the same way.
"""

import importlib.util
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from censor.imagefile import encode
from censor.jpegfile import icc_segments, rewrite_jpeg
from detector.picture import Picture

HEIF = importlib.util.find_spec("pillow_heif") is not None
OUTPUTS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", *(["HEIF"] if HEIF else []))
MARK = b"RIDES-ALONG-4711"
TEXT = MARK.decode()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def drawing(mode: str = "RGB", width: int = 40, height: int = 30) -> Image.Image:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width]
    array = np.stack([128 + 90 * np.sin(x / (9 + c)) * np.cos(y / (11 + c)) for c in range(3)], axis=2)
    image = Image.fromarray(np.clip(array + rng.normal(0, 4, array.shape), 0, 255).astype(np.uint8))
    if mode == "P":
        return image.quantize(64)
    return image.convert(mode)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


THUMBNAIL = saved(Image.radial_gradient("L").resize((24, 16)), "JPEG", comment=MARK)
# From the middle of its coded picture: found in an output, it would say that a thumbnail got through.
THUMBNAIL_CORE = THUMBNAIL[-40:-8]


def exif() -> bytes:
    """Camera, GPS, maker note and an uncensored thumbnail, as a camera writes them."""
    block = Image.Exif()
    block[0x010F], block[0x013B], block[0x9C9B] = TEXT, TEXT, TEXT.encode("utf-16-le")
    block.get_ifd(0x8769)[0x927C] = b"MakerNote" + MARK
    block.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + MARK
    block.get_ifd(0x8825)[1], block.get_ifd(0x8825)[29] = "N", TEXT
    data = bytearray(block.tobytes()[6:])
    order = "<" if data[:2] == b"II" else ">"
    # A second directory for the thumbnail, put behind the first: JPEGInterchangeFormat and its length.
    first = struct.unpack_from(order + "I", data, 4)[0]
    link = first + 2 + 12 * struct.unpack_from(order + "H", data, first)[0]
    struct.pack_into(order + "I", data, link, len(data))
    at = len(data) + 2 + 2 * 12 + 4
    data += struct.pack(order + "HHHIIHHIII", 2, 0x0201, 4, 1, at, 0x0202, 4, 1, len(THUMBNAIL), 0)
    return b"Exif\0\0" + bytes(data) + THUMBNAIL


EXIF = exif()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a b="' + MARK + b'"/></x:xmpmeta>'
IPTC = b"\x1c\x02\x78" + struct.pack(">H", len(MARK)) + MARK
PHOTOSHOP = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC + b"8BIM\x04\x0c\0\0" + THUMBNAIL


def icc_with_text() -> bytes:
    """sRGB's profile, with the marker in its description, in a private tag's place and in a gap."""
    data = bytearray(SRGB)
    at = data.index(b"s\0R\0G\0B") if b"s\0R\0G\0B" in data else data.index(b"sRGB")
    data[at : at + len(MARK)] = MARK
    data += MARK
    data[:4] = struct.pack(">I", len(data))
    return bytes(data)


ICC = icc_with_text()


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def jpeg(data: bytes) -> bytes:
    planted = [
        segment(0xE0, b"JFXX\0\x10" + THUMBNAIL),
        segment(0xE1, EXIF),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
        segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40) + XMP),
        segment(0xE2, b"MPF\0" + b"MM\0*\0\0\0\x08\0\0\0\0\0\0" + MARK),
        segment(0xEB, b"JP\0\1\0\0\0\1jumb" + MARK),
        segment(0xED, b"Photoshop 3.0\0" + PHOTOSHOP),
        segment(0xFE, MARK),
        *icc_segments(ICC),
    ]
    return data[:20] + b"".join(planted) + data[20:] + THUMBNAIL + MARK


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(data: bytes) -> bytes:
    planted = [
        chunk(b"tEXt", b"Comment\0" + MARK),
        chunk(b"zTXt", b"Raw\0\0" + zlib.compress(MARK)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        chunk(b"eXIf", EXIF[6:]),
        chunk(b"iCCP", b"name" + MARK + b"\0\0" + zlib.compress(ICC)),
        chunk(b"prVt", MARK + THUMBNAIL),
        chunk(b"tIME", b"\x07\xe8\1\1\1\1\1"),
    ]
    late = chunk(b"tEXt", b"Late\0" + MARK)
    end = len(data) - 12
    return data[:33] + b"".join(planted) + data[33:end] + late + data[end:] + MARK + THUMBNAIL


def gif(data: bytes) -> bytes:
    def block(label: bytes, body: bytes) -> bytes:
        return b"!" + label + bytes([len(body)]) + body + b"\0"

    start = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    # An application block is 11 bytes of name, then blocks of data.
    application = b"!\xff\x0bXMP DataXMP" + bytes([len(MARK)]) + MARK + b"\0"
    planted = block(b"\xfe", MARK) + application
    assert data[-1:] == b";"
    return data[:start] + planted + data[start:-1] + block(b"\xfe", MARK) + b";" + MARK + THUMBNAIL


def tiff(_: bytes) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270] = tags[305] = tags[315] = TEXT
    for number, value in ((700, XMP), (33723, IPTC), (34377, PHOTOSHOP), (50341, MARK), (65000, MARK), (34675, ICC)):
        tags[number] = value
        tags.tagtype[number] = 7
    return saved(drawing(), "TIFF", tiffinfo=tags) + MARK + THUMBNAIL


def bmp(data: bytes) -> bytes:
    """Bytes between header and pixels, in the reserved field, and after the end."""
    offset = struct.unpack_from("<I", data, 10)[0]
    gap = MARK + THUMBNAIL
    header = data[:6] + MARK[:4] + struct.pack("<I", offset + len(gap)) + data[14:offset]
    return header + gap + data[offset:] + MARK


def webp(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        lossless = b"VP8L" in data
        full = saved(image, "WEBP", lossless=lossless, exif=EXIF, xmp=XMP, icc_profile=ICC)
    body = full[12:] + b"PRVT" + struct.pack("<I", len(MARK)) + MARK
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body + MARK


def avif(_: bytes) -> bytes:
    full = saved(drawing(), "AVIF", exif=EXIF, xmp=XMP, icc_profile=ICC, max_threads=1)
    return full + struct.pack(">I4s", 8 + len(MARK), b"free") + MARK


def heif(_: bytes) -> bytes:
    full = saved(drawing(), "HEIF", exif=EXIF, xmp=XMP, icc_profile=ICC)
    return full + struct.pack(">I4s", 8 + len(MARK), b"free") + MARK


INPUTS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "jpeg": (saved(drawing(), "JPEG", quality=85), jpeg),
    "jpeg, progressive": (saved(drawing(), "JPEG", progressive=True), jpeg),
    "jpeg, grey": (saved(drawing("L"), "JPEG"), lambda data: jpeg(data).replace(b"".join(icc_segments(ICC)), b"")),
    "png": (saved(drawing(), "PNG"), png),
    "png, grey": (saved(drawing("L"), "PNG"), png),
    "gif": (saved(drawing("P"), "GIF"), gif),
    "tiff": (saved(drawing(), "TIFF"), tiff),
    "bmp": (saved(drawing(), "BMP"), bmp),
    "webp": (saved(drawing(), "WEBP", lossless=True), webp),
    "avif": (saved(drawing(), "AVIF", max_threads=1), avif),
}
if HEIF:
    __import__("pillow_heif").register_heif_opener()
    INPUTS["heif"] = (saved(drawing(), "HEIF"), heif)


def ends_where_the_format_ends(data: bytes, format: str) -> bool:
    """Whether the last byte is the last of the format, by the format's own count."""
    if format == "JPEG":
        return data.endswith(b"\xff\xd9") and data.count(b"\xff\xd9") == 1
    if format == "PNG":
        return data.endswith(chunk(b"IEND", b"")) and data.count(b"IEND") == 1
    if format == "WEBP":
        return len(data) == 8 + struct.unpack_from("<I", data, 4)[0]
    if format == "BMP":
        return len(data) == struct.unpack_from("<I", data, 2)[0]
    if format == "GIF":
        return data.endswith(b"\0;")
    if format in ("AVIF", "HEIF"):
        at = 0
        while at < len(data):
            at += struct.unpack_from(">I", data, at)[0]
        return at == len(data)
    return _tiff_end(data) == len(data)


def _tiff_end(data: bytes) -> int:
    """The last byte that the directory, a tag's values or a strip take."""
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack_from(order + "I", data, 4)[0]
    count = struct.unpack_from(order + "H", data, start)[0]
    ends = [start + 2 + 12 * count + 4]
    with Image.open(io.BytesIO(data)) as image:
        tags = image.tag_v2  # type: ignore[attr-defined]
        ends += [at + size for at, size in zip(tags[273], tags[279], strict=True)]
    for i in range(count):
        kind, values, offset = struct.unpack_from(order + "HII", data, start + 2 + 12 * i + 2)
        size = values * {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}[kind]
        ends.append(offset + size if size > 4 else 0)
    return max(ends)


def assert_nothing_survives(data: bytes, format: str) -> None:
    assert MARK not in data
    assert TEXT.encode("utf-16-le") not in data
    assert THUMBNAIL_CORE not in data
    assert ends_where_the_format_ends(data, format)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        # A TIFF's own tags: size, bits, compression, photometric, strips, planes, predictor, alpha, profile.
        own = {256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 338, 34675} if format == "TIFF" else set()
        assert set(image.getexif()) <= own
        # What Pillow found: facts of the coding and, in JPEG and BMP, a resolution that is the same for all.
        strange = {key for key, value in image.info.items() if value} - set(_HARMLESS)
        assert not strange
        assert MARK not in repr(image.info).encode()


_HARMLESS = ("jfif", "jfif_version", "jfif_unit", "jfif_density", "progressive", "progression", "dpi", "compression")
_HARMLESS += ("version", "background", "loop", "timestamp", "duration", "resolution", "icc_profile")
# What pillow-heif says of every file; its lists of metadata, thumbnails and further pictures must be empty.
_HARMLESS += ("primary", "bit_depth", "chroma", "nclx_profile", "original_orientation", "icc_profile_type")


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("case", INPUTS)
def test_nothing_but_pixels_gets_through(case: str, output: str) -> None:
    clean, plant = INPUTS[case]
    planted = plant(clean)
    assert planted.count(MARK) >= 2
    assert THUMBNAIL_CORE in planted
    picture, twin = Picture.open(planted), Picture.open(clean)
    data = encode(picture.load(), picture, output)
    assert_nothing_survives(data, output)
    assert data == encode(twin.load(), twin, output)


@pytest.mark.parametrize("case", [case for case in INPUTS if case.startswith("jpeg")])
def test_nothing_but_the_coded_picture_gets_through_a_rewrite(case: str) -> None:
    clean, plant = INPUTS[case]
    picture = Picture.open(plant(clean))
    assert picture.lossless_ok
    data = rewrite_jpeg(plant(clean), icc_profile=picture.icc_profile)
    assert_nothing_survives(data, "JPEG")
    assert data == rewrite_jpeg(clean)


def wide_profile() -> bytes:
    """A profile that is not sRGB, so that it is kept, with the marker in its texts and behind its end."""
    data = bytearray(ICC)
    at = data.index(b"rXYZ")
    offset = struct.unpack_from(">I", data, at + 4)[0]
    struct.pack_into(">I", data, offset + 8, int(0.6 * 65536))
    return bytes(data)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("input_format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_a_profile_that_is_kept_carries_no_text(input_format: str, output: str) -> None:
    source = saved(drawing(), input_format, icc_profile=wide_profile())
    picture = Picture.open(source)
    assert picture.icc_profile is not None
    outputs = [encode(picture.load(), picture, output)]
    if input_format == output == "JPEG":
        outputs.append(rewrite_jpeg(source, icc_profile=picture.icc_profile))
    for data in outputs:
        assert_nothing_survives(data, output)
        with Image.open(io.BytesIO(data)) as image:
            kept = image.info.get("icc_profile")
        assert kept == (None if output in ("BMP", "GIF") else picture.icc_profile)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    ("input_format", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})]
)
def test_colours_under_clear_pixels_are_gone(input_format: str, options: dict[str, object], output: str) -> None:
    """A picture that alpha hides: two inputs that differ only there give the same bytes."""
    alpha = np.full((30, 40, 1), 255, np.uint8)
    alpha[5:25, 5:35] = 0
    colours = np.asarray(drawing())
    hidden, black = colours.copy(), colours.copy()
    hidden[5:25, 5:35] = np.frombuffer((MARK * 200)[:1800], np.uint8).reshape(20, 30, 3)
    black[5:25, 5:35] = 0
    outputs = []
    for pixels in (hidden, black):
        source = saved(Image.fromarray(np.dstack([pixels, alpha])), input_format, **options)
        with Image.open(io.BytesIO(source)) as image:
            assert np.array_equal(np.asarray(image)[..., :3], pixels)
        picture = Picture.open(source)
        outputs.append(encode(picture.load(), picture, output))
    assert outputs[0] == outputs[1]
    assert MARK not in outputs[0]


def test_a_palette_entry_that_no_pixel_uses_is_gone() -> None:
    image = drawing("P")
    palette = image.getpalette()
    assert palette is not None
    image.putpalette(palette[: 64 * 3] + list((MARK * 9)[: 60 * 3]))
    image.info.clear()
    source = saved(image, "PNG")
    assert MARK in source
    picture = Picture.open(source)
    for output in OUTPUTS:
        assert MARK not in encode(picture.load(), picture, output)


def test_plants_stand_where_pillow_finds_them() -> None:
    with Image.open(io.BytesIO(png(saved(drawing(), "PNG")))) as image:
        image.load()
        assert isinstance(image, PngImagePlugin.PngImageFile)
        assert image.text["Comment"] == image.text["Raw"] == image.text["Late"] == TEXT
        assert TEXT in image.info["xmp"].decode()
        assert image.getexif()[0x010F] == TEXT
        assert MARK in image.info["icc_profile"]
    with JpegImagePlugin.JpegImageFile(io.BytesIO(jpeg(saved(drawing(), "JPEG")))) as image:
        assert image.getexif()[0x010F] == TEXT
        assert image.getexif().get_ifd(0x8825)[29] == TEXT
        assert image.info["comment"] == MARK
        assert MARK in image.info["icc_profile"]
        assert THUMBNAIL_CORE in image.info["exif"]
