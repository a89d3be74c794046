"""One picture through the whole job: look, decide, paint, write, and check what was written.

`Pipeline` holds no per-picture state: one may serve many threads at once.
"""

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from censor.imagefile import encode
from censor.jpegfile import has_restarts, rewrite_jpeg
from censor.known import drawn_boxes, drawn_records, hash_and_recall
from censor.paint import Painted, Region, paint_image, whole
from censor.policy import CensorPolicy, HideRules
from censor.preview import draw_boxes
from censor.report import WHOLE, Report
from censor.verify import Checked, check_output
from detector.detections import Detections
from detector.errors import InputError
from detector.known import KnownList, with_known
from detector.picture import Picture
from detector.pixels import Pixels
from detector.verdict import Verdict, classify

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Detector", "Outcome", "Pipeline", "SecondOpinion", "regions_of"]


class Detector(Protocol):
    """What the pipeline asks of a detector; `detector.load()` gives one."""

    name: str
    class_names: tuple[str, ...]
    device: str
    sha256: str

    def detect(
        self, images: Any, *, classes: Sequence[str], score_thresh: float | Mapping[str, float], tiles: bool
    ) -> Any:
        """Find parts in one picture."""
        ...


class SecondOpinion(Protocol):
    """What the pipeline asks of a whole-picture classifier."""

    def look(self, images: Any) -> Any:
        """Return the `Opinion` of one picture."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The bytes to write, and what is to be said about them."""

    data: bytes
    report: Report


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The parts of the job, put together once and used for many pictures.

    Attributes:
        model: the detector.
        opinion: the whole-picture classifier; None when the policy does not ask it.
        policy: what counts as found, what is said and what is hidden.
        verify: whether the encoded output is decoded and looked at again.
        ahead: whether one picture may use a second core: to decode a large JPEG while the detector looks, and to
            encode. Off where every core has a picture of its own to work on.
        known: a person's earlier decisions about near copies; None asks nobody.
    """

    model: Detector
    opinion: SecondOpinion | None
    policy: CensorPolicy
    verify: bool = True
    ahead: bool = True
    known: KnownList | None = None

    def look(self, pixels: Pixels) -> tuple[Detections, Verdict]:
        """Return what was found at or above the policy's thresholds, and the verdict."""
        rules = self.policy
        found: Detections = self.model.detect(
            pixels.for_detector(), classes=rules.classes, score_thresh=rules.thresholds, tiles=rules.policy.detect.tiles
        )
        opinion = self.opinion.look(pixels.for_opinion()) if self.opinion is not None else None
        return found, classify(found, opinion, policy=rules.policy)

    def run(self, picture: Picture, target: str | None, output_format: str | None) -> Outcome:
        """Censor one picture.

        Args:
            picture: the picture as it came in; never changed.
            target: name of the output, for the report.
            output_format: Pillow's name of the format to write; None keeps the input's.

        Raises:
            InputError: when the picture cannot be decoded.
            OutputError: when the result cannot be encoded.
        """
        rewritten = _rewritten(picture, output_format)
        with self._pixels(rewritten or picture) as pixels:
            pdq, match = hash_and_recall(pixels, self.known, self.policy.policy)
            drawn = drawn_boxes(match, picture.image_size)
            if match is not None and not match.looked:
                report = self._report(
                    picture,
                    target,
                    verdict=with_known(None, match, self.policy.policy),
                    boxes=tuple(drawn_records(drawn)),
                    warnings=(),
                    by_model=False,
                )
                # A copy may be cropped a little, and its boxes lie off: the output is looked at, where there are any.
                judge = self if len(drawn) else replace(self, verify=False)
                report = replace(report, pdq=pdq, known=match)
                regions = self._asked_for_all(picture) or regions_of(drawn, self.policy.hide)
                return judge._write(picture, pixels, regions, report, output_format)
            found, verdict = self.look(pixels)
            if match is not None:
                verdict = with_known(verdict, match, self.policy.policy)
            hide = found.of_classes(self.policy.hide.classes)
            flagging = set(found.names) & set(self.policy.policy.verdict.nsfw_classes)
            left = sorted(flagging - set(self.policy.hide.classes))
            regions, warnings = self._regions(picture, hide, drawn, verdict, left)
            boxes = (*self._records(found, regions), *drawn_records(drawn))
            report = self._report(picture, target, verdict=verdict, boxes=boxes, warnings=tuple(warnings))
            return self._write(picture, pixels, regions, replace(report, pdq=pdq, known=match), output_format)

    def run_mask(
        self,
        picture: Picture,
        boxes: Detections,
        records: Sequence[Mapping[str, Any]],
        target: str | None,
        output_format: str | None,
    ) -> Outcome:
        """Hide the boxes that a person chose, and nothing else."""
        warnings = () if len(boxes) else ("no box of the mask is to be hidden: all of the picture stays visible",)
        report = self._report(picture, target, verdict=None, boxes=tuple(records), warnings=warnings)
        with Pixels(_rewritten(picture, output_format) or picture) as pixels:
            regions = self._asked_for_all(picture) or regions_of(boxes, self.policy.hide)
            report = replace(report, pdq=hash_and_recall(pixels, None, self.policy.policy)[0])
            return self._write(picture, pixels, regions, report, output_format, cover_new=False)

    def preview(self, picture: Picture, target: str | None, output_format: str | None) -> Outcome:
        """Draw labelled boxes on the picture and hide nothing, for a person to judge what was found."""
        with self._pixels(picture) as pixels:
            found, verdict = self.look(pixels)
            shown = found.of_classes(self.policy.hide.classes)
            report = self._report(picture, target, verdict=verdict, boxes=self._records(found, ()), warnings=())
            pdq, _ = hash_and_recall(pixels, None, self.policy.policy)  # before the boxes are drawn on the same pixels
            data = self.encode(draw_boxes(pixels.full(), shown), picture, output_format)
            return _outcome(data, replace(report, method="preview", pdq=pdq))

    def _pixels(self, picture: Picture) -> Pixels:
        """Decode in a second thread only what is needed for certain: the second opinion's full picture."""
        return Pixels(picture, ahead=self.ahead and self.opinion is not None)

    def _records(self, found: Detections, regions: Sequence[Region]) -> tuple[Mapping[str, Any], ...]:
        """Return what was found for the report, and the whole picture where all of it is covered."""
        hide = self.policy.hide.classes
        boxes = [{**record, "hide": record["label"] in hide} for record in found.to_records()]
        boxes += [{"label": WHOLE, "box": list(item.box), "hide": True} for item in regions if item.label == WHOLE]
        return tuple(boxes)

    def _regions(
        self, picture: Picture, hide: Detections, drawn: Detections, verdict: Verdict, left: list[str]
    ) -> tuple[list[Region], list[str]]:
        """Return what to paint, and what a person should know; `left` flags the picture and is not to be hidden."""
        if self.policy.hide.whole:
            return self._asked_for_all(picture), []
        regions = regions_of(hide, self.policy.hide) + regions_of(drawn, self.policy.hide)
        if verdict.verdict == "safe" or (regions and not left):
            return regions, []
        if self.policy.hide.fallback == "whole":
            return [self._all_of(picture)], []
        why = f"{', '.join(left)} is not among the classes to hide" if left else "there is no region to hide"
        reasons = "; ".join(verdict.reasons)
        return regions, [f"the verdict is {verdict.verdict} and {why} ({reasons}); --fallback whole covers it all"]

    def _all_of(self, picture: Picture) -> Region:
        return whole(picture.image_size, self.policy.hide.style_of(""), WHOLE)

    def _asked_for_all(self, picture: Picture) -> list[Region]:
        """Return the region of the whole picture if the policy covers that whatever was found, else none."""
        return [self._all_of(picture)] if self.policy.hide.whole else []

    def _report(
        self,
        picture: Picture,
        target: str | None,
        *,
        verdict: Verdict | None,
        boxes: tuple[Mapping[str, Any], ...],
        warnings: tuple[str, ...],
        by_model: bool = True,
    ) -> Report:
        looked = by_model and verdict is not None
        model = {"name": self.model.name, "sha256": self.model.sha256} if looked else {"name": "person"}
        return Report(
            source=picture.name,
            target=target,
            image_size=picture.image_size,
            model=model,
            device=self.model.device,
            policy=self.policy.to_dict(),
            verdict=verdict,
            boxes=boxes,
            warnings=warnings,
            sha256={"in": picture.sha256, "out": None},
        )

    def _write(
        self,
        picture: Picture,
        pixels: Pixels,
        regions: list[Region],
        report: Report,
        output_format: str | None,
        *,
        cover_new: bool = True,
    ) -> Outcome:
        """Paint, encode, and look at the result again; a clean JPEG keeps its coded pixels."""
        if not regions and pixels.picture is not picture and not _has_slack(pixels.picture):
            assert pixels.picture.data is not None
            return _outcome(pixels.picture.data, replace(report, method="lossless", verified=self.verify))
        image, painted = paint_image(pixels.full(), regions)
        checked = Checked(
            image=image,
            data=self.encode(image, picture, output_format),
            painted=tuple(painted),
            problems=tuple(_not_hidden(painted)),
        )
        if self.verify:
            checked = check_output(self, picture, checked, output_format, cover_new=cover_new)
        records = tuple(_painted_record(item) for item in checked.painted)
        return _outcome(
            checked.data,
            replace(
                report,
                method="painted" if records else "reencoded",
                painted=records,
                warnings=(*report.warnings, *checked.problems),
                verified=self.verify and not checked.problems,
            ),
        )

    def encode(self, image: "Image.Image", picture: Picture, output_format: str | None) -> bytes:
        """Encode with a second thread where this picture has the machine for itself; the bytes are the same."""
        return encode(image, picture, output_format, threads=2 if self.ahead else 1)


def _rewritten(picture: Picture, output_format: str | None) -> Picture | None:
    """Return a JPEG in the form in which it is written if nothing must be hidden: that form is looked at, then.

    None for what must be encoded afresh: another format; a JPEG that must be turned or converted, or that cannot be
    rewritten (arithmetic coding, say); and one with several scans or with restart markers, since only at the end of a
    single scan can be seen whether bytes are hidden behind the coded picture.
    """
    if not picture.lossless_ok or picture.data is None or output_format not in (None, "JPEG"):
        return None
    try:
        data = rewrite_jpeg(picture.data, icc_profile=picture.icc_profile)
    except InputError:
        return None
    if picture.info.progressive or has_restarts(data):
        return None
    return Picture.open(data, limits=replace(picture.limits, max_bytes=sys.maxsize), name=picture.name)


def _has_slack(picture: Picture) -> bool:
    """Whether something may hide behind the coded picture; decodes a reduced copy where nobody has looked yet."""
    if picture.has_slack is None:
        picture.views(1)
    return picture.has_slack is not False


def regions_of(boxes: Detections, rules: HideRules) -> list[Region]:
    """Return one region for each box, in the style that the rules give its class."""
    return [
        Region(box=(float(x1), float(y1), float(x2), float(y2)), style=rules.style_of(label), label=label)
        for (x1, y1, x2, y2), label in zip(boxes.boxes, boxes.names, strict=True)
    ]


def _not_hidden(painted: Sequence[Painted]) -> Iterator[str]:
    """Say which regions a person must look at because painting them changed nothing."""
    for item in painted:
        if not item.painted:
            yield f"a box of {item.label} lies outside the picture: it hid nothing"
        elif item.changed == 0 and not item.flat:
            yield f"{item.label} at {list(item.box)} looks as before: it may have been hidden already"


def _painted_record(item: Painted) -> dict[str, Any]:
    return {"label": item.label, "box": list(item.box), "style": item.style, "shape": item.shape}


def _outcome(data: bytes, report: Report) -> Outcome:
    return Outcome(data=data, report=replace(report, sha256={**report.sha256, "out": hashlib.sha256(data).hexdigest()}))
