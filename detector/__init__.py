"""Find exposed body parts in pictures and say whether a picture is safe.

    import detector
    model = detector.load()
    found = model.detect("in.jpg")
    verdict = detector.classify(found)

Importing this loads neither torch nor onnxruntime; a model does, when it is loaded.
"""

from typing import TYPE_CHECKING

from detector.classes import ALL_CLASSES, CLASSES, NSFW_CLASSES, canonical_class
from detector.lazy import lazy_names

if TYPE_CHECKING:
    from detector.detections import Detections
    from detector.evidence import Record
    from detector.models import list_models, load
    from detector.open_nsfw import OpenNSFW, load_open_nsfw
    from detector.opinion import Opinion
    from detector.picture import Limits, Picture
    from detector.policy import Policy, list_policies, load_policy
    from detector.verdict import Verdict, classify

__version__ = "0.1.0"

__all__ = [
    "ALL_CLASSES",
    "CLASSES",
    "NSFW_CLASSES",
    "Detections",
    "Limits",
    "OpenNSFW",
    "Opinion",
    "Picture",
    "Policy",
    "Record",
    "Verdict",
    "__version__",
    "canonical_class",
    "classify",
    "list_models",
    "list_policies",
    "load",
    "load_open_nsfw",
    "load_policy",
]

__getattr__, __dir__ = lazy_names(
    globals(),
    {
        "Detections": "detector.detections",
        "Record": "detector.evidence",
        "Limits": "detector.picture",
        "OpenNSFW": "detector.open_nsfw",
        "Opinion": "detector.opinion",
        "Picture": "detector.picture",
        "Policy": "detector.policy",
        "Verdict": "detector.verdict",
        "classify": "detector.verdict",
        "list_models": "detector.models",
        "list_policies": "detector.policy",
        "load": "detector.models",
        "load_open_nsfw": "detector.open_nsfw",
        "load_policy": "detector.policy",
    },
)
