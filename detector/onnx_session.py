"""One ONNX Runtime session: options chosen by measurement, the device proven, inputs and outputs checked."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import DeviceError, ModelError, UsageError

__all__ = ["DEVICES", "OnnxSession", "TensorSpec", "default_threads"]

DEVICES = ("cpu", "cuda")

# Both networks are small. With two threads one picture takes 11.4 ms instead of 17.5 (320n at 320 x 256); the layers
# are too small to feed many more.
MAX_DEFAULT_THREADS = 4

# With one thread a batch gains nothing; with two, eight pictures together take 9.5 ms each instead of 11.6 (320 x 256)
# and 14.4 instead of 20.1 (320 x 320): larger layers divide better.
CPU_BATCH = 8
CUDA_BATCH = 32

# ONNX Runtime's own levels: 3 is errors only. A warning of the runtime is no news to who censors a picture.
_LOG_ERRORS = 3

_FLOAT = "tensor(float)"


@dataclass(frozen=True)
class TensorSpec:
    """What an input or output must be: its name, and its shape with None for a side that varies; always float32."""

    name: str
    shape: tuple[int | None, ...]


def default_threads() -> int:
    """Return how many threads one picture gets when nobody says: the cores this process may use, within reason."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity to ask for
        cores = os.cpu_count() or 1
    return min(cores, MAX_DEFAULT_THREADS)


class OnnxSession:
    """A network with one input and one output, on one device; `run` is safe from several threads at once.

    Args:
        weights: the whole ONNX file, already checked against its sha256; never a path, so that what was checked is
            what runs.
        name: of the model, for messages.
        input_spec: what the file's only input must be.
        output_spec: what its only output must be.
        metadata: keys that the file's metadata must hold with these values.
        device: `cpu` or `cuda`.
        threads: threads for one call; None takes `default_threads()`.

    Raises:
        UsageError: for an unknown device or a number of threads below 1.
        DeviceError: when CUDA is asked for and ONNX Runtime cannot use it.
        ModelError: when the bytes are no model, or not the one described.
    """

    def __init__(
        self,
        weights: bytes,
        *,
        name: str,
        input_spec: TensorSpec,
        output_spec: TensorSpec,
        metadata: Mapping[str, str] | None = None,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        if device not in DEVICES:
            raise UsageError(f"a device must be one of {', '.join(DEVICES)}; got {device!r}")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise UsageError(f"threads must be a whole number of at least 1, or None; got {threads!r}")
        self.name, self.device = name, device
        self.threads = default_threads() if threads is None else threads
        self._input, self._output = input_spec.name, output_spec.name
        self._session = _create(weights, name, device, self.threads)
        _check_tensors(name, "input", self._session.get_inputs(), input_spec)
        _check_tensors(name, "output", self._session.get_outputs(), output_spec)
        held = self._session.get_modelmeta().custom_metadata_map
        for key, value in (metadata or {}).items():
            if held.get(key) != value:
                raise ModelError(f"{name}: the metadata {key!r} must be {value!r}; the file says {held.get(key)!r}")

    @property
    def batch_size(self) -> int:
        """How many inputs to give to one `run` when there are many."""
        if self.device == "cpu":
            return CPU_BATCH if self.threads > 1 else 1
        return CUDA_BATCH

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network on one batch.

        Args:
            images: (B, ...) as the input's spec says.

        Returns:
            The output, (B, ...).

        Raises:
            ModelError: when the runtime fails, or an output is NaN or infinite: neither may pass for "nothing found".
        """
        try:
            output: NDArray[np.float32] = self._session.run([self._output], {self._input: images})[0]
        except Exception as error:  # the runtime has a dozen classes of its own, some without a common base
            raise ModelError(f"{self.name} must run on {self.device}; it failed: {error}") from error
        if len(output) != len(images) or not np.isfinite(output).all():
            raise ModelError(
                f"{self.name}: the network must give finite numbers for all {len(images)} inputs; it gave shape "
                f"{output.shape} with {int((~np.isfinite(output)).sum())} NaN or infinite; reinstall onnxruntime"
            )
        return output


def _create(weights: bytes, name: str, device: str, threads: int) -> Any:
    """Create the session and prove that it runs where it was asked to."""
    import onnxruntime

    providers: list[Any] = ["CPUExecutionProvider"]
    if device == "cuda":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise DeviceError(
                "the device cuda needs an ONNX Runtime with CUDA; this one offers "
                f"{', '.join(onnxruntime.get_available_providers())}; type: pip install onnxruntime-gpu"
            )
        # TF32 off: scores on the GPU then match those on the CPU. Heuristic search: input shapes vary, and the
        # default measures every convolution again for every new shape.
        providers = [("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}), *providers]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning wins 10 % when nothing else runs and loses up to 90 % beside one busy process (11.4 to 10.0 ms, and
    # 14.8 to 18..27 ms, 320n on two cores).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Work is dealt out in small blocks, so that a thread whose core is taken leaves its share to the others: 17.5 to
    # 14 ms beside one busy process, the same otherwise.
    options.add_session_config_entry("session.dynamic_block_base", "4")
    options.log_severity_level = _LOG_ERRORS
    # All optimisations: 30 ms more to load than none, and 16 instead of 23 ms for each picture.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    try:
        session = onnxruntime.InferenceSession(weights, options, providers=providers)
    except Exception as error:
        kind = DeviceError if device == "cuda" else ModelError
        raise kind(f"{name} must load on {device}; ONNX Runtime refused: {error}") from error
    wanted = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if session.get_providers()[0] != wanted:
        # ONNX Runtime falls back without a word when it cannot load CUDA or cuDNN.
        raise DeviceError(
            f"{name} must run on {device}; ONNX Runtime fell back to {session.get_providers()[0]}: the CUDA or cuDNN "
            "libraries do not load; type: pip install 'onnxruntime-gpu[cuda,cudnn]'"
        )
    return session


def _check_tensors(name: str, kind: str, tensors: Any, spec: TensorSpec) -> None:
    """Raise unless there is exactly one tensor, with the name, type and shape that the spec states."""
    given = [(t.name, t.type, tuple(side if isinstance(side, int) else None for side in t.shape)) for t in tensors]
    if given != [(spec.name, _FLOAT, spec.shape)]:
        raise ModelError(f"{name}: the only {kind} must be {(spec.name, _FLOAT, spec.shape)}; the file has {given}")
