"""A rendered data set in a folder: pictures, boxes in COCO's format, and a manifest of how each was made."""

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import detector
from detector.atomic import write_atomic
from detector.data.coco import CATEGORIES, Coco, write_coco
from detector.errors import OutputError, UsageError
from detector.paths import weights_dir
from detector.synth.asset import ASSET_NAME, ASSET_SHA256
from detector.synth.make import SynthPicture, make_picture
from detector.synth.photographs import photographs
from detector.synth.regions import REGIONS_NAME, read_regions
from detector.synth.settings import SceneSettings

__all__ = ["ANNOTATIONS", "FORMATS", "GENERATION", "MANIFEST", "WriteOptions", "require_renderer", "write_set"]

ANNOTATIONS, MANIFEST = "annotations.json", "manifest.json"
FORMATS = ("jpg", "png")
_JPEG_QUALITY = 95
# Pictures under way or done but not yet noted, for each worker.
_AHEAD = 4
# Raised whenever a seed gives other pictures or other boxes than before.
GENERATION = 2


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """What is written.

    Attributes:
        seed: of the set.
        split: splits of one seed share no picture; which kinds of things each shows: `detector.synth.withheld`.
        settings: of the scenes.
        file_format: one of `FORMATS`.
    """

    seed: int
    split: str = "train"
    settings: SceneSettings = field(default_factory=SceneSettings)
    file_format: str = "jpg"

    def __post_init__(self) -> None:
        """Refuse what names no set.

        Raises:
            UsageError: for a negative seed or a split without a name.
        """
        if self.seed < 0 or not self.split:
            raise UsageError(
                f"a set needs a seed that is not negative, and a split with a name; got {self.seed} and {self.split!r}"
            )


def write_set(
    out: Path, count: int, options: WriteOptions, *, workers: int = 1, tick: Callable[[], None] | None = None
) -> Coco:
    """Render `count` pictures into `out`; what comes out does not depend on `workers`.

    Args:
        out: a folder that is empty or not there yet.
        count: at least 1.
        options: see there.
        workers: processes; 1 renders in this one.
        tick: called after each picture.

    Returns:
        What was written to `annotations.json`.

    Raises:
        OutputError: when `out` holds something, or cannot be written, or a worker was ended from outside.
        UsageError: for fewer than one picture, an unknown format, or without embreex.
        ModelError: when the files of the body are missing or damaged.
    """
    if count < 1 or options.file_format not in FORMATS:
        raise UsageError(
            f"a set needs at least one picture, as {' or '.join(FORMATS)}; got {count} and {options.file_format!r}"
        )
    require_renderer()
    origin = _origin()
    _make_folder(out)
    images: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    made: list[dict[str, Any]] = []
    for number, (labels, parameters) in enumerate(_rendered(out, count, options, workers)):
        height, width = options.settings.image_size
        name = _file_name(number, options)
        images.append({"id": number + 1, "file_name": name, "width": width, "height": height})
        notes += [{"id": len(notes) + 1 + place, "image_id": number + 1, **note} for place, note in enumerate(labels)]
        made.append({"file_name": name, **parameters})
        if tick is not None:
            tick()
    info = {
        "description": "rendered adult mannequins; no photograph of a person",
        "seed": options.seed,
        "split": options.split,
        "version": detector.__version__,
    }
    coco = Coco(images=images, annotations=notes, categories=CATEGORIES, info=info)
    _write_manifest(out / MANIFEST, {**origin, "count": count, **asdict(options)}, made)
    # Last: a folder that has it is whole.
    write_coco(out / ANNOTATIONS, coco)
    return coco


def require_renderer() -> None:
    """Raise UsageError when embreex is not installed."""
    try:
        import embreex  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"rendering needs embreex; it is not installed ({error}); type, in the checkout: pip install '.[synth]'"
        ) from error


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        full = any(out.iterdir())
    except OSError as error:
        raise OutputError(f"the output must be a folder that can be made; {out} cannot ({error.strerror})") from error
    if full:
        raise OutputError(f"the folder of a new set must be empty; {out} is not; name another one")


def _file_name(number: int, options: WriteOptions) -> str:
    return f"{number:06d}.{options.file_format}"


_Record = tuple[list[dict[str, Any]], dict[str, Any]]


def _rendered(out: Path, count: int, options: WriteOptions, workers: int) -> Iterator[_Record]:
    """Yield the boxes and parameters of each picture, in order, once it is on the disk."""
    if workers <= 1:
        for number in range(count):
            yield _write_one(out, number, options)
        return
    # Spawned, not forked: threads of the caller, of OpenCV or torch, would leave locks held in a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, count), mp_context=context, initializer=_start_worker)
    numbers = iter(range(count))
    pending: deque[Future[_Record]] = deque()
    try:
        for number in islice(numbers, workers * _AHEAD):
            pending.append(pool.submit(_write_one, out, number, options))
        while pending:
            yield pending.popleft().result()
            for number in islice(numbers, 1):
                pending.append(pool.submit(_write_one, out, number, options))
    except BrokenProcessPool as error:
        raise OutputError(
            f"every worker must live until the set is done; one of {workers} was ended from outside, maybe for want of "
            f"memory; remove {out} and begin again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Use one core a process, and end with the process that asked for the pictures, however that ends."""
    # OpenCV would start a thread a core in each.
    cv2.setNumThreads(0)
    # Ctrl-C goes to all of the terminal's processes; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave when the parent is gone: killed, it cannot tell its workers, and they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write_one(out: Path, number: int, options: WriteOptions) -> _Record:
    made = make_picture(options.seed, number, options.settings, split=options.split)
    write_atomic(out / _file_name(number, options), _encoded(made.image, options.file_format))
    return _notes(made), made.parameters


def _encoded(image: NDArray[np.uint8], file_format: str) -> bytes:
    how = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if file_format == "jpg" else []
    good, packed = cv2.imencode(f".{file_format}", image[:, :, ::-1], how)
    if not good:
        raise OutputError(f"a picture must fit its format; {file_format} does not take one of {image.shape[:2]}")
    return packed.tobytes()


def _notes(made: SynthPicture) -> list[dict[str, Any]]:
    """Return COCO annotations without their ids."""
    notes = []
    for label in made.labels:
        x1, y1, x2, y2 = (round(side, 2) for side in label.box)
        width, height = round(x2 - x1, 2), round(y2 - y1, 2)
        notes.append(
            {
                "category_id": label.label + 1,
                "bbox": [x1, y1, width, height],
                "area": round(width * height, 2),
                "iscrowd": int(label.ignore),
                "share": round(label.share, 3),
                "person": label.body,
            }
        )
    return notes


def _origin() -> dict[str, Any]:
    """Return what pictures depend on besides the options: versions, and what is read from files.

    Raises:
        ModelError: when the files of the body are missing or damaged: better now than in every worker.
    """
    read_regions()
    regions = (weights_dir() / REGIONS_NAME).read_bytes()
    return {
        "made_by": "detector synth",
        "version": detector.__version__,
        "generation": GENERATION,
        # OpenCV comes in several packages: which one is installed matters less than what is in it.
        "libraries": {"embreex": version("embreex"), "numpy": np.__version__, "opencv": cv2.__version__},
        "assets": {ASSET_NAME: ASSET_SHA256, REGIONS_NAME: hashlib.sha256(regions).hexdigest()},
        "photographs": [path.name for path in photographs()],
    }


def _write_manifest(path: Path, table: dict[str, Any], made: list[dict[str, Any]]) -> None:
    head = json.dumps(table, indent=1)[:-2]
    rows = ",\n  ".join(json.dumps(row) for row in made)
    write_atomic(path, f'{head},\n "pictures": [\n  {rows}\n ]\n}}\n'.encode())
