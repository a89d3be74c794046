"""A file of several pages through the whole job: each page as a picture of its own, one after the other.

Each goes through the pipeline for pictures, with its own second look; then it is appended to the file. In the end the
file is read again, and every page must decode to the pixels that the pipeline gave.
"""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from censor.animation.checking import UNBOUNDED
from censor.animation.looking import worst
from censor.animation.opening import open_source
from censor.animation.report import FramesReport, boxes_by_frame
from censor.animation.tiff_pages import Pages
from censor.report import MaskFile, Report
from detector.errors import InputError, OutputError, UsageError
from detector.picture import Picture

if TYPE_CHECKING:
    from censor.pipeline import Outcome, Pipeline

__all__ = ["censor_pages"]


def censor_pages(
    pipeline: "Pipeline",
    pages: Pages,
    file: BinaryIO,
    target: str | None,
    output_format: str | None,
    *,
    mask: MaskFile | None = None,
    preview: bool = False,
) -> FramesReport:
    """Censor, mask or preview a TIFF of several pages into an open file; see `censor_animation`.

    Raises:
        UsageError: for a format other than TIFF: no other has pages, and as an animation they would need times.
        InputError: when a page cannot be decoded.
        OutputError: when the result cannot be encoded, or does not decode to what was written.
    """
    from PIL.TiffImagePlugin import AppendingTiffWriter

    if output_format not in (None, "TIFF"):
        raise UsageError(
            f"{pages.name}: several pages must be written as TIFF; got {output_format}, which would hold one of them; "
            "save that page as a picture and pass it, or name a .tif file"
        )
    sizes = [picture.image_size for picture in pages.pictures()]
    chosen = boxes_by_frame(mask, pages.name, pages.sha256, sizes) if mask is not None else None
    file.seek(0)
    file.truncate()
    writer = AppendingTiffWriter(file)
    reports: list[Report] = []
    digests: list[bytes] = []
    for i, picture in enumerate(pages.pictures()):
        if preview:
            outcome = pipeline.preview(picture, target, "TIFF")
        elif chosen is None:
            outcome = pipeline.run(picture, target, "TIFF")
        else:
            outcome = pipeline.run_mask(picture, *chosen[i], target, "TIFF")
        _append(writer, outcome)
        reports.append(outcome.report)
        digests.append(_digest(Picture.open(outcome.data, limits=UNBOUNDED)))
    writer.close()
    file.flush()
    _check(file, digests)
    return _report(pages, target, reports, sizes)


def _append(writer: Any, outcome: "Outcome") -> None:
    """Add a page; Pillow's writer brings its offsets in line with where it comes to stand."""
    try:
        writer.write(outcome.data)
        writer.newFrame()
    except OSError:
        raise
    except Exception as error:  # it raises several classes, for files of more than 4 GB too
        raise OutputError(f"the pages must be writable as TIFF; its encoder failed ({error})") from error


def _digest(picture: Picture) -> bytes:
    """Return a hash of what a page shows."""
    image = picture.load()
    facts = f"{image.mode} {image.size} {picture.orientation}".encode()
    return hashlib.sha256(facts + image.tobytes() + (picture.icc_profile or b"")).digest()


def _check(file: BinaryIO, digests: list[bytes]) -> None:
    file.seek(0)
    try:
        output = open_source(file.read(), limits=UNBOUNDED, name="the output")
        shown = [_digest(page) for page in output.pictures()] if isinstance(output, Pages) else []
    except InputError as error:
        raise OutputError(f"the output must decode; it does not ({error})") from error
    if shown != digests:
        raise OutputError(f"the output must show the {len(digests)} pages that were written; it does not")


def _report(pages: Pages, target: str | None, reports: list[Report], sizes: list[tuple[int, int]]) -> FramesReport:
    verdicts = [report.verdict for report in reports if report.verdict is not None]
    chosen = worst(verdicts) if verdicts else None
    first = reports[0]
    warnings = tuple(f"page {i}: {text}" for i, report in enumerate(reports) for text in report.warnings)
    methods = {report.method for report in reports}
    return FramesReport(
        source=pages.name,
        target=target,
        image_size=sizes[0],
        model=first.model,
        device=first.device,
        policy=first.policy,
        verdict=verdicts[chosen] if chosen is not None else None,
        method=next(method for method in ("preview", "painted", "reencoded") if method in methods),
        verified=all(report.verified for report in reports),
        warnings=warnings,
        sha256={"in": pages.sha256, "out": None},
        kind="pages",
        frames=tuple(_record(i, report) for i, report in enumerate(reports)),
        worst=chosen,
        pdq=reports[chosen or 0].pdq,
        known=reports[chosen or 0].known,
    )


def _record(number: int, report: Report) -> Mapping[str, Any]:
    said = report.to_dict()
    keys = ("image_size", "verdict", "score", "second_opinion", "boxes", "painted", "pdq", "known")
    return {"frame": number, **{key: said[key] for key in keys}}
