"""Which vertices of the body are which of the six parts, as a detector's users draw their boxes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detector.errors import ModelError
from detector.paths import weights_dir
from detector.synth.body import BodyModel

__all__ = ["PARTS", "REGIONS", "REGIONS_NAME", "Part", "read_regions", "shares_at_vertices"]

REGIONS_NAME = "body_regions.json"


@dataclass(frozen=True)
class Part:
    """One thing that gets a box: which vertices, and which class it is on which body.

    Attributes:
        name: a word of our own.
        female, male: name of the region in `REGIONS` on such a body.
        female_class, male_class: one of `detector.CLASSES`.
    """

    name: str
    female: str
    male: str
    female_class: str
    male_class: str

    def region(self, *, male: bool) -> str:
        """Return the region's name."""
        return self.male if male else self.female

    def class_name(self, *, male: bool) -> str:
        """Return the class."""
        return self.male_class if male else self.female_class


PARTS: tuple[Part, ...] = (
    Part("belly", "belly", "belly", "BELLY_EXPOSED", "BELLY_EXPOSED"),
    Part("buttocks", "buttocks", "buttocks", "BUTTOCKS_EXPOSED", "BUTTOCKS_EXPOSED"),
    Part("breast_left", "breast_left", "breast_left", "FEMALE_BREAST_EXPOSED", "MALE_BREAST_EXPOSED"),
    Part("breast_right", "breast_right", "breast_right", "FEMALE_BREAST_EXPOSED", "MALE_BREAST_EXPOSED"),
    Part(
        "genitalia", "female_genitalia", "male_genitalia", "FEMALE_GENITALIA_EXPOSED", "MALE_GENITALIA_EXPOSED"
    ),
)  # fmt: skip
REGIONS = ("belly", "buttocks", "breast_left", "breast_right", "female_genitalia", "male_genitalia")


@lru_cache(maxsize=4)
def read_regions(path: Path | None = None) -> Mapping[str, NDArray[np.bool_]]:
    """Return (V0,) bool over the base mesh for each of `REGIONS`.

    Args:
        path: a file that `python -m detector.synth.calibrate` wrote; None for the one in `weights/`.

    Raises:
        ModelError: when it cannot be read, lacks a region, or belongs to another body.
    """
    path = weights_dir() / REGIONS_NAME if path is None else path
    count = len(BodyModel.load().regions["body"])
    try:
        table = json.loads(path.read_bytes())
        if table["vertices"] != count:
            raise ValueError(f"it is of a body with {table['vertices']} vertices, not {count}")
        found = {}
        for name in REGIONS:
            found[name] = np.zeros(count, dtype=np.bool_)
            found[name][np.array(table["regions"][name], dtype=np.int64)] = True
            found[name].flags.writeable = False
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ModelError(
            f"the regions of the body must be readable; {path} is not ({error}); "
            "make it anew with python -m detector.synth.calibrate"
        ) from error
    return found


@lru_cache(maxsize=4)
def shares_at_vertices(*, male: bool, path: Path | None = None) -> NDArray[np.float32]:
    """Return (V, P) float32, 1 where a split vertex of the body is in a part of `PARTS`, else 0; read-only."""
    regions, source = read_regions(path), BodyModel.load().source
    shares = np.stack([regions[part.region(male=male)][source] for part in PARTS], axis=1).astype(np.float32)
    shares.flags.writeable = False
    return shares
