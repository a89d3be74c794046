"""Boxes of the parts that a rendered picture shows, from what every pixel shows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.classes import CLASSES
from detector.synth.camera import Camera
from detector.synth.frames import Placement
from detector.synth.mesh import Mesh
from detector.synth.regions import PARTS, shares_at_vertices
from detector.synth.render import Rendered

__all__ = ["MIN_SHARE", "MIN_SIDE_PIXELS", "SHEER", "VEILING", "Label", "Seen", "find_labels", "seen_surface"]

Bools = NDArray[np.bool_]

# A part under cloth that hides less than this is exposed: it can be made out. Under more it is covered ...
SHEER = 0.5
# ... but up to this much it still shows, the more so through cloth of the skin's colour: neither target nor background.
VEILING = 0.95
# A part of which less than this share is seen is neither target nor background.
MIN_SHARE = 0.25
# Of what is seen from the best direction: a part seen at so grazing an angle is hardly recognised either.
_MIN_FACING = 0.12
# Pixels of the finished picture. A box with a shorter side is ignored.
MIN_SIDE_PIXELS = 8.0
# Nobody would find these: what shows through a seam, a few pixels beyond an edge. They get no box at all ...
_GLIMPSE, _MIN_GLIMPSE_FACING = 0.05, 0.02
# ... unless they are more than this share of the picture: a very close view.
_GLIMPSE_OF_PICTURE = 0.01
# Splinters of a part apart from the rest, each below this share of what is seen, do not widen its box.
_SPLINTER = 0.08
# Metres. Triangles that reach nearer to the eye have no useful projection.
_NEAREST = 0.02
# Metres along the view between cloth and the skin under it, at most.
_WORN = 0.06


@dataclass(frozen=True, kw_only=True)
class Label:
    """One box.

    Attributes:
        class_name: one of `detector.CLASSES`.
        box: xyxy in pixels of the finished picture, inside it.
        ignore: neither a target nor background: too little of it is seen, or it is too small.
        part: name in `PARTS`.
        body: row of the mesh.
        share: seen pixels in proportion to what would be seen if nothing hid the part and the frame did not cut it.
    """

    class_name: str
    box: tuple[float, float, float, float]
    ignore: bool
    part: str
    body: int
    share: float

    @property
    def label(self) -> int:
        """Index into `detector.CLASSES`."""
        return CLASSES.index(self.class_name)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a viewer makes out at each pixel.

    Attributes:
        mesh: (H, W) int row of the meshes, -1 for the background.
        triangle: (H, W) int32.
        barycentric: (H, W, 2) float32.
    """

    mesh: NDArray[np.int16]
    triangle: NDArray[np.int32]
    barycentric: NDArray[np.float32]


def seen_surface(rendered: Rendered, *, densest: float = SHEER) -> Seen:
    """Return the first surface of each pixel, or what lies under it where that hides less than `densest`."""
    through = (rendered.under_mesh >= 0) & (rendered.coverage < densest)
    return Seen(
        mesh=np.where(through, rendered.under_mesh, rendered.mesh),
        triangle=np.where(through, rendered.under_triangle, rendered.triangle),
        barycentric=np.where(through[:, :, None], rendered.under_barycentric, rendered.barycentric),
    )


def find_labels(
    rendered: Rendered,
    meshes: Sequence[Mesh],
    bodies: Mapping[int, bool],
    camera: Camera,
    placement: Placement | None = None,
    *,
    covered: Mapping[int, Collection[str]] = MappingProxyType({}),
    skin_like: Mapping[int, Collection[int]] = MappingProxyType({}),
) -> list[Label]:
    """Return the boxes of all parts that are seen: those of one body after those of another, in the order of `PARTS`.

    A box is that of the pixels whose surface point lies in the part. It is marked `ignore` when they are less than
    `MIN_SHARE` of what would be seen if nothing stood before the part, or are seen at a grazing angle, or when its
    shorter side is below `MIN_SIDE_PIXELS`, or when more of it is made out in cloth than seen bare: cloth that hides
    between `SHEER` and `VEILING` of it, or has the colour of the skin; its box is then that of both. A part of which
    next to nothing is seen has no box. A part that is covered, as a breast under a bikini, is no target whatever is
    seen around the cloth: ignored where that is much.

    Args:
        rendered: as from `render`.
        meshes: those that were rendered.
        bodies: row of each body in `meshes`, and whether it is male.
        camera: that the picture was rendered with.
        placement: where its content lies in the finished picture; None: where it was.
        covered: by row of the body, names of the parts that clothes cover.
        skin_like: by row of the body, rows of its clothes that have the colour of its skin.
    """
    placement = Placement() if placement is None else placement
    seen, veiled = seen_surface(rendered), seen_surface(rendered, densest=VEILING)
    labels: list[Label] = []
    for row, male in bodies.items():
        mesh = meshes[row]
        shares = shares_at_vertices(male=male)
        masks, made_out = (_part_masks(surface, row, mesh, shares) for surface in (seen, veiled))
        if skin_like.get(row):
            made_out |= _part_shapes(rendered, skin_like[row], mesh, shares, camera)
        behind = made_out.sum(axis=(1, 2)) > 2 * masks.sum(axis=(1, 2))
        masks[behind] = made_out[behind]
        free, facing = _free_pixels(mesh, shares, camera)
        for number, part in enumerate(PARTS):
            count = int(masks[number].sum())
            share = count / max(float(free[number]), 1.0)
            glimpse = share < _GLIMPSE or count < _MIN_GLIMPSE_FACING * facing[number]
            if not count or (glimpse and count < _GLIMPSE_OF_PICTURE * masks[number].size):
                continue
            dressed = part.name in covered.get(row, ())
            if dressed and share < MIN_SHARE:
                continue
            box = placement.boxes(_box(masks[number])[None])[0]
            small = min(box[2] - box[0], box[3] - box[1]) < MIN_SIDE_PIXELS
            hidden = share < MIN_SHARE or count < _MIN_FACING * facing[number]
            labels.append(
                Label(
                    class_name=part.class_name(male=male),
                    box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                    ignore=bool(small or hidden or dressed or behind[number]),
                    part=part.name,
                    body=row,
                    share=min(share, 1.0),
                )
            )
    return labels


def _part_masks(seen: Seen, row: int, mesh: Mesh, shares: NDArray[np.float32]) -> Bools:
    """Return (P, H, W): the pixels of each part of one body."""
    masks = np.zeros((len(PARTS), *seen.mesh.shape), dtype=np.bool_)
    at = np.nonzero(seen.mesh == row)
    if len(at[0]):
        corners = mesh.triangles[seen.triangle[at]]
        second, third = seen.barycentric[at].T
        weights = np.stack([1 - second - third, second, third], axis=1)
        masks[:, at[0], at[1]] = (np.einsum("nc,ncp->np", weights, shares[corners]) >= 0.5).T
    return masks


def _part_shapes(
    rendered: Rendered, cloth: Collection[int], mesh: Mesh, shares: NDArray[np.float32], camera: Camera
) -> Bools:
    """Return (P, H, W): the pixels of some clothes right before each part of the body that wears them."""
    height, width = rendered.mesh.shape
    masks = np.zeros((shares.shape[1], height, width), dtype=np.bool_)
    over = np.isin(rendered.mesh, list(cloth))
    if not over.any():
        return masks
    rows = np.flatnonzero((shares > 0).any(axis=1))
    facing = np.einsum("ij,ij->i", mesh.normals[rows], np.asarray(camera.position, np.float32) - mesh.vertices[rows])
    rows = rows[facing > 0]
    x, y, depth = camera.project(mesh.vertices[rows]).T
    inside = (depth > _NEAREST) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    rows, x, y, depth = (values[inside] for values in (rows, x, y, depth))
    at = y.astype(np.intp), x.astype(np.intp)
    before = over[at] & (np.abs(rendered.depth[at] - depth) < _WORN)
    for number, mask in enumerate(masks):
        points = np.stack(at[::-1], axis=1)[before & (shares[rows, number] > 0)]
        if len(points):
            shape = np.zeros((height, width), np.uint8)
            cv2.fillConvexPoly(shape, cv2.convexHull(points.astype(np.int32)), 1)
            mask |= (shape > 0) & over
    return masks


def _box(mask: Bools) -> NDArray[np.float64]:
    """Return (4,) xyxy of a mask with at least one pixel, without its splinters."""
    top, left = (int(np.flatnonzero(mask.any(axis=axis))[0]) for axis in (1, 0))
    bottom, right = (int(np.flatnonzero(mask.any(axis=axis))[-1]) + 1 for axis in (1, 0))
    part = mask[top:bottom, left:right]
    near = cv2.dilate(part.astype(np.uint8), np.ones((3, 3), np.uint8))
    number, groups = cv2.connectedComponents(near)
    if number > 2:
        counts = np.bincount(groups[part], minlength=number)
        kept = np.isin(groups, np.flatnonzero(counts >= min(_SPLINTER * part.sum(), counts.max()))) & part
        rows, columns = np.nonzero(kept)
        top, bottom, left, right = (
            top + int(rows.min()),
            top + int(rows.max()) + 1,
            left + int(columns.min()),
            left + int(columns.max()) + 1,
        )
    return np.array([left, top, right, bottom], dtype=np.float64)


def _free_pixels(
    mesh: Mesh, shares: NDArray[np.float32], camera: Camera
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (P,) pixels that each part would cover in an endless picture with nothing before it, and seen face on.

    The first is the projected area of the triangles that face the eye; the second the length of the sum of their
    area vectors, at the part's distance.
    """
    inside, triangles = _part_triangles(mesh.triangles, shares)
    used, corners = np.unique(triangles, return_inverse=True)
    seen = camera.project(mesh.vertices[used])
    a, b, c = (seen[corners.reshape(triangles.shape)[:, corner]] for corner in range(3))
    first, second = (b - a)[:, :2], (c - a)[:, :2]
    # y points down: anticlockwise on the screen is a negative area.
    area = -(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / 2
    depth = np.stack([a[:, 2], b[:, 2], c[:, 2]], axis=1)
    area = np.where(depth.min(axis=1) > _NEAREST, np.maximum(area, 0), 0)
    points = mesh.vertices[triangles].astype(np.float64)
    vectors = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]) / 2
    distance = np.maximum((inside * depth.mean(axis=1)[:, None]).sum(axis=0) / inside.sum(axis=0), _NEAREST)
    facing = np.linalg.norm(inside.T @ vectors, axis=1) * (camera.focal_pixels / distance) ** 2
    return inside.T @ area, facing


def _part_triangles(
    triangles: NDArray[np.int32], shares: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return the triangles in any part, (N, 3), and how far they are in each, (N, P)."""
    # By a vertex first: the parts are a small share of the body.
    marked = np.asarray((shares > 0).any(axis=1), dtype=np.bool_)
    near = np.flatnonzero(marked[triangles].any(axis=1))
    chosen = triangles[near]
    return shares[chosen].mean(axis=1).astype(np.float64), chosen
