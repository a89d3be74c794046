"""`detector explain`: a heat map of what a score hangs on, drawn over the picture."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detector.cliparts import device_option, limits_options, progress
from detector.errors import UsageError
from detector.explain.explanation import METHODS, OCCLUSION_METHODS

if TYPE_CHECKING:
    from detector.explain.explanation import Explanation
    from detector.picture import Picture

__all__ = ["explain"]

FILE = click.Path(path_type=Path, dir_okay=False)

# Everything that may be a part is hidden: a box too many costs nothing here.
HIDE_THRESH = 0.1
# What is hidden besides the six, where the detector knows it.
ALSO_HIDDEN = ("ANUS_EXPOSED",)


@click.command()
@click.argument("source", type=FILE, metavar="IN")
@click.argument("out", type=FILE, metavar="OUT.png")
@click.option("--model", default="open-nsfw", metavar="NAME|FILE", help="What gives the score.  [open-nsfw]")
@click.option("--method", default="occlusion", metavar="|".join(METHODS), help="How to explain it.  [occlusion]")
@click.option("--target", metavar="CLASS", help="Explain this class's score, not the model's own.")
@click.option("--window", type=click.IntRange(1), default=64, metavar="N", help="Side of the window.  [64]")
@click.option("--stride", type=click.IntRange(1), default=16, metavar="N", help="From window to window.  [16]")
@click.option("--above", type=float, metavar="T", help="By gradients: sum a RetinaNet's anchors from T up.  [best]")
@click.option("--show-parts", is_flag=True, help="Leave the parts that a detector finds as they are.")
@click.option("--json", "json_path", type=FILE, metavar="FILE", help="Write score and heat as JSON.")
@click.option("--npy", "npy_path", type=FILE, metavar="FILE", help="Write the heat as a NumPy array.")
@device_option
@limits_options
def explain(**options: Any) -> int:
    """Draw what a picture's score hangs on, as a heat map over the picture.

    occlusion: how far the score falls when a window is covered. window: what the window scores alone. Both take any
    scorer. grad-cam, guided-backprop and deconvolution take open-nsfw and weight files, and need the extra [explain].
    Parts that a detector finds are hidden in everything that is written, in the heat too, unless --show-parts.

    \b
    Examples:
      detector explain in.jpg why.png
      detector explain in.jpg why.png --model nudenet-320n --target FEMALE_BREAST_EXPOSED --stride 32
      detector explain in.jpg why.png --model mine.safetensors --method grad-cam --npy heat.npy
    """
    from detector.explain.overlay import hide, overlay_png
    from detector.picture import Limits, Picture

    _check(options)
    limits = Limits(**{key: options[key] for key in ("max_bytes", "max_pixels", "max_side")})
    picture = Picture.open(options["source"], limits=limits)
    boxes = None if options["show_parts"] else _parts(picture, options["device"])
    found = _explain(picture, options)
    image = picture.views(max(picture.image_size))[0]
    png = overlay_png(image, found, boxes)
    if boxes is not None:
        from dataclasses import replace

        found = replace(found, heat=hide(found.heat, boxes))
    if options["npy_path"]:
        _write(options["npy_path"], _npy(found.heat))
    if options["json_path"]:
        _write(options["json_path"], (json.dumps(found.to_dict(), allow_nan=False) + "\n").encode("utf-8"))
    _write(options["out"], png)
    return 0


def _check(options: dict[str, Any]) -> None:
    """Refuse before the work what would fail after it."""
    if options["out"].suffix.lower() != ".png":
        raise UsageError(f"the heat map is a PNG, and its name must end in .png; got {options['out']}")
    outputs = [options[key] for key in ("out", "json_path", "npy_path") if options[key] is not None]
    for path in outputs:
        if not path.resolve().parent.is_dir():
            raise UsageError(f"the folder of an output must exist; there is no {path.parent}; make it first")
    if len({path.resolve() for path in (*outputs, options["source"])}) <= len(outputs):
        raise UsageError("IN, OUT.png, --json and --npy must be different files")


def _parts(picture: "Picture", device: str) -> Any:
    """Return the (N, 4) boxes to hide."""
    from detector.classes import CLASSES
    from detector.models import load

    model = load(None, device=device)
    names = [name for name in (*CLASSES, *ALSO_HIDDEN) if name in model.class_names]
    return model.detect(picture, classes=names, score_thresh=HIDE_THRESH).boxes


def _explain(picture: "Picture", options: dict[str, Any]) -> "Explanation":
    from detector.explain.api import explain, window_count
    from detector.scorers import load_scorer

    chosen = {key: options[key] for key in ("method", "target", "window", "stride", "device", "above")}
    if options["method"] not in OCCLUSION_METHODS:
        return explain(picture, model=options["model"], **chosen)
    scorer = load_scorer(options["model"], device=options["device"])
    total = window_count(scorer, picture.image_size, options["window"], options["stride"])
    with progress(total) as say:
        return explain(picture, model=scorer, advance=lambda: say(None), **chosen)


def _npy(heat: Any) -> bytes:
    import io

    import numpy as np

    with io.BytesIO() as file:
        np.save(file, heat, allow_pickle=False)
        return file.getvalue()


def _write(path: Path, data: bytes) -> None:
    from detector.atomic import write_atomic

    write_atomic(path, data)
    print(f"wrote {path}", file=sys.stderr)
