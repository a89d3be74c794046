"""Hide exposed body parts in pictures, for good.

    import censor
    report = censor.censor_file("in.jpg", "out.jpg", style="blur")

Importing this loads neither torch nor onnxruntime; a model does, when it is loaded.
"""

from typing import TYPE_CHECKING

from detector import __version__
from detector.lazy import lazy_names

if TYPE_CHECKING:
    from censor.api import build_pipeline, censor_bytes, censor_file, censor_image
    from censor.policy import CensorPolicy, load_censor_policy
    from censor.report import Report
    from censor.video.api import censor_video, scan_video
    from censor.video.rules import VideoRules

__all__ = [
    "CensorPolicy",
    "Report",
    "VideoRules",
    "__version__",
    "build_pipeline",
    "censor_bytes",
    "censor_file",
    "censor_image",
    "censor_video",
    "load_censor_policy",
    "scan_video",
]

__getattr__, __dir__ = lazy_names(
    globals(),
    {
        "CensorPolicy": "censor.policy",
        "Report": "censor.report",
        "VideoRules": "censor.video.rules",
        "build_pipeline": "censor.api",
        "censor_bytes": "censor.api",
        "censor_file": "censor.api",
        "censor_image": "censor.api",
        "censor_video": "censor.video.api",
        "load_censor_policy": "censor.policy",
        "scan_video": "censor.video.api",
    },
)
