"""`explain`: one picture, one model, one method, one heat map; for callers and for the command."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detector.errors import UsageError
from detector.explain.explanation import METHODS, OCCLUSION_METHODS, Explanation
from detector.explain.occlusion import occlusion_map, starts
from detector.explain.targets import frame_size, score_of
from detector.nearest import nearest
from detector.picture import Picture
from detector.scorers import Scorer, load_scorer

__all__ = ["explain", "window_count"]


def explain(
    image: Any,
    *,
    model: str | Scorer = "open-nsfw",
    method: str = "occlusion",
    target: str | None = None,
    window: int = 64,
    stride: int = 16,
    batch_size: int = 32,
    device: str = "cpu",
    above: float | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Explanation:
    """Say which parts of a picture a score hangs on.

    A picture with alpha is explained over white, over black or without its alpha: as it scores highest.

    Args:
        image: a path, bytes, a file object, a PIL image, a uint8 RGB array or a `Picture`.
        model: for `occlusion` and `window` whatever `detector.scorers.load_scorer` takes, or a loaded scorer; for the
            gradient methods `open-nsfw` or a weight file of ours (`.safetensors`).
        method: one of `METHODS`.
        target: a class; None for how likely the picture is not safe for work.
        window: side of the sliding window in pixels of the frame that the network sees; not for gradients.
        stride: from one window to the next; at most `window`.
        batch_size: windows that are scored together.
        device: `cpu` or `cuda`, where the model is loaded here.
        above: for a RetinaNet by gradients: explain the sum of all anchors that score at least this, in (0, 1), not
            only the best one. Grad-CAM looks at the pyramid level of the best one either way.
        advance: called after each window, `window_count` times, or once for gradients.

    Raises:
        UsageError: for an unknown method, model or target, or a window or stride out of range.
        InputError: when the picture cannot be read.
        ModelError: when weights are missing, or a package that the method needs.

    Example:
        >>> from detector.explain.api import explain
        >>> explain("examples/in.jpg", stride=64).heat.ndim
        2
    """
    if method not in METHODS:
        raise UsageError(f"a method must be one of {', '.join(METHODS)}; got {method!r}{nearest(method, METHODS)}")
    picture = image if isinstance(image, Picture) else Picture.open(image)
    if method not in OCCLUSION_METHODS:
        if not isinstance(model, str):
            raise UsageError(f"{method} must be given a model by name or file, to take gradients; got {model.name}")
        from detector.explain.gradients import gradient_map

        found = gradient_map(picture, model, method, target, device, above)
        advance()
        return found
    if above is not None:
        raise UsageError(f"above must be given for gradients of a RetinaNet only; {method} has no anchors to sum")
    scorer = load_scorer(model, device=device) if isinstance(model, str) else model
    score, named = score_of(scorer, target)
    size = frame_size(scorer, picture.image_size)
    frames = [_resized(look, size) for look in picture.images(max(picture.image_size))]
    frame = frames[0] if len(frames) == 1 else frames[int(np.argmax(score(frames)))]
    heat, base = occlusion_map(
        frame, score, window=window, stride=stride, alone=method == "window", batch_size=batch_size, advance=advance
    )
    height, width = picture.image_size
    source = np.asarray(Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)
    settings = {"window": window, "stride": stride, "frame_size": list(size)}
    return Explanation(heat=source, score=base, target=named, method=method, model=scorer.name, settings=settings)


def window_count(scorer: Scorer, image_size: tuple[int, int], window: int, stride: int) -> int:
    """Return how many windows `explain` scores for a picture of (height, width)."""
    if window < 1 or stride < 1:
        return 0
    height, width = frame_size(scorer, image_size)
    return len(starts(height, window, stride)) * len(starts(width, window, stride))


def _resized(look: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(look.resize(size[::-1], Image.Resampling.BILINEAR))
