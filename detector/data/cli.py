"""`detector data check | convert | split | autolabel`: data sets in COCO's format."""

import io
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detector.cliparts import (
    EXIT_FAILED,
    device_option,
    failure_text,
    limits_options,
    parse_thresholds,
    progress,
    tiles_option,
    workers_option,
)
from detector.errors import InputError

if TYPE_CHECKING:
    from detector.limits import Limits

__all__ = ["data"]

PATH = click.Path(path_type=Path)
# Of `detector.data.convert.FORMATS`, which a command line must not load to say what it can do; a test compares them.
FORMATS = ("yolo", "voc", "cvat", "labelstudio", "nudenet", "coco")
# Of `detector.data.phash.NEAR_BITS` and `detector.data.coco.MIN_SIDE`.
NEAR_BITS, MIN_SIDE = 8, 4.0

images_option = click.option(
    "--images", type=PATH, metavar="DIR", help="Folder that file names are relative to.  [that of the annotations]"
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace an existing output.")
near_option = click.option(
    "--near",
    type=click.IntRange(0, 31),
    default=NEAR_BITS,
    metavar="BITS",
    help=f"Pictures whose 64-bit hashes differ in at most so many bits are copies.  [{NEAR_BITS}]",
)


@click.group()
def data() -> None:
    """Check, convert, split and label data sets in COCO's format."""


@data.command()
@click.argument("annotations", type=PATH)
@images_option
@click.option("--sheet", type=PATH, metavar="OUT.png", help="Write a contact sheet; the pictures are not censored.")
@click.option("--sheet-pictures", type=click.IntRange(1, 1000), default=48, help="Most pictures on it.  [48]")
@near_option
@click.option("--tiny", type=float, default=MIN_SIDE, metavar="PX", help="Smallest side that is not odd.  [4]")
@click.option("--most", type=click.IntRange(0), default=50, help="Most lines on problems and on copies.  [50]")
@click.option("--json", "as_json", is_flag=True, help="The whole report, as JSON.")
@workers_option
@limits_options
def check(annotations: Path, **options: Any) -> int:
    """Say what is wrong with a data set and what is in it; exit with 1 when something is broken.

    Boxes that are outside the picture, empty or not finite, wrong classes and ids, pictures that are missing, broken
    or of another size are broken; tiny boxes, boxes there twice, blank pictures and copies are odd.

    \b
    Examples:
      detector data check annotations.json
      detector data check annotations.json --images photos --sheet sheet.png
    """
    from detector.data.check import check as check_coco
    from detector.data.coco import read_coco
    from detector.data.sheet import contact_sheet

    coco = read_coco(annotations)
    folder = options["images"] or annotations.parent
    with progress(len(coco.images)) as say:
        report = check_coco(
            coco,
            folder,
            limits=_limits(options),
            workers=options["workers"],
            near_bits=options["near"],
            min_side=options["tiny"],
            advance=lambda: say(None),
        )
    if options["sheet"] is not None:
        from detector.atomic import write_atomic

        sheet = contact_sheet(
            coco,
            folder,
            bad={problem.where for problem in report.problems},
            most=options["sheet_pictures"],
            limits=_limits(options),
            workers=options["workers"],
        )
        png = io.BytesIO()
        sheet.save(png, "PNG")
        write_atomic(options["sheet"], png.getvalue())
    if options["as_json"]:
        print(json.dumps(report.to_dict(), indent=1, allow_nan=False))
    else:
        print("\n".join(report.lines(options["most"])))
    return EXIT_FAILED if report.broken else 0


@data.command()
@click.argument("source", metavar="IN", type=PATH)
@click.argument("target", metavar="OUT", type=PATH)
@click.option("--from", "kind", required=True, metavar="FORMAT", help=f"One of {', '.join(FORMATS)}.")
@images_option
@click.option("--map", "renames", multiple=True, metavar="OLD=NEW", help="Take a class of the source for one of ours.")
@click.option("--drop-unknown", is_flag=True, help="Leave boxes of unknown classes out, and count them.")
@overwrite_option
@limits_options
def convert(source: Path, target: Path, kind: str, **options: Any) -> int:
    """Turn annotations of another format into COCO with the six classes.

    IN is a folder or data.yaml (yolo), a folder of .xml (voc), annotations.xml (cvat), or a .json (labelstudio,
    nudenet, coco). NudeNet's twelve other classes are left out and counted.

    \b
    Examples:
      detector data convert dataset/ annotations.json --from yolo
      detector data convert voc/ annotations.json --from voc --images photos --map bum=BUTTOCKS_EXPOSED
    """
    from detector.data.coco import write_coco
    from detector.data.convert import convert as convert_source
    from detector.data.convert import parse_renames

    done = convert_source(
        source,
        kind,
        folder=options["images"],
        renames=parse_renames(options["renames"]),
        drop_unknown=options["drop_unknown"],
        limits=_limits(options),
    )
    write_coco(target, done.coco, overwrite=options["overwrite"])
    for note in done.notes:
        print(f"note: {note}")
    for name, count in done.dropped.items():
        print(f"left out: {count} boxes of {name}")
    print(f"{target}: {len(done.coco.images)} pictures, {len(done.coco.annotations)} boxes")
    return 0


@data.command()
@click.argument("annotations", type=PATH)
@click.argument("outdir", type=PATH)
@click.option("--val", type=float, required=True, metavar="SHARE", help="Share of the pictures for validation.")
@click.option("--test", type=float, default=0.0, metavar="SHARE", help="Share of the pictures for a test.  [0]")
@click.option("--seed", type=int, default=0, help="Of the order of groups of one size.  [0]")
@click.option("--stems", is_flag=True, help="Keep names like a_1, a_flip, a (2) together too.")
@near_option
@images_option
@overwrite_option
@workers_option
@limits_options
def split(annotations: Path, outdir: Path, **options: Any) -> int:
    """Split into OUTDIR/train.json, val.json and test.json, no copy of a picture on two sides.

    Pictures that are resized, coded again or mirrored copies of one another stay together; cropped copies are not
    found (see --stems). File names stay relative to the same folder of pictures. The same pictures and seed give
    the same parts.

    \b
    Examples:
      detector data split annotations.json parts/ --val 0.2
      detector data split annotations.json parts/ --val 0.15 --test 0.15 --images photos --stems
    """
    from detector.data.coco import read_coco, require_sound
    from detector.data.pictures import copies, look_at_pictures
    from detector.data.split import split_groups, split_shares, stem_pairs, write_parts

    shares = split_shares(options["val"], options["test"])
    coco = read_coco(annotations)
    require_sound(coco, annotations)
    seen, failed = [], 0
    folder = options["images"] or annotations.parent
    with progress(len(coco.images)) as say:
        for image, result in look_at_pictures(
            coco.images, folder, limits=_limits(options), workers=options["workers"], advance=lambda: say(None)
        ):
            if isinstance(result, Exception):
                failed += 1
                say(f"detector: error: {failure_text(str(image['file_name']), result)}")
            else:
                seen.append(result)
    if failed:
        raise InputError(f"all pictures must be readable to find copies; {failed} are not; nothing was written")
    _, groups = copies(seen, options["near"])
    pairs = [(group[0], index) for group in groups for index in group]
    if options["stems"]:
        pairs += stem_pairs([image["file_name"] for image in coco.images])
    parts = split_groups(coco, pairs, shares=shares, seed=options["seed"])
    write_parts(parts, outdir, source=annotations, overwrite=options["overwrite"])
    print(f"{len(coco.images)} pictures in {parts.groups} groups, the largest of {parts.largest}")
    counts = parts.counts()
    print(" " * 26 + "".join(f"{part:>9}" for part in counts))
    for row in next(iter(counts.values())):
        print(f"{row:<26}" + "".join(f"{table[row]:>9}" for table in counts.values()))
    return 0


@data.command()
@click.argument("folder", metavar="DIR", type=PATH)
@click.argument("target", metavar="OUT.json", type=PATH)
@click.option("--model", metavar="NAME", help="Detector to use; see `detector models`.")
@click.option("--thresh", multiple=True, metavar="T|CLASS=T", help="Lowest score of a box.  [0.25]")
@tiles_option
@device_option
@overwrite_option
@workers_option
@limits_options
def autolabel(folder: Path, target: Path, **options: Any) -> int:
    """Draw boxes on your own pictures with a detector, for you to correct.

    A box that is wrong is deleted sooner than one that is missing is drawn: take a low threshold. Pictures that
    cannot be read are named, are not in OUT.json, and make the exit code 1.

    \b
    Examples:
      detector data autolabel photos/ annotations.json --thresh 0.15
      detector data check annotations.json --images photos/ --sheet sheet.png
    """
    from detector.classes import CLASSES, canonical_class
    from detector.data.autolabel import autolabel as label
    from detector.data.coco import refuse_existing, write_coco
    from detector.models import load
    from detector.policy import DetectRules

    refuse_existing(target, overwrite=options["overwrite"])
    common, by_class = parse_thresholds(options["thresh"])
    rules = DetectRules(
        score_thresh=DetectRules().score_thresh if common is None else common,
        score_thresh_by_class={canonical_class(name, CLASSES): value for name, value in by_class.items()},
    )
    # With several pictures at a time each has one core.
    model = load(options["model"], device=options["device"], threads=1 if options["workers"] > 1 else None)
    with ExitStack() as stack:

        def begin(total: int) -> Callable[[], None]:
            say = stack.enter_context(progress(total))
            return lambda: say(None)

        made = label(
            folder,
            model,
            score_thresh=rules.thresholds(CLASSES),
            tiles=bool(options["tiles"]),
            limits=_limits(options),
            workers=options["workers"],
            begin=begin,
        )
    for name, error in made.failed:
        print(f"detector: error: {failure_text(name, error)}", file=sys.stderr)
    write_coco(target, made.coco, overwrite=options["overwrite"])
    print(f"{target}: {len(made.coco.images)} pictures, {len(made.coco.annotations)} boxes by {model.name}")
    return EXIT_FAILED if made.failed else 0


def _limits(options: dict[str, Any]) -> "Limits":
    from detector.limits import Limits

    return Limits(max_bytes=options["max_bytes"], max_pixels=options["max_pixels"], max_side=options["max_side"])
