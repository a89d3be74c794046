"""Look again at what was written: nothing that was to be hidden may still be found.

A hidden part can still be found: the box was too small, the blur too weak at its edge, or the output's coding changed
what the network sees. What is found again is covered harder, together with the hidden region that it touches: first in
the same style with fewer cells, in the end with an opaque box. What then still stands is reported, and a person should
look.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from censor.paint import Painted, Region, paint_image
from detector.boxes import box_ios
from detector.detections import Detections
from detector.errors import InputError, OutputError
from detector.picture import Picture

if TYPE_CHECKING:
    from PIL import Image

    from censor.pipeline import Pipeline

__all__ = ["Checked", "check_output"]

# Near a hidden region the second look is twice as sharp as the first: a censored part must not come close to being
# found. (SAFETY: detector at half threshold on the output.)
NEAR_SHARE = 0.5
# Below this the detector finds parts in plain noise, and covering them would go on until the whole picture is black.
NEAR_LEAST = 0.1
# Each round of covering harder makes the box this much wider and taller ...
GROW_HARDER = 0.2
# ... and leaves this many cells along its long side of a blur or mosaic; the last round is an opaque box.
CELLS_BY_ROUND = (2, 1, 0)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The painted picture, its encoded bytes, the regions painted so far, and what is still wrong."""

    image: "Image.Image"
    data: bytes
    painted: tuple[Painted, ...]
    problems: tuple[str, ...] = ()


def check_output(
    pipeline: "Pipeline", picture: Picture, checked: Checked, output_format: str | None, *, cover_new: bool
) -> Checked:
    """Decode the output, detect again, and cover harder what is still found.

    Args:
        pipeline: gives the detector and the policy.
        picture: the source.
        checked: the painted picture and its bytes.
        output_format: as for `Pipeline.run`.
        cover_new: whether a part that is found away from every hidden region is covered too. Off when a person chose
            the boxes: what they left visible stays visible.

    Raises:
        OutputError: when the output does not decode, or to another size.
    """
    for cells in CELLS_BY_ROUND:
        hits = _found_again(pipeline, picture, checked, cover_new=cover_new)
        if not len(hits):
            return checked
        image, painted = paint_image(checked.image, _harder(pipeline, hits, checked.painted, cells))
        data = pipeline.encode(image, picture, output_format)
        checked = replace(checked, image=image, data=data, painted=(*checked.painted, *painted))
    hits = _found_again(pipeline, picture, checked, cover_new=cover_new)
    problems = tuple(
        f"{name} is still found in the output at {score:.2f}, after covering it {len(CELLS_BY_ROUND)} times"
        for name, score in zip(hits.names, hits.scores, strict=True)
    )
    return replace(checked, problems=(*checked.problems, *problems))


def _found_again(pipeline: "Pipeline", picture: Picture, checked: Checked, *, cover_new: bool) -> Detections:
    """Return what must not be found in the output but is."""
    try:
        output = Picture.open(checked.data, limits=replace(picture.limits, max_bytes=sys.maxsize))
        if output.image_size != picture.image_size:
            raise OutputError(f"the output must be {picture.image_size} pixels; it is {output.image_size}")
        rules = pipeline.policy
        classes = tuple(name for name in rules.hide.classes if name in pipeline.model.class_names)
        thresholds = rules.policy.detect.thresholds(classes)
        found: Detections = pipeline.model.detect(
            output,
            classes=classes,
            score_thresh={name: min(value, max(value * NEAR_SHARE, NEAR_LEAST)) for name, value in thresholds.items()},
            tiles=rules.policy.detect.tiles,
        )
    except InputError as error:
        raise OutputError(f"the output must decode; it does not ({error})") from error
    near = box_ios(found.boxes, _boxes(checked.painted)).max(axis=1, initial=0) > 0
    limits = np.array([thresholds[name] for name in found.names], dtype=np.float32)
    return found.select(near | (found.scores >= limits) if cover_new else near)


def _harder(pipeline: "Pipeline", hits: Detections, painted: Sequence[Painted], cells: int) -> list[Region]:
    """Return what to paint over each hit.

    A soft region that a hit touches is painted again together with the hit, with fewer cells. Under an opaque box there
    is nothing left to find: there, and for a new hit, the hit's own box is enough.
    """
    soft = _boxes([item for item in painted if item.style != "box"])
    regions = []
    for box, name in zip(hits.boxes, hits.names, strict=True):
        touched = soft[box_ios(box[None], soft)[0] > 0]
        style = pipeline.policy.hide.style_of(name)
        if len(touched):
            low, high = touched[:, :2].min(axis=0), touched[:, 2:].max(axis=0)
            box = np.concatenate([np.minimum(box[:2], low), np.maximum(box[2:], high)])
            style = replace(style, grow=GROW_HARDER, **({"cells": cells} if cells else {"style": "box"}))
        x1, y1, x2, y2 = (float(side) for side in box)
        regions.append(Region(box=(x1, y1, x2, y2), style=style, label=name))
    return regions


def _boxes(painted: Sequence[Painted]) -> np.ndarray:
    return np.array([item.box for item in painted], dtype=np.float32).reshape(-1, 4)
