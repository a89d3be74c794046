"""Mannequins: what is said becomes a sound mesh."""

import copy
import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from detector.errors import ModelError, UsageError
from detector.paths import weights_dir
from detector.synth.asset import ASSET_NAME, pack_asset, read_asset
from detector.synth.body import BodyModel
from detector.synth.mesh import Mesh, NormalMaker
from detector.synth.phenotype import Phenotype
from detector.synth.skeleton import joint_transforms, rotation_matrices, rotation_table, skin

WOMAN, MAN = Phenotype(sex=0, age=0.7, cup_size=0.7), Phenotype(sex=1, age=0.9)


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return BodyModel.load()


def test_the_same_seed_gives_the_same_body() -> None:
    names = ("head-age", "nose-hump")
    first, second = (Phenotype.sample(np.random.default_rng(3), local_names=names) for _ in range(2))
    assert first == second
    assert first != Phenotype.sample(np.random.default_rng(4), local_names=names)


def test_a_phenotype_travels_to_worker_processes() -> None:
    body = Phenotype(sex=1, local={"nose-hump": 0.5})
    assert copy.deepcopy(body) == body


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sex", 1.5, "sex must be from 0 to 1; got 1.5"),
        ("weight", float("nan"), "weight must be from 0 to 1; got nan"),
        ("ancestry", (0, 0, 0), "ancestry must be three weights"),
        ("ancestry", (1, -1, 1), "ancestry must be three weights"),
        ("local", {"nose-hump": 2.0}, "the local change nose-hump must be from -1 to 1; got 2.0"),
    ],
)
def test_what_lies_outside_the_ranges_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Phenotype(**{field: value})  # type: ignore[arg-type]


def test_an_unknown_local_change_names_the_nearest(model: BodyModel) -> None:
    with pytest.raises(UsageError, match="no local change 'nose-bump'; the nearest is nose-hump"):
        model.shape(Phenotype(local={"nose-bump": 0.5}))


# The mesh.


@pytest.mark.parametrize("body", [WOMAN, MAN], ids=["woman", "man"])
def test_a_body_is_a_sound_mesh(model: BodyModel, body: Phenotype) -> None:
    shaped = model.shape(body)
    mesh = model.pose(shaped, {})
    assert mesh.kind == "body"
    assert np.isfinite(mesh.vertices).all()
    assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-3)
    skin_rows = model.regions["body"][model.source]
    assert mesh.vertices[skin_rows, 2].min() == pytest.approx(0, abs=1e-5)
    assert mesh.vertices[skin_rows, 2].max() == pytest.approx(shaped.height, abs=1e-5)
    a, b, c = (mesh.vertices[mesh.triangles[:, corner]] for corner in range(3))
    # Counter-clockwise from outside: the enclosed volume is that of a person, in m^3.
    assert 0.04 < np.einsum("ij,ij->", a, np.cross(b, c)) / 6 < 0.15
    # The toes are before the ankles: the front faces -y; the left hand is at +x.
    toes = shaped.heads[model.joints.index("toe1-1.L")]
    ankle = shaped.heads[model.joints.index("foot.L")]
    assert toes[1] < ankle[1]
    assert shaped.heads[model.joints.index("wrist.L"), 0] > 0.2


def test_the_skin_has_no_hole(model: BodyModel) -> None:
    triangles = model.source[model.triangles(male=False)]
    triangles = triangles[model.regions["body"][triangles].all(axis=1)]
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert (uses == 2).all()


def test_vertices_split_at_seams_stay_together_in_every_pose(model: BodyModel) -> None:
    mesh = model.pose(model.shape(MAN), {"spine03": (0.4, 0.2, 0.1), "upperleg01.L": (-1.2, 0, 0)})
    first = np.full(len(model.regions["body"]), -1)
    first[model.source] = np.arange(len(model.source))
    assert len(model.source) > len(first)
    np.testing.assert_array_equal(mesh.vertices, mesh.vertices[first[model.source]])
    np.testing.assert_array_equal(mesh.normals, mesh.normals[first[model.source]])


def test_male_anatomy_is_there_for_men_only(model: BodyModel) -> None:
    anatomy = model.regions["male_anatomy"][model.source]
    assert not anatomy[model.triangles(male=False)].any()
    assert anatomy[model.triangles(male=True)].any()
    woman = model.shape(WOMAN)
    assert np.ptp(woman.vertices[model.regions["male_anatomy"]], axis=0).max() == 0
    # Plain and clinical: it hangs down, so its lowest point is well below where it begins, and it stays near the body.
    low, high = (f(model.shape(MAN).vertices[model.regions["male_anatomy"]], axis=0) for f in (np.min, np.max))
    assert high[2] - low[2] > 0.06
    assert high[1] - low[1] < 0.12


def test_regions_lie_where_they_are_called(model: BodyModel) -> None:
    shaped = model.shape(WOMAN)
    middle = {
        name: shaped.vertices[rows].mean(axis=0) for name, rows in model.regions.items() if name != "male_anatomy"
    }
    assert all(rows.any() and rows.shape == (len(shaped.vertices),) for rows in model.regions.values())
    order = ["scalp", "brows", "lips", "breast", "belly", "pubic", "upper_legs", "lower_legs", "feet"]
    levels = [middle[name][2] for name in order]
    assert levels == sorted(levels, reverse=True)
    assert middle["belly"][1] < middle["torso"][1] < middle["buttocks"][1]
    assert middle["breast_left"][0] > 0.05
    assert middle["breast_right"][0] < -0.05
    assert middle["hands_left"][0] > middle["lower_arms_left"][0] > middle["upper_arms_left"][0] > 0
    assert abs(middle["genitalia"][0]) < 0.01
    assert not (model.regions["belly"] & model.regions["breast"]).any()
    assert not (model.regions["buttocks"] & model.regions["genitalia"]).any()


@pytest.mark.parametrize(
    ("change", "part", "axis", "sign"),
    [("breast-trans", "breast", 2, 1), ("buttocks-volume", "buttocks", 1, 1), ("stomach-pregnant", "belly", 1, -1)],
)
def test_local_changes_move_what_they_name(model: BodyModel, change: str, part: str, axis: int, sign: int) -> None:
    plain = model.shape(WOMAN).vertices[model.regions[part]]
    more, less = (
        model.shape(dataclasses.replace(WOMAN, local={change: value})).vertices[model.regions[part]] - plain
        for value in (1, -1)
    )
    assert sign * more[:, axis].mean() > 0.002
    assert sign * less[:, axis].mean() < -0.0005


def test_the_parameters_do_what_they_are_called(model: BodyModel) -> None:
    def waist(body: Phenotype) -> float:
        return float(np.ptp(model.shape(body).vertices[model.regions["belly"], 0]))

    assert waist(dataclasses.replace(MAN, weight=1)) > waist(dataclasses.replace(MAN, weight=0)) + 0.02
    tall, short = (model.shape(dataclasses.replace(MAN, height=value)).height for value in (1, 0))
    assert tall - short > 0.2
    depth = [
        np.ptp(model.shape(dataclasses.replace(WOMAN, cup_size=cup)).vertices[model.regions["breast"], 1])
        for cup in (0.0, 0.5, 1.0)
    ]
    assert depth == sorted(depth)


# Posing.


def test_rotations_turn_as_rodrigues_says() -> None:
    quarter = rotation_matrices((0, 0, np.pi / 2))
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_array_equal(rotation_matrices((0.0, 0.0, 0.0)), np.eye(3))
    vectors = np.random.default_rng(0).normal(size=(20, 3))
    turns = rotation_matrices(vectors)
    np.testing.assert_allclose(turns @ np.swapaxes(turns, 1, 2), np.tile(np.eye(3), (20, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", turns, vectors), vectors, atol=1e-12)


def test_a_joint_carries_what_hangs_on_it_and_nothing_else() -> None:
    heads, parents = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.array([-1, 0, 1])
    turns = rotation_table(("a", "b", "c"), {"b": (0, 0, np.pi / 2)})
    maps = joint_transforms(heads, parents, turns, np.eye(3))
    points = np.array([[0.5, 0, 0], [1.5, 0, 0], [3, 0, 0]], dtype=np.float32)
    moved = skin(points, np.eye(3, dtype=np.float32), maps)
    np.testing.assert_allclose(moved, [[0.5, 0, 0], [1, 0.5, 0], [1, 2, 0]], atol=1e-6)


def test_poses_go_where_the_documentation_says(model: BodyModel) -> None:
    shaped = model.shape(MAN)
    hand, foot = model.regions["hands_left"][model.source], model.regions["feet_left"][model.source]

    def middle(rows: np.ndarray, **turn: tuple[float, float, float]) -> np.ndarray:
        rotations = {name.replace("_", "."): value for name, value in turn.items()}
        return model.pose(shaped, rotations).vertices[rows].mean(axis=0)

    plain = middle(hand)
    assert middle(hand, upperarm01_L=(0, 0.6, 0))[2] < plain[2] - 0.05
    assert middle(hand, upperarm01_L=(0, -1.5, 0))[2] > plain[2] + 0.4
    lifted = middle(foot, upperleg01_L=(-np.pi / 2, 0, 0))
    assert lifted[1] < middle(foot)[1] - 0.6
    assert lifted[2] > 0.6
    turned = model.pose(shaped, {}, rotation_matrices((0, 0, np.pi))).vertices
    assert turned[hand].mean(axis=0)[0] == pytest.approx(-plain[0], abs=0.01)


@pytest.mark.parametrize(
    ("rotations", "root", "message"),
    [
        ({"upperarm.L": (0, 0, 0)}, np.eye(3), "there is no 'upperarm.L'; the nearest is upperarm0"),
        ({"head": (0, 0)}, np.eye(3), "the rotation of head must be three finite numbers"),
        ({"head": (0, 0, np.inf)}, np.eye(3), "the rotation of head must be three finite numbers"),
        ({}, 2 * np.eye(3), "root must be a"),
        ({}, np.diag([1.0, 1, -1]), "root must be a"),
    ],
)
def test_malformed_poses_are_refused(
    model: BodyModel, rotations: dict[str, tuple[float, ...]], root: np.ndarray, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        model.pose(model.shape(WOMAN), rotations, root)


def test_shape_and_pose_are_quick(model: BodyModel) -> None:
    body = Phenotype.sample(np.random.default_rng(0), local_names=model.local_names)
    model.pose(model.shape(body), {})
    times = []
    for _ in range(5):
        start = time.perf_counter()
        model.pose(model.shape(body), {"head": (0, 0, 0.3)})
        times.append(time.perf_counter() - start)
    # A bound with room for a busy machine: a quarter of it is usual.
    assert min(times) < 0.1


# The mesh class and the file.


def test_normals_of_a_cube_corner_and_of_no_triangle() -> None:
    triangles = np.array([[0, 1, 2]], dtype=np.int32)
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], dtype=np.float32)
    np.testing.assert_allclose(NormalMaker(triangles, 4)(vertices), [[0, 0, 1]] * 4)
    np.testing.assert_allclose(NormalMaker(triangles[:, ::-1], 4)(vertices)[:3], [[0, 0, -1]] * 3)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("kind", "robot", "a mesh must be one of body, cloth, hair, object; got 'robot'"),
        ("uv", np.zeros((3, 3), np.float32), r"uv of a mesh of 3 vertices must be \(3, 2\) float32"),
        ("normals", np.zeros((3, 3)), "normals of a mesh of 3 vertices"),
        ("triangles", np.array([[0, 1, 3]], np.int32), "triangles must name vertices 0 to 2; got 3"),
        ("triangles", np.array([[0, 1, 2]]), r"triangles must be \(T, 3\) int32"),
    ],
)
def test_a_mesh_refuses_arrays_that_do_not_belong_together(field: str, value: object, message: str) -> None:
    ones = np.ones((3, 3), np.float32)
    fields: dict[str, object] = {"kind": "object", "triangles": np.array([[0, 1, 2]], np.int32), "uv": ones[:, :2]}
    fields |= dict.fromkeys(("vertices", "normals", "rest", "albedo"), ones)
    fields |= {"opacity": ones[:, 0], "gloss": ones[:, 0]}
    moved = Mesh(**fields).moved((0, 0, 2))  # type: ignore[arg-type]
    np.testing.assert_array_equal(moved.vertices[:, 2], [3, 3, 3])
    with pytest.raises(UsageError, match=message):
        Mesh(**(fields | {field: value}))  # type: ignore[arg-type]


def test_a_packed_asset_comes_back_as_it_was(tmp_path: Path) -> None:
    asset = read_asset()
    few = dataclasses.replace(
        asset, macro=asset.macro[:2], macro_names=asset.macro_names[:2], local=asset.local[:1], local_names=("x",)
    )
    data = pack_asset(few)
    assert data == pack_asset(few)
    (tmp_path / "body.npz").write_bytes(data)
    back = read_asset(tmp_path / "body.npz")
    for name in ("template", "macro", "local", "parents", "source", "uv", "body", "eyes", "male"):
        np.testing.assert_array_equal(getattr(back, name), getattr(few, name), err_msg=name)
    np.testing.assert_allclose(back.weights, few.weights, atol=2e-3)
    assert {name: rows.tolist() for name, rows in back.regions.items()} == {
        name: rows.tolist() for name, rows in few.regions.items()
    }
    assert back.joints == few.joints


def test_the_asset_is_small() -> None:
    assert (weights_dir() / ASSET_NAME).stat().st_size < 6_000_000


def _with_a_broken_stream() -> bytes:
    data = bytearray((weights_dir() / ASSET_NAME).read_bytes())
    data[1000:1100] = bytes(100)
    return bytes(data)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04broken", _with_a_broken_stream()])
def test_a_damaged_asset_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "body.npz").write_bytes(content)
    with pytest.raises(ModelError, match="the body asset must be readable"):
        read_asset(tmp_path / "body.npz")
    with pytest.raises(ModelError, match="the body asset must be readable"):
        read_asset(tmp_path / "missing.npz")
