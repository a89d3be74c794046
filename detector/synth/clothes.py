"""Sample clothes for a posed body: underwear, swimwear, shirts, trousers, dresses, towels, worn well or half off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.synth import cloth_cuts as cuts
from detector.synth.body import BodyModel, Shaped
from detector.synth.cloth_cuts import Cut
from detector.synth.cloth_patterns import Fabric, sample_fabric
from detector.synth.cloth_shell import Fit, Sheet, pouch, shell, tube
from detector.synth.mesh import Mesh, NormalMaker
from detector.synth.surface import Surface

__all__ = ["COVERABLE", "GARMENTS", "Garment", "make_garment", "sample_outfit"]

Floats = NDArray[np.float32]
# The parts that clothes may be said to cover.
COVERABLE = ("belly", "buttocks", "breast_left", "breast_right", "genitalia", "armpits", "feet")
# Cloth this dense is taken as covering.
_DENSE = 0.97
# Metres inside the edge of the cloth, from which on a vertex counts as covered.
_EDGE = 0.004


@dataclass(frozen=True, kw_only=True)
class Garment:
    """One piece of clothing.

    Attributes:
        name: in `GARMENTS`.
        mesh: of kind "cloth"; half-transparent where its opacity is under 1.
        covers: regions that are wholly behind opaque cloth.
        under: (V0,) bool, base vertices that are behind this cloth, opaque or not.
    """

    name: str
    mesh: Mesh
    covers: frozenset[str]
    under: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What a garment is made of: a cut, how it sits, and a tube for skirts: (from, to, width at the hem)."""

    cut: Cut
    fit: Fit
    skirt: tuple[float, float, float] | None = None
    thick: bool = False


def _tight(rng: np.random.Generator, levels: int = 2) -> Fit:
    return Fit(
        gap=rng.uniform(0.003, 0.005), bridging=rng.uniform(0.2, 0.8), wrinkles=rng.uniform(0, 0.001), levels=levels
    )


def _loose(rng: np.random.Generator) -> Fit:
    return Fit(
        gap=rng.uniform(0.006, 0.022),
        bridging=rng.uniform(0.7, 1.2),
        wrinkles=rng.uniform(0.001, 0.006),
        fold=rng.uniform(0.05, 0.16),
        levels=1,
    )


def _plan(name: str, rng: np.random.Generator) -> _Plan:
    """Draw the particulars of a garment."""
    u = rng.uniform
    if name == "briefs":
        return _Plan(cut=cuts.briefs(u(0.93, 1.04), u(0.4, 1.4), u(0.1, 0.7)), fit=_tight(rng))
    if name == "thong":
        return _Plan(cut=cuts.thong(u(0.94, 1.02), u(0.9, 1.6)), fit=_tight(rng))
    if name == "boxers":
        return _Plan(
            cut=cuts.legs(u(0.64, 0.75), u(0.96, 1.05)), fit=_tight(rng) if rng.random() < 0.5 else _loose(rng)
        )
    if name == "shorts":
        return _Plan(cut=cuts.legs(u(0.52, 0.72), u(0.98, 1.09)), fit=_loose(rng), thick=rng.random() < 0.8)
    if name == "trousers":
        fit = _loose(rng) if rng.random() < 0.7 else _tight(rng, 1)
        return _Plan(cut=cuts.legs(u(0.08, 0.3), u(0.98, 1.09)), fit=fit, thick=True)
    if name == "tights":
        return _Plan(cut=cuts.legs(0.09, u(1.0, 1.1)), fit=_tight(rng, 1))
    if name == "stockings":
        return _Plan(cut=cuts.legs(0.09, u(0.5, 0.74)), fit=_tight(rng, 1))
    if name == "bra":
        return _Plan(cut=cuts.bra(u(0.075, 0.095), u(0, 0.5), u(0.02, 0.05), u(0.01, 0.025)), fit=_tight(rng))
    if name == "bikini top":
        return _Plan(cut=cuts.bra(u(0.055, 0.085), u(0.4, 1), u(0.01, 0.02), u(0.008, 0.014)), fit=_tight(rng))
    if name == "bandeau":
        return _Plan(cut=cuts.bandeau(u(1.2, 1.25), u(1.34, 1.38)), fit=_tight(rng))
    if name == "sports top":
        return _Plan(cut=cuts.tank(u(1.12, 1.22), u(0.03, 0.06), u(0.08, 0.13)), fit=_tight(rng))
    if name == "one-piece swimsuit":
        return _Plan(cut=cuts.one_piece(u(0.08, 0.17), u(0.4, 1.4), u(0.02, 0.06)), fit=_tight(rng))
    if name == "T-shirt":
        return _Plan(cut=cuts.top(u(0.88, 1.12), u(0.1, 0.24), u(0.075, 0.1), u(0.02, 0.1)), fit=_loose(rng))
    if name == "tank top":
        return _Plan(cut=cuts.tank(u(0.88, 1.1), u(0.03, 0.07), u(0.08, 0.16)), fit=_loose(rng))
    if name == "long sleeves":
        cut = cuts.top(u(0.85, 1.02), u(0.42, 0.5), u(0.07, 0.09), u(0.0, 0.05))
        return _Plan(cut=cut, fit=_loose(rng), thick=rng.random() < 0.8)
    if name == "open shirt":
        cut = cuts.all_of(cuts.top(u(0.84, 0.98), u(0.2, 0.5), 0.075, 0.05), cuts.open_front(u(0.03, 0.26)))
        return _Plan(cut=cut, fit=_loose(rng))
    return _long_plan(name, rng)


def _long_plan(name: str, rng: np.random.Generator) -> _Plan:
    u = rng.uniform
    hem = u(0.4, 0.76)
    lining = cuts.legs(max(hem + 0.03, 0.7), 1.04)
    if name == "skirt":
        return _Plan(cut=lining, fit=Fit(gap=0.004, levels=1), skirt=(u(1.0, 1.07), hem, u(0.01, 0.12)))
    if name == "dress":
        upper = cuts.tank(0.9, u(0.02, 0.06), u(0.08, 0.15))
        if rng.random() < 0.4:
            upper = cuts.top(0.9, u(0.08, 0.4), u(0.075, 0.1), u(0.02, 0.1))
        cut = cuts.any_of(upper, lining)
        return _Plan(
            cut=cut, fit=Fit(gap=u(0.004, 0.01), bridging=0.8, wrinkles=u(0, 0.002)), skirt=(1.05, hem, u(0.01, 0.12))
        )
    if name == "towel at the hips":
        fit = Fit(gap=0.006, bridging=0.8)
        return _Plan(cut=lining, fit=fit, skirt=(u(0.97, 1.05), hem, u(0.0, 0.03)), thick=True)
    if name == "towel at the chest":
        cut = cuts.any_of(cuts.trunk(0.9, u(1.34, 1.38)), lining)
        fit = Fit(gap=u(0.006, 0.012), bridging=1.0, wrinkles=0.002)
        return _Plan(cut=cut, fit=fit, skirt=(1.3, hem, u(0.0, 0.03)), thick=True)
    # A robe, closed or open at the front.
    cut = cuts.top(hem, u(0.35, 0.5), 0.08, u(0.05, 0.2))
    if rng.random() < 0.5:
        cut = cuts.all_of(cut, cuts.open_front(u(0.02, 0.22)))
    return _Plan(cut=cut, fit=_loose(rng), thick=True)


GARMENTS = (
    *("briefs", "thong", "boxers", "shorts", "trousers", "tights", "stockings", "bra", "bikini top", "bandeau"),
    *("sports top", "one-piece swimsuit", "T-shirt", "tank top", "long sleeves", "open shirt", "skirt", "dress"),
    *("towel at the hips", "towel at the chest", "robe"),
)
# What is worn together, inner first, with weights; either sex may wear any of it.
_OUTFITS: tuple[tuple[tuple[str, ...], float], ...] = (
    (("briefs",), 3),
    (("boxers",), 2.5),
    (("thong",), 1),
    (("briefs", "bra"), 4),
    (("thong", "bra"), 1),
    (("boxers", "bra"), 1),
    (("briefs", "bikini top"), 4),
    (("thong", "bikini top"), 1),
    (("briefs", "bandeau"), 1),
    (("one-piece swimsuit",), 3),
    (("shorts",), 2.5),
    (("shorts", "sports top"), 2),
    (("tights", "sports top"), 1.5),
    (("trousers",), 1.5),
    (("trousers", "bra"), 1),
    (("trousers", "T-shirt"), 4),
    (("trousers", "long sleeves"), 3),
    (("shorts", "T-shirt"), 3),
    (("shorts", "tank top"), 2),
    (("skirt", "T-shirt"), 2),
    (("skirt", "tank top"), 1.5),
    (("skirt",), 0.7),
    (("dress",), 4),
    (("T-shirt",), 1.2),
    (("tank top",), 0.8),
    (("bra",), 0.8),
    (("bikini top",), 0.7),
    (("stockings",), 0.5),
    (("stockings", "briefs", "bra"), 0.7),
    (("tights",), 0.7),
    (("open shirt",), 0.8),
    (("trousers", "open shirt"), 1.5),
    (("briefs", "open shirt"), 1),
    (("towel at the hips",), 2),
    (("towel at the chest",), 2),
    (("robe",), 2),
    (("briefs", "robe"), 1),
)
_PULLED_SHARE = 0.12


def sample_outfit(rng: np.random.Generator, body: BodyModel, shaped: Shaped, mesh: Mesh) -> list[Garment]:
    """Draw what a body wears, never nothing.

    Args:
        rng: draws all.
        body: the model that posed `mesh`.
        shaped: the body that was posed.
        mesh: the posed body; moved and turned as it may be.
    """
    weights = np.array([weight for _, weight in _OUTFITS])
    names = _OUTFITS[int(rng.choice(len(_OUTFITS), p=weights / weights.sum()))][0]
    garments: list[Garment] = []
    skin = np.median(mesh.albedo[body.regions["torso"][body.source]], axis=0)
    fabric = sample_fabric(rng, skin)
    for number, name in enumerate(names):
        # Underwear and swimwear come in sets.
        if number and rng.random() < 0.5:
            fabric = sample_fabric(rng, skin)
        slip = rng.uniform(-0.16, -0.02) if rng.random() < _PULLED_SHARE else 0.0
        garments.append(make_garment(name, rng, body, shaped, mesh, fabric=fabric, slip=slip, layer=number))
    return garments


def make_garment(
    name: str,
    rng: np.random.Generator,
    body: BodyModel,
    shaped: Shaped,
    mesh: Mesh,
    *,
    fabric: Fabric,
    slip: float = 0.0,
    layer: int = 0,
) -> Garment:
    """Return one garment.

    Args:
        name: one of `GARMENTS`.
        rng: draws its particulars.
        body: the model that posed `mesh`.
        shaped: the body that was posed.
        mesh: the posed body.
        fabric: what it is made of.
        slip: metres by which it has slipped; negative is down, as trousers pulled down.
        layer: 0 next to the skin; each further layer lies further out.
    """
    plan = _plan(name, rng)
    fit = Fit(**{**vars(plan.fit), "gap": plan.fit.gap + 0.004 * layer})
    cut = plan.cut if slip == 0 else _slipped(plan.cut, slip)
    sheets = [shell(body, mesh, cut, fit, rng)]
    surface = Surface.of(body)
    under = (cut(surface.rest) > _EDGE) & body.regions["body"]
    if plan.skirt is not None:
        high, low, flare = plan.skirt
        heights = np.linspace(high + slip, low + slip, 14).astype(np.float32)
        margins = fit.gap + 0.006 + flare * np.linspace(0, 1, 14).astype(np.float32) ** 1.5
        sheets.append(tube(body, mesh, heights, margins, rng.uniform(0.001, 0.012), rng))
    genitalia = body.regions["genitalia"] & body.regions["body"]
    if shaped.phenotype.male and under[genitalia].mean() > 0.5:
        sheets.append(pouch(body, mesh, fit.gap + 0.002))
        under = under | body.regions["male_anatomy"]
    if plan.thick:
        fabric = Fabric(**{**vars(fabric), "opacity": 1.0, "lace": 0.0})
    made = _mesh(sheets, fabric)
    covers = _covered(under, body, shaped, opaque=bool(len(made.opacity)) and float(made.opacity.min()) >= _DENSE)
    return Garment(name=name, mesh=made, covers=covers, under=under)


def _slipped(cut: Cut, slip: float) -> Cut:
    def moved(rest: Floats) -> Floats:
        return cut(rest - np.array([0, 0, slip], dtype=np.float32))

    return moved


def _covered(under: NDArray[np.bool_], body: BodyModel, shaped: Shaped, *, opaque: bool) -> frozenset[str]:
    if not opaque:
        return frozenset()
    regions: Mapping[str, NDArray[np.bool_]] = body.regions
    there = regions["body"] if not shaped.phenotype.male else regions["body"] | regions["male_anatomy"]
    return frozenset(name for name in COVERABLE if under[regions[name] & there].all())


def _mesh(sheets: Sequence[Sheet], fabric: Fabric) -> Mesh:
    starts = np.cumsum([0, *(len(sheet.vertices) for sheet in sheets)])
    vertices = np.concatenate([sheet.vertices for sheet in sheets])
    rest = np.concatenate([sheet.rest for sheet in sheets])
    triangles = np.concatenate([sheet.triangles + start for sheet, start in zip(sheets, starts, strict=False)])
    triangles = triangles.astype(np.int32)
    albedo, opacity, gloss = fabric.paint(rest)
    return Mesh(
        kind="cloth",
        vertices=vertices,
        triangles=triangles,
        normals=NormalMaker(triangles, len(vertices))(vertices),
        rest=rest,
        uv=np.zeros((len(vertices), 2), dtype=np.float32),
        albedo=albedo,
        opacity=opacity,
        gloss=gloss,
    )
