"""Hide exposed body parts in pictures, for good.

    import censor
    report = censor.censor_file("in.jpg", "out.jpg", style="blur")

Importing this loads neither torch nor onnxruntime; a model does, when it is loaded.
"""

import importlib
from typing import TYPE_CHECKING, Any

from detector import __version__

if TYPE_CHECKING:
    from censor.api import build_pipeline, censor_bytes, censor_file, censor_image
    from censor.policy import CensorPolicy, load_censor_policy
    from censor.report import Report

__all__ = [
    "CensorPolicy",
    "Report",
    "__version__",
    "build_pipeline",
    "censor_bytes",
    "censor_file",
    "censor_image",
    "load_censor_policy",
]

# Where each lazily imported name lives.
_LAZY = {
    "CensorPolicy": "censor.policy",
    "Report": "censor.report",
    "build_pipeline": "censor.api",
    "censor_bytes": "censor.api",
    "censor_file": "censor.api",
    "censor_image": "censor.api",
    "load_censor_policy": "censor.policy",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
