"""Stickers: drawn ones, and those from files that nobody has to trust."""

import io

import numpy as np
import pytest
from PIL import Image

from censor import stickers
from censor.stickers import EMOJIS, STICKERS, Sticker, load_sticker
from detector.errors import PolicyError
from detector.limits import Limits


@pytest.mark.parametrize("name", STICKERS)
def test_drawn_stickers_are_pictures_with_clear_corners(name):
    sticker = load_sticker(name)
    assert sticker.name == name
    alpha = np.asarray(sticker.image)[..., 3]
    assert alpha[0, 0] == alpha[-1, -1] == 0
    assert 0.25 < (alpha == 255).mean() < 0.9
    assert sticker is load_sticker(f" {name.upper()} ")
    assert not sticker.grey


def test_an_emoji_names_its_drawing():
    assert set(EMOJIS.values()) == set(STICKERS)
    assert load_sticker("\u2764\ufe0f") == load_sticker("heart")
    assert len({load_sticker(name) for name in STICKERS}) == len(STICKERS)


@pytest.mark.parametrize(("name", "near"), [("hart", "; the nearest is heart"), ("smily", "smiley"), ("", ""), (3, "")])
def test_other_names_are_refused(name, near):
    with pytest.raises(
        PolicyError, match=r"one of heart, smiley, star, or a picture file such as sticker.png; got"
    ) as it:
        load_sticker(name)
    assert near in str(it.value)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_file_of_any_mode_is_read(tmp_path, mode):
    path = tmp_path / "sticker.png"
    image = Image.new("L", (30, 20), 200)
    (Image.new("I;16", (30, 20), 51400) if mode == "I;16" else image.convert(mode)).save(path)
    sticker = load_sticker(path)
    assert sticker.image.mode == "RGBA"
    assert sticker.image.size == (30, 20)
    assert sticker.image.getpixel((3, 3)) == (200, 200, 200, 255)
    assert sticker.grey
    assert sticker == load_sticker(str(path))


def test_a_sticker_is_read_as_a_viewer_shows_it_and_kept_small(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "large.jpg"
    Image.new("RGB", (2100, 700), "red").save(path, exif=exif)
    assert load_sticker(path).image.size == (341, 1024)


def test_equal_pixels_make_equal_stickers_whatever_their_name():
    image = Image.new("RGBA", (4, 6), (1, 2, 3, 100))
    first, second = Sticker.of("a", image), Sticker.of("b", image.copy())
    assert first == second
    assert hash(first) == hash(second)
    assert first != Sticker.of("a", Image.new("RGBA", (6, 4), (1, 2, 3, 100)))
    assert np.unique(np.asarray(first.on((101, 102, 103))).reshape(-1, 3), axis=0).tolist() == [[62, 63, 64]]


@pytest.mark.parametrize("data", [None, b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_picture_is_refused(tmp_path, data):
    path = tmp_path / "sticker.png"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(PolicyError, match="a sticker must be a picture file that can be read"):
        load_sticker(path)


def test_stickers_that_are_too_large_or_move_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "sticker.gif"
    frames = [Image.new("L", (8, 8), value) for value in (0, 255)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(PolicyError, match="a sticker must be"):
        load_sticker(path)
    monkeypatch.setattr(stickers, "LIMITS", Limits(max_pixels=100))
    buffer = io.BytesIO()
    Image.new("L", (11, 10)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    with pytest.raises(PolicyError, match="at most 100 pixels; got 11 x 10"):
        load_sticker(path)
