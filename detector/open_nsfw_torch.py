"""Yahoo's open_nsfw on torch: the same pictures, views and numbers as on ONNX Runtime, on any device torch knows."""

import numpy as np
import torch
from numpy.typing import NDArray

from detector.models import find_model
from detector.onnx_session import default_threads
from detector.open_nsfw import MODEL_NAME, OpenNSFWScorer
from detector.resnet_thin import load_resnet_thin
from detector.torch_device import check_threads, choose_device

__all__ = ["TorchOpenNSFW"]

# Inputs in one run of the network.
CPU_BATCH = 8
CUDA_BATCH = 64


class TorchOpenNSFW(OpenNSFWScorer):
    """Scores whole pictures with torch; safe to call from several threads at once, holds no thresholds.

    In float32 the scores are ONNX Runtime's to 1e-4. In bfloat16 they moved by up to .014 on the mannequins.

    Args:
        device: `cpu` or `cuda`.
        threads: torch's threads for one picture on the CPU, a setting of the whole process; on CUDA, threads that
            prepare pictures. None leaves torch's setting, and prepares on a few cores.
        precision: `float32` or `bfloat16`; None takes bfloat16 on CUDA, float32 on the CPU.

    Raises:
        UsageError: for an unknown device or precision, or a bad number of threads.
        ModelError: when the weights are missing or altered, or `onnx` is not installed.
        DeviceError: when CUDA is asked for and torch cannot use it.
    """

    def __init__(self, device: str = "cpu", threads: int | None = None, *, precision: str | None = None) -> None:
        check_threads(threads)
        self._torch_device, self._dtype = choose_device(device, precision)
        on_gpu = device == "cuda"
        entry = find_model(MODEL_NAME, task="classify")
        model = load_resnet_thin(entry).requires_grad_(False)
        self._model = model.to(device=self._torch_device, dtype=self._dtype, memory_format=torch.channels_last)
        if threads is not None and not on_gpu:
            torch.set_num_threads(threads)
        super().__init__(
            entry,
            device=device,
            batch_size=CUDA_BATCH if on_gpu else CPU_BATCH,
            # A GPU waits for pictures; on a CPU preparing ahead would only take cores from the network.
            workers=(threads or default_threads()) if on_gpu else 1,
        )

    @torch.inference_mode()
    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network: (B, 224, 224, 3) as `preprocess` gives them to (B, 2) probabilities."""
        # (B, 224, 224, 3) in memory is channels_last: a view in torch's order of axes, without a copy.
        images = torch.from_numpy(inputs).permute(0, 3, 1, 2)
        logits = self._model(images.to(self._torch_device, self._dtype))
        # The softmax in float32: a score near 1 has too few steps in bfloat16.
        probabilities: NDArray[np.float32] = logits.float().softmax(dim=1).cpu().numpy()
        return probabilities
