"""`Picture`: every kind of source gives the same; views, threads, giving up, and facts for writing again."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import DISPLAY_P3, EXAMPLE, colour_picture, difference, saved

from detector.decode import CancellableBytes, Cancelled
from detector.errors import InputError, UsageError
from detector.picture import Picture


@pytest.fixture(scope="module")
def colours() -> Image.Image:
    return colour_picture()


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
    for profile in (DISPLAY_P3, DISPLAY_P3 + b"\0"):  # chunks of even and of odd length before the pixels
        assert Picture.open(saved(colours, "WEBP", lossless=True, icc_profile=profile)).info.lossless is True
    assert Picture.open(saved(colours, "WEBP")).info.lossless is False
    assert Picture.open(saved(colours, "PNG")).info.lossless is True
    assert Picture.open(saved(colours, "AVIF")).info.lossless is None
    assert Picture.open(saved(colours, "PNG")).info.qtables is None


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
    position = unread.fp.tell()
    Picture.open(unread).load()
    assert unread.fp.tell() == position
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
        before = array.copy()
        picture.load().paste(0, (0, 0, 5, 6))
        assert difference(array, before) == 0
        (view, *_) = picture.views(1)
        assert view.flags.c_contiguous
        assert not view.flags.writeable
        assert array.flags.writeable
        strided = Picture.open(np.repeat(np.repeat(array, 2, axis=0), 2, axis=1)[::2, ::2])
        assert difference(strided.load(), array) == 0
        assert strided.views(1)[0].flags.c_contiguous
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

    original = CancellableBytes.read
    monkeypatch.setattr(CancellableBytes, "read", read)
    with pytest.raises(Cancelled):
        picture.load(cancel)
    assert sum(size == 65536 for size in reads) <= 4


def test_images_are_the_views_and_decoded_pixels_are_looked_at_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for mode, channels in (("L", ()), ("RGB", (3,)), ("RGBA", (4,))):
        path = tmp_path / f"{mode}.png"
        Image.fromarray(rng.integers(0, 256, (30, 40, *channels), dtype=np.uint8), mode).save(path)
        picture = Picture.open(path)
        views = picture.views(1)
        assert [image.mode for image in picture.images(1)] == ["RGB"] * len(views)
        for image, view in zip(picture.images(1), views, strict=True):
            assert (np.asarray(image) == view).all()
        again = picture.decoded(picture.load())
        assert (again.name, again.image_size, again.mode) == (picture.name, picture.image_size, picture.mode)
        for seen, view in zip(again.views(1), views, strict=True):
            assert np.abs(seen.astype(int) - view).max() <= (0 if mode != "RGBA" else 1)
    with pytest.raises(UsageError, match="must be this picture's, 40 x 30; got 40 x 31"):
        picture.decoded(Image.new("RGB", (40, 31)))
