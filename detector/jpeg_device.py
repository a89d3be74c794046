"""JPEG files decoded and resized where the network runs: on a GPU by nvJPEG, through torchvision.

Faster than decoding on the CPU where that is what the GPU waits for. Its pixels differ from Pillow's by a few levels
(another inverse transform, chroma interpolated otherwise, another area filter), so scores differ a little too. A
picture that is no plain JPEG goes the usual way.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.io import ImageReadMode

from detector.errors import InputError, UsageError
from detector.picture import Picture
from detector.preprocess import Prepared, fit_inside
from detector.retinanet_config import Preprocessing

__all__ = ["decode_prepared", "is_plain_jpeg"]

# Markers of ITU T.81: start of scan, end of image, and Adobe's segment, which says what the channels are.
_SOS, _EOI, _APP14 = 0xDA, 0xD9, 0xEE
# Baseline, extended and progressive Huffman coding: what every decoder knows.
_FRAMES = (0xC0, 0xC1, 0xC2)
# Names of the channels that everybody takes for grey and YCbCr. By the names R, G, B libjpeg takes them for that; not
# every decoder does.
_CHANNELS = (b"\x01", b"\x00", b"\x01\x02\x03", b"\x00\x01\x02")

# EXIF orientation -> (transpose first, then flip up-down, then flip left-right) that show it as a viewer does.
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def is_plain_jpeg(picture: Picture) -> bool:
    """Say whether any decoder shows this file alike: grey or YCbCr, sRGB, nothing that tells of other channels.

    A file that does not end with its end marker is none either: it may be cut, and not every decoder would say so.
    """
    return (
        picture.format == "JPEG"
        and picture.data is not None
        and picture.plain_colour
        and picture.data.endswith(bytes([0xFF, _EOI]))
        and _has_plain_channels(picture.data)
    )


def _has_plain_channels(data: bytes) -> bool:
    """Walk the segments before the first scan: one frame of 8 bits with the usual channels, and no word of others."""
    frames: list[bytes] = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if marker == _SOS:
            return len(frames) == 1 and frames[0] in _CHANNELS
        if marker == _APP14 or length < 2:
            return False
        if marker in _FRAMES and len(body) >= 9 and body[0] == 8:
            frames.append(body[6::3])
        at += 2 + length
    return False


@torch.inference_mode()
def decode_prepared(
    pictures: Sequence[Picture], preprocessing: Preprocessing, device: torch.device
) -> list[Prepared[Tensor]]:
    """Decode plain JPEGs in one call and bring each to the network's scale.

    Args:
        pictures: of which `is_plain_jpeg` holds.
        preprocessing: of the model.
        device: where to; on a `cpu` torchvision's own libjpeg decodes, which is how this is tested without a GPU.

    Returns:
        One for each, its pixels (h, w, 3) uint8 RGB on the device.

    Raises:
        InputError: when one cannot be decoded, or is not of the size that its header says.
    """
    data = [torch.frombuffer(bytearray(picture.data or b""), dtype=torch.uint8) for picture in pictures]
    try:
        decoded = _decoded(data, device)
    except RuntimeError as error:
        names = ", ".join(picture.name for picture in pictures)
        raise InputError(f"{names}: one of these JPEGs cannot be decoded: {error}") from error
    return [_scaled(picture, pixels, preprocessing) for picture, pixels in zip(pictures, decoded, strict=True)]


def _decoded(data: list[Tensor], device: torch.device) -> list[Tensor]:
    """Call torchvision's decoders: (3, H, W) uint8 each, on the device.

    Its Python function of these warns, from 0.29 on, that they will move to another package; what it calls is here
    called without it, and a torchvision that has lost them is an error that says so.
    """
    mode = ImageReadMode.RGB.value
    try:
        if device.type == "cuda":
            return list(torch.ops.image.decode_jpegs_cuda(data, mode, device))
        return [torch.ops.image.decode_jpeg(one, mode, False) for one in data]
    except AttributeError as error:
        raise UsageError(
            "jpeg_on_device needs a torchvision that decodes JPEGs; this one does not; leave it off"
        ) from error


def _scaled(picture: Picture, pixels: Tensor, preprocessing: Preprocessing) -> Prepared[Tensor]:
    """Turn (3, H, W) upright and resize it, anti-aliased."""
    transpose, up_down, left_right = _TURNS[picture.orientation]
    upright = pixels.transpose(1, 2) if transpose else pixels
    flipped = [axis for axis, flip in ((1, up_down), (2, left_right)) if flip]
    upright = upright.flip(flipped) if flipped else upright
    if tuple(upright.shape[1:]) != picture.image_size:
        height, width = upright.shape[1:]
        raise InputError(
            f"{picture.name}: the decoded picture must be {picture.image_size[1]} x {picture.image_size[0]}, as its "
            f"header says; it is {width} x {height}"
        )
    plan = fit_inside(picture.image_size, preprocessing)
    if plan.content != picture.image_size:
        upright = interpolate(upright[None].float(), plan.content, mode="bilinear", antialias=True)[0]
        upright = upright.round_().clamp_(0, 255).to(torch.uint8)
    return Prepared(upright.permute(1, 2, 0), plan)
