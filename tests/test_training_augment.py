from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("albumentations")

from detector.training.augment import Sample, augment, letterboxed
from detector.training.config import AugmentConfig

STILL = AugmentConfig(
    flip=0, crop=0, scale=(1, 1), blur=0, jpeg=0, colour=0, noise=0, cutout=0, grayscale=0, min_visibility=0.4
)  # fmt: skip
# Far enough apart to be told from each other and from the grey around them after resizing.
RED, GREEN, GREY = (255, 0, 0), (0, 255, 0), (90, 90, 90)


def scene(height: int = 120, width: int = 160) -> Sample:
    """A red and a green box on grey; the green one is to be ignored."""
    image = np.full((height, width, 3), GREY, dtype=np.uint8)
    image[30:70, 20:60] = RED
    image[80:110, 100:140] = GREEN
    return Sample(
        image=image,
        boxes=np.array([[20, 30, 60, 70]], dtype=np.float32),
        labels=np.array([4]),
        ignore=np.array([[100, 80, 140, 110]], dtype=np.float32),
    )


def colour_box(image: Any, channel: int) -> list[float]:
    """The box of the pixels in which one channel stands out."""
    other = image[..., [c for c in range(3) if c != channel]].max(axis=2).astype(int)
    ys, xs = np.nonzero(image[..., channel].astype(int) - other > 100)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


@pytest.mark.parametrize("seed", range(12))
def test_boxes_stay_on_their_pixels(seed: int) -> None:
    config = replace(STILL, flip=0.5, crop=0.5, scale=(0.6, 1.3), min_visibility=0.05)
    done = augment(scene(), config, (96, 128), seed)
    assert done.image.shape == (96, 128, 3)
    assert len(done.boxes) == len(done.labels) <= 1
    for boxes, channel in ((done.boxes, 0), (done.ignore, 1)):
        for box in boxes:
            assert np.abs(box - colour_box(done.image, channel)).max() <= 1.6, "a pixel and a half of resizing"


def test_the_seed_decides_everything() -> None:
    config = AugmentConfig(blur=1, jpeg=1, colour=1, noise=1, cutout=1)
    first, other = augment(scene(), config, (96, 128), 5), augment(scene(), config, (96, 128), 6)
    again = augment(scene(), config, (96, 128), 5)
    assert (first.image == again.image).all()
    assert (first.boxes == again.boxes).all()
    assert (first.image != other.image).any()


def test_a_flip_mirrors() -> None:
    done = augment(scene(), replace(STILL, flip=1), (120, 160), 0)
    assert (done.image == scene().image[:, ::-1]).all()
    assert done.boxes.tolist() == [[100, 30, 140, 70]]
    assert done.ignore.tolist() == [[20, 80, 60, 110]]


@pytest.mark.parametrize("seed", range(8))
def test_a_crop_keeps_boxes(seed: int) -> None:
    done = augment(scene(), replace(STILL, crop=1), (128, 128), seed)
    assert len(done.boxes) == 1
    assert done.boxes[0] == pytest.approx(colour_box(done.image, 0), abs=1.6)


@pytest.mark.parametrize(
    ("kind", "strength"),
    [
        ("blur", {"blur_sigma": (2.0, 2.0)}),
        ("jpeg", {"jpeg_quality": (5, 5)}),
        ("colour", {"brightness": 0.9}),
        ("noise", {"noise_std": (0.1, 0.1)}),
        ("cutout", {"cutout_size": (0.2, 0.2)}),
        ("grayscale", {}),
    ],
)
def test_each_kind_changes_pixels_and_no_box(kind: str, strength: dict[str, Any]) -> None:
    config = replace(STILL, min_visibility=0.0, **strength)
    before = augment(scene(), config, (120, 160), 1)
    after = augment(scene(), replace(config, **{kind: 1.0}), (120, 160), 1)
    assert (before.image == scene().image).all()
    assert (after.image != before.image).any()
    assert (after.boxes == before.boxes).all()


def test_strengths_count() -> None:
    def change(quality: int) -> float:
        rough = augment(scene(), replace(STILL, jpeg=1, jpeg_quality=(quality, quality)), (120, 160), 0).image
        return float(np.abs(rough.astype(int) - scene().image).mean())

    assert change(3) > 2 * change(90)


def test_what_a_crop_leaves_too_little_of_is_ignored() -> None:
    sample = scene()
    # At four times the size only a part of the picture fits: sometimes the box is cut, sometimes gone.
    config = replace(STILL, scale=(4, 4), min_visibility=0.6)
    kept = cut = gone = 0
    for seed in range(40):
        done = augment(sample, config, (120, 160), seed)
        reds = [box for box in done.ignore if (done.image[int(box[1]), int(box[0])] == RED).all()]
        for box in [*done.boxes, *reds]:
            assert np.abs(box - colour_box(done.image, 0)).max() <= 1.6
        kept, cut = kept + len(done.boxes), cut + len(reds)
        gone += not len(done.boxes) and not reds
        for box in done.boxes:
            assert (box[2:] - box[:2]).prod() >= 0.6 * 160 * 160 * 0.98
        for box in reds:
            assert (box[2:] - box[:2]).prod() <= 0.6 * 160 * 160 * 1.02
    assert min(kept, cut, gone) >= 1


def test_what_a_cutout_covers_is_ignored() -> None:
    config = replace(STILL, cutout=1, cutout_holes=(1, 1), cutout_size=(0.8, 0.8))
    fates = set()
    for seed in range(20):
        done = augment(scene(), config, (120, 160), seed)
        fates.add((len(done.boxes), len(done.ignore)))
    assert (0, 2) in fates
    assert all(boxes + ignore == 2 for boxes, ignore in fates), "nothing becomes background"


def test_padding_is_marked() -> None:
    done = augment(scene(), replace(STILL, scale=(0.5, 0.5)), (120, 160), 3)
    assert done.content is not None
    assert done.content.sum() == 60 * 80
    assert (done.image[done.content].max(axis=1) > 0).all()


def test_a_picture_without_boxes() -> None:
    nothing = np.zeros((0, 4), dtype=np.float32)
    sample = Sample(image=scene().image, boxes=nothing, labels=np.zeros(0, dtype=np.int64), ignore=nothing)
    done = augment(sample, AugmentConfig(crop=1, cutout=1), (96, 96), 0)
    assert done.boxes.shape == done.ignore.shape == (0, 4)
    assert done.labels.shape == (0,)


def test_letterboxed_fits_top_left() -> None:
    done, content = letterboxed(scene().image, (64, 64))
    assert content == (48, 64)
    assert done.content is not None
    assert done.content[:48].all()
    assert not done.content[48:].any()
    assert colour_box(done.image, 0) == pytest.approx([8, 12, 24, 28], abs=1)
    assert letterboxed(np.zeros((1, 20_000, 3), dtype=np.uint8), (64, 96))[1] == (1, 96)
