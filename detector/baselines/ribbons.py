"""Part of the baseline `skin_limbs`: elongated pieces of a mask, found from the symmetry of their two sides.

The paper's way in a small form: edges in and around the skin; pairs of edge points that face each other across skin,
Brady's local symmetries; and those in the middle of one straight strip of nearly the same width, fit to a `Ribbon`.

The paper's text was not at hand, and no figure for this step was found elsewhere: all are chosen, on drawn shapes only.

Source:
    Fleck, Forsyth, Bregler: Finding Naked People (ECCV 1996), section 4; Brady, Asada: Smoothed Local Symmetries and
    Their Implementation (1984).
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Ribbon", "edge_points", "find_ribbons", "symmetries"]

Floats = NDArray[np.float32]

# Bounds on work: what is compared in pairs, and how many strips are tried.
MAX_POINTS = 700
MAX_TRIES = 60

CANNY_LOW, CANNY_HIGH = 40, 100
MIN_WIDTH = 4.0
# Two edge points face each other when the line between them is within 25 degrees of both normals.
MIN_FACING = float(np.cos(np.radians(25)))

# What belongs to one strip: angle of the axis, ratio of widths, distance from the axis and gap along it in widths.
MIN_ALIGNED = float(np.cos(np.radians(20)))
MAX_WIDTH_RATIO = 1.5
MAX_OFFSET = 0.25
MAX_GAP = 0.5
REACH = 3.0

MIN_ELONGATION = 1.2
MIN_SKIN = 0.8
MIN_SUPPORT = 4


@dataclass(frozen=True, kw_only=True)
class Ribbon:
    """A straight strip.

    Attributes:
        start: (x, y) of one end of its axis, in pixels.
        end: of the other.
        width: across, in pixels.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    width: float

    @property
    def length(self) -> float:
        """Of the axis, in pixels."""
        return float(np.hypot(self.end[0] - self.start[0], self.end[1] - self.start[1]))

    @property
    def elongation(self) -> float:
        """Length over width."""
        return self.length / self.width


def edge_points(mask: NDArray[np.bool_], intensity: Floats) -> tuple[Floats, Floats]:
    """Return points on edges, and the directions across these.

    Args:
        mask: (H, W), where skin is.
        intensity: (H, W), in [0, 253]; where limbs meet, only this tells them apart.

    Returns:
        (N, 2) x and y, and (N, 2) unit normals of either sign; N is at most `MAX_POINTS`, drawn from all.
    """
    skin = mask.astype(np.uint8)
    plus = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    # A border of what is not skin, so that the picture's edge is one of the skin.
    inside = cv2.erode(skin, plus, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    outline = skin.astype(bool) & ~inside.astype(bool)
    grey = cv2.GaussianBlur(intensity.astype(np.uint8), (5, 5), 0)
    deep = cv2.erode(skin, plus, iterations=3, borderType=cv2.BORDER_CONSTANT, borderValue=0).astype(bool)
    creases = (cv2.Canny(grey, CANNY_LOW, CANNY_HIGH) > 0) & deep
    ys, xs = np.nonzero(outline | creases)
    if len(xs) > MAX_POINTS:
        # By lot, the same one each time: every second point of each row would be all of one side.
        kept = np.sort(np.random.default_rng(0).permutation(len(xs))[:MAX_POINTS])
        ys, xs = ys[kept], xs[kept]
    framed = np.pad(skin.astype(np.float32), 8)
    of_skin = _gradient(cv2.GaussianBlur(framed, (9, 9), 0))[8:-8, 8:-8]
    of_grey = _gradient(grey.astype(np.float32))
    normals = np.where(outline[ys, xs, None], of_skin[ys, xs], of_grey[ys, xs])
    lengths = np.linalg.norm(normals, axis=1)
    sure = lengths > 1e-6
    points = np.stack([xs, ys], axis=1).astype(np.float32)
    return points[sure], (normals[sure] / lengths[sure, None]).astype(np.float32)


def symmetries(mask: NDArray[np.bool_], points: Floats, normals: Floats) -> tuple[Floats, Floats, Floats]:
    """Pair each edge point with the nearest that faces it, on either side of it, across skin.

    Args:
        mask: (H, W), where skin is.
        points: (N, 2) x and y.
        normals: (N, 2) of length 1.

    Returns:
        (M, 2) points midway, (M, 2) unit directions of the axis there, (M,) widths; M is at most 2 N.
    """
    across = points[None] - points[:, None]  # (N, N, 2), from the first to the second
    widths = np.linalg.norm(across, axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        here = np.einsum("ijk,ik->ij", across, normals) / widths
        there = np.einsum("ijk,jk->ij", across, normals) / widths
    facing = (np.abs(here) >= MIN_FACING) & (np.abs(there) >= MIN_FACING) & (widths >= MIN_WIDTH)
    facing &= widths <= max(mask.shape)
    firsts, seconds = [], []
    for sign in (1, -1):
        distances = np.where(facing & (sign * here > 0), widths, np.inf)
        nearest = distances.argmin(axis=1) if len(points) else np.zeros(0, np.intp)
        found = np.isfinite(distances[np.arange(len(points)), nearest])
        firsts.append(np.flatnonzero(found))
        seconds.append(nearest[found])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    chord = across[first, second]
    across_skin = np.ones(len(first), bool)
    for part in (0.25, 0.5, 0.75):
        x, y = np.rint(points[first] + part * chord).astype(np.intp).T
        across_skin &= mask[y, x]
    first, second, chord = first[across_skin], second[across_skin], chord[across_skin]
    width = widths[first, second]
    axes = np.stack([-chord[:, 1], chord[:, 0]], axis=1) / width[:, None]
    return points[first] + chord / 2, axes, width + 1  # both points are pixels of the skin


def find_ribbons(mask: NDArray[np.bool_], intensity: Floats) -> list[Ribbon]:
    """Return the strips of skin, those with the most symmetric points first; arguments as for `edge_points`."""
    middles, axes, widths = symmetries(mask, *edge_points(mask, intensity))
    if not len(widths):
        return []
    like = _alike(middles, axes, widths)
    left = np.ones(len(widths), bool)
    ribbons: list[Ribbon] = []
    for _ in range(MAX_TRIES):
        votes = np.where(left, like[:, left].sum(axis=1), 0)
        seed = int(votes.argmax())
        if votes[seed] < MIN_SUPPORT:
            break
        members = np.flatnonzero(like[seed] & left)
        ribbon, used = _fit(middles, axes, widths, members, left)
        left[used] = left[seed] = False  # not all members: beyond a gap they are for another ribbon
        if ribbon is not None and ribbon.elongation >= MIN_ELONGATION and _skin_share(mask, ribbon) >= MIN_SKIN:
            ribbons.append(ribbon)
    return ribbons


def _alike(middles: Floats, axes: Floats, widths: Floats) -> NDArray[np.bool_]:
    """Return (M, M): whether the second point lies in a strip around the first one."""
    between = middles[None] - middles[:, None]
    along = np.abs(np.einsum("ijk,ik->ij", between, axes))
    normals = np.stack([-axes[:, 1], axes[:, 0]], axis=1)
    beside = np.abs(np.einsum("ijk,ik->ij", between, normals))
    near = (along <= REACH * widths[:, None]) & (beside <= MAX_OFFSET * widths[:, None])
    ratio = widths[None] / widths[:, None]
    alike = (ratio <= MAX_WIDTH_RATIO) & (ratio >= 1 / MAX_WIDTH_RATIO) & (np.abs(axes @ axes.T) >= MIN_ALIGNED)
    return np.asarray(near & alike)


def _fit(
    middles: Floats, axes: Floats, widths: Floats, members: NDArray[np.intp], left: NDArray[np.bool_]
) -> tuple[Ribbon | None, NDArray[np.intp]]:
    """Fit a strip to some symmetric points, then to all those left that lie in it without a gap."""
    for _ in range(2):
        turned = axes[members] * np.sign(axes[members] @ axes[members[0]] + 1e-6)[:, None]
        axis = turned.mean(axis=0) / np.linalg.norm(turned.mean(axis=0))
        centre, width = np.median(middles[members], axis=0), float(np.median(widths[members]))
        along = (middles - centre) @ axis
        beside = np.abs((middles - centre) @ np.array([-axis[1], axis[0]]))
        fits = left & (beside <= MAX_OFFSET * width) & (np.abs(axes @ axis) >= MIN_ALIGNED)
        fits &= (widths <= MAX_WIDTH_RATIO * width) & (widths >= width / MAX_WIDTH_RATIO)
        chosen = np.flatnonzero(fits)
        chosen = chosen[np.argsort(along[chosen], kind="stable")]
        cuts = np.flatnonzero(np.diff(along[chosen]) > max(MAX_GAP * width, 3)) + 1
        members = max(np.split(chosen, cuts), key=len)
        if len(members) < MIN_SUPPORT:
            return None, members
    low, high = float(along[members].min()), float(along[members].max())
    start, end = centre + low * axis, centre + high * axis
    return Ribbon(start=(float(start[0]), float(start[1])), end=(float(end[0]), float(end[1])), width=width), members


def _skin_share(mask: NDArray[np.bool_], ribbon: Ribbon) -> float:
    """Return how much of a strip is skin."""
    start, end = np.array(ribbon.start), np.array(ribbon.end)
    axis = (end - start) / max(ribbon.length, 1e-6)
    normal = np.array([-axis[1], axis[0]])
    along, beside = np.meshgrid(np.linspace(0, 1, 24), np.linspace(-0.45, 0.45, 9))
    places = start + along[..., None] * (end - start) + beside[..., None] * ribbon.width * normal
    x, y = np.rint(places).astype(np.intp).reshape(-1, 2).T
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    return float(np.count_nonzero(mask[y[inside], x[inside]]) / len(x))


def _gradient(plane: NDArray[np.integer[Any] | np.floating[Any]]) -> Floats:
    """Return (H, W, 2), the slopes along x and y."""
    kind = cv2.CV_32F
    return np.stack([cv2.Sobel(plane, kind, 1, 0), cv2.Sobel(plane, kind, 0, 1)], axis=-1).astype(np.float32)
