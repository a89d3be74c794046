"""The models that can be loaded: `weights/manifest.json`, where each file is, and `load`."""

import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from detector.classes import CLASSES
from detector.errors import ModelError, UsageError
from detector.nearest import nearest
from detector.paths import weights_dir

if TYPE_CHECKING:
    from detector.exchange.onnx_predictor import OnnxRetinaNet
    from detector.retinanet_predictor import RetinaNetPredictor

__all__ = [
    "DEFAULT_MODEL",
    "ModelEntry",
    "Predictor",
    "find_model",
    "list_models",
    "load",
    "read_bytes",
    "read_weights",
]

DEFAULT_MODEL = "nudenet-320n"

# The layout of manifest.json that this code reads.
MANIFEST_VERSION = 1

# A name that ends so is the path of a weight file, whatever the manifest holds: ours, and what `detector export` wrote.
WEIGHTS_SUFFIX, ONNX_SUFFIX = ".safetensors", ".onnx"

# Fields that may be null in the manifest; every other one must hold a value.
_OPTIONAL = ("package", "config")


class Predictor(Protocol):
    """A loaded detector: safe to call from several threads at once, holds no thresholds.

    Attributes:
        name: as in the manifest.
        class_names: the six first, then what else the model finds.
        device: `cpu` or `cuda`.
        sha256: of the weight file, for reports.
    """

    name: str
    class_names: tuple[str, ...]
    device: str
    sha256: str

    def detect(
        self,
        images: Any,
        *,
        classes: Sequence[str] = CLASSES,
        score_thresh: float | Mapping[str, float] = 0.2,
        tiles: bool = False,
    ) -> Any:
        """Return `Detections` of one picture, or a list of them for a list."""
        ...


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One weight file: where it is, what it must be, what it needs, and where it comes from.

    `weights/README.md` describes the fields.
    """

    name: str
    task: str
    engine: str
    file: str
    package: str | None
    install: str
    sha256: str
    bytes: int
    config: str | None
    classes: tuple[str, ...]
    preprocessing: Mapping[str, Any]
    metrics: Mapping[str, Any]
    recipe: str
    licence: str
    provenance: str

    @property
    def path(self) -> Path | None:
        """Where the file is; None when it is not installed. Nothing of the package that holds it is imported."""
        if self.package is None:
            folders = [str(weights_dir())]
        else:
            spec = importlib.util.find_spec(self.package)
            folders = list(spec.submodule_search_locations or []) if spec is not None else []
        return next((path for folder in folders if (path := Path(folder) / self.file).is_file()), None)

    @property
    def installed(self) -> bool:
        """Whether the file is there; its content is checked when it is loaded."""
        return self.path is not None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict of all fields, and `installed`."""
        return {**asdict(self), "classes": list(self.classes), "installed": self.installed}


def _entry(table: Mapping[str, Any], where: Path) -> ModelEntry:
    """Build one entry; a missing, unknown or empty field is an error, so that no model lacks its licence."""
    known = [field.name for field in fields(ModelEntry)]
    name = table.get("name", "without a name")
    for key in table:
        if key not in known:
            raise ModelError(
                f"{where}, model {name}: a field must be one of {', '.join(known)}; got {key!r}{nearest(key, known)}"
            )
    for key in known:
        if key not in table or (table[key] is None and key not in _OPTIONAL):
            raise ModelError(f"{where}, model {name}: the field {key!r} must be given; it is missing")
    return ModelEntry(**{**table, "classes": tuple(table["classes"])})


def list_models(manifest: Path | None = None) -> list[ModelEntry]:
    """Return every model of the manifest, installed or not.

    Args:
        manifest: another manifest than the installed one.

    Raises:
        ModelError: when the manifest cannot be read or says something that is not understood.
    """
    path = weights_dir() / "manifest.json" if manifest is None else manifest
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"the manifest must be a readable JSON file; {path} is not: {error}") from error
    if not isinstance(table, dict) or table.get("version") != MANIFEST_VERSION or "models" not in table:
        raise ModelError(f"{path} must hold `models` and `version` {MANIFEST_VERSION}; it does not")
    return [_entry(model, path) for model in table["models"]]


def find_model(name: str, *, task: str) -> ModelEntry:
    """Return the entry of a model.

    Args:
        name: as in the manifest.
        task: `detect` or `classify`.

    Raises:
        UsageError: when there is no such model for this task. The message names the nearest one.
    """
    entries = {entry.name: entry for entry in list_models() if entry.task == task}
    if name not in entries:
        known = list(entries)
        raise UsageError(
            f"a model to {task} with must be one of {', '.join(known)}; got {name!r}{nearest(name, known)}"
        )
    return entries[name]


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return a weight file's bytes.

    Raises:
        ModelError: when it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ModelError(f"the weights must be readable; {path} is not ({error.strerror or error})") from error


def read_weights(entry: ModelEntry) -> bytes:
    """Return a model's weight file, checked against the manifest.

    The bytes that were checked are the bytes that are returned: the file is not opened a second time.

    Raises:
        ModelError: when it is not installed, or is not the file that the manifest describes.
    """
    path = entry.path
    if path is None:
        holder = f"the package {entry.package!r}" if entry.package else "the weights folder"
        raise ModelError(
            f"the model {entry.name} needs {entry.file} from {holder}; it is not installed; type: {entry.install}"
        )
    data = read_bytes(path)
    digest = hashlib.sha256(data).hexdigest()
    if len(data) != entry.bytes or digest != entry.sha256:
        raise ModelError(
            f"{path} must have {entry.bytes} bytes and sha256 {entry.sha256}; it has {len(data)} and {digest}; "
            f"it was altered or is of another version; type: {entry.install}"
        )
    return data


def _retinanet() -> "type[RetinaNetPredictor]":
    """Import the RetinaNet, which needs torch.

    Raises:
        ModelError: when torch, torchvision or safetensors is not installed.
    """
    try:
        from detector.retinanet_predictor import RetinaNetPredictor
    except ImportError as error:
        raise ModelError(
            f"a RetinaNet needs torch, torchvision and safetensors; one is not installed ({error}); "
            "type, in the checkout: pip install '.[torch]'"
        ) from error
    return RetinaNetPredictor


def _no_default(entry: ModelEntry) -> ModelError:
    """Return what to say without the default detector: what else could be taken, since nothing is in silence."""
    others = [one.name for one in list_models() if one.task == "detect" and one.installed]
    or_else = f"; or name one that is here: --model {' or '.join(others)}" if others else ""
    return ModelError(
        f"the default detector, {entry.name}, must be installed; it is not; type: {entry.install}{or_else}"
    )


def _from_entry(
    kind: "type[RetinaNetPredictor] | type[OnnxRetinaNet]", entry: ModelEntry, device: str, threads: int | None
) -> Predictor:
    """Load a RetinaNet of the manifest.

    Raises:
        ModelError: when the manifest names other classes than the file, besides what the constructor raises.
    """
    predictor = kind(read_weights(entry), name=entry.name, device=device, threads=threads)
    if predictor.file_classes != entry.classes:
        raise ModelError(f"{entry.name} must have the classes {entry.classes}; its file says {predictor.file_classes}")
    return predictor


def load(name: str | None = None, *, device: str = "cpu", threads: int | None = None) -> Predictor:
    """Load a detector.

    Args:
        name: a model of `list_models()` whose task is `detect`, or the path of a weight file of ours: `.safetensors`
            runs on torch, `.onnx` (from `detector export`) on ONNX Runtime; None loads the default.
        device: `cpu` or `cuda`; never guessed.
        threads: threads for one picture; None takes what is fastest for one picture at a time. Give 1 where every
            core works on a picture of its own.

    Raises:
        UsageError: for an unknown model or device, or a bad number of threads.
        ModelError: when the weights are missing or altered.
        DeviceError: when the device is not there.

    Example:
        >>> import detector
        >>> model = detector.load()
        >>> found = model.detect("examples/in.jpg")
        >>> found.model
        'nudenet-320n'
    """
    if name is not None and name.endswith(WEIGHTS_SUFFIX):
        return _retinanet().from_file(name, device=device, threads=threads)
    if name is not None and name.endswith(ONNX_SUFFIX):
        from detector.exchange.onnx_predictor import OnnxRetinaNet

        return OnnxRetinaNet.from_file(name, device=device, threads=threads)
    entry = find_model(DEFAULT_MODEL if name is None else name, task="detect")
    if name is None and not entry.installed:
        raise _no_default(entry)
    if entry.engine == "nudenet-onnx":
        from detector.nudenet import NudeNet

        return NudeNet(entry, read_weights(entry), device=device, threads=threads)
    if entry.engine == "retinanet":
        return _from_entry(_retinanet(), entry, device, threads)
    if entry.engine == "retinanet-onnx":
        from detector.exchange.onnx_predictor import OnnxRetinaNet

        return _from_entry(OnnxRetinaNet, entry, device, threads)
    raise ModelError(
        f"the engine of a detector must be nudenet-onnx, retinanet or retinanet-onnx; {entry.name} needs "
        f"{entry.engine!r}; upgrade retina-censor"
    )
