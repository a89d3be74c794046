"""Decoding: every format and mode, transparency, orientation and colour profiles."""

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from samples import (
    DISPLAY_P3,
    SECRET,
    colour_picture,
    corner_picture,
    curv,
    difference,
    grey,
    lookup_profile,
    png,
    saved,
)

from detector.errors import InputError
from detector.picture import Picture


@pytest.fixture(scope="module")
def colours() -> Image.Image:
    return colour_picture()


# How far lossy formats may be from what was saved, mean over all pixels, in levels.
LOSS = {"JPEG": 6.0, "WEBP": 6.0, "AVIF": 6.0}


@pytest.fixture(scope="module")
def corners() -> Image.Image:
    return corner_picture()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_every_format_round_trips(kind: str, colours: Image.Image) -> None:
    source = colours.quantize(64) if kind == "GIF" else colours
    data = saved(source, kind)
    picture = Picture.open(data)
    assert (picture.format, picture.mode, picture.image_size, picture.orientation) == (kind, "RGB", (48, 64), 1)
    assert (picture.data, picture.sha256) == (data, hashlib.sha256(data).hexdigest())
    image = picture.load()
    assert (type(image), image.mode, image.size, image.info, image.format) == (Image.Image, "RGB", (64, 48), {}, None)
    assert difference(image, source.convert("RGB")) <= LOSS.get(kind, 0)
    (view,) = picture.views(64)
    assert view.flags.c_contiguous
    assert view.dtype == np.uint8
    assert difference(view, image) == 0


@pytest.mark.parametrize(
    ("kind", "mode", "expected"),
    [
        ("JPEG", "L", "L"),
        ("JPEG", "YCbCr", "RGB"),
        ("PNG", "1", "L"),
        ("PNG", "L", "L"),
        ("PNG", "LA", "RGBA"),
        ("PNG", "P", "RGB"),
        ("PNG", "RGBA", "RGBA"),
        ("WEBP", "RGBA", "RGB"),  # opaque throughout: the encoder drops alpha
        ("AVIF", "L", "L"),
        ("TIFF", "1", "L"),
        ("TIFF", "L", "L"),
        ("TIFF", "LA", "RGBA"),
        ("TIFF", "P", "RGB"),
        ("TIFF", "RGBA", "RGBA"),
        ("TIFF", "YCbCr", "RGB"),
        ("TIFF", "LAB", "RGB"),
        ("BMP", "1", "L"),
        ("BMP", "L", "L"),
        ("BMP", "P", "RGB"),
        ("GIF", "1", "L"),
    ],
)
def test_every_mode_round_trips(kind: str, mode: str, expected: str, colours: Image.Image) -> None:
    source = colours.convert(mode)
    picture = Picture.open(saved(source, kind))
    assert picture.mode == expected
    image = picture.load()
    assert image.mode == expected
    assert difference(image.convert("RGB"), source.convert("RGB")) <= LOSS.get(kind, 1.5 if mode == "YCbCr" else 0)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_compressions(compression: str, colours: Image.Image) -> None:
    assert difference(Picture.open(saved(colours, "TIFF", compression=compression)).load(), colours) == 0


def test_bigtiff(colours: Image.Image) -> None:
    data = saved(colours, "TIFF", big_tiff=True)
    assert data[2] == 43
    assert difference(Picture.open(data).load(), colours) == 0


def test_bigtiff_with_64_bit_offsets() -> None:
    tags = {256: 2, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8 + 8 + 8 + 20 * 8 + 8, 277: 1, 279: 2}
    data = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(tags))
    data += b"".join(struct.pack("<HHQQ", tag, 16, 1, value) for tag, value in tags.items()) + bytes(8) + b"\x07\x09"
    assert np.asarray(Picture.open(data).load()).tolist() == [[7, 9]]


def test_tiff_with_big_endian_numbers() -> None:
    deep = Image.fromarray(np.linspace(0, 65535, 256).astype(">u2").reshape(16, 16))
    data = saved(deep, "TIFF")
    assert data.startswith(b"MM")
    assert np.asarray(Picture.open(data).load()).ravel().tolist() == list(range(256))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    deep = Image.fromarray((np.arange(256) * 257).astype(np.uint16).reshape(16, 16))
    picture = Picture.open(saved(deep, kind))
    assert picture.mode == "L"
    assert np.asarray(picture.load()).ravel().tolist() == list(range(256))
    assert difference(picture.views(1)[0][..., 0], np.arange(256).reshape(16, 16)) == 0


def test_16_bit_grey_rounds_to_the_nearest() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    image = Picture.open(saved(Image.fromarray(every), "PNG")).load()
    assert np.abs(np.asarray(image) - every / 257).max() <= 0.502


@pytest.mark.parametrize("white", [255, 65535, 0xFFFFFFFF // 2])
def test_32_bit_grey_is_scaled_to_what_holds_it(white: int) -> None:
    deep = np.zeros((4, 4), np.int32)
    deep[0, 0] = white
    expected = 127 if white > 65535 else 255  # of unsigned 32 bits
    for source in (saved(Image.fromarray(deep), "TIFF"), Image.fromarray(deep)):
        assert np.asarray(Picture.open(source).load()).max() in (expected, expected + 1)


def test_white_is_zero_and_12_bits_in_tiff() -> None:
    deep = Image.fromarray(np.array([[0, 4095], [2048, 65535]], np.uint16))
    tags = ImageFileDirectory_v2()
    tags[262] = 0
    assert np.asarray(Picture.open(saved(deep, "TIFF", tiffinfo=tags)).load()).tolist() == [[255, 239], [247, 0]]
    twelve = saved(Image.fromarray(np.zeros((1, 2), np.uint16)), "TIFF")
    bits = struct.pack("<HHII", 258, 3, 1, 16)
    assert bits in twelve
    (offset,) = struct.unpack_from("<I", twelve, twelve.index(struct.pack("<HHI", 273, 4, 1)) + 8)
    twelve = bytearray(twelve.replace(bits, struct.pack("<HHII", 258, 3, 1, 12)))
    twelve[offset : offset + 3] = b"\xff\xf0\x00"  # 4095 and 0, twelve bits each
    assert np.asarray(Picture.open(bytes(twelve)).load()).tolist() == [[255, 0]]


def test_floating_point_and_negative_pixels_are_refused() -> None:
    for pixels, words in ((np.zeros((4, 4), np.float32), "whole numbers"), (np.full((4, 4), -1, np.int32), "negative")):
        for source in (saved(Image.fromarray(pixels), "TIFF"), Image.fromarray(pixels)):
            with pytest.raises(InputError, match=words):
                Picture.open(source).load()


def test_cmyk_jpeg_becomes_rgb(colours: Image.Image) -> None:
    picture = Picture.open(saved(colours.convert("CMYK"), "JPEG", quality=95))
    assert (picture.mode, picture.lossless_ok) == ("RGB", False)
    assert difference(picture.load(), colours) < 6
    assert difference(picture.views(64)[0], picture.load()) == 0


def test_hidden_colours_are_zeroed_and_both_backdrops_seen(colours: Image.Image) -> None:
    source = colours.copy()
    alpha = np.full((48, 64), 255, np.uint8)
    alpha[:24], alpha[24:36] = 0, 100
    source.putalpha(Image.fromarray(alpha))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        picture = Picture.open(saved(source, kind, **options))
        assert picture.mode == "RGBA"
        image = np.asarray(picture.load())
        assert not image[:24].any()
        assert difference(image[24:], np.asarray(source)[24:]) == 0
        white, black, bare = picture.views(1)
        assert not bare[:24].any()
        assert difference(bare[24:], np.asarray(colours)[24:]) == 0
        assert not white.flags.writeable
        assert not black.flags.writeable
        assert (white[:24] == 255).all()
        assert not black[:24].any()
        assert difference(white[36:], np.asarray(colours)[36:]) == 0
        expected = np.asarray(colours)[24:36] * (100 / 255)
        assert np.abs(black[24:36] - expected).max() < 1
        assert np.abs(white[24:36] - expected - 255 * (155 / 255)).max() < 1


def test_opaque_alpha_gives_one_view(colours: Image.Image) -> None:
    (view,) = Picture.open(saved(colours.convert("RGBA"), "PNG")).views(1)
    assert difference(view, colours) == 0


def test_palette_entry_colour_key_and_grey_key_are_transparent() -> None:
    indices = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).convert("P")
    indices.putpalette([level for i in range(256) for level in (i * 10 % 256, i, 200)])
    for kind, key in (("PNG", 3), ("GIF", 3), ("PNG", bytes([255, 255, 255, 0]))):
        picture = Picture.open(saved(indices, kind, transparency=key))
        assert picture.mode == "RGBA", kind
        image = np.asarray(picture.load()).reshape(16, 4)
        assert image[3].tolist() == [0, 0, 0, 0]
        assert image[4].tolist() == [40, 4, 200, 255]
    plain = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    image = np.asarray(Picture.open(saved(plain, "PNG", transparency=(3, 4, 5))).load()).reshape(16, 4)
    assert image[1].tolist() == [0, 0, 0, 0]
    assert image[2].tolist() == [6, 7, 8, 255]
    deep = Image.fromarray((np.arange(16) * 257).astype(np.uint16).reshape(4, 4))
    image = np.asarray(Picture.open(saved(deep, "PNG", transparency=3 * 257)).load()).reshape(16, 4)
    assert image[3].tolist() == [0, 0, 0, 0]
    assert image[4].tolist() == [4, 4, 4, 255]


def test_grey_key_of_few_bits_and_colour_key_of_16() -> None:
    # Four pixels of 2 bits: 0 1 2 3; the key is 1.
    few = png(b"\2\0\0\0\0", (b"tRNS", b"\0\1"), (b"IDAT", zlib.compress(b"\0\x1b")))
    assert np.asarray(Picture.open(few).load())[0, :, 3].tolist() == [255, 0, 255, 255]
    pixels = struct.pack(">12H", 0, 0, 5, 0x1234, 0x2345, 0x3456, 0, 0, 0xFFFF, 0xFFFF, 0, 0)
    deep = png(b"\x10\2\0\0\0", (b"tRNS", pixels[6:12]), (b"IDAT", zlib.compress(b"\0" + pixels)))
    assert np.asarray(Picture.open(deep).load())[0, :, 3].tolist() == [255, 0, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_orientation_is_applied(kind: str, orientation: int, corners: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}, "AVIF": {"quality": 95}}
    data = saved(corners, kind, exif=exif, **options.get(kind, {}))
    tagged = corners.copy()
    tagged.getexif()[0x0112] = orientation
    expected = ImageOps.exif_transpose(tagged)
    for source in (data, Image.open(io.BytesIO(data))):
        picture = Picture.open(source)
        assert picture.orientation == orientation
        assert picture.image_size == (expected.height, expected.width)
        assert picture.lossless_ok == (kind == "JPEG" and orientation == 1)
        assert difference(picture.load(), expected) < 3
        assert difference(picture.views(64)[0], expected) < 3


def test_orientation_of_a_loaded_picture_is_applied_once(corners: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG", "TIFF"):  # Pillow turns TIFF itself when it loads
        image = Image.open(io.BytesIO(saved(corners, kind, exif=exif)))
        image.load()
        assert Picture.open(image).image_size == (64, 40), kind
        assert Picture.open(ImageOps.exif_transpose(image)).image_size == (64, 40), kind


def test_avif_orientation_is_the_container_s_not_exif_s(corners: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(corners, "AVIF", exif=exif)
    assert b"irot" in data
    assert Picture.open(data).orientation == 6
    # The same file without the container's rotation: what EXIF says does not count.
    at = data.index(b"irot") + 4
    assert Picture.open(data[:at] + b"\0" + data[at + 1 :]).orientation == 1


@pytest.mark.parametrize(
    "entry",
    [
        struct.pack("<HHIHH", 0x0112, 3, 1, 9, 0),
        struct.pack("<HHIHH", 0x0112, 3, 1, 0, 0),
        struct.pack("<HHIHH", 0x0112, 3, 2, 6, 6),
        struct.pack("<HHII", 0x0112, 4, 1, 6),
        b"\x12\x01",
    ],
)
def test_orientations_that_mean_nothing_are_1(entry: bytes, colours: Image.Image) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry
    assert Picture.open(saved(colours, "JPEG", exif=exif)).orientation == 1


def test_broken_exif_does_not_warn(colours: Image.Image) -> None:
    # Tag data outside the block: Pillow's own reader warns, and warnings are errors in these tests.
    broken = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 0x010F, 2, 0xFFFF, 0xFFFF) * 2 + bytes(4)
    with pytest.warns(UserWarning, match="larger than file"):
        Image.open(io.BytesIO(saved(colours, "JPEG", exif=broken))).getexif()
    for kind in ("JPEG", "PNG", "WEBP"):
        Picture.open(saved(colours, kind, exif=broken)).load()
    exif = Image.Exif()
    exif[0x010F] = "A" * 40
    avif = saved(colours, "AVIF", exif=exif)
    at = avif.index(b"A" * 40)
    (count,) = struct.unpack_from(">I", avif, at - 12)
    assert count == 41
    Picture.open(avif[: at - 12] + b"\0\xff\xff\xff" + avif[at - 8 :]).load()


def test_profile_is_rebuilt_kept_and_applied_to_views_only(colours: Image.Image) -> None:
    for kind, options in (("JPEG", {"quality": 95}), ("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        picture = Picture.open(saved(colours, kind, icc_profile=DISPLAY_P3, **options))
        assert picture.icc_profile is not None
        assert SECRET not in picture.icc_profile
        assert picture.lossless_ok == (kind == "JPEG")
        assert difference(picture.load(), colours) < (4 if kind == "JPEG" else 0.01)
        source = ImageCms.ImageCmsProfile(io.BytesIO(DISPLAY_P3))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
        assert difference(transform.apply(colours), colours) > 1  # or the next line would show nothing
        assert difference(picture.views(64)[0], transform.apply(picture.load())) < 0.1


def test_srgb_profile_is_dropped(colours: Image.Image) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Picture.open(saved(colours, "JPEG", icc_profile=srgb))
    assert (picture.icc_profile, picture.lossless_ok) == (None, True)
    assert difference(picture.views(64)[0], picture.load()) == 0


@pytest.mark.parametrize(("mode", "space"), [("RGB", b"RGB "), ("CMYK", b"CMYK")])
def test_profile_that_cannot_be_rebuilt_is_converted(mode: str, space: bytes, colours: Image.Image) -> None:
    lookup = lookup_profile(space)
    source = colours.convert(mode)
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(lookup)), ImageCms.createProfile("sRGB"), mode, "RGB"
    )
    expected = transform.apply(source)
    assert difference(expected, source.convert("RGB")) > 20  # or the next lines would show nothing
    picture = Picture.open(saved(source, "TIFF", icc_profile=lookup))
    assert (picture.mode, picture.icc_profile) == ("RGB", None)
    assert difference(picture.load(), expected) == 0
    assert difference(picture.views(64)[0], expected) == 0
    jpeg = Picture.open(saved(source, "JPEG", icc_profile=lookup, quality=95))
    assert not jpeg.lossless_ok
    assert difference(jpeg.load(), expected) < 6


def test_profile_that_nothing_can_use_is_dropped(colours: Image.Image) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    broken = DISPLAY_P3.replace(b"SECR", b"A2B0", 1)
    for profile, lossless in ((broken, False), (b"no profile", True), (lab, True)):
        picture = Picture.open(saved(colours, "JPEG", icc_profile=profile, quality=95))
        assert (picture.icc_profile, picture.lossless_ok) == (None, lossless)
        assert difference(picture.load(), colours) < 4
        assert difference(picture.views(64)[0], picture.load()) == 0
    cmyk = Picture.open(saved(colours.convert("CMYK"), "TIFF", icc_profile=lookup_profile(b"CMYK")[:300]))
    assert difference(cmyk.load(), colours) == 0


def test_profile_of_another_colour_space_is_dropped(colours: Image.Image) -> None:
    gamma = grey(curv(563))
    assert Picture.open(saved(colours, "PNG", icc_profile=gamma)).icc_profile is None
    assert Picture.open(saved(colours.convert("L"), "PNG", icc_profile=DISPLAY_P3)).icc_profile is None
    kept = Picture.open(saved(colours.convert("L"), "PNG", icc_profile=gamma))
    assert kept.icc_profile is not None
    assert (kept.mode, kept.load().mode) == ("L", "L")
    # No file can hold RGBA with a grey profile.
    alpha = Picture.open(saved(colours.convert("LA"), "PNG", icc_profile=gamma))
    assert (alpha.mode, alpha.icc_profile) == ("RGBA", None)
    assert difference(alpha.load().convert("RGB"), kept.views(1)[0]) < 0.1
