"""`Editing`: one picture while a person edits what is hidden; paints previews and saves. No HTTP here.

A preview is painted at full size by what paints the output, and only then reduced for the screen.
"""

import io
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from censor.atomic import stream_atomic
from censor.batch.journal import hash_file
from censor.imagefile import EXTENSIONS, encode, format_for
from censor.jobs import same_file
from censor.paint import paint_image
from censor.pipeline import Pipeline, regions_of
from censor.policy import CensorPolicy, load_censor_policy
from censor.report import SCHEMA, WHOLE, MaskFile, Report
from censor.stickers import STICKERS
from censor.styles import SHAPES, SOFT_STYLES, STYLES
from detector.classes import ALL_CLASSES, canonical_class
from detector.cliparts import printable
from detector.decode import to_srgb
from detector.detections import Detections
from detector.errors import UsageError
from detector.palette import class_colour
from detector.picture import Picture

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Changes", "Editing", "target_beside"]

# The longest side that the page is sent; a larger picture is averaged over whole squares of 2 x 2, 3 x 3, ... pixels,
# so that every place on the screen is an exact place in the picture.
SCREEN_SIDE = 2400
# Ten times as many as anybody has drawn; painting takes time with each.
MAX_BOXES = 500
# What the page may set; each is a key of the policy's [hide].
LOOK = ("style", "shape", "colour", "grow", "feather", "cells", "sticker", "caption")
# What a box may be called.
LABELS = (*ALL_CLASSES, WHOLE)
# The loopback is faster than a better compression.
_SCREEN_PNG_LEVEL = 1


def target_beside(source: str, picture: Picture) -> str:
    """Return the output's name where none was given: `photo.jpg` becomes `photo.censored.jpg`."""
    path = Path(source)
    suffix = path.suffix
    if suffix.lower() not in EXTENSIONS:
        suffix = next(suffix for suffix, name in EXTENSIONS.items() if name == picture.format)
        return str(path.with_name(f"{path.name}.censored{suffix}"))
    return str(path.with_name(f"{path.stem}.censored{suffix}"))


@dataclass(frozen=True)
class Changes:
    """What the page sends: all boxes, and how they are hidden where that differs from the policy."""

    records: tuple[Mapping[str, Any], ...]
    boxes: Detections
    policy: CensorPolicy

    @classmethod
    def read(cls, value: object, picture: Picture, policy: CensorPolicy) -> "Changes":
        """Check what the page sent, as strictly as a mask file.

        Args:
            value: parsed JSON: `{"boxes": [...], "look": {...}}`.
            picture: what the boxes are drawn on.
            policy: what holds where `look` says nothing.

        Raises:
            UsageError: when it is not of this form, or asks for a style that cannot be made.
            InputError: when the boxes are not as a mask file's.
        """
        if not isinstance(value, dict) or set(value) != {"boxes", "look"}:
            raise UsageError("changes must be an object of `boxes` and `look`; got something else")
        boxes, look = value["boxes"], value["look"]
        if not isinstance(boxes, list) or len(boxes) > MAX_BOXES:
            raise UsageError(f"the boxes must be a list of at most {MAX_BOXES}; got something else")
        if not isinstance(look, dict) or not set(look) <= set(LOOK):
            raise UsageError(f"how to hide must be said by {', '.join(LOOK)}; got something else")
        if not all(isinstance(look.get(key, ""), str) for key in ("colour", "sticker", "caption")):
            raise UsageError("a colour, a sticker and a caption must be text; got something else")
        if look.get("sticker", policy.hide.sticker) not in _stickers(policy):  # a page must not name files
            raise UsageError(f"a sticker must be one of {', '.join(_stickers(policy))}; got {look['sticker']!r}")
        record: dict[str, Any] = {
            "schema": SCHEMA,
            "source": picture.name,
            "image_size": list(picture.image_size),
            "boxes": [_checked_record(box) for box in boxes],
            "sha256": {"in": picture.sha256},
        }
        Detections.from_records(record["boxes"], picture.image_size, class_names=LABELS)  # the hidden and the shown
        found, records = MaskFile((record,)).boxes_for(picture)
        return cls(tuple(records), found, load_censor_policy(policy, **look))


class Editing:
    """One picture, the boxes to begin with, and where a save goes. Safe for threads: one paints or saves at a time.

    Args:
        pipeline: looks, paints, encodes and verifies.
        picture: of a file, so that the mask is found again by its hash.
        target: where the output goes; the mask file goes to the same name with `.json` behind it.
        mask: begin with these boxes instead of what the detector finds.

    Raises:
        UsageError: when OUT or the mask file would replace the picture itself, or OUT's suffix is not known.
        InputError: when the picture cannot be decoded, or the mask is for another one.
    """

    def __init__(self, pipeline: Pipeline, picture: Picture, target: str, mask: MaskFile | None = None) -> None:
        self.pipeline = pipeline
        self.picture = picture
        self.target = target
        self.mask_target = f"{target}.json"
        self.output_format = format_for(target)
        self._refuse_source()
        self.factor = max(1, -(-max(picture.image_size) // SCREEN_SIDE))
        self.lock = threading.Lock()
        self.last: Report | None = None  # of the latest save
        self._last_data = b""
        self._closed = False
        self._begin = self._first_look(mask)
        self._image = picture.load()

    def state(self) -> dict[str, Any]:
        """Return what the page needs to begin, JSON-ready."""
        height, width = self.picture.image_size
        rules = self.pipeline.policy.hide
        style = rules.style_of("")
        verdict = self._begin.verdict
        labels = tuple(dict.fromkeys((*rules.classes, *LABELS)))
        exists = [path for path in (self.target, self.mask_target) if os.path.lexists(path)]
        return {
            "source": self.picture.name,
            "target": self.target,
            "mask_target": self.mask_target,
            "replaces": exists if self.last is None else [],
            "width": width,
            "height": height,
            "factor": self.factor,
            "boxes": [_plain_record(box) for box in self._begin.boxes],
            "verdict": verdict.verdict if verdict else None,
            "reasons": list(verdict.reasons) if verdict else [],
            "warnings": list(self._begin.warnings),
            "policy": self.pipeline.policy.policy.name,
            "by_class": sorted(rules.by_class),
            "look": {
                "style": style.style,
                "shape": style.shape,
                "colour": "#{:02x}{:02x}{:02x}".format(*style.colour),
                "grow": style.grow,
                "feather": style.feather,
                "cells": style.cells,
                "sticker": rules.sticker,
                "caption": style.caption,
            },
            "soft_styles": list(SOFT_STYLES),
            "stickers": _stickers(self.pipeline.policy),
            "styles": list(STYLES),
            "shapes": list(SHAPES),
            "classes": [
                {"name": name, "words": _words(name), "colour": "#{:02x}{:02x}{:02x}".format(*class_colour(name))}
                for name in labels
            ],
        }

    def original(self) -> bytes:
        """Return the uncensored picture as a PNG for the screen."""
        return self._for_screen(self._image)

    def preview(self, value: object) -> bytes:
        """Return the picture as a save would paint it, as a PNG for the screen."""
        changes = Changes.read(value, self.picture, self.pipeline.policy)
        with self.lock:
            image, _ = paint_image(self._image.copy(), regions_of(changes.boxes, changes.policy.hide))
        return self._for_screen(image)

    def save(self, value: object) -> Report:
        """Write the output and the mask file: both, or neither; the output last.

        Raises:
            UsageError: as `Changes.read`, or when the round is closed.
            InputError: as `Changes.read`.
            OutputError: when one of them cannot be written; both are as they were.
        """
        changes = Changes.read(value, self.picture, self.pipeline.policy)
        pipeline = replace(self.pipeline, policy=changes.policy)
        with self.lock:
            if self._closed:
                raise UsageError("a save must come before the end of the editing round; it has ended")
            self._refuse_source()
            outcome = pipeline.run_mask(self.picture, changes.boxes, changes.records, self.target, self.output_format)
            report = replace(outcome.report, warnings=(*outcome.report.warnings, *self._changed_since()))
            boxes = replace(report, pdq=None)  # a likeness can be made of that hash, and OUT may be passed on
            with stream_atomic(self.target) as output, stream_atomic(self.mask_target) as mask:
                for file, data in ((mask, (boxes.to_json() + "\n").encode("ascii")), (output, outcome.data)):
                    file.write(data)
                    file.flush()  # a full disk must show before either is put in its place
            self.last, self._last_data = report, outcome.data
        return report

    def result(self) -> bytes:
        """Return the file that was saved last, decoded again, as a PNG for the screen."""
        if self.last is None:
            raise UsageError("a result must have been saved before it can be shown; nothing was saved yet")
        limits = replace(self.picture.limits, max_bytes=max(self.picture.limits.max_bytes, len(self._last_data)))
        saved = Picture.open(self._last_data, limits=limits)
        return _png(to_srgb(saved.load().reduce(self.factor), saved.icc_profile))

    def close(self) -> None:
        """Wait for a save that is under way, and take no other."""
        with self.lock:
            self._closed = True

    def _first_look(self, mask: MaskFile | None) -> Report:
        """Return the report whose boxes the page begins with; nothing is written."""
        first = replace(self.pipeline, verify=False)
        if mask is None:
            return first.run(self.picture, None, None).report
        boxes, records = mask.boxes_for(self.picture)
        return first.run_mask(self.picture, boxes, records, None, None).report

    def _changed_since(self) -> Iterator[str]:
        if hash_file(self.picture.name) != self.picture.sha256:
            name = printable(self.picture.name)
            yield f"{name} was changed while it was edited; what was saved shows it as it was before"

    def _refuse_source(self) -> None:
        for path in (self.target, self.mask_target):
            if same_file(self.picture.name, path):
                raise UsageError(f"a save must write another file than IN; both are {path}; name another OUT")

    def _for_screen(self, image: "Image.Image") -> bytes:
        """Reduce a picture of the source's colours and show it in sRGB."""
        small = image.reduce(self.factor) if self.factor > 1 else image
        profile = self.picture.icc_profile
        if profile is not None and (profile[16:20] == b"GRAY") != (small.mode == "L"):
            return encode(small, self.picture, "PNG")  # a coloured box on grey: as the output, with its conversion
        return _png(to_srgb(small, profile))


def _png(image: "Image.Image") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=_SCREEN_PNG_LEVEL, icc_profile=None)
    return buffer.getvalue()


def _checked_record(box: object) -> dict[str, Any]:
    """Keep what a mask file holds, and nothing else that a page might send."""
    if not isinstance(box, dict) or not set(box) <= {"label", "box", "hide", "score"}:
        raise UsageError("a box must be an object of `label`, `box`, `hide` and perhaps `score`; got something else")
    return dict(box)


def _plain_record(box: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a box, its class in the one spelling that the page knows."""
    kept = {key: box[key] for key in ("score",) if key in box}
    label = canonical_class(str(box["label"]), LABELS)
    return {"label": label, "box": list(box["box"]), "hide": box.get("hide", True), **kept}


def _stickers(policy: CensorPolicy) -> list[str]:
    """Return the stickers that can be chosen: those that are drawn here, and the policy's own."""
    return list(dict.fromkeys((*STICKERS, policy.hide.sticker)))


def _words(name: str) -> str:
    """Spell a class for people; `exposed` goes without saying, `covered` does not."""
    return name.removesuffix("_EXPOSED").replace("_", " ").lower()
