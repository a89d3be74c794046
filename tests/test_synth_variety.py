"""Poses, skin and hair of mannequins: within limits, over the whole range, and the same for the same seed."""

import numpy as np
import pytest

from detector.errors import UsageError
from detector.synth.body import BodyModel, Shaped
from detector.synth.hair import HAIR_STYLES, make_hair, sample_hair
from detector.synth.mesh import Mesh
from detector.synth.phenotype import Phenotype
from detector.synth.pose_check import overlap
from detector.synth.pose_table import BASE_POSES
from detector.synth.poses import make_pose, on_ground, sample_pose
from detector.synth.skin_texture import dress_skin
from detector.synth.skin_tone import MELANIN_RANGE, skin_colour
from detector.synth.surface import Surface

FEMALE, MALE = Phenotype(sex=0.0, age=0.75), Phenotype(sex=1.0, age=0.75)


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel.load()


@pytest.fixture(scope="module")
def shaped(body: BodyModel) -> Shaped:
    return body.shape(FEMALE)


@pytest.fixture(scope="module")
def standing(body: BodyModel, shaped: Shaped) -> Mesh:
    pose = make_pose("standing", body, shaped)
    return on_ground(body.pose(shaped, pose.rotations, pose.root))


def test_base_poses_are_many_and_free_of_deep_overlaps(body: BodyModel, shaped: Shaped) -> None:
    assert len(BASE_POSES) >= 48
    for name in BASE_POSES:
        assert overlap(body, shaped, make_pose(name, body, shaped).rotations) < 0.07, name


def test_an_arm_through_the_chest_is_an_overlap(body: BodyModel, shaped: Shaped) -> None:
    pose = make_pose("standing", body, shaped)
    through = dict(pose.rotations) | {"lowerarm01.L": np.array([0.0, 0.0, -2.0])}
    assert overlap(body, shaped, pose.rotations) < 0.0
    assert overlap(body, shaped, through) > 0.035


def test_sampled_poses_repeat_vary_and_do_not_sink_in(body: BodyModel, shaped: Shaped) -> None:
    rng = np.random.default_rng(1)
    poses = [sample_pose(rng, body, shaped) for _ in range(40)]
    again = sample_pose(np.random.default_rng(1), body, shaped)
    assert again.name == poses[0].name
    assert all(np.array_equal(again.rotations[joint], turn) for joint, turn in poses[0].rotations.items())
    assert len({pose.name for pose in poses}) > 20
    assert {pose.support for pose in poses} == {"stand", "seat", "floor", "lie"}
    assert sum(overlap(body, shaped, pose.rotations) > 0.035 for pose in poses) <= 1


def test_joints_stay_within_their_limits(body: BodyModel, shaped: Shaped) -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        turns = sample_pose(rng, body, shaped).rotations
        for side in ("L", "R"):
            # The knee bends backwards only (about +x) and by less than 146 degrees; the elbow likewise one way.
            assert -1e-6 <= turns[f"lowerleg01.{side}"][0] < np.radians(146)
            assert np.linalg.norm(turns[f"lowerarm01.{side}"]) < np.radians(143)
            assert np.linalg.norm(turns[f"upperarm02.{side}"]) <= np.radians(61)
        bend = sum(turns[f"spine0{number}"] for number in range(1, 6))
        assert (np.abs(bend) <= np.radians([60.1, 32.1, 42.1])).all()


def test_poses_do_what_their_names_say(body: BodyModel, shaped: Shaped) -> None:
    def at(name: str, region: str) -> np.ndarray:
        pose = make_pose(name, body, shaped)
        mesh = on_ground(body.pose(shaped, pose.rotations, pose.root))
        used = np.unique(mesh.triangles)
        assert abs(mesh.vertices[used, 2].min()) < 1e-5
        return mesh.vertices[body.regions[region][body.source]].mean(axis=0)

    assert at("arms raised", "hands")[2] > at("arms raised", "head")[2] + 0.2
    assert abs(at("hands on hips", "hands")[2] - at("hands on hips", "pubic")[2]) < 0.25
    assert at("lying on the back", "belly")[2] > at("lying on the back", "buttocks")[2]
    assert at("lying on the front", "belly")[2] < at("lying on the front", "buttocks")[2]
    assert abs(at("sitting on a chair", "upper_legs")[2] - at("sitting on a chair", "buttocks")[2]) < 0.1
    with pytest.raises(UsageError, match="standing"):
        make_pose("standin", body, shaped)


def test_skin_colours_run_from_light_to_dark_and_redden_with_blood() -> None:
    steps = np.geomspace(*MELANIN_RANGE, 8)
    colours = skin_colour(steps, np.full(8, 0.01))
    assert (np.diff(colours, axis=0) < 0).all()
    assert colours[0].min() > 0.25
    assert colours[0].max() < 0.8
    assert colours[-1].max() < 0.2
    assert (colours[:, 0] > colours[:, 1]).all()
    assert (colours[:, 1] > colours[:, 2]).all()
    pale, red = skin_colour(np.full(2, 0.03), np.array([0.005, 0.05]))
    assert red[0] / red[1] > 1.3 * pale[0] / pale[1]


def test_skins_span_the_range_and_repeat(body: BodyModel, standing: Mesh) -> None:
    light = []
    for seed in range(24):
        ancestry = tuple(np.eye(3)[seed % 3])
        phenotype = Phenotype(sex=0.0, age=0.9, ancestry=ancestry)
        dressed = dress_skin(standing, body, phenotype, np.random.default_rng(seed))
        assert dressed.albedo.min() >= 0
        assert dressed.albedo.max() <= 1
        assert np.isfinite(dressed.albedo).all()
        light.append(np.median(dressed.albedo[:, 1]))
    again = dress_skin(standing, body, phenotype, np.random.default_rng(seed))
    assert np.array_equal(again.albedo, dressed.albedo)
    assert np.array_equal(again.gloss, dressed.gloss)
    assert min(light) < 0.08
    assert max(light) > 0.3


def test_palms_are_lighter_and_aureolae_darker_than_the_skin_around(body: BodyModel, standing: Mesh) -> None:
    surface = Surface.of(body)
    dark = Phenotype(sex=0.0, age=0.75, ancestry=(1.0, 0.0, 0.0))
    palms, aureolae = [], []
    for seed in range(8):
        dressed = dress_skin(standing, body, dark, np.random.default_rng(seed))
        tone = dressed.albedo.mean(axis=1)
        backs = body.regions["hands"][body.source] & (surface.soft["palms"][body.source] < 0.05)
        palms.append(np.median(tone[surface.soft["palms"][body.source] > 0.9]) / np.median(tone[backs]))
        around = (body.regions["breast"] & ~body.regions["aureola"])[body.source]
        aureolae.append(np.median(tone[body.masks["aureola"] > 0.9]) / np.median(tone[around]))
    assert np.mean(palms) > 1.5
    assert np.mean(aureolae) < 0.85


def test_the_chart_has_its_landmarks_in_their_places(body: BodyModel) -> None:
    rest = Surface.of(body).rest
    assert float(rest[body.regions["head"], 2].max()) == pytest.approx(1.794, abs=1e-4)
    assert float(rest[body.regions["aureola"], 2].mean()) == pytest.approx(1.311, abs=2e-3)
    assert float(rest[body.regions["lips"], 2].mean()) == pytest.approx(1.611, abs=2e-3)


def test_a_beard_leaves_lips_and_eyes_free(body: BodyModel, shaped: Shaped, standing: Mesh) -> None:
    pytest.importorskip("embreex")
    from detector.synth.cloth_shell import Fit, shell
    from detector.synth.hair import _beard_cut, _hair_mesh
    from detector.synth.rays import Scene

    rng = np.random.default_rng(0)
    sheet = shell(body, standing, _beard_cut(1.55), Fit(gap=0.008, levels=1), rng)
    scene = Scene([_hair_mesh(sheet, np.full(3, 0.1), rng)])
    for name, free in (("lips", True), ("iris", True), ("beard", False)):
        rows = np.flatnonzero(body.regions[name][body.source])
        rows = rows[standing.normals[rows, 1] < -0.6]
        hits = scene.first_hits(standing.vertices[rows], np.tile(np.float32([0, -1, 0.01]), (len(rows), 1)))
        hidden = (hits.mesh >= 0).mean()
        assert hidden < 0.1 if free else hidden > 0.4, name


def test_every_hair_style_is_finite_and_repeats(body: BodyModel, shaped: Shaped, standing: Mesh) -> None:
    for style in HAIR_STYLES:
        sheets = make_hair(style, np.random.default_rng(3), body, shaped, standing)
        assert bool(sheets) == (style != "bald")
        for sheet in sheets:
            assert len(sheet.triangles)
            assert np.isfinite(sheet.vertices).all()
    first, second = (sample_hair(np.random.default_rng(7), body, shaped, standing) for _ in range(2))
    assert all(np.array_equal(a.albedo, b.albedo) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("style", [name for name in HAIR_STYLES if name != "bald"])
def test_hair_covers_the_crown_and_leaves_the_face_free(
    style: str, body: BodyModel, shaped: Shaped, standing: Mesh
) -> None:
    pytest.importorskip("embreex")
    from detector.synth.rays import Scene

    meshes = sample_like(style, body, shaped, standing)
    scene = Scene(meshes)
    face = standing.vertices[(body.regions["lips"] | body.regions["iris"])[body.source]]
    crown = standing.vertices[body.regions["scalp"][body.source]]
    crown = crown[crown[:, 2] > crown[:, 2].max() - 0.02]
    forward, up = np.tile(np.float32([0, -1, 0]), (len(face), 1)), np.tile(np.float32([0, 0, 1]), (len(crown), 1))
    assert (scene.first_hits(face + 0.002 * forward, forward).mesh < 0).all()
    assert (scene.first_hits(crown, up).mesh >= 0).mean() > (0.6 if style == "receding" else 0.95)


def sample_like(style: str, body: BodyModel, shaped: Shaped, mesh: Mesh) -> list[Mesh]:
    """Return the pieces of a style as meshes."""
    from detector.synth.hair import _hair_mesh

    rng = np.random.default_rng(11)
    return [_hair_mesh(sheet, np.full(3, 0.1), rng) for sheet in make_hair(style, rng, body, shaped, mesh)]
