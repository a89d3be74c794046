"""Run a detector over annotated pictures, and take the time and the memory that it needs."""

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector.detections import Detections
from detector.errors import InputError, UsageError
from detector.evaluation.coco_metrics import AP_THRESH
from detector.evaluation.truth import Truth
from detector.models import Predictor
from detector.parallel import map_in_order
from detector.picture import Picture

__all__ = ["Looked", "look_at_all"]

# Pictures in one call. A CPU gains nothing from batches (cores go to pictures); a GPU needs them.
BATCH_CPU, BATCH_GPU = 1, 32


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a detector found in every picture, and what that took.

    Attributes:
        found: by picture id.
        seconds: for all pictures, reading and decoding included, loading the model and one picture to warm up not.
        peak_bytes: highest resident memory of this process during the run, all that it had loaded before included;
            None where the system does not tell.
        peak_device_bytes: highest memory that torch had allocated on the GPU; None on a CPU or without torch.
    """

    found: Mapping[int, Detections]
    seconds: float
    peak_bytes: int | None
    peak_device_bytes: int | None


def look_at_all(
    model: Predictor, truth: Truth, folder: Path, *, workers: int = 1, advance: Callable[[], None] = lambda: None
) -> Looked:
    """Detect in every picture of `truth`, from a score of `AP_THRESH` up.

    Args:
        model: any detector.
        truth: what is in the pictures; its classes are looked for.
        folder: where their files are.
        workers: pictures (on a GPU batches of them) worked on at a time.
        advance: called once a picture, in this thread.

    Raises:
        UsageError: when the detector does not know one of the classes.
        InputError: when a picture cannot be read, or has another size than the annotations say: their boxes would be
            of another frame. One bad picture fails the run, since its figures would be of other data.
    """
    unknown = [name for name in truth.class_names if name not in model.class_names]
    if unknown:
        raise UsageError(
            f"{model.name} must know every class that is evaluated; it does not know {', '.join(unknown)}; "
            f"name those to evaluate with --classes"
        )
    images = truth.dataset["images"]

    def look(batch: Sequence[Mapping[str, Any]]) -> list[Detections]:
        pictures = [_open(folder, image) for image in batch]
        found: list[Detections] = model.detect(pictures, classes=truth.class_names, score_thresh=AP_THRESH)
        return found

    look(images[:1])
    size = BATCH_CPU if model.device == "cpu" else BATCH_GPU
    batches = [images[start : start + size] for start in range(0, len(images), size)]
    found: dict[int, Detections] = {}
    peak = _reset_peaks(model.device)
    start = time.perf_counter()
    for batch, result in map_in_order(look, batches, workers):
        if isinstance(result, Exception):
            raise result
        for image, detections in zip(batch, result, strict=True):
            found[image["id"]] = detections
            advance()
    seconds = time.perf_counter() - start
    return Looked(found=found, seconds=seconds, peak_bytes=peak(), peak_device_bytes=_device_peak(model.device))


def _open(folder: Path, image: Mapping[str, Any]) -> Picture:
    picture = Picture.open(folder / image["file_name"])
    stated = (image.get("height", picture.image_size[0]), image.get("width", picture.image_size[1]))
    if stated != picture.image_size:
        raise InputError(
            f"{image['file_name']} must have the size that the annotations say, height and width {stated}; "
            f"it has {picture.image_size} (its orientation applied)"
        )
    return picture


def _reset_peaks(device: str) -> Callable[[], int | None]:
    """Forget earlier peaks where the system allows it; return what reads the peak since."""
    torch = sys.modules.get("torch")
    if device != "cpu" and torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: 5 resets VmHWM
    return _peak_bytes


def _peak_bytes() -> int | None:
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(peak if sys.platform == "darwin" else peak * 1024)
    return None


def _device_peak(device: str) -> int | None:
    torch = sys.modules.get("torch")
    if device == "cpu" or torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated())
