"""The RetinaNet on its device: folded, in the device's precision and layout, one batch at a time; knows no files.

A batch is launched, and fetched later: on a GPU the next one is prepared while the last one is computed.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detector.anchors import anchors_for, anchors_per_level
from detector.errors import ModelError, UsageError
from detector.normalise import Normalisation
from detector.preprocess import Prepared
from detector.retinanet import RetinaNet, fold_batch_norm
from detector.retinanet_postprocess import Survivors, logit_thresholds, suppress, survivors
from detector.torch_device import choose_device

__all__ = ["Launched", "RetinaNetRunner"]


class Launched(NamedTuple):
    """A batch under way: nothing in here has been waited for.

    Attributes:
        kept: the best anchors of each picture.
        finite: () whether all of the network's numbers were finite.
    """

    kept: Survivors
    finite: Tensor


class _Graph(NamedTuple):
    """A captured run for one input shape, with the memory that it reads and writes."""

    graph: Any
    pixels: Tensor
    limits: Tensor
    thresholds: Tensor
    outputs: Launched


class RetinaNetRunner:
    """Runs a network; safe from several threads at once.

    Args:
        model: in evaluation mode; taken over: folded, moved and cast in place.
        device: `cpu` or `cuda`.
        precision: `float32` or `bfloat16`; None takes bfloat16 on CUDA, float32 on the CPU.
        compile_mode: a mode of `torch.compile`, for example `max-autotune-no-cudagraphs`; None runs eagerly. Each
            input shape is compiled when it first comes, which takes minutes; torch compiles up to 8 shapes, and runs
            further ones eagerly.
        cuda_graphs: whether a run is captured for each input shape (batches filled up to powers of two) and then
            replayed with one launch; only on CUDA.

    Raises:
        UsageError: for settings that do not exist or do not belong together.
        DeviceError: when CUDA is asked for and torch cannot use it.
    """

    def __init__(
        self,
        model: RetinaNet,
        *,
        device: str = "cpu",
        precision: str | None = None,
        compile_mode: str | None = None,
        cuda_graphs: bool = False,
    ) -> None:
        self.device, self.dtype = choose_device(device, precision)
        if cuda_graphs and device != "cuda":
            raise UsageError(f"cuda_graphs must be used on the device cuda; got {device!r}")
        self.config = model.config
        model = fold_batch_norm(model.eval()).requires_grad_(False)
        model = model.to(device=self.device, dtype=self.dtype, memory_format=torch.channels_last)
        self._network: Callable[[Tensor], tuple[Tensor, Tensor]] = (
            model if compile_mode is None else torch.compile(model, mode=compile_mode, dynamic=False)
        )
        self._normalise = Normalisation(self.config.preprocessing, self.device, self.dtype)
        self._use_graphs = cuda_graphs
        self._anchors: dict[tuple[int, int], Tensor] = {}
        self._graphs: dict[tuple[int, ...], _Graph] = {}
        # Guards the captured runs: each has one input and one output that all callers share.
        self._lock = threading.Lock()

    @torch.inference_mode()
    def launch(
        self, batch: Sequence[Prepared[Any]], *, score_thresh: Sequence[float], topk_candidates: int
    ) -> Launched:
        """Start the network on a batch of one input shape; on a GPU this returns before it is done.

        Args:
            batch: at least one; all of the same `plan.network_size`. Pixels that lie on the device already stay there.
            score_thresh: one for each of the network's classes; above 1 the class is left out.
            topk_candidates: at most so many boxes of a level are kept.
        """
        size = batch[0].plan.network_size
        count = 1 << (len(batch) - 1).bit_length() if self._use_graphs else len(batch)
        on_gpu = self.device.type == "cuda"
        # Zeros: what no picture fills is never read as one, but must not be somebody else's memory either.
        there = on_gpu and any(isinstance(one.pixels, Tensor) for one in batch)
        pixels = torch.zeros(
            (count, *size, 3),
            dtype=torch.uint8,
            pin_memory=on_gpu and not there,
            device=self.device if there else torch.device("cpu"),
        )
        limits = torch.zeros((count, 4), dtype=torch.float32, pin_memory=on_gpu)
        for slot, one in enumerate(batch):
            height, width = one.plan.content
            # A copy where the array is read-only: torch warns of those, though it would only read.
            source = (
                one.pixels if isinstance(one.pixels, Tensor) else torch.from_numpy(np.require(one.pixels, None, "W"))
            )
            pixels[slot, :height, :width] = source
            limits[slot] = torch.tensor([width, height, width, height])
        thresholds = logit_thresholds(score_thresh, self.config.num_classes, torch.device("cpu"))
        if self._use_graphs:
            return self._replay(pixels, limits, thresholds, topk_candidates)
        moved = [part.to(self.device, non_blocking=True) for part in (pixels, limits, thresholds)]
        return self._run(moved[0], moved[1], moved[2], topk_candidates)

    @torch.inference_mode()
    def fetch(self, launched: Launched, *, nms_thresh: float, detections_per_img: int) -> NDArray[np.float32]:
        """Wait for a batch, suppress, and copy what stays to the CPU, in one copy.

        Returns:
            (N, 7) float32: picture, x1, y1, x2, y2 in pixels of the network's input, score, class; by picture and
            falling score.

        Raises:
            ModelError: when the network gave something that is no finite number: nothing can be said then.
        """
        found = suppress(launched.kept, nms_thresh=nms_thresh, detections_per_img=detections_per_img)
        rows = torch.cat(
            [found.image[:, None].float(), found.boxes, found.scores[:, None], found.labels[:, None].float()], dim=1
        )
        first = launched.finite.float().expand(1, 7)
        array: NDArray[np.float32] = torch.cat([first, rows]).cpu().numpy()
        if not array[0, 0]:
            raise ModelError("the network's outputs must be finite; they are not; its weights are broken")
        return array[1:]

    def _anchors_for(self, size: tuple[int, int]) -> Tensor:
        if size not in self._anchors:
            self._anchors[size] = anchors_for(self.config, size, self.device)
        return self._anchors[size]

    def _run(self, pixels: Tensor, limits: Tensor, thresholds: Tensor, topk_candidates: int) -> Launched:
        """Compute on the device: fixed shapes, and no step waits for another device."""
        size = (pixels.shape[1], pixels.shape[2])
        images = self._normalise(pixels, limits)
        cls_logits, box_deltas = self._network(images)
        kept = survivors(
            cls_logits,
            box_deltas,
            self._anchors_for(size),
            limits,
            thresholds,
            anchors_per_level(self.config, size),
            topk_candidates=topk_candidates,
            config=self.config,
        )
        return Launched(kept, torch.isfinite(cls_logits).all() & torch.isfinite(box_deltas).all())

    def _replay(self, pixels: Tensor, limits: Tensor, thresholds: Tensor, topk_candidates: int) -> Launched:
        """Run through the captured graph of this shape; captured when it first comes."""
        key = (*pixels.shape[:3], topk_candidates)
        with self._lock:
            if key not in self._graphs:
                self._graphs[key] = self._capture(pixels, limits, thresholds, topk_candidates)
            run = self._graphs[key]
            for target, source in zip(run[1:4], (pixels, limits, thresholds), strict=True):
                target.copy_(source, non_blocking=True)
            run.graph.replay()
            # The next replay writes over the graph's own memory.
            kept = Survivors(*(part.clone() for part in run.outputs.kept))
            return Launched(kept, run.outputs.finite.clone())

    def _capture(self, pixels: Tensor, limits: Tensor, thresholds: Tensor, topk_candidates: int) -> _Graph:
        inputs = [part.to(self.device) for part in (pixels, limits, thresholds)]
        self._anchors_for((pixels.shape[1], pixels.shape[2]))
        # Warm up on a stream of its own, as torch asks for: libraries choose and allocate what they use.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._run(inputs[0], inputs[1], inputs[2], topk_candidates)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on: only what this one does is recorded, and checked.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            outputs = self._run(inputs[0], inputs[1], inputs[2], topk_candidates)
        return _Graph(graph, inputs[0], inputs[1], inputs[2], outputs)
