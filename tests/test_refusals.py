"""What is refused, before it is decoded where that matters, and each error's text."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from samples import EXAMPLE, colour_picture, corner_picture, difference, png, saved

from detector.decode import decoding
from detector.errors import InputError, LimitError, UsageError
from detector.picture import Limits, Picture


@pytest.fixture(scope="module")
def colours() -> Image.Image:
    return colour_picture()


@pytest.fixture(scope="module")
def corners() -> Image.Image:
    return corner_picture()


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


def test_tiff_tags_outside_the_file(colours: Image.Image) -> None:
    data = saved(colours, "TIFF")
    counts = struct.pack("<HHI", 258, 3, 3)
    assert counts in data
    with pytest.raises(InputError, match="tags must lie inside the file; tag 258 does not"):
        Picture.open(data.replace(counts, struct.pack("<HHI", 258, 3, 10_000)))
    height = struct.pack("<HHII", 257, 4, 1, 48)
    assert height in data
    with pytest.raises(InputError, match="tag 257 must be one whole number; got 2 of type 3"):
        Picture.open(data.replace(height, struct.pack("<HHIHH", 257, 3, 2, 48, 48)))


def test_what_a_decoder_says_becomes_one_line() -> None:
    with (
        pytest.raises(InputError, match=r"^a.jpg: .* this JPEG does not: first second; ") as caught,
        decoding("a.jpg", "JPEG"),
    ):
        raise ValueError("first\n  second")
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_gif_frame_larger_than_its_screen_counts(colours: Image.Image) -> None:
    data = bytearray(saved(colours, "GIF"))
    data[6:10] = b"\1\0\1\0"
    assert Picture.open(bytes(data)).image_size == (48, 64)
    with pytest.raises(LimitError):
        Picture.open(bytes(data), limits=Limits(max_pixels=3000))
    # Pillow would warn of this one.
    large = data.replace(struct.pack("<HH", 64, 48), struct.pack("<HH", 10_000, 10_000))
    with pytest.raises(LimitError, match=f"at most {Image.MAX_IMAGE_PIXELS} pixels; got 10000 x 10000"):
        Picture.open(bytes(large), limits=Limits(max_pixels=10**9))


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
    with pytest.raises(LimitError, match="must have at most 104857600 bytes; got 1099511627776 or"):
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
    with pytest.raises(InputError, match=r"pip install pillow-heif"):
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
