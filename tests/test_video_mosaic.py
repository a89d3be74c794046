"""What many frames of a mosaic over something that moves tell about it, to someone who knows all but what is hidden."""

from typing import Any

import numpy as np
import pytest
from moving_parts import MovingPart, looks
from PIL import Image

from censor.animation.covering import Cover, Painter
from censor.masks import slices
from censor.motion.regions import HeldBox, hold_regions
from censor.paint import Region, paint, whole
from censor.policy import HideRules
from censor.video.painting import FramePainter

SIZE, SIDE, BLOCKS = (240, 320), 48, 8
FRAME = (0, 0, SIZE[1], SIZE[0])
SLOW, FAST = (6.0, (60.0, 30.0), 0.2), (0.5, (120.0, 80.0), 0.3)


def shown(picture: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    """Draw a part of so many blocks, (BLOCKS, BLOCKS) grey values, on a plain ground."""
    frame = np.full((*SIZE, 3), 128, np.uint8)
    x, y = corner
    step = SIDE // BLOCKS
    frame[y : y + SIDE, x : x + SIDE] = np.kron(picture, np.ones((step, step)))[..., None].round()
    return frame


def attacked(period: float, swing: tuple[float, float], misses: float, style: str) -> tuple[int, float]:
    """Return how many different mosaics a clip of 4 s shows, and which share of the part's variance they give away."""
    part = MovingPart((160, 120), swing, period, (SIDE, SIDE))
    times = [i / 30 for i in range(120)]
    held = hold_regions(list(looks([part], times, misses=misses, shake=0.05, seed=1)), times, starts=0.25)
    secret = np.random.default_rng(0).uniform(40, 215, (BLOCKS, BLOCKS))
    painter = FramePainter(HideRules(style=style), SIZE)
    seen: list[tuple[Any, np.ndarray, tuple[int, int]]] = []
    measure = painter._patch

    def watched(job: Any, before: np.ndarray) -> np.ndarray:
        count = len(painter._frozen)
        patch = measure(job, before)
        if len(painter._frozen) > count:
            seen.append((job, before.copy(), corner))
        return patch

    painter._patch = watched  # type: ignore[method-assign]
    for time, boxes in zip(times, held, strict=True):
        box = part.box(time)
        assert box is not None
        corner = round(box[0]), round(box[1])
        painter.paint(shown(secret, corner), boxes)

    def cells(job: Any, frame: np.ndarray) -> np.ndarray:
        patch = frame[slices(job.footprint.window, FRAME)].copy()
        paint(patch, [whole(patch.shape[:2], job.region.style)])
        return np.asarray(Image.fromarray(patch).resize((8, 8), Image.Resampling.BOX), float)[..., 0].ravel()

    rows, values = [], []
    for job, before, place in seen:
        empty = cells(job, shown(np.full((BLOCKS, BLOCKS), 128.0), place))
        columns = []
        for i in range(BLOCKS**2):
            one = np.full(BLOCKS**2, 128.0)
            one[i] = 228
            columns.append((cells(job, shown(one.reshape(BLOCKS, BLOCKS), place)) - empty) / 100)
        rows.append(np.array(columns).T)
        values.append(cells(job, before) - empty)
    known, value = np.vstack(rows), np.concatenate(values)
    guess = np.linalg.solve(known.T @ known + 1e-3 * np.eye(BLOCKS**2), known.T @ value)
    truth = (secret - 128).ravel()
    return len(seen), float(1 - ((guess - truth) ** 2).sum() / (truth**2).sum())


@pytest.mark.parametrize("style", ["pixelate", "blur"])
def test_what_moves_fast_shows_one_mosaic_and_no_more_than_a_still_does(style: str) -> None:
    """With a mosaic for each part that is followed the fast one shows 24, and they give away 66 % of its variance."""
    mosaics, slow = attacked(*SLOW, style)
    assert mosaics == 1  # as much as a still tells
    many, fast = attacked(*FAST, style)
    print(f"{style}: slow {slow:.3f}, fast {fast:.3f} from {many}")
    assert many == 1
    assert fast <= slow + 0.01


def test_a_mosaic_stays_the_same_for_all_parts_of_a_class() -> None:
    rng = np.random.default_rng(0)
    painter, other = FramePainter(HideRules(style="pixelate", grow=0.0), SIZE), Painter()
    patterns, cells = set(), set()
    for track in range(6):
        frame = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        box = (20.0 + track, 20.0, 68.0 + track, 68.0)
        image = Image.fromarray(frame)
        painter.paint(frame, [HeldBox(box, "BUTTOCKS_EXPOSED", track, True)])
        patterns.add(frame[20:68, 20 + track : 68 + track].tobytes())
        style = HideRules(style="pixelate", grow=0.0).style_of("BUTTOCKS_EXPOSED")
        image, _ = other.paint(image, [Cover(Region(box, style, "BUTTOCKS_EXPOSED"), str(track))])
        cells.add(np.asarray(image)[20:68, 20 + track : 68 + track].tobytes())
    assert len(patterns) == len(cells) == 1
