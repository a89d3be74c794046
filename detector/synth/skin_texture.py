"""Dress a body in skin: tone, reddened and lighter parts, moles, body hair, tan lines, tattoos, gloss."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.synth.body import BodyModel
from detector.synth.cloth_cuts import swimwear_cut
from detector.synth.mesh import Mesh
from detector.synth.phenotype import ADULT_AGE, Phenotype
from detector.synth.skin_tone import MELANIN_RANGE, skin_colour
from detector.synth.surface import Surface, SurfaceNoise, smooth_step

__all__ = ["HAIR_COLOURS", "dress_skin"]

Floats = NDArray[np.float32]
# Linear RGB: black, dark brown, brown, light brown, blond, red, grey, white.
HAIR_COLOURS = (
    *((0.008, 0.007, 0.007), (0.022, 0.014, 0.010), (0.055, 0.030, 0.018), (0.13, 0.075, 0.04)),
    *((0.36, 0.24, 0.11), (0.20, 0.055, 0.02), (0.25, 0.25, 0.25), (0.60, 0.59, 0.57)),
)
_IRIS = ((0.07, 0.035, 0.015), (0.03, 0.015, 0.008), (0.10, 0.17, 0.26), (0.09, 0.14, 0.06), (0.16, 0.17, 0.18))
_EYE_WHITE = (0.72, 0.68, 0.66)
# Share of the range of melanin (on a log scale) that each ancestry centres on: African, Asian, Caucasian.
_CENTRES, _SPREAD, _ANY_SHARE = (0.85, 0.45, 0.25), 0.17, 0.25
# Metres: the size of a mole, at most.
_SPOT = 0.006
_TAN_SHARE, _TATTOO_SHARE, _SCAR_SHARE, _FRECKLE_SHARE, _SWEAT_SHARE = 0.2, 0.2, 0.12, 0.2, 0.12


def dress_skin(mesh: Mesh, body: BodyModel, phenotype: Phenotype, rng: np.random.Generator) -> Mesh:
    """Return the body mesh with skin of its own.

    Args:
        mesh: as from `BodyModel.pose`.
        body: the model that posed it.
        phenotype: of the body; tone follows ancestry loosely, never strictly.
        rng: draws all.
    """
    surface = Surface.of(body)
    old = (phenotype.age - ADULT_AGE) / (1 - ADULT_AGE)
    melanin, blood = _pigments(surface, body, phenotype, old, rng)
    skin = skin_colour(melanin, blood)
    skin = _body_hair(skin, surface, phenotype, old, rng)
    if rng.random() < _TATTOO_SHARE:
        skin = _tattoos(skin, surface, rng)
    albedo = skin[body.source]
    nails = body.masks["fingernails"] + body.masks["toenails"]
    polish = rng.random() < 0.25
    nail = rng.uniform(0, 0.8, 3) * (1, 0.5, 0.6) if polish else np.minimum(albedo.mean(axis=0) * 1.15 + 0.03, 1)
    albedo = _mix(albedo, nail, nails * (0.95 if polish else 0.5))
    albedo = _eyes(albedo, body, rng)
    eyes = body.regions["eyes"][body.source]
    shine = rng.uniform(0.1, 0.4) + (rng.uniform(0.25, 0.5) if rng.random() < _SWEAT_SHARE else 0.0)
    wet = SurfaceNoise(rng, 0.12)(surface.rest)[body.source]
    gloss = np.clip(shine * (1 + 0.25 * wet), 0.02, 1)
    return dataclasses.replace(
        mesh,
        albedo=np.clip(albedo, 0, 1).astype(np.float32),
        gloss=np.where(eyes, mesh.gloss, gloss).astype(np.float32),
    )


def _pigments(
    surface: Surface, body: BodyModel, phenotype: Phenotype, old: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return melanin and blood at each base vertex."""
    rest, soft, count = surface.rest, surface.soft, surface.count
    shares = np.array(phenotype.ancestry) / sum(phenotype.ancestry)
    place = float(rng.uniform()) if rng.random() < _ANY_SHARE else float(shares @ _CENTRES + rng.normal(0, _SPREAD))
    low, high = MELANIN_RANGE
    base = low * (high / low) ** float(np.clip(place, 0, 1))
    blotches, fine = SurfaceNoise(rng, 0.25)(rest), SurfaceNoise(rng, 0.04)(rest)
    melanin = base * np.exp((0.05 + 0.08 * old) * blotches + (0.04 + 0.1 * old * rng.random()) * fine)
    blood = rng.uniform(0.006, 0.02) * np.exp(0.2 * SurfaceNoise(rng, 0.18)(rest) + 0.1 * fine)
    # Palms and soles hold little pigment; knees and folds more; the face and joints more blood.
    melanin *= 1 - 0.75 * np.maximum(soft["palms"], soft["soles"])
    melanin *= 1 + rng.uniform(0.1, 0.5) * np.maximum(soft["knees"], np.maximum(soft["armpits"], soft["genitalia"]))
    blood *= 1 + 0.8 * soft["palms"] + 0.6 * soft["soles"] + 0.4 * soft["knees"] + rng.uniform(0, 1.2) * soft["nose"]
    tints = {
        "lips": (rng.uniform(0.9, 1.5), rng.uniform(2, 4.5)),
        "aureola": (rng.uniform(1.2, 3.2), rng.uniform(1.5, 4)),
    }
    tints["crotch"] = (rng.uniform(1.1, 2.0), rng.uniform(1.3, 2.5))
    for name, (darker, redder) in tints.items():
        mask = np.zeros(count, dtype=np.float32)
        np.maximum.at(mask, body.source, body.masks[name])
        added = rng.uniform(0.005, 0.03) if name == "aureola" else 0.0
        melanin = melanin * (1 + (darker - 1) * mask) + added * mask
        blood = blood * (1 + (redder - 1) * mask)
    male = body.regions["male_anatomy"]
    melanin[male] *= rng.uniform(1.0, 1.9)
    blood[male] *= rng.uniform(1.0, 1.9)
    if rng.random() < _TAN_SHARE:
        untanned = smooth_step(
            surface.smooth(swimwear_cut(rng, rest, phenotype.male).astype(np.float32), 1), -0.008, 0.008
        )
        melanin *= 1 - rng.uniform(0.25, 0.6) * untanned
    # A spot is as large as the triangles around its vertex: where these are large, it must be weak.
    small = np.minimum((_SPOT / np.maximum(surface.edge_length, _SPOT)) ** 1.5, 1)
    if rng.random() < _FRECKLE_SHARE:
        where = smooth_step(SurfaceNoise(rng, 0.3)(rest) + 1.5 * body.regions["head"], 0.3, 1.2)
        melanin += rng.uniform(0.02, 0.12) * where * small * (rng.random(count) < rng.uniform(0.05, 0.25))
    moles = rng.random(count) < rng.uniform(0, 0.006)
    melanin[moles] += rng.uniform(0.1, 0.3) * small[moles]
    if rng.random() < _SCAR_SHARE:
        melanin, blood = _stripes(melanin, blood, surface, rng)
    return np.clip(melanin, *MELANIN_RANGE).astype(np.float32), np.clip(blood, 0.002, 0.08).astype(np.float32)


def _stripes(
    melanin: NDArray[Any], blood: NDArray[Any], surface: Surface, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw a scar or stretch marks: thin, lighter and redder streaks around one place of the trunk or a thigh."""
    trunk = np.flatnonzero(surface.body.regions["torso"] | surface.body.regions["upper_legs"])
    centre = surface.rest[rng.choice(trunk)]
    near = np.exp(-(((surface.rest - centre) / rng.uniform(0.03, 0.08)) ** 2).sum(axis=1))
    direction = rng.normal(0, 1, 3)
    direction /= np.linalg.norm(direction)
    wave = np.cos((surface.rest - centre) @ direction * 2 * np.pi / rng.uniform(0.015, 0.03))
    streak = near * smooth_step(wave, 0.2, 0.9)
    return melanin * (1 - 0.5 * streak), blood * (1 + rng.uniform(0, 2) * streak)


def _mix(colours: Floats, other: NDArray[np.floating], share: NDArray[np.floating]) -> Floats:
    amount = np.clip(share, 0, 1)[:, None]
    mixed: Floats = (colours * (1 - amount) + np.asarray(other) * amount).astype(np.float32)
    return mixed


def _body_hair(skin: Floats, surface: Surface, phenotype: Phenotype, old: float, rng: np.random.Generator) -> Floats:
    """Darken the skin where hair grows; shaved, thin or thick, of either sex."""
    x, z = surface.rest[:, 0], surface.rest[:, 2]
    soft, regions = surface.soft, surface.body.regions
    dark = skin.mean() < 0.15
    choices = HAIR_COLOURS[:2] if dark else HAIR_COLOURS[:6]
    colour = np.array(choices[int(rng.integers(len(choices)))])
    if old > 0.5 and rng.random() < 0.6:
        colour = 0.4 * colour + 0.6 * np.array(HAIR_COLOURS[6])
    male = phenotype.male
    hairy = rng.beta(1.2, 1.5) if male else 0.25 * rng.beta(0.8, 3)
    front = smooth_step(surface.normals[:, 1], 0.1, -0.4)
    torso = regions["torso"] * front
    chest = np.exp(-((x / 0.11) ** 2) - ((z - 1.31) / 0.07) ** 2) * torso
    line = np.exp(-((x / 0.02) ** 2)) * smooth_step(z, 0.93, 0.97) * smooth_step(z, 1.3, 1.2) * torso
    legs = 0.6 * regions["lower_legs"] + 0.35 * regions["upper_legs"]
    arms = 0.45 * regions["lower_arms"]
    cover = hairy * (0.8 * chest + 0.7 * line + legs + arms)
    if rng.random() < 0.75:
        cover = cover + rng.uniform(0.2, 0.95) * np.minimum(1.4 * soft["pubic"], 1)
    if rng.random() < (0.85 if male else 0.35):
        cover = cover + rng.uniform(0.2, 0.8) * soft["armpits"]
    if male or rng.random() < 0.03:
        cover = cover + (rng.uniform(0.05, 0.45) if rng.random() < 0.6 else 0.0) * soft["beard"]
    tufts = np.exp(0.35 * SurfaceNoise(rng, 0.02)(surface.rest)) * rng.uniform(0.7, 1.2, surface.count)
    skin = _mix(skin, colour, np.minimum(cover * tufts, 0.93))
    return _mix(skin, colour, soft["brows"] * rng.uniform(0.5, 1.4))


def _tattoos(skin: Floats, surface: Surface, rng: np.random.Generator) -> Floats:
    """Draw abstract patterns of waves, within a patch or along a limb."""
    usable = np.flatnonzero(surface.body.regions["body"] & ~surface.body.regions["head"])
    for _ in range(int(rng.integers(1, 4))):
        centre = surface.rest[rng.choice(usable)]
        size = rng.uniform(0.03, 0.14)
        near = smooth_step(
            np.linalg.norm((surface.rest - centre) / (1, 1, rng.uniform(0.8, 2)), axis=1), size, 0.8 * size
        )
        pattern = SurfaceNoise(rng, rng.uniform(0.03, 0.09))(surface.rest)
        ink = rng.uniform(0, 0.25, 3) if rng.random() < 0.3 else np.array([0.02, 0.025, 0.035])
        lines = smooth_step(np.abs(pattern), 0.9, 0.35) if rng.random() < 0.5 else smooth_step(pattern, -0.3, 0.2)
        skin = _mix(skin, ink, rng.uniform(0.5, 0.9) * near * lines)
    return skin


def _eyes(albedo: Floats, body: BodyModel, rng: np.random.Generator) -> Floats:
    albedo = albedo.copy()
    parts = body.regions
    albedo[parts["eyes"][body.source]] = _EYE_WHITE
    albedo[parts["iris"][body.source]] = np.array(_IRIS[int(rng.integers(len(_IRIS)))]) * rng.uniform(0.6, 1.3)
    albedo[parts["pupil"][body.source]] = 0.005
    return albedo
