"""A picture of meshes: rays from the camera, layers of half-clear surfaces, shading, and what every pixel shows."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError
from detector.synth.camera import Camera
from detector.synth.lights import Light
from detector.synth.mesh import Mesh
from detector.synth.rays import Hits, Scene
from detector.synth.shading import Surface, gather, shade, smooth, visibility

__all__ = ["Rendered", "render"]

Floats = NDArray[np.float32]

# A surface clearer than this is not seen, and not reported: textures cut holes with it.
_INVISIBLE = 1 / 64
# A surface denser than this hides all behind it.
_SOLID = 1 - 1 / 64
# Half-clear layers looked through at most; what lies deeper is left out.
_LAYERS = 6
# Past a half-clear surface a ray goes on from this far behind it, metres.
_STEP = 2e-4


@dataclass
class Rendered:
    """A picture and the geometry of its pixels; row i, column j is centred on x = j + 0.5, y = i + 0.5.

    A first hit is the nearest surface that is not wholly clear. Where that is half-clear, `under_*` is the solid
    surface behind it and `coverage` what all half-clear layers before that hide; elsewhere under_mesh is -1 and
    `coverage` is 1 on a solid first hit, 0 on the background.

    Attributes:
        image: (H, W, 3) float32 linear RGB, not bounded above.
        mesh: (H, W) int16 row of the meshes given; -1 is the background.
        triangle: (H, W) int32 row of that mesh's triangles; -1 is the background.
        barycentric: (H, W, 2) float32 weights of the triangle's second and third corner.
        depth: (H, W) float32 metres along the view; infinite on the background.
        under_mesh, under_triangle, under_barycentric, under_depth: the same of the solid surface behind.
        coverage: (H, W) float32 in [0, 1].
        normal: (H, W, 3) float32 of the first hit, towards the eye; zero on the background.
    """

    image: Floats
    mesh: NDArray[np.int16]
    triangle: NDArray[np.int32]
    barycentric: Floats
    depth: Floats
    under_mesh: NDArray[np.int16]
    under_triangle: NDArray[np.int32]
    under_barycentric: Floats
    under_depth: Floats
    coverage: Floats
    normal: Floats


def render(
    meshes: Sequence[Mesh],
    camera: Camera,
    lights: Sequence[Light],
    *,
    background: Floats | None,
    rng: np.random.Generator,
    ambient_rays: int = 2,
    smooth_edges: bool = True,
) -> Rendered:
    """Render `meshes` as `camera` sees them.

    Args:
        meshes: at most 32767.
        camera: its `image_size` is the size of every result.
        lights: a scene without a sky has black shadows.
        background: (H, W, 3) linear RGB behind everything; None is black.
        rng: jitters the shadow rays and the samples at edges.
        ambient_rays: for each pixel; 0 leaves ambient occlusion out.
        smooth_edges: average each edge pixel over its area.

    Raises:
        UsageError: when the background is not of the camera's size.
    """
    height, width = camera.image_size
    if background is not None and background.shape != (height, width, 3):
        raise UsageError(f"background must be ({height}, {width}, 3), as the camera; got {background.shape}")
    result = _blank(height, width, background)
    if not any(len(mesh.triangles) for mesh in meshes):
        return result
    scene = Scene(meshes)
    rows, columns = np.indices((height, width), dtype=np.float32).reshape(2, -1)
    directions = camera.rays(np.stack([columns + np.float32(0.5), rows + np.float32(0.5)], axis=1))
    origins = np.broadcast_to(np.asarray(camera.position, np.float32), directions.shape)
    behind = result.image.reshape(-1, 3)
    through = np.ones(height * width, np.float32)  # what each pixel's layers so far have let past
    colour = np.zeros((height * width, 3), np.float32)
    pixels = np.arange(height * width)
    travelled = np.zeros(height * width, np.float32)
    flat = _Flat(result)
    forward = camera.axes[2].astype(np.float32)
    for _ in range(_LAYERS):
        starts = origins[pixels] + directions[pixels] * travelled[pixels, None]
        hits = scene.first_hits(starts, directions[pixels])
        hit = np.flatnonzero(hits.mesh >= 0)
        if not len(hit):
            break
        surface = _look_up(scene.meshes, hits, hit, starts, directions[pixels])
        where = pixels[hit]
        travelled[where] += hits.distance[hit] + np.float32(_STEP)
        dense = np.where(surface.opacity >= _SOLID, np.float32(1), surface.opacity)
        seen = np.flatnonzero(dense > _INVISIBLE)
        part = _rows(surface, seen)
        depth = (part.points - np.asarray(camera.position, np.float32)) @ forward
        flat.note(where[seen], hits, hit[seen], depth, dense[seen], through[where[seen]], part.normals)
        light = _lit(
            part, where[seen], hits.mesh[hit[seen]], depth, scene, lights, directions, rng, camera, ambient_rays
        )
        weight = dense[seen] * through[where[seen]]
        colour[where[seen]] += light * weight[:, None]
        through[where[seen]] *= 1 - dense[seen]
        pixels = where[through[where] > _INVISIBLE]
        if not len(pixels):
            break
    result.image = (colour + behind * through[:, None]).reshape(height, width, 3)
    # Half-clear layers with nothing solid behind them: what they hide of the background.
    lone = (flat.under_mesh < 0) & (flat.mesh >= 0)
    flat.coverage[lone] = 1 - through[lone]
    if smooth_edges:
        result.image = _smooth_edges(result, scene, camera, behind.reshape(height, width, 3), rng)
    return result


class _Flat:
    """Views of the maps of a `Rendered`, one row a pixel."""

    def __init__(self, result: Rendered) -> None:
        self.mesh, self.under_mesh = result.mesh.reshape(-1), result.under_mesh.reshape(-1)
        self.triangle, self.under_triangle = result.triangle.reshape(-1), result.under_triangle.reshape(-1)
        self.barycentric = result.barycentric.reshape(-1, 2)
        self.under_barycentric = result.under_barycentric.reshape(-1, 2)
        self.depth, self.under_depth = result.depth.reshape(-1), result.under_depth.reshape(-1)
        self.coverage, self.normal = result.coverage.reshape(-1), result.normal.reshape(-1, 3)

    def note(
        self,
        where: NDArray[np.intp],
        hits: Hits,
        rows: NDArray[np.intp],
        depth: Floats,
        dense: Floats,
        through: Floats,
        normals: Floats,
    ) -> None:
        """Write rows of `hits` into the pixels `where`, as first hits or as what lies under them."""
        new = self.mesh[where] < 0
        first, at = where[new], rows[new]
        self.mesh[first], self.triangle[first] = hits.mesh[at], hits.triangle[at]
        self.barycentric[first], self.depth[first] = hits.barycentric[at], depth[new]
        self.normal[first], self.coverage[first] = normals[new], dense[new]
        solid = ~new & (dense >= _SOLID)
        under, at = where[solid], rows[solid]
        self.under_mesh[under], self.under_triangle[under] = hits.mesh[at], hits.triangle[at]
        self.under_barycentric[under], self.under_depth[under] = hits.barycentric[at], depth[solid]
        self.coverage[under] = 1 - through[solid]


def _blank(height: int, width: int, background: Floats | None) -> Rendered:
    size = (height, width)
    image = np.zeros((*size, 3), np.float32) if background is None else background.astype(np.float32)
    return Rendered(
        image=image,
        mesh=np.full(size, -1, np.int16),
        triangle=np.full(size, -1, np.int32),
        barycentric=np.zeros((*size, 2), np.float32),
        depth=np.full(size, np.inf, np.float32),
        under_mesh=np.full(size, -1, np.int16),
        under_triangle=np.full(size, -1, np.int32),
        under_barycentric=np.zeros((*size, 2), np.float32),
        under_depth=np.full(size, np.inf, np.float32),
        coverage=np.zeros(size, np.float32),
        normal=np.zeros((*size, 3), np.float32),
    )


def _look_up(
    meshes: Sequence[Mesh],
    hits: Hits,
    hit: NDArray[np.intp],
    starts: Floats,
    directions: Floats,
) -> Surface:
    """Gather each mesh's surface, and put the parts back into the order of `hit`."""
    owners = hits.mesh[hit]
    orders, parts = [], []
    for number in np.flatnonzero(np.bincount(owners, minlength=len(meshes))):
        at = np.flatnonzero(owners == number)
        parts.append(gather(meshes[int(number)], hits, hit[at], starts, directions))
        orders.append(at)
    if len(parts) == 1:
        return parts[0]
    back = np.argsort(np.concatenate(orders))
    joined = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])[back] for field in fields(Surface)
    }
    return Surface(**joined)


def _rows(surface: Surface, rows: NDArray[np.intp]) -> Surface:
    if len(rows) == len(surface.opacity):
        return surface
    return Surface(**{field.name: getattr(surface, field.name)[rows] for field in fields(Surface)})


def _lit(
    surface: Surface,
    where: NDArray[np.intp],
    owners: NDArray[np.int32],
    depth: Floats,
    scene: Scene,
    lights: Sequence[Light],
    directions: Floats,
    rng: np.random.Generator,
    camera: Camera,
    ambient_rays: int,
) -> Floats:
    """Return (N, 3) light of one layer; shadows are smoothed across the picture before they are used."""
    if not len(where):
        return np.zeros((0, 3), np.float32)
    visible = visibility(surface, lights, scene, rng, ambient_rays=ambient_rays)
    width = camera.image_size[1]
    rows, columns = np.divmod(where, width)
    top, left = rows.min(), columns.min()
    size = (int(rows.max() - top) + 1, int(columns.max() - left) + 1)
    at = (rows - top, columns - left)
    maps = np.zeros((*size, visible.shape[1]), np.float32)
    group, far, mask = np.full(size, -1, np.int16), np.zeros(size, np.float32), np.zeros(size, bool)
    maps[at], group[at], far[at], mask[at] = visible, owners, depth, True
    noisy = [0, *(number for number, light in enumerate(lights, start=1) if light.softness > 0)]
    visible[:, noisy] = smooth(maps[:, :, noisy], group, far, mask, passes=2)[at]
    skin = np.array([mesh.kind == "body" for mesh in scene.meshes])[owners]
    return shade(surface, skin, -directions[where], lights, visible)


def _smooth_edges(
    result: Rendered, scene: Scene, camera: Camera, background: Floats, rng: np.random.Generator, samples: int = 4
) -> Floats:
    """Average pixels at the edges of meshes over `samples` places in the pixel.

    A sample is not shaded again: it takes the colour of that neighbour that shows the same mesh at the nearest depth.
    """
    depth = np.where(np.isfinite(result.depth), result.depth, np.float32(1e6))
    kernel = np.ones((3, 3), np.uint8)
    ids = result.mesh.astype(np.float32)
    changes = cv2.dilate(ids, kernel) != cv2.erode(ids, kernel)
    jumps = cv2.dilate(depth, kernel) - cv2.erode(depth, kernel) > 0.03
    rows, columns = np.nonzero(changes | jumps)
    if not len(rows):
        return result.image
    total = result.image[rows, columns].copy()
    for number in range(samples - 1):
        # One sample in each of the other quarters of the pixel.
        corner = np.array([[0.0, 0.5], [0.5, 0.0], [0.5, 0.5]])[number % 3]
        place = corner + 0.5 * rng.random((len(rows), 2))
        rays = camera.rays(np.stack([columns, rows], axis=1) + place)
        hits = scene.first_hits(np.broadcast_to(np.asarray(camera.position, np.float32), rays.shape), rays)
        far = np.where(hits.mesh >= 0, hits.distance * (rays @ camera.axes[2].astype(np.float32)), np.float32(1e6))
        total += _nearest_colour(result, depth, rows, columns, hits.mesh, far, background)
    image = result.image.copy()
    image[rows, columns] = total / samples
    return image


def _nearest_colour(
    result: Rendered,
    depth: Floats,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    meshes: NDArray[np.int32],
    far: Floats,
    background: Floats,
) -> Floats:
    height, width = result.mesh.shape
    best = np.full(len(rows), np.inf, np.float32)
    colour = result.image[rows, columns].copy()
    for dy, dx in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        r, c = (rows + dy).clip(0, height - 1), (columns + dx).clip(0, width - 1)
        miss = np.abs(depth[r, c] - far) + np.where(result.mesh[r, c] == meshes, 0, np.float32(1e3))
        better = miss < best
        best[better] = miss[better]
        colour[better] = result.image[r[better], c[better]]
    sky = meshes < 0
    colour[sky] = background[rows[sky], columns[sky]]
    return colour
