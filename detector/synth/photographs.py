"""Photographs that show no person, as installed packages ship them: an allow-list of file names, found at run time."""

import functools
import importlib.util
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["PHOTOGRAPHS", "photographs", "read_photograph"]

# By name only, each known to show no person: astronaut, camera, lfw_subset and grace_hopper show people; retina,
# microaneurysms, ihc and cell are medical; coins shows portraits; none of these is read.
PHOTOGRAPHS: dict[str, tuple[str, ...]] = {
    "skimage:data": (
        "brick.png",
        "chelsea.png",
        "chessboard_GRAY.png",
        "clock_motion.png",
        "coffee.png",
        "grass.png",
        "gravel.png",
        "hubble_deep_field.jpg",
        "moon.png",
        "motorcycle_left.png",
        "motorcycle_right.png",
        "page.png",
        "rocket.jpg",
        "text.png",
    ),
    "sklearn:datasets/images": ("china.jpg", "flower.jpg"),
    # The Debian package mate-backgrounds.
    "/usr/share/backgrounds/mate/nature": (
        "Aqua.jpg",
        "Blinds.jpg",
        "Dune.jpg",
        "FreshFlower.jpg",
        "Garden.jpg",
        "GreenMeadow.jpg",
        "LadyBird.jpg",
        "RainDrops.jpg",
        "Storm.jpg",
        "TwoWings.jpg",
        "Wood.jpg",
        "YellowFlower.jpg",
    ),
}
# Larger ones are kept at this long side: a worker holds them all.
_LONG_SIDE = 1024


@functools.cache
def photographs() -> tuple[Path, ...]:
    """Return the files of `PHOTOGRAPHS` that are installed here, in the order of the list; none may be."""
    found = []
    for place, names in PHOTOGRAPHS.items():
        package, _, inside = place.partition(":")
        folder = Path(place) if not inside else None
        if inside:
            spec = importlib.util.find_spec(package)
            if spec is None or spec.origin is None:
                continue
            folder = Path(spec.origin).parent / inside
        assert folder is not None
        found += [folder / name for name in names if (folder / name).is_file()]
    return tuple(found)


@functools.lru_cache(maxsize=32)
def read_photograph(path: Path) -> NDArray[np.uint8] | None:
    """Return (h, w, 3) uint8 RGB, made smaller where it is large, read-only; None when it cannot be read."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        return None
    scale = _LONG_SIDE / max(picture.shape[:2])
    if scale < 1:
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    rgb = np.ascontiguousarray(picture[:, :, ::-1]).astype(np.uint8)
    rgb.flags.writeable = False
    return rgb
