"""Photographs that show no person, as installed packages ship them: an allow-list by name and content."""

import functools
import hashlib
import importlib.util
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detector.synth.withheld import kinds_shown

__all__ = ["PHOTOGRAPHS", "photographs", "read_photograph"]

# Name and sha256 of each, all looked at: none shows a person. astronaut, camera, lfw_subset and grace_hopper show
# people; retina, microaneurysms, ihc and cell are medical; coins shows portraits; none of these is read. A package that
# puts another picture under one of these names must not bring it here: a file with another content is left out.
PHOTOGRAPHS: dict[str, dict[str, str]] = {
    "skimage:data": {
        "brick.png": "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
        "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "chessboard_GRAY.png": "3e51870774515af4d07d820bd8827364c70839bf9b573c746e485095e893df90",
        "clock_motion.png": "f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955",
        "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "grass.png": "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
        "gravel.png": "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
        "hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        "moon.png": "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577",
        "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        "motorcycle_right.png": "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797",
        "page.png": "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
        "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        "text.png": "bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1",
    },
    "sklearn:datasets/images": {
        "china.jpg": "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        "flower.jpg": "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
    },
    # The Debian package mate-backgrounds.
    "/usr/share/backgrounds/mate/nature": {
        "Aqua.jpg": "5c30118205982da441bf7e6a1ada636a8a0be879408140b3148280c665ed6bce",
        "Blinds.jpg": "f7aac0dcc2e06d0491643e84df3da1d9db7c4610f58806a880d56e074799f600",
        "Dune.jpg": "8a67c2cb0be8c46b70c237311a4fa4d2b4ac7d39568135384787801fa5cc9a91",
        "FreshFlower.jpg": "972b0a0c4e5e3fa93f4f244fc84bc64b121a5eac3aaa5856f1308c1f38a02f8e",
        "Garden.jpg": "d3095ee09d425ef23d27155412136cf14fc3c9af76ca58b452f55e23da324e78",
        "GreenMeadow.jpg": "8fa0de0aa4089f7319c9fb7a6d006d4cab6023e8c8853731557cff53567b4832",
        "LadyBird.jpg": "e35a9a4126ef969c90b29c038058c5a575a20eadd84106a37bf1fa9931e7b61d",
        "RainDrops.jpg": "3e4ea9671c28c90a86cf67b3db9daf18c4741587c596333a7529ca589aaa0c16",
        "Storm.jpg": "77ca53077831d3237f73393a91fc879158abc046d852941c26e90de336356957",
        "TwoWings.jpg": "665e5abf8a5399070a91a9a8e455fe071e5b61697ff78fdeda4e9843ef545aeb",
        "Wood.jpg": "19c78500ac00a622e19907ab9cc7d06d46fe08c4a6142759a84195696150ec07",
        "YellowFlower.jpg": "254da96256acb7add685679775a04d1e4a5bc8cd13e5a5a3d61351ce198a5306",
    },
}
# Larger ones are kept at this long side: a worker holds them all.
_LONG_SIDE = 1024


@functools.cache
def photographs(kinds: str = "all") -> tuple[Path, ...]:
    """Return the files of `PHOTOGRAPHS` that are installed here as they are known, in the order of the list.

    Args:
        kinds: see `detector.synth.withheld`; what is withheld does not depend on what is installed.

    Returns:
        Paths; none may be installed.
    """
    listed = [(place, name) for place, names in PHOTOGRAPHS.items() for name in names]
    paths = ((_folder(place), name, PHOTOGRAPHS[place][name]) for place, name in kinds_shown(listed, kinds))
    return tuple(
        folder / name for folder, name, known in paths if folder is not None and _is_known(folder / name, known)
    )


def _folder(place: str) -> Path | None:
    """Return the folder that a key of `PHOTOGRAPHS` names, None for a package that is not installed."""
    package, _, inside = place.partition(":")
    if not inside:
        return Path(place)
    spec = importlib.util.find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / inside


def _is_known(path: Path, known: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == known
    except OSError:
        return False


@functools.lru_cache(maxsize=32)
def read_photograph(path: Path) -> NDArray[np.uint8] | None:
    """Return (h, w, 3) uint8 RGB, made smaller where it is large, read-only; None when it cannot be read."""
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            picture: NDArray[np.uint8] = np.array(image.convert("RGB"))
    except OSError:
        return None
    scale = _LONG_SIDE / max(picture.shape[:2])
    if scale < 1:
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    picture.flags.writeable = False
    return picture
