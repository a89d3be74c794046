"""Grad-CAM, guided backpropagation and deconvolution of our torch networks, by Captum, in source pixels."""

import importlib
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from detector.errors import ModelError
from detector.explain.explanation import Explanation
from detector.explain.networks import Explained, load_explained
from detector.picture import Picture

__all__ = ["attribute", "gradient_map"]


def gradient_map(
    picture: Picture, model: str, method: str, target: str | None, device: str, above: float | None = None
) -> Explanation:
    """Explain a picture by gradients; arguments and errors as for `detector.explain.api.explain`."""
    explained = load_explained(picture, model, target, device, above)
    heat = attribute(explained, method)
    with torch.no_grad():
        score = float(explained.network.score(explained.inputs)[0])
    source = _to_source(heat, explained.box, picture.image_size)
    settings: dict[str, Any] = {"frame_size": list(explained.content), "above": above}
    return Explanation(
        heat=source, score=score, target=explained.target, method=method, model=explained.name, settings=settings
    )


def attribute(explained: Explained, method: str) -> NDArray[np.float32]:
    """Return (h, w) float32 of `explained.content`.

    Grad-CAM: the layer's channels weighted by their mean gradient, what is negative cut off, enlarged bilinearly. The
    others: the largest of the absolute values of a pixel's three colours.

    Raises:
        ModelError: when Captum is not installed, or a gradient is no finite number.

    Source:
        Selvaraju et al., Grad-CAM (2017); Springenberg et al., Striving for Simplicity (2015); Zeiler and Fergus,
        Visualizing and Understanding Convolutional Networks (2014).
    """
    captum = _captum()
    inputs = explained.inputs.detach().clone().requires_grad_()
    if method == "grad-cam":
        found = captum.LayerGradCam(explained.network, explained.layer).attribute(inputs, relu_attributions=True)
        size = tuple(inputs.shape[2:])
        heat = torch.nn.functional.interpolate(found.detach(), size=size, mode="bilinear", align_corners=False)[0, 0]
    else:
        change = {"guided-backprop": captum.GuidedBackprop, "deconvolution": captum.Deconvolution}[method]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU")
            found = change(explained.network).attribute(inputs)
        heat = found.detach()[0].abs().amax(dim=0)
    height, width = explained.content
    result: NDArray[np.float32] = heat[:height, :width].float().cpu().numpy()
    if not np.isfinite(result).all():
        raise ModelError(f"{explained.name}: gradients must be finite; they are not; its weights are broken")
    return result


def _captum() -> Any:
    try:
        return importlib.import_module("captum.attr")
    except ImportError as error:
        raise ModelError(
            f"a method by gradients needs the package captum; it cannot be imported ({error}); "
            "type: pip install 'retina-censor[explain]'; or use --method occlusion or window"
        ) from error


def _to_source(
    heat: NDArray[np.float32], box: tuple[float, float, float, float], image_size: tuple[int, int]
) -> NDArray[np.float32]:
    """Lay a map over the part of the source that the network saw; 0 elsewhere."""
    source = np.zeros(image_size, dtype=np.float32)
    left, upper = int(box[0]), int(box[1])
    right, lower = max(left + 1, round(box[2])), max(upper + 1, round(box[3]))
    right, lower = min(right, image_size[1]), min(lower, image_size[0])
    part = Image.fromarray(heat).resize((right - left, lower - upper), Image.Resampling.BILINEAR)
    source[upper:lower, left:right] = np.asarray(part)
    return source
