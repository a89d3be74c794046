"""Clothes cover what they claim to cover; props stand where they should and are seen from outside."""

import numpy as np
import pytest

from detector.errors import UsageError
from detector.synth.body import BodyModel, Shaped
from detector.synth.cloth_patterns import PATTERNS, Fabric, sample_fabric
from detector.synth.clothes import GARMENTS, Garment, make_garment, sample_outfit
from detector.synth.mesh import Mesh
from detector.synth.phenotype import Phenotype
from detector.synth.poses import make_pose, on_ground
from detector.synth.props import OCCLUDERS, before_region, furniture, held_object, make_prop
from detector.synth.solids import box, cylinder, ellipsoid
from detector.synth.surface import Surface

FEMALE = Phenotype(sex=0.0, age=0.75, weight=0.6, cup_size=0.7)
MALE = Phenotype(sex=1.0, age=0.75, weight=0.4)
CLOTH = Fabric(
    first=np.float32([0.2, 0.2, 0.5]),
    second=np.float32([0.8, 0.8, 0.8]),
    pattern="stripes",
    seed=1,
    opacity=1.0,
    lace=0.0,
    gloss=0.1,
)
# Metres along the normal within which cloth must be met, and the least.
REACH, LEAST = 0.3, 0.001


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel.load()


@pytest.fixture(scope="module")
def people(body: BodyModel) -> dict[str, tuple[Shaped, Mesh]]:
    made = {}
    for name, phenotype, pose_name in (
        ("woman", FEMALE, "contrapposto"),
        ("man", MALE, "standing"),
        ("seated", MALE, "sitting on a chair"),
    ):
        shaped = body.shape(phenotype)
        pose = make_pose(pose_name, body, shaped)
        made[name] = shaped, on_ground(body.pose(shaped, pose.rotations, pose.root))
    return made


def _wear(name: str, body: BodyModel, person: tuple[Shaped, Mesh], seed: int = 4, slip: float = 0.0) -> Garment:
    shaped, mesh = person
    return make_garment(name, np.random.default_rng(seed), body, shaped, mesh, fabric=CLOTH, slip=slip)


@pytest.mark.slow
@pytest.mark.parametrize("name", GARMENTS)
@pytest.mark.parametrize("who", ["woman", "man", pytest.param("seated", marks=pytest.mark.slow)])
def test_cloth_lies_in_front_of_all_it_covers(
    name: str, who: str, body: BodyModel, people: dict[str, tuple[Shaped, Mesh]]
) -> None:
    pytest.importorskip("embreex")
    from detector.synth.rays import Scene

    garment, mesh = _wear(name, body, people[who]), people[who][1]
    rows = Surface.of(body).first[np.flatnonzero(garment.under & body.regions["body"])]
    # Straight along the normal each ray would end on a vertex of the cloth, where Embree may let it pass.
    tilt = np.random.default_rng(0).normal(0, 0.03, (len(rows), 3)).astype(np.float32)
    hits = Scene([garment.mesh]).first_hits(mesh.vertices[rows], mesh.normals[rows] + tilt)
    met = (hits.mesh >= 0) & (hits.distance < REACH)
    # Tilted rays pass the edge of a narrow piece.
    assert met.mean() > 0.97
    assert (hits.distance[met] >= LEAST).mean() > 0.97


@pytest.mark.parametrize("name", ["briefs", "boxers", "thong", "trousers", "one-piece swimsuit", "skirt"])
@pytest.mark.parametrize("who", ["man", "seated"])
def test_nothing_of_a_covered_man_is_seen_from_around(
    name: str, who: str, body: BodyModel, people: dict[str, tuple[Shaped, Mesh]]
) -> None:
    pytest.importorskip("embreex")
    from detector.synth.rays import Scene

    garment, mesh = _wear(name, body, people[who]), people[who][1]
    assert "genitalia" in garment.covers
    targets = mesh.vertices[np.flatnonzero(body.regions["male_anatomy"][body.source])]
    scene = Scene([mesh, garment.mesh])
    for angle in np.linspace(-1.2, 1.2, 5):
        eye = targets.mean(axis=0) + 3 * np.float32([np.sin(angle), -np.cos(angle), 0.2])
        ways = (targets - eye).astype(np.float32)
        hits = scene.first_hits(np.tile(eye.astype(np.float32), (len(ways), 1)), ways)
        seen = (hits.mesh == 0) & body.regions["male_anatomy"][body.source[mesh.triangles]].any(axis=1)[
            np.where(hits.mesh == 0, hits.triangle, 0)
        ]
        assert not seen.any()


def test_garments_cover_the_parts_that_their_names_promise(
    body: BodyModel, people: dict[str, tuple[Shaped, Mesh]]
) -> None:
    promises = {
        "trousers": {"genitalia"},
        "boxers": {"genitalia"},
        "T-shirt": {"breast_left", "breast_right"},
        "one-piece swimsuit": {"breast_left", "breast_right", "genitalia", "belly"},
        "dress": {"breast_left", "breast_right", "genitalia", "belly", "buttocks"},
        "towel at the hips": {"genitalia"},
        "stockings": set(),
    }
    for name, parts in promises.items():
        for seed in range(3):
            garment = _wear(name, body, people["woman"], seed)
            assert parts <= garment.covers, (name, garment.covers)
    assert not {"breast_left", "genitalia"} & _wear("stockings", body, people["woman"]).covers
    assert not {"breast_left", "breast_right"} & _wear("briefs", body, people["woman"]).covers


def test_cloth_that_has_slipped_or_lets_light_through_covers_less(
    body: BodyModel, people: dict[str, tuple[Shaped, Mesh]]
) -> None:
    worn, slipped = (_wear("boxers", body, people["woman"], slip=slip) for slip in (0.0, -0.15))
    assert slipped.covers < worn.covers
    shaped, mesh = people["woman"]
    sheer = Fabric(**{**vars(CLOTH), "opacity": 0.4})
    clear = make_garment("boxers", np.random.default_rng(4), body, shaped, mesh, fabric=sheer)
    assert not clear.covers
    assert clear.under.any()
    assert float(clear.mesh.opacity.max()) < 0.5


def test_outfits_repeat_and_are_of_many_kinds(body: BodyModel, people: dict[str, tuple[Shaped, Mesh]]) -> None:
    shaped, mesh = people["woman"]
    rng = np.random.default_rng(5)
    outfits = [sample_outfit(rng, body, shaped, mesh) for _ in range(12)]
    assert all(outfit for outfit in outfits)
    assert len({garment.name for o in outfits for garment in o}) > 6
    first, second = (sample_outfit(np.random.default_rng(6), body, shaped, mesh) for _ in range(2))
    for a, b in zip((one.mesh for one in first), (one.mesh for one in second), strict=True):
        assert a.kind == "cloth"
        assert np.array_equal(a.vertices, b.vertices)
        assert np.array_equal(a.albedo, b.albedo)


def test_fabrics_are_skin_coloured_sheer_laced_and_patterned_at_times() -> None:
    rng = np.random.default_rng(0)
    skin = np.array([0.5, 0.3, 0.2])
    fabrics = [sample_fabric(rng, skin) for _ in range(300)]
    assert {fabric.pattern for fabric in fabrics} == set(PATTERNS)
    assert 10 < sum(fabric.opacity < 1 for fabric in fabrics) < 80
    assert sum(fabric.lace > 0 for fabric in fabrics) > 5
    assert sum(np.abs(fabric.first / skin - 1).max() < 0.35 for fabric in fabrics) > 20
    assert all(sample_fabric(rng, skin, thick=True).opacity == 1 for _ in range(50))
    points = rng.uniform(-1, 1, (500, 3)).astype(np.float32)
    for name in PATTERNS:
        albedo, opacity, gloss = Fabric(**{**vars(CLOTH), "pattern": name, "lace": 0.02}).paint(points)
        assert albedo.min() >= 0
        assert albedo.max() <= 1
        assert 0 < opacity.min() < opacity.max() <= 1
        assert len(gloss) == 500


def _volume(vertices: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def test_solids_face_outwards_and_are_as_large_as_said() -> None:
    made = {
        "box": box((1, 2, 3)),
        "cylinder": cylinder(1, 2, sides=200),
        "ball": ellipsoid((1, 2, 1), rings=80, sides=80),
    }
    expected = {"box": 6.0, "cylinder": 2 * np.pi, "ball": 8 / 3 * np.pi}
    for name, solid in made.items():
        assert _volume(solid.vertices, solid.triangles) == pytest.approx(expected[name], rel=0.01), name


def test_props_stand_on_the_ground() -> None:
    for name in OCCLUDERS:
        mesh = make_prop(name, np.random.default_rng(1))
        assert mesh.kind == "object", name
        assert abs(float(mesh.vertices[:, 2].min())) < 0.02, name
    with pytest.raises(UsageError, match="pillow"):
        make_prop("pilow", np.random.default_rng(1))


def test_a_seat_is_under_the_seated_and_nothing_under_the_standing(
    body: BodyModel, people: dict[str, tuple[Shaped, Mesh]]
) -> None:
    mesh = people["seated"][1]
    hips = mesh.vertices[body.regions["buttocks"][body.source]]
    for seed in range(4):
        (seat,) = furniture(np.random.default_rng(seed), body, mesh, "seat")
        assert abs(float(seat.vertices[:, 2].max()) - float(hips[:, 2].min())) < 0.03
        assert abs(float(seat.vertices[:, 2].min())) < 0.01
    assert furniture(np.random.default_rng(0), body, people["man"][1], "stand") == []


def test_an_object_before_a_region_hides_some_of_it(body: BodyModel, people: dict[str, tuple[Shaped, Mesh]]) -> None:
    pytest.importorskip("embreex")
    from detector.synth.rays import Scene

    mesh = people["woman"][1]
    rows = np.flatnonzero(body.regions["belly"][body.source])
    hidden = []
    for seed in range(8):
        thing = before_region(np.random.default_rng(seed), body, mesh, "belly")
        hits = Scene([thing]).first_hits(mesh.vertices[rows], np.tile(np.float32([0, -1, 0]), (len(rows), 1)))
        hidden.append((hits.mesh >= 0).mean())
    assert min(hidden) > 0.1
    assert np.mean(hidden) > 0.4
    with pytest.raises(UsageError, match="belly"):
        before_region(np.random.default_rng(0), body, mesh, "bely")


def test_a_held_object_is_near_a_hand(body: BodyModel, people: dict[str, tuple[Shaped, Mesh]]) -> None:
    mesh = people["man"][1]
    hands = mesh.vertices[body.regions["hands"][body.source]]
    for seed in range(6):
        thing = held_object(np.random.default_rng(seed), body, mesh)
        gap = np.linalg.norm(thing.vertices[:, None] - hands[None, ::50], axis=2).min()
        assert gap < 0.2
