"""The pictures with the most mistakes, drawn for a report: body regions hidden unless asked for otherwise."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.boxes import round_outward
from detector.errors import OutputError
from detector.evaluation.cases import Case
from detector.evaluation.confusion import Pairs, pair_up
from detector.picture import Picture

__all__ = ["LONG_SIDE", "Worst", "draw_case", "hide_regions", "jpeg_url", "worst_cases"]

# Cells along the long side of a hidden region, whatever its size: fewer than the six of the default policy, since
# nobody has to enjoy these pictures.
CELLS = 4
# Every side of a region is moved outward by this share of the region's side first: annotations are drawn tight.
GROW = 0.15
# A report of a dozen pictures stays under 2 MB.
LONG_SIDE, JPEG_QUALITY = 480, 80

# RGB, told apart by colour-blind readers too (Okabe and Ito): what is there, found rightly, wrongly; crowds.
TRUTH_COLOUR, RIGHT_COLOUR, WRONG_COLOUR, CROWD_COLOUR = (0, 114, 178), (0, 158, 115), (213, 94, 0), (150, 150, 150)


@dataclass(frozen=True, kw_only=True)
class Worst:
    """One picture of the report.

    Attributes:
        case: with its annotations and detections.
        mistakes: parts missed, found wrongly or taken for another class, at the operating threshold.
        notes: one line for each mistake.
    """

    case: Case
    mistakes: int
    notes: tuple[str, ...]


def worst_cases(cases: Iterable[Case], class_names: Sequence[str], score_thresh: float, most: int) -> list[Worst]:
    """Return the pictures with the most mistakes, worst first; those without any are left out."""
    found = []
    for case in cases:
        notes = tuple(_notes(case, pair_up(case, score_thresh), class_names))
        if notes:
            found.append(Worst(case=case, mistakes=len(notes), notes=notes))
    return sorted(found, key=lambda worst: (-worst.mistakes, worst.case.image_id))[:most]


def hide_regions(image: NDArray[np.uint8], boxes: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the picture with each box replaced by a few cells of its mean colour.

    Args:
        image: (H, W, 3) uint8 RGB; left as it is.
        boxes: (N, 4) xyxy in its pixels; each is grown by `GROW` first, and may reach over the edge.
    """
    hidden = image.copy()
    size = (image.shape[0], image.shape[1])
    margin = np.tile((boxes[:, 2:] - boxes[:, :2]) * GROW, 2) * np.array([-1, -1, 1, 1])
    for x1, y1, x2, y2 in round_outward((boxes + margin).astype(np.float32), size):
        height, width = int(y2 - y1), int(x2 - x1)
        if height > 0 and width > 0:
            scale = CELLS / max(height, width)
            cells = (max(1, round(min(CELLS, width * scale))), max(1, round(min(CELLS, height * scale))))
            few = cv2.resize(hidden[y1:y2, x1:x2], cells, interpolation=cv2.INTER_AREA)
            hidden[y1:y2, x1:x2] = cv2.resize(few, (width, height), interpolation=cv2.INTER_NEAREST)
    return hidden


def draw_case(
    worst: Worst, folder: Path, other_boxes: NDArray[np.float64] | None, *, score_thresh: float, show: bool
) -> str:
    """Return a picture with its boxes as a `data:` URL of a JPEG.

    Args:
        worst: the picture.
        folder: where its file is.
        other_boxes: (N, 4) what else is marked, by annotations that are not evaluated or by other models; hidden, not
            drawn.
        score_thresh: detections from here up are drawn; all of them are hidden.
        show: leave the picture as it is. Otherwise everything annotated and everything found is hidden; what neither
            a person nor the detector marked stays as it is.
    """
    case = worst.case
    image = np.asarray(Picture.open(folder / case.file_name).load().convert("RGB"))
    if not show:
        everything = [case.truth_boxes, case.found_boxes, np.zeros((0, 4)) if other_boxes is None else other_boxes]
        image = hide_regions(image, np.concatenate(everything))
    scale = min(1.0, LONG_SIDE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    canvas = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    for box, crowd in zip(case.truth_boxes, case.truth_crowd, strict=True):
        _rectangle(canvas, box * scale, CROWD_COLOUR if crowd else TRUTH_COLOUR)
    pairs = pair_up(case, score_thresh)
    for index, truth in enumerate(pairs.truth_of):
        right = truth >= 0 and case.truth_labels[truth] == case.found_labels[index]
        colour = CROWD_COLOUR if pairs.ignored[index] else RIGHT_COLOUR if right else WRONG_COLOUR
        _rectangle(canvas, case.found_boxes[index] * scale, colour)
    return jpeg_url(canvas, case.file_name)


def jpeg_url(image: NDArray[Any], name: str) -> str:
    """Return a picture as a `data:` URL of a JPEG.

    Args:
        image: (H, W, 3) uint8 RGB.
        name: for the message.

    Raises:
        OutputError: when it cannot be encoded.
    """
    done, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise OutputError(f"the picture for the report must be encodable as JPEG; {name} is not")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _rectangle(canvas: NDArray[Any], box: NDArray[np.float64], colour: tuple[int, int, int]) -> None:
    x1, y1, x2, y2 = (round(float(side)) for side in box)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, thickness=2)


def _notes(case: Case, pairs: Pairs, class_names: Sequence[str]) -> Iterable[str]:
    for truth in pairs.missed:
        yield f"missed {class_names[case.truth_labels[truth]]}"
    for index, truth in enumerate(pairs.truth_of):
        found, score = class_names[case.found_labels[index]], case.found_scores[index]
        if truth < 0 and not pairs.ignored[index]:
            yield f"{found} {score:.2f} where nothing is"
        elif truth >= 0 and case.truth_labels[truth] != case.found_labels[index]:
            yield f"{class_names[case.truth_labels[truth]]} taken for {found} {score:.2f}"
