"""The light that a surface sends to the eye: soft diffuse with reddened terminators, gloss, and light from around."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.synth.lights import Light
from detector.synth.mesh import Mesh
from detector.synth.rays import Hits, Scene

__all__ = ["Surface", "gather", "shade", "smooth", "visibility"]

Floats = NDArray[np.float32]

# How far light leaks round the terminator in skin, by channel: red travels farthest (mean free path, wrapped diffuse).
_SKIN_WRAP = np.asarray([0.30, 0.14, 0.08], np.float32)
_PLAIN_WRAP = np.asarray([0.03, 0.03, 0.03], np.float32)
# Shadow rays start this far above the surface, metres: over the facets of a smoothly shaded mesh.
_LIFT = 0.004
# Around what distance neighbouring things take light from the sky away, metres.
_REACH = 0.6
_FRESNEL = 0.035  # reflectance of skin and cloth at right angles


@dataclass(frozen=True, kw_only=True)
class Surface:
    """What N rays hit, looked up between the corners of the triangles.

    Attributes:
        points, normals, rest, albedo: (N, 3) float32; normals are unit vectors that face the eye.
        uv: (N, 2) float32.
        opacity, gloss: (N,) float32.
    """

    points: Floats
    normals: Floats
    rest: Floats
    uv: Floats
    albedo: Floats
    opacity: Floats
    gloss: Floats


def gather(mesh: Mesh, hits: Hits, rows: NDArray[np.intp], origins: Floats, directions: Floats) -> Surface:
    """Return the surface of `mesh` at `rows` of `hits`, (N,); origins and directions (R, 3) are those of all rays."""
    corners = mesh.triangles[hits.triangle[rows]]
    u, v = hits.barycentric[rows].T
    weights = np.stack([1 - u - v, u, v], axis=1)

    def mixed(values: Floats) -> Floats:
        a, b, c = (values[corners[:, corner]] for corner in range(3))
        if values.ndim == 1:
            return np.asarray(a * weights[:, 0] + b * weights[:, 1] + c * weights[:, 2], dtype=np.float32)
        return np.asarray(a * weights[:, :1] + b * weights[:, 1:2] + c * weights[:, 2:], dtype=np.float32)

    side = np.where(hits.facing[rows], np.float32(1), np.float32(-1))
    return Surface(
        points=origins[rows] + directions[rows] * hits.distance[rows][:, None],
        normals=_unit(mixed(mesh.normals)) * side[:, None],
        rest=mixed(mesh.rest),
        uv=mixed(mesh.uv),
        albedo=mixed(mesh.albedo),
        opacity=mixed(mesh.opacity),
        gloss=mixed(mesh.gloss),
    )


def visibility(
    surface: Surface, lights: Sequence[Light], scene: Scene, rng: np.random.Generator, *, ambient_rays: int
) -> Floats:
    """Return (N, 1 + L): the open share of the sky, then how much of each light arrives; one sample each, noisy."""
    count = len(surface.points)
    result = np.ones((count, 1 + len(lights)), np.float32)
    lifted = surface.points + surface.normals * np.float32(_LIFT)
    for number, light in enumerate(lights, start=1):
        if light.kind == "sky":
            continue
        way, distance, _ = light.towards(lifted, rng)
        facing = np.flatnonzero(np.einsum("ij,ij->i", way, surface.normals) > -0.3)
        result[facing, number] = scene.light_through(lifted[facing], way[facing], distance[facing] - _LIFT)
    if ambient_rays:
        open_sky = np.zeros(count, np.float32)
        for _ in range(ambient_rays):
            # A point on the unit ball around the tip of the normal: directions spread by their cosine.
            ball = _unit(rng.standard_normal((count, 3), dtype=np.float32))
            reach = np.float32(_REACH) * (0.2 + 0.8 * rng.random(count, dtype=np.float32))
            open_sky += scene.light_through(lifted, _unit(surface.normals + ball * np.float32(0.999)), reach)
        result[:, 0] = open_sky / ambient_rays
    return result


def shade(surface: Surface, skin: NDArray[np.bool_], eye: Floats, lights: Sequence[Light], visible: Floats) -> Floats:
    """Return (N, 3) linear radiance towards the eye.

    Args:
        surface: N points.
        skin: (N,) where light travels inside the surface.
        eye: (N, 3) unit directions from the points to the eye.
        lights: L of them.
        visible: (N, 1 + L) from `visibility`, smoothed.

    Source: wrapped diffuse by channel after GPU Gems chapter 16; Blinn-Phong normalised as in Real-Time Rendering;
        coloured ambient occlusion after Jimenez et al. 2016, "Practical Realtime Strategies", simplified to
        open / (1 - albedo (1 - open)), the sum of its bounces.
    """
    normals, albedo = surface.normals, surface.albedo
    wrap = np.where(skin[:, None], _SKIN_WRAP, _PLAIN_WRAP)
    light_sum = np.zeros_like(albedo)
    gloss_sum = np.zeros_like(albedo)
    sharpness = np.exp2(np.float32(2.5) + 6 * surface.gloss)
    lobe = (sharpness + 8) / 8 * (0.15 + 0.85 * surface.gloss)
    for number, light in enumerate(lights, start=1):
        if light.kind == "sky":
            light_sum += _sky(light, normals, albedo, visible[:, 0])
            continue
        way, _, falloff = light.towards(surface.points)
        power = falloff[:, None] * light.radiance
        cosine = np.einsum("ij,ij->i", way, normals)
        seen = visible[:, number, None]
        # The body shades its own terminator: what has leaked through the skin there is let past that shadow.
        leak = wrap * np.exp(-np.square(cosine / np.float32(0.22)))[:, None]
        soft = np.maximum(cosine[:, None] + wrap, 0) / (1 + wrap)
        light_sum += power * soft * (seen + (1 - seen) * leak)
        half = _unit(way + eye)
        shine = np.maximum(np.einsum("ij,ij->i", half, normals), 0) ** sharpness
        grazing = np.maximum(1 - np.einsum("ij,ij->i", half, eye), 0) ** 5
        mirror = (_FRESNEL + (1 - _FRESNEL) * grazing) * shine * lobe * np.maximum(cosine, 0)
        gloss_sum += power * seen * mirror[:, None]
    return np.asarray(albedo * light_sum + gloss_sum, dtype=np.float32)


def smooth(values: Floats, group: NDArray[np.int16], depth: Floats, mask: NDArray[np.bool_], passes: int) -> Floats:
    """Average noisy (H, W, C) values with their neighbours of the same mesh and about the same depth.

    Args:
        values: read where `mask` is true; returned unchanged elsewhere.
        group: (H, W) mesh numbers.
        depth: (H, W) metres, finite under the mask.
        mask: (H, W) bool.
        passes: each looks twice as far as the one before: 1, 2, 4 pixels.
    """
    height, width = mask.shape
    key = np.where(mask, group, np.int16(-1))
    result = values
    for number in range(passes):
        step = 1 << number
        pad = ((step, step), (step, step))
        wide = cv2.copyMakeBorder(result, step, step, step, step, cv2.BORDER_REPLICATE).reshape(
            height + 2 * step, width + 2 * step, -1
        )
        wide_key = np.pad(key, pad, constant_values=-2)
        wide_depth = np.pad(depth, pad)
        total, weight = result.copy(), np.ones((height, width), np.float32)
        for dy in (0, step, 2 * step):
            for dx in (0, step, 2 * step):
                if dy == step and dx == step:
                    continue
                window = np.s_[dy : dy + height, dx : dx + width]
                near = np.abs(wide_depth[window] - depth) < np.float32(0.01 * step) * np.maximum(depth, np.float32(2))
                take = ((wide_key[window] == key) & near).astype(np.float32)
                total += wide[window] * take[:, :, None]
                weight += take
        result = np.where(mask[:, :, None], total / weight[:, :, None], result)
    return result


def _sky(light: Light, normals: Floats, albedo: Floats, visible: Floats) -> Floats:
    up = (normals[:, 2:] + 1) / 2
    towards = np.asarray(light.direction, np.float32) / max(float(np.linalg.norm(light.direction)), 1e-6)
    # A sky is brighter on one side: windows, the side of the sun.
    bright = 0.75 + 0.25 * (normals @ towards.astype(np.float32))[:, None]
    from_around = (up * np.asarray(light.colour, np.float32) + (1 - up) * np.asarray(light.ground, np.float32)) * bright
    seen = visible[:, None]
    return np.asarray(np.float32(light.intensity) * from_around * seen / (1 - albedo * (1 - seen) * 0.9), np.float32)


def _unit(vectors: Floats) -> Floats:
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return np.asarray(vectors / np.maximum(length, np.float32(1e-12))[:, None], dtype=np.float32)
