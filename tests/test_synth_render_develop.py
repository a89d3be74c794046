"""Backgrounds, photographs without people, and what cameras and files do to a picture."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from detector.errors import UsageError
from detector.synth import photographs
from detector.synth.backgrounds import BACKGROUNDS, background, noise_field
from detector.synth.develop import Development, develop, sample_development
from detector.synth.drawing import DRAWINGS, draw
from detector.synth.frames import FRAMES, Placement, framed
from detector.synth.render import Rendered

SIZE = (72, 96)


def rng(seed=3):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_every_background_is_finite_in_range_and_repeats(kind):
    for seed in range(4):
        picture = background(SIZE, rng(seed), kind)
        assert picture.shape == (*SIZE, 3)
        assert picture.dtype == np.float32
        assert np.isfinite(picture).all()
        assert picture.min() >= 0
        assert picture.max() <= 1
        np.testing.assert_array_equal(picture, background(SIZE, rng(seed), kind))
    assert (background(SIZE, rng(0), kind) != background(SIZE, rng(1), kind)).any()


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 64)])
def test_backgrounds_of_odd_sizes(size):
    for kind in BACKGROUNDS:
        assert background(size, rng(), kind).shape == (*size, 3)


def test_an_unknown_background_names_the_nearest():
    with pytest.raises(UsageError, match="got 'wod'; the nearest is wood"):
        background(SIZE, rng(), "wod")


def test_noise_is_smooth_and_spread():
    field = noise_field((64, 64), rng(), cells=4, octaves=1)
    assert np.abs(np.diff(field)).max() < 0.2
    assert np.ptp(field) > 0.5


def test_only_listed_photographs_without_people_are_found(capfd):
    listed = {name for names in photographs.PHOTOGRAPHS.values() for name in names}
    people = ("astronaut", "camera", "lfw", "hopper", "retina", "coins", "face", "lena", "ihc")
    assert not [name for name in listed if any(word in name.lower() for word in people)]
    for path in photographs.photographs():
        assert path.name in listed
        found = photographs.read_photograph.__wrapped__(path)
        assert found.shape[2] == 3
        assert found.dtype == np.uint8
        assert not found.flags.writeable
        assert max(found.shape) <= 1024
    # A decoder's remarks are nothing for the user of `detector synth`.
    assert capfd.readouterr().err == ""
    assert photographs.read_photograph(Path("missing.png")) is None


def test_a_listed_name_with_another_content_is_left_out(monkeypatch, tmp_path):
    known = {}
    for number in range(8):
        path = tmp_path / f"{number}.png"
        path.write_bytes(bytes([number]))
        known[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", {str(tmp_path): known, "no_such_package:data": {"x.png": "0"}})
    found = photographs.photographs.__wrapped__
    assert [path.name for path in found()] == list(known)
    assert [path.name for path in found("test")] == ["3.png", "7.png"]
    (tmp_path / "1.png").write_bytes(b"somebody")
    (tmp_path / "2.png").unlink()
    assert [path.name for path in found()] == ["0.png", "3.png", "4.png", "5.png", "6.png", "7.png"]
    # Withheld is what is withheld elsewhere too, whatever is installed here.
    assert [path.name for path in found("test")] == ["3.png", "7.png"]
    assert [path.name for path in found("train")] == ["0.png", "4.png", "5.png", "6.png"]


def test_without_photographs_there_is_still_a_background(monkeypatch):
    monkeypatch.setattr("detector.synth.backgrounds.photographs", lambda kinds: ())
    assert background(SIZE, rng(), "photograph").max() > 0


def test_a_plain_development_is_the_tone_curve():
    picture, placement = develop(np.full((*SIZE, 3), 0.5, np.float32), rng(), Development())
    assert (picture == round(255 * 0.5 ** (1 / 2.2))).all()
    assert picture.dtype == np.uint8
    assert placement == Placement()
    ramp = np.linspace(0, 3, 96, dtype=np.float32)[None, :, None] * np.ones((72, 1, 3), np.float32)
    tones = develop(ramp, rng(), Development())[0][0, :, 0].astype(int)
    assert (np.diff(tones) >= 0).all()
    assert (tones[0], tones[-1]) == (0, 255)


def test_exposure_brings_the_middle_where_asked():
    for level in (0.01, 0.2, 3.0):
        picture, _ = develop(np.full((*SIZE, 3), level, np.float32), rng(), Development(middle=0.5))
        assert abs(picture.mean() / 255 - 0.5) < 0.02


@pytest.mark.parametrize(("skin", "rest"), [(0.02, 2.0), (0.9, 0.01)])
def test_the_meter_keeps_the_subject_visible(skin, rest):
    mesh = np.full(SIZE, -1, np.int16)
    mesh[20:40, 30:50] = 0
    maps = {field.name: np.zeros(SIZE, np.float32) for field in dataclasses.fields(Rendered)}
    scene = np.where(mesh[:, :, None] >= 0, np.float32(skin), np.float32(rest)) * np.ones(3, np.float32)
    rendered = Rendered(**(maps | {"mesh": mesh}))
    picture, _ = develop(scene, rng(), Development(middle=0.5), rendered=rendered)
    assert 40 < picture[30, 40, 0] < 200
    masked, _ = develop(scene, rng(), Development(middle=0.5), subject=mesh >= 0)
    np.testing.assert_array_equal(masked, picture)
    blind, _ = develop(scene, rng(), Development(middle=0.5))
    assert not 40 < blind[30, 40, 0] < 200


@pytest.mark.parametrize("frame", FRAMES)
def test_boxes_follow_the_frame(frame):
    marker = np.zeros((200, 240, 3), np.float32)
    marker[60:140, 90:150, 0] = 1
    for seed in range(8):
        picture, placement = develop(marker, rng(seed), Development(frame=frame))
        picture = picture / 255
        assert picture.shape == marker.shape
        assert placement != Placement()
        red = (picture[:, :, 0] > 0.5) & (picture[:, :, 1] < 0.3) & (picture[:, :, 0] - picture[:, :, 1] > 0.4)
        rows, columns = np.nonzero(red)
        left, top, right, bottom = placement.boxes(np.array([[90, 60, 150, 140]]))[0]
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(seen, [left, top, right, bottom], atol=1)


def test_what_is_not_framed_stays_in_place():
    marker = np.full((128, 128, 3), 0.02, np.float32)
    marker[40:80, 50:90] = 1
    blurs = Development(defocus=0.01, motion=(0.02, 0.6), shrink=1.7, jpeg=60, sharpen=0.5, noise=0.01)
    picture, placement = develop(marker, rng(), blurs)
    weight = np.clip(picture[:, :, 1].astype(float) - 80, 0, None)
    rows, columns = np.indices(weight.shape) + 0.5
    assert placement == Placement()
    assert (columns * weight).sum() / weight.sum() == pytest.approx(70, abs=0.7)
    assert (rows * weight).sum() / weight.sum() == pytest.approx(60, abs=0.7)


def test_colours_grey_sepia_and_white_balance():
    scene = rng().random((*SIZE, 3)).astype(np.float32)
    grey, _ = develop(scene, rng(), Development(saturation=0.0))
    assert np.ptp(grey.astype(int), axis=2).max() <= 1
    sepia, _ = develop(scene, rng(), Development(saturation=0.0, sepia=True))
    assert (sepia[..., 0].astype(int) - sepia[..., 2]).mean() > 20
    warm, _ = develop(scene, rng(), Development(white=(1.5, 1.0, 0.6)))
    plain, _ = develop(scene, rng(), Development())
    shift = warm.astype(float).mean(axis=(0, 1)) - plain.astype(float).mean(axis=(0, 1))
    assert shift[0] > 5
    assert abs(shift[1]) < 1
    assert shift[2] < -5


def test_each_option_does_what_it_says():
    flat = np.full((*SIZE, 3), 0.2, np.float32)
    edge = flat.copy()
    edge[:, 48:] = 0.6

    def spread(options, scene=edge):
        return develop(scene, rng(), options)[0].astype(float)

    plain = spread(Development())
    steepest = np.abs(np.diff(plain[..., 1], axis=1)).max()
    for blur in (Development(defocus=0.02), Development(motion=(0.06, 0.0)), Development(shrink=3)):
        assert np.abs(np.diff(spread(blur)[..., 1], axis=1)).max() < 0.8 * steepest
    assert np.ptp(spread(Development(sharpen=1.0))) > np.ptp(plain)
    assert np.ptp(spread(Development(contrast=1.4))) > np.ptp(plain)
    assert spread(Development(noise=0.05), flat).std() == pytest.approx(0.05 * 255, rel=0.3)
    corner = spread(Development(vignette=0.5), flat)
    assert corner[0, 0, 0] < corner[36, 48, 0] - 20
    assert spread(Development(stops=1.0), flat).mean() > spread(Development(), flat).mean() + 20
    texture = rng().random((*SIZE, 3)).astype(np.float32)
    loss = [np.abs(spread(Development(jpeg=q), texture) - spread(Development(), texture)).mean() for q in (95, 20)]
    assert 0 < loss[0] < loss[1]


@pytest.mark.parametrize("kind", DRAWINGS)
def test_drawings_are_in_range_and_keep_the_outline(kind):
    shown = np.full((80, 80, 3), 0.8, np.float32)
    shown[20:60, 20:60] = (0.6, 0.3, 0.2)
    picture = draw(shown, kind, rng())
    assert picture.shape == shown.shape
    assert np.isfinite(picture).all()
    assert picture.min() >= 0
    assert picture.max() <= 1.001
    assert np.abs(picture[40, 17:23] - picture[40, 5]).max() > 0.1


def test_sampled_developments_repeat_differ_and_stay_recognisable():
    scene = background((64, 64), rng(), "food")
    pictures = []
    for seed in range(60):
        picture, placement = develop(scene, rng(seed))
        again, same = develop(scene, rng(seed))
        np.testing.assert_array_equal(picture, again)
        assert placement == same
        pictures.append(picture)
        assert picture.astype(float).std() > 8
    assert len({picture.tobytes() for picture in pictures}) == 60
    options = [sample_development(rng(seed)) for seed in range(400)]
    assert {option.drawing for option in options} == {None, *DRAWINGS}
    assert {option.frame for option in options} == {None, *FRAMES}
    assert 0.02 < np.mean([option.saturation == 0 for option in options]) < 0.2
    assert dataclasses.replace(options[0], jpeg=None).jpeg is None


def test_wrong_calls_say_what_must_hold():
    with pytest.raises(UsageError, match=r"finite \(H, W, 3\)"):
        develop(np.full((4, 4, 3), np.nan, np.float32), rng())
    with pytest.raises(UsageError, match=r"finite \(H, W, 3\)"):
        develop(np.zeros((4, 4), np.float32), rng())
    with pytest.raises(UsageError, match=r"a frame must be one of .* the nearest is border"):
        framed(np.zeros((4, 4, 3), np.float32), "bordr", rng())
    with pytest.raises(UsageError, match=r"a drawing must be one of .* the nearest is toon"):
        draw(np.zeros((4, 4, 3), np.float32), "tooon", rng())
