"""Baselines: rules from before learning, so that a table shows what learning buys; never to be used to decide.

skin-share     so much of the picture has the colour of skin (`skin_share`)
skin-regions   the colour of skin, and the number and sizes of its regions (`skin_regions`)
skin-limbs     the colour and texture of skin, and shapes in it that fit together as limbs do (`skin_limbs`)
"""

import importlib
from typing import TYPE_CHECKING

from detector.errors import UsageError
from detector.nearest import nearest

if TYPE_CHECKING:
    from detector.baselines.baseline import Baseline

__all__ = ["BASELINES", "load_baseline"]

BASELINES = ("skin-limbs", "skin-regions", "skin-share")


def load_baseline(name: str) -> "Baseline":
    """Return a baseline: a scorer without weights, on the CPU.

    Args:
        name: one of `BASELINES`.

    Raises:
        UsageError: for any other name.
    """
    if name not in BASELINES:
        raise UsageError(f"a baseline must be one of {', '.join(BASELINES)}; got {name!r}{nearest(name, BASELINES)}")
    # Only here, so that asking for the names costs neither NumPy nor OpenCV.
    module = importlib.import_module(f"detector.baselines.{name.replace('-', '_')}")
    baseline: Baseline = module.BASELINE
    return baseline
