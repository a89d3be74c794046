"""Perceptual hashes: which pictures are copies of each other, resized, coded again or mirrored."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["HASH_BITS", "NEAR_BITS", "VIEW_SIDE", "group_linked", "hash_view", "near_pairs"]

# A reduced JPEG decode is enough: 16 pixels of this view make one of the picture that is transformed.
VIEW_SIDE = 512
# Side of the grey picture that is transformed, and how many frequencies of each direction are kept.
GREY_SIDE = 32
FREQUENCIES = 8
HASH_BITS = FREQUENCIES * FREQUENCIES

# Two hashes that differ in at most so many of the 64 bits are of copies. Of 25 mannequins, 400 copies (at 1/4 to 2
# times the size, JPEG quality 10 to 95, in grey, blurred, brighter, flatter, mirrored) differed in at most 6 bits from
# their original, and no two different pictures in fewer than 15. A copy cropped by 3 % can differ in 14 and is not
# found. Two random hashes come this close with a chance of 1e-9.
NEAR_BITS = 8

# Rows compared at a time: 1024 by 100,000 distances take 0.4 GB.
BLOCK = 1024


def hash_view(view: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the hash of a picture, and that of its mirror image.

    The lowest 8 x 8 frequencies of the 32 x 32 grey picture, without the first row and column, each compared with
    their median. A picture of one colour has no such frequencies; all of them hash to zeros, and so are copies of
    each other.

    Args:
        view: (h, w, 3) uint8 RGB, as `Picture.views(VIEW_SIDE)` gives it.

    Returns:
        (2, 64) bool: as seen, and mirrored left to right.

    Source:
        Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010), section 3.2.1 (pHash);
        the size is reduced by area averages instead of a 7 x 7 mean filter.
    """
    small = cv2.resize(view, (GREY_SIDE, GREY_SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    # Whole numbers: what rounding errors leave of a flat picture must not become bits.
    spectrum = np.rint(cv2.dct(grey))[1 : FREQUENCIES + 1, 1 : FREQUENCIES + 1]  # (8, 8)
    # Mirroring a picture negates its odd horizontal frequencies.
    signs = np.where(np.arange(1, FREQUENCIES + 1) % 2, -1, 1)
    both = np.stack([spectrum, spectrum * signs]).reshape(2, HASH_BITS)
    bits: NDArray[np.bool_] = both > np.median(both, axis=1, keepdims=True)
    return bits


def near_pairs(hashes: Sequence[NDArray[np.bool_]], near_bits: int = NEAR_BITS) -> list[tuple[int, int]]:
    """Return the index pairs that link all near copies; equal hashes are linked in a chain, not each with each.

    Every picture is compared with every other: 30,000 take some 13 s on two cores, 100,000 eleven times as long.

    Args:
        hashes: N of (2, 64) bool, as `hash_view` returns them.
        near_bits: highest number of differing bits, of 64.
    """
    if not hashes:
        return []
    stacked = np.stack(hashes)  # (N, 2, 64)
    distinct, first, inverse = np.unique(stacked[:, 0], axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    pairs = [(int(first[kind]), index) for index, kind in enumerate(inverse) if first[kind] != index]
    # With bits as -1 and 1 a scalar product is 64 minus twice the number of bits that differ.
    signs = np.where(stacked[first], np.float32(1), np.float32(-1))  # (M, 2, 64)
    wanted = HASH_BITS - 2 * near_bits
    for start in range(0, len(distinct), BLOCK):
        rows = signs[start : start + BLOCK, 0]
        for side in (0, 1):
            here, there = np.nonzero(rows @ signs[start:, side].T >= wanted)
            pairs += [(int(first[start + a]), int(first[start + b])) for a, b in zip(here, there, strict=True) if a < b]
    return pairs


def group_linked(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the indices 0..count - 1 in groups linked by pairs, directly or through others; singles included.

    Groups are in the order of their first member, members in rising order.
    """
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for index in range(count):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())
