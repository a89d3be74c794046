"""PDQ: a perceptual hash of 256 bits, alike for near copies of a picture, with a measure of how much it can tell.

It is not cryptographic. Who wants to can make two pictures that look different and have one hash, and can make a
blurred likeness of a picture from its hash: so it may add to what is hidden, and a hash stays with the original.

Written here because the package `pdqhash` has no wheels for Linux; the tests hold it against that package's output.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError

__all__ = ["MAX_DISTANCE", "MIN_QUALITY", "VIEW_SIDE", "Pdq", "distances", "pack_hashes", "pdq_of"]

# As Meta recommends: up to 31 of 256 bits differ between near copies, and below a quality of 50 (fog, a plain wall)
# hashes of different pictures are alike.
MAX_DISTANCE, MIN_QUALITY = 31, 50

# Of a large JPEG this reduced view is hashed. NudeNet's detector looks at it too, so that it is decoded once.
VIEW_SIDE = 384

BITS = 256
# Larger pictures are first reduced by a whole number, which is fast, to at least this many pixels a side: four for each
# cell. It moves up to 10 bits on the tests' pictures; the reference's own command line reduces too.
SHORTEST_SIDE = 256
# The picture is brought to this many cells a side, and of their cosine transform the lowest 16 x 16 are kept, without
# the constant terms.
CELLS, KEPT = 64, 16
# The sum of the cells' differences (in per cent of full range) that counts as one point of quality.
QUALITY_UNIT = 90


@dataclass(frozen=True)
class Pdq:
    """The hash of one picture.

    Attributes:
        hash: 64 hexadecimal digits, in the order in which the reference prints them.
        quality: 0..100; from `MIN_QUALITY` up a match means something.
    """

    hash: str
    quality: int

    def __post_init__(self) -> None:
        if not isinstance(self.hash, str) or len(self.hash) != BITS // 4 or not _is_hex(self.hash):
            raise UsageError(f"a PDQ hash must be {BITS // 4} hexadecimal digits; got {self.hash!r}")
        if not isinstance(self.quality, int) or isinstance(self.quality, bool) or not 0 <= self.quality <= 100:
            raise UsageError(f"a PDQ quality must be a whole number from 0 to 100; got {self.quality!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return {"hash": self.hash, "quality": self.quality}


def pdq_of(image: NDArray[np.uint8]) -> Pdq:
    """Hash one picture.

    Args:
        image: (H, W, 3) uint8 RGB, as a viewer sees it.

    Source:
        Facebook, "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm" (2019), section 4; agrees
        with the reference but for bits whose coefficient equals the median to float32's last digits.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise UsageError(f"an image must be uint8 (H, W, 3) in RGB; got {image.dtype} of shape {image.shape}")
    import cv2

    height, width = image.shape[:2]
    factor = min(height, width) // SHORTEST_SIDE
    if factor > 1:
        height, width = height // factor, width // factor
        whole = image[: height * factor, : width * factor]  # leaves out less than a 256th, at two edges
        image = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    # Rec. 601, as in the reference; in floats, since whole numbers of it would move bits.
    luma = np.asarray(cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY), dtype=np.float32)  # (height, width)
    for _ in range(2):
        luma = _box_filter(luma)
    rows, columns = (((np.arange(CELLS) + 0.5) * side / CELLS).astype(np.int64) for side in (height, width))
    cells = luma[np.ix_(rows, columns)]  # (64, 64)
    basis = _cosines()
    coefficients = basis @ cells @ basis.T  # (16, 16)
    median = np.partition(coefficients.ravel(), BITS // 2 - 1)[BITS // 2 - 1]
    bits = (coefficients > median).ravel()[::-1]
    return Pdq(np.packbits(bits).tobytes().hex(), _quality(cells))


def _box_filter(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average over a window of about a 128th of each side; at an edge over the part that lies inside."""
    import cv2

    height, width = luma.shape
    # ceil(side / 128), so that two passes reach over one cell.
    windows = [-(-side // (2 * CELLS)) for side in (width, height)]
    anchor = [window - (window + 2) // 2 for window in windows]
    sums, counts = (
        cv2.boxFilter(values, cv2.CV_32F, windows, anchor=anchor, normalize=False, borderType=cv2.BORDER_CONSTANT)
        for values in (luma, np.ones_like(luma))
    )
    return np.asarray(sums / counts, dtype=np.float32)


def _quality(cells: NDArray[np.float32]) -> int:
    """How much the cells differ from their neighbours, 0..100."""
    total = sum(int(np.abs((np.diff(cells, axis=axis) * 100 / 255).astype(np.int64)).sum()) for axis in (0, 1))
    return min(total // QUALITY_UNIT, 100)


@functools.cache
def _cosines() -> NDArray[np.float32]:
    """(16, 64): rows 1..16 of the cosine transform of 64 values."""
    frequency, place = np.arange(1, KEPT + 1)[:, None], np.arange(CELLS)[None, :]
    return np.asarray(np.sqrt(2 / CELLS) * np.cos(np.pi / 2 / CELLS * frequency * (2 * place + 1)), dtype=np.float32)


def pack_hashes(hashes: Sequence[str]) -> NDArray[np.uint64]:
    """Return (N, 4) uint64 of N hashes, for `distances`."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint64).reshape(len(hashes), BITS // 64)


def distances(packed: NDArray[np.uint64], hash: str) -> NDArray[np.int64]:
    """Return (N,) in how many bits each of the packed hashes differs from one hash: some 2 ms for 100,000."""
    differing = packed ^ pack_hashes([hash])
    if hasattr(np, "bitwise_count"):  # NumPy 2
        return np.asarray(np.bitwise_count(differing).sum(axis=1, dtype=np.int64))
    return np.asarray(np.unpackbits(differing.view(np.uint8), axis=1).sum(axis=1, dtype=np.int64))


def _is_hex(text: str) -> bool:
    return all(char in "0123456789abcdef" for char in text)
