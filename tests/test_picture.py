"""Reading pictures: formats, modes, orientation, alpha, colour, limits, sources and every error's text."""

import hashlib
import io
import os
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from test_icc import P3, SECRET, SRGB_CURVE, curv, grey, para, rgb

from detector.decode import Cancelled
from detector.errors import InputError, LimitError, UsageError
from detector.picture import Limits, Picture

EXAMPLE = Path(__file__).parent.parent / "examples" / "in.jpg"
DISPLAY_P3 = rgb(P3, para(3, *SRGB_CURVE), version=4)
# How far lossy formats may be from what was saved, mean over all pixels, in levels.
LOSS = {"JPEG": 6.0, "WEBP": 6.0, "AVIF": 6.0}


@pytest.fixture(scope="module")
def colours() -> Image.Image:
    with Image.open(EXAMPLE) as example:
        return example.convert("RGB").resize((64, 48))


@pytest.fixture(scope="module")
def corners() -> Image.Image:
    """A picture in which every corner differs, so that each of the 8 orientations gives another one."""
    pixels = np.zeros((40, 64, 3), np.uint8)
    pixels[:20, :32], pixels[:20, 32:], pixels[20:, :32], pixels[20:, 32:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 255
    return Image.fromarray(pixels)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.copy().save(file, kind, **options)
    return file.getvalue()


def difference(first: Any, second: Any) -> float:
    a, b = np.asarray(first).astype(int), np.asarray(second).astype(int)
    assert a.shape == b.shape
    return float(np.abs(a - b).mean())


# Formats and modes


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


# Transparency


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
        white, black = picture.views(1)
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


def png(header: bytes, *chunks: tuple[bytes, bytes], size: tuple[int, int] = (4, 1)) -> bytes:
    """Serialise a PNG from its header's last 5 bytes and the chunks that follow."""
    ihdr = struct.pack(">II", *size) + header
    chunks = ((b"IHDR", ihdr), *chunks, (b"IEND", b""))
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def test_grey_key_of_few_bits_and_colour_key_of_16() -> None:
    # Four pixels of 2 bits: 0 1 2 3; the key is 1.
    few = png(b"\2\0\0\0\0", (b"tRNS", b"\0\1"), (b"IDAT", zlib.compress(b"\0\x1b")))
    assert np.asarray(Picture.open(few).load())[0, :, 3].tolist() == [255, 0, 255, 255]
    pixels = struct.pack(">12H", 0, 0, 5, 0x1234, 0x2345, 0x3456, 0, 0, 0xFFFF, 0xFFFF, 0, 0)
    deep = png(b"\x10\2\0\0\0", (b"tRNS", pixels[6:12]), (b"IDAT", zlib.compress(b"\0" + pixels)))
    assert np.asarray(Picture.open(deep).load())[0, :, 3].tolist() == [255, 0, 255, 255]


# Orientation


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


# Colour profiles


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


def test_profile_that_cannot_be_rebuilt_is_converted(colours: Image.Image) -> None:
    # A lookup table that nothing can use beside a good matrix: lcms takes the matrix, we take neither.
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    table = DISPLAY_P3.replace(b"SECR", b"A2B0", 1)
    for profile, lossless in ((table, False), (b"no profile", True), (lab, True)):
        picture = Picture.open(saved(colours, "JPEG", icc_profile=profile))
        assert (picture.icc_profile, picture.lossless_ok) == (None, lossless)
        assert picture.load().mode == "RGB"
        assert difference(picture.views(64)[0], picture.load()) == 0


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


# What is known for writing again


def test_hints_of_a_jpeg(colours: Image.Image) -> None:
    for subsampling in (0, 1, 2):
        options = {"quality": 60, "subsampling": subsampling, "progressive": subsampling == 1}
        picture = Picture.open(saved(colours, "JPEG", **options))
        assert (picture.info.subsampling, picture.info.progressive) == (subsampling, subsampling == 1)
        again = saved(picture.load(), "JPEG", qtables=picture.info.qtables, subsampling=picture.info.subsampling)
        assert Picture.open(again).info.qtables == picture.info.qtables
        assert len(picture.info.qtables or ()) == 2
    grey_hints = Picture.open(saved(colours.convert("L"), "JPEG")).info
    assert (len(grey_hints.qtables or ()), grey_hints.subsampling, grey_hints.lossless) == (1, -1, False)


def test_hints_of_other_formats(colours: Image.Image) -> None:
    assert Picture.open(saved(colours, "WEBP", lossless=True)).info.lossless is True
    assert Picture.open(saved(colours, "WEBP", lossless=True, icc_profile=DISPLAY_P3)).info.lossless is True
    assert Picture.open(saved(colours, "WEBP")).info.lossless is False
    assert Picture.open(saved(colours, "PNG")).info.lossless is True
    assert Picture.open(saved(colours, "AVIF")).info.lossless is None
    assert Picture.open(saved(colours, "PNG")).info.qtables is None


# Sources


def test_every_source_gives_the_same(tmp_path: Path, colours: Image.Image) -> None:
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF"):
        data = saved(colours, kind)
        path = tmp_path / "no-extension-that-helps.txt"
        path.write_bytes(data)
        unread, loaded = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data))
        loaded.load()
        sources = [str(path), path, data, bytearray(data), io.BytesIO(data), unread, loaded]
        pictures = [Picture.open(source) for source in sources]
        with path.open("rb") as file:
            pictures.append(Picture.open(file))
        for picture in pictures:
            assert picture.image_size == (48, 64)
            assert difference(picture.load(), pictures[0].load()) == 0
            assert difference(picture.views(64)[0], pictures[0].views(64)[0]) == 0
        array = Picture.open(np.asarray(pictures[0].load()))
        assert difference(array.views(64)[0], pictures[0].views(64)[0]) == 0
        assert [picture.name for picture in pictures[:5]] == [str(path)] * 2 + ["<bytes>"] * 2 + ["<file>"]
        assert pictures[5].data == data
        assert (pictures[6].data, pictures[6].format, array.data, array.format) == (None, None, None, None)


def test_a_pillow_picture_is_left_as_it_was(colours: Image.Image) -> None:
    unread = Image.open(io.BytesIO(saved(colours, "PNG")))
    Picture.open(unread).load()
    unread.load()
    assert difference(unread, colours) == 0
    before = colours.copy()
    image = Picture.open(colours).load()
    image.paste((0, 0, 0), (0, 0, 64, 48))
    assert difference(colours, before) == 0
    drafted = Image.open(EXAMPLE)
    drafted.draft("RGB", (300, 225))
    assert Picture.open(drafted).image_size == (drafted.height, drafted.width)


def test_arrays() -> None:
    rng = np.random.default_rng(0)
    for shape, mode in (((6, 5), "L"), ((6, 5, 3), "RGB"), ((6, 5, 4), "RGBA")):
        array = rng.integers(1, 256, shape, dtype=np.uint8)
        picture = Picture.open(array)
        assert (picture.mode, picture.image_size, picture.name, picture.sha256) == (mode, (6, 5), "<array>", None)
        assert difference(picture.load(), array) == 0
        strided = Picture.open(np.repeat(np.repeat(array, 2, axis=0), 2, axis=1)[::2, ::2])
        assert difference(strided.load(), array) == 0
    for bad in (np.zeros((6, 5, 2), np.uint8), np.zeros((6, 5, 3), np.float32), np.zeros(6, np.uint8)):
        with pytest.raises(UsageError, match=r"an array must be uint8 of shape \(H, W, 3\)"):
            Picture.open(bad)
    with pytest.raises(InputError, match="at least one pixel"):
        Picture.open(np.zeros((0, 5, 3), np.uint8))


def test_views_of_a_jpeg_are_reduced_and_no_smaller_than_asked() -> None:
    picture = Picture.open(EXAMPLE)
    assert picture.image_size == (1200, 900)
    for asked, long_side in ((1, 150), (150, 150), (151, 300), (320, 600), (600, 600), (601, 1200), (5000, 1200)):
        (view,) = picture.views(asked)
        assert max(view.shape) == long_side
    full = Image.fromarray(picture.views(1200)[0])
    assert difference(picture.views(320)[0], full.reduce(2)) < 2
    with pytest.raises(UsageError, match="at least 1"):
        picture.views(0)


def test_one_picture_in_four_threads(colours: Image.Image) -> None:
    palette = colours.quantize(16)
    for source in (
        EXAMPLE,
        saved(palette, "PNG", transparency=3),
        saved(colours, "TIFF"),
        saved(colours, "WEBP"),
        palette,
    ):
        picture = Picture.open(source)
        expected = np.asarray(picture.load())
        with ThreadPoolExecutor(4) as pool:
            for image in pool.map(lambda _, picture=picture: picture.load(), range(8)):
                assert difference(image, expected) == 0


def test_decoding_can_be_given_up() -> None:
    picture = Picture.open(EXAMPLE)
    cancel = threading.Event()
    assert difference(picture.load(cancel), picture.load()) == 0
    cancel.set()
    with pytest.raises(Cancelled):
        picture.load(cancel)


def test_decoding_is_given_up_between_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    picture = Picture.open(saved(Image.fromarray(noise), "JPEG", quality=95))
    assert len(picture.data or b"") > 5 * 65536
    cancel, reads = threading.Event(), []

    def read(self: io.BytesIO, size: int = -1) -> bytes:
        reads.append(size)
        if self.tell() > 2 * 65536:
            cancel.set()
        return original(self, size)

    from detector.decode import CancellableBytes

    original = CancellableBytes.read
    monkeypatch.setattr(CancellableBytes, "read", read)
    with pytest.raises(Cancelled):
        picture.load(cancel)
    assert sum(size == 65536 for size in reads) <= 4


# Refusals


def apng(default_image: bool, colours: Image.Image) -> bytes:
    return saved(colours, "PNG", save_all=True, append_images=[colours.rotate(180)], default_image=default_image)


def test_several_frames_are_refused(colours: Image.Image) -> None:
    frames = {"save_all": True, "append_images": [colours.rotate(180)]}
    for data in (
        apng(True, colours),
        apng(False, colours),
        *(saved(colours, kind, **frames) for kind in ("GIF", "WEBP", "AVIF")),
    ):
        for source in (data, io.BytesIO(data), Image.open(io.BytesIO(data))):
            with pytest.raises(InputError, match="must have one frame"):
                Picture.open(source)
    with pytest.raises(InputError, match="must have one page; this TIFF has several"):
        Picture.open(saved(colours, "TIFF", **frames))
    # An MPO's further pictures are dropped: a viewer shows the first one.
    Image.init()
    mpo = Picture.open(saved(colours, "MPO", **frames))
    assert (mpo.format, mpo.lossless_ok) == ("JPEG", True)


def test_an_animation_of_one_frame_is_a_picture(colours: Image.Image) -> None:
    one = png(
        b"\x08\0\0\0\0",
        (b"acTL", struct.pack(">II", 1, 0)),
        (b"fcTL", struct.pack(">5IHHBB", 0, 4, 1, 0, 0, 1, 10, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\1\2\3\4")),
    )
    assert np.asarray(Picture.open(one).load()).tolist() == [[1, 2, 3, 4]]
    for count in (0, 2):  # Pillow would warn of the first and believe the second
        with pytest.raises(InputError, match="must have one frame"):
            Picture.open(one.replace(struct.pack(">II", 1, 0), struct.pack(">II", count, 0)))
    assert Picture.open(saved(colours, "GIF", save_all=True, append_images=[])).image_size == (48, 64)


def test_a_camera_s_preview_is_refused(colours: Image.Image) -> None:
    tags = ImageFileDirectory_v2()
    tags[254] = 1
    with pytest.raises(InputError, match="first page is a preview"):
        Picture.open(saved(colours, "TIFF", tiffinfo=tags))


def test_limits_hold_before_decoding(colours: Image.Image) -> None:
    for size in ((30_000, 30_000), (60_000_000, 1)):
        for data in (
            png(b"\1\0\0\0\0", (b"IDAT", zlib.compress(bytes(1000))), size=size),
            b"GIF89a" + struct.pack("<HH", *(min(side, 65535) for side in size)) + bytes(3),
            b"BM" + struct.pack("<IIIIiiHHIIiiII", 70, 0, 54, 40, *size, 1, 24, 0, 0, 0, 0, 0, 0),
            b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\x0f\xff\xff\x0f",
        ):
            with pytest.raises(LimitError, match="sides must have at most 20000 pixels; got "):
                Picture.open(data)
    for kind in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"):
        data = saved(colours, kind)
        with pytest.raises(LimitError, match="at most 3071 pixels; got 64 x 48 = 3072"):
            Picture.open(data, limits=Limits(max_pixels=3071))
        with pytest.raises(LimitError, match="at most 63 pixels; got 64 x 48"):
            Picture.open(data, limits=Limits(max_side=63))
        assert Picture.open(data, limits=Limits(max_side=64, max_pixels=3072, max_bytes=len(data))).format == kind
        with pytest.raises(LimitError, match=f"at most {len(data) - 1} bytes"):
            Picture.open(data, limits=Limits(max_bytes=len(data) - 1))
    for source in (colours, np.asarray(colours)):
        with pytest.raises(LimitError, match="at most 3071 pixels"):
            Picture.open(source, limits=Limits(max_pixels=3071))


def test_pillow_s_own_limit_holds_too() -> None:
    data = png(b"\1\0\0\0\0", (b"IDAT", zlib.compress(bytes(1000))), size=(10_000, 10_000))
    with pytest.raises(LimitError, match=f"at most {Image.MAX_IMAGE_PIXELS} pixels"):
        Picture.open(data, limits=Limits(max_pixels=10**9))


def test_a_large_tile_is_refused(colours: Image.Image) -> None:
    data = saved(colours, "TIFF")
    entries = [struct.pack("<HHII", 278, 4, 1, 48), struct.pack("<HHII", 284, 3, 1, 1)]
    for entry, tag in zip(entries, (322, 323), strict=True):
        assert entry in data
        data = data.replace(entry, struct.pack("<HHII", tag, 4, 1, 15_000))
    with pytest.raises(LimitError, match=r"\(a tile of it\): a picture must have at most 50000000 pixels"):
        Picture.open(data)


def test_a_gif_frame_larger_than_its_screen_counts(colours: Image.Image) -> None:
    data = bytearray(saved(colours, "GIF"))
    data[6:10] = b"\1\0\1\0"
    assert Picture.open(bytes(data)).image_size == (48, 64)
    with pytest.raises(LimitError):
        Picture.open(bytes(data), limits=Limits(max_pixels=3000))


@pytest.mark.parametrize("bound", [0, -1, 1.5, True, "many"])
def test_limits_are_checked(bound: object) -> None:
    with pytest.raises(UsageError, match="max_side must be a whole number of at least 1"):
        Limits(max_side=bound)  # type: ignore[arg-type]


class Endless(io.RawIOBase):
    """A stream without an end, in small pieces, that counts what is taken from it."""

    taken = 0

    def read(self, size: int = -1) -> bytes:
        piece = b"\xff" * min(size, 1000)
        self.taken += len(piece)
        return piece


def test_reading_stops_one_byte_after_the_limit(tmp_path: Path) -> None:
    stream = Endless()
    with pytest.raises(LimitError, match="at most 12345 bytes; got 12346 or more"):
        Picture.open(stream, limits=Limits(max_bytes=12_345))
    assert stream.taken == 12_346
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(LimitError, match=r"large.jpg: a picture file must have at most 104857600 bytes"):
        Picture.open(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, words in (
        ("", "must be a file; this is a folder"),
        ("missing", "no such file"),
        ("empty", "must not be empty"),
        ("pipe", "this is a pipe"),
        ("a\0b", "must be readable"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            Picture.open(str(tmp_path / name))
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="this is a device"):
        Picture.open("/dev/zero")


def test_file_objects_that_give_no_bytes() -> None:
    closed = io.BytesIO(b"x")
    closed.close()
    for source, words in (
        (io.StringIO("text"), "open it in binary mode"),
        (closed, "reading failed: ValueError"),
        (io.BytesIO(), "must not be empty"),
    ):
        with pytest.raises(InputError, match=words):
            Picture.open(source)  # type: ignore[arg-type]
    for other in (None, 5, ["a.jpg"]):
        with pytest.raises(UsageError, match="must be given as a path"):
            Picture.open(other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%PDF-1.7 and so on", "must be JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF or HEIC; got a file that begins with"),
        (b"%!PS-Adobe-3.0 EPSF", "must be JPEG"),
        (b"P6 1 1 255 abc", "must be JPEG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "a PNG must begin with its header"),
        (b"II*\0\x08\0\0\0", "a TIFF must be whole"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "a WebP must begin with its header"),
        (b"GIF89a", "a GIF must be whole"),
        (b"BM", "must decode without errors; this BMP does not"),
    ],
)
def test_what_is_no_picture(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Picture.open(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_a_truncated_file_is_an_error(kind: str, colours: Image.Image) -> None:
    data = saved(colours, kind)
    for share in (0.3, 0.6, 0.9):
        cut = data[: int(len(data) * share)]
        with pytest.raises(InputError):
            Picture.open(cut).load()
        with pytest.raises(InputError):
            Picture.open(cut).views(64)


def test_a_corrupt_png_is_an_error(colours: Image.Image) -> None:
    data = bytearray(saved(colours, "PNG"))
    data[len(data) // 2] ^= 1
    with pytest.raises(InputError, match="checksums must be right; IDAT"):
        Picture.open(bytes(data))


def test_heic_without_its_decoder_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"pip install 'retina-censor\[heif\]'"):
        Picture.open(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))


def test_heic_is_turned_once(corners: Image.Image) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        pillow_heif.from_pillow(corners).save(file, quality=95, exif=exif.tobytes())
        tagged = corners.copy()
        tagged.getexif()[0x0112] = orientation
        picture = Picture.open(file.getvalue())
        assert (picture.format, picture.orientation) == ("HEIF", 1)
        assert difference(picture.load(), ImageOps.exif_transpose(tagged)) < 3


def test_repr_names_the_picture() -> None:
    assert repr(Picture.open(EXAMPLE)) == f"<Picture {EXAMPLE} JPEG RGB 900 x 1200>"
