"""Where torch computes and how precisely: the choices of every network of ours, checked in one place."""

import torch

from detector.errors import DeviceError, UsageError
from detector.nearest import nearest
from detector.onnx_session import DEVICES

__all__ = ["check_threads", "choose_device"]

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def choose_device(device: str, precision: str | None) -> tuple[torch.device, torch.dtype]:
    """Return torch's device and the type to compute in.

    Args:
        device: `cpu` or `cuda`.
        precision: `float32` or `bfloat16`; None takes bfloat16 on CUDA, float32 on the CPU.

    Raises:
        UsageError: for an unknown device or precision.
        DeviceError: when CUDA is asked for and torch cannot use it.
    """
    if device not in DEVICES:
        raise UsageError(f"a device must be one of {', '.join(DEVICES)}; got {device!r}{nearest(device, DEVICES)}")
    if precision is not None and precision not in PRECISIONS:
        raise UsageError(
            f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}{nearest(precision, PRECISIONS)}"
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "the device cuda must be usable by torch; it is not here: no GPU, no driver, or a torch built for the "
            "CPU; use device='cpu', or install a CUDA build of torch"
        )
    return torch.device(device), PRECISIONS[precision or ("bfloat16" if device == "cuda" else "float32")]


def check_threads(threads: int | None) -> None:
    """Refuse a number of threads that is none.

    Raises:
        UsageError: when it is neither None nor a whole number of at least 1.
    """
    if threads is not None and (type(threads) is not int or threads < 1):
        raise UsageError(f"threads must be a whole number of at least 1, or None; got {threads!r}")
