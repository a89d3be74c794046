"""Boxes of rendered bodies: where they are, what hides them, what is too little to be found."""

import dataclasses
import json
from functools import cache

import cv2
import numpy as np
import pytest

pytest.importorskip("embreex")

from detector.classes import CLASSES
from detector.errors import ModelError
from detector.synth import labels as labels_module
from detector.synth.body import BodyModel
from detector.synth.camera import Camera, frame_on
from detector.synth.frames import Placement
from detector.synth.labels import find_labels
from detector.synth.lights import Light
from detector.synth.mesh import Mesh
from detector.synth.phenotype import Phenotype
from detector.synth.poses import make_pose, on_ground
from detector.synth.regions import PARTS, REGIONS, read_regions
from detector.synth.render import render

SIZE = (192, 192)
FRONT, LEFT, BACK = 0.0, np.pi / 2, np.pi
SKY = (Light(kind="sky"),)


@cache
def body(male=False):
    model = BodyModel.load()
    shaped = model.shape(Phenotype(sex=float(male), age=0.75))
    pose = make_pose("standing", model, shaped)
    return on_ground(model.pose(shaped, pose.rotations, pose.root))


def camera(azimuth=FRONT, fill=0.95, size=SIZE, male=False):
    return frame_on(
        body(male).vertices,
        fill=fill,
        offset=(0.0, 0.0),
        rng=np.random.default_rng(0),
        image_size=size,
        azimuth=azimuth,
        elevation=0.0,
        focal_length=50.0,
        roll=0.0,
    )


def seen(meshes, view, male=False, **given):
    rendered = render(
        meshes, view, SKY, background=None, rng=np.random.default_rng(1), ambient_rays=0, smooth_edges=False
    )
    return find_labels(rendered, meshes, {0: male}, view, **given)


def by_part(labels):
    assert len({label.part for label in labels}) == len(labels)
    return {label.part: label for label in labels}


@cache
def front(male=False):
    return by_part(seen([body(male)], camera(male=male), male))


def sheet(low, high, opacity=1.0, y=-0.5):
    """A wall between the camera in front and the body, from (x, z) to (x, z)."""
    (x0, z0), (x1, z1) = low, high
    vertices = np.array([[x0, y, z0], [x1, y, z0], [x1, y, z1], [x0, y, z1]], np.float32)
    return Mesh(
        kind="cloth",
        vertices=vertices,
        triangles=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        normals=np.tile(np.float32([0, -1, 0]), (4, 1)),
        rest=vertices,
        uv=np.zeros((4, 2), np.float32),
        albedo=np.full((4, 3), 0.5, np.float32),
        opacity=np.full(4, opacity, np.float32),
        gloss=np.zeros(4, np.float32),
    )


def test_regions_are_whole_symmetric_and_apart():
    regions, model = read_regions(), BodyModel.load()
    assert set(regions) == set(REGIONS)
    place = np.zeros((len(model.regions["body"]), 3))
    place[model.source] = model.rest
    assert (place[regions["breast_left"], 0] > 0).all()
    assert (place[regions["breast_right"], 0] < 0).all()
    for name in ("belly", "buttocks", "female_genitalia"):
        assert abs(place[regions[name], 0].mean()) < 0.01
        assert not regions[name][model.regions["male_anatomy"]].any()
    assert regions["breast_left"].sum() == pytest.approx(regions["breast_right"].sum(), rel=0.05)
    assert regions["male_genitalia"][model.regions["male_anatomy"]].all()
    assert (regions["breast_left"] & model.regions["aureola"]).any()
    assert place[regions["buttocks"], 1].mean() > 0.02 > place[regions["belly"], 1].mean()


@pytest.mark.parametrize("content", ["{}", "[", '{"vertices": 7, "regions": {}}'])
def test_a_regions_file_that_does_not_fit_is_refused(tmp_path, content):
    path = tmp_path / "regions.json"
    path.write_text(content)
    with pytest.raises(ModelError, match="make it anew"):
        read_regions(path)
    table = {"vertices": len(BodyModel.load().regions["body"]), "regions": {name: [] for name in REGIONS[1:]}}
    path = tmp_path / "lacking.json"
    path.write_text(json.dumps(table))
    with pytest.raises(ModelError, match="belly"):
        read_regions(path)


def test_from_the_front_all_but_the_buttocks_are_seen():
    found = front()
    assert {name for name, label in found.items() if not label.ignore} == {
        "belly",
        "breast_left",
        "breast_right",
        "genitalia",
    }
    assert [label.class_name for label in seen([body()], camera())] == [
        part.female_class for part in PARTS if part.name in found
    ]
    assert all(CLASSES[label.label] == label.class_name for label in found.values())
    # The camera looks from the front: the body's left is at the right of the picture.
    assert found["breast_left"].box[0] > found["breast_right"].box[0]
    assert found["breast_left"].box[3] < found["belly"].box[3] < found["genitalia"].box[3]


def test_from_behind_only_the_buttocks_are_targets():
    found = by_part(seen([body()], camera(BACK)))
    assert {name for name, label in found.items() if not label.ignore} == {"buttocks"}


def test_classes_follow_the_sex_of_the_body():
    names = {label.class_name for label in front(male=True).values() if not label.ignore}
    assert names == {"BELLY_EXPOSED", "MALE_BREAST_EXPOSED", "MALE_GENITALIA_EXPOSED"}


@pytest.mark.parametrize("part", ["belly", "breast_left"])
def test_a_box_is_that_of_the_projected_vertices(part):
    model = BodyModel.load()
    view = camera()
    where = read_regions()[part][model.source]
    # Of a part that faces the camera as a whole all vertices that look its way are seen.
    facing = (body().normals @ view.axes[2].astype(np.float32)) < 0
    points = view.project(body().vertices[where & facing])[:, :2]
    expected = [*points.min(axis=0), *points.max(axis=0)]
    np.testing.assert_allclose(front()[part].box, expected, atol=2.0)
    assert front()[part].share > 0.9


def test_a_wall_hides_what_is_behind_it():
    box = front()["breast_left"].box
    found = by_part(seen([body(), sheet((0.0, 0.0), (2.0, 3.0))], camera()))
    assert "breast_left" not in found
    assert found["breast_right"].box == front()["breast_right"].box
    assert found["belly"].box[2] < front()["belly"].box[2] - 4
    assert not found["belly"].ignore
    assert box[0] > 0


@pytest.mark.parametrize(("top", "ignored"), [(1.04, False), (1.08, False), (1.1, True), (1.12, True), (1.15, None)])
def test_a_part_of_which_little_is_seen_is_ignored(top, ignored):
    # A wall from below that leaves ever less of the belly; in the end a sliver, which is nothing.
    label = by_part(seen([body(), sheet((-2, 0), (2, top), y=-0.3)], camera())).get("belly")
    assert (None if label is None else label.ignore) == ignored
    assert label is None or ignored == (label.share < labels_module.MIN_SHARE)


def test_a_part_seen_at_a_grazing_angle_is_ignored():
    # Nothing hides the buttocks, but from ahead little of them shows; square on, as much is a target.
    found = by_part(seen([body()], camera(np.radians(60), fill=3.0)))
    assert found["buttocks"].share > labels_module.MIN_SHARE
    assert found["buttocks"].box[2] - found["buttocks"].box[0] >= labels_module.MIN_SIDE_PIXELS
    assert found["buttocks"].ignore
    assert not by_part(seen([body()], camera(np.radians(120), fill=3.0)))["buttocks"].ignore


def test_male_genitalia_are_what_the_box_holds():
    model, view = BodyModel.load(), camera(male=True)
    points = view.project(body(True).vertices[model.regions["male_anatomy"][model.source]])[:, :2]
    x1, _, x2, y2 = front(male=True)["genitalia"].box
    assert x1 <= points[:, 0].min() + 1
    assert x2 >= points[:, 0].max() - 1
    assert y2 >= points[:, 1].max() - 1


@pytest.mark.parametrize(("opacity", "exposed"), [(0.3, True), (0.45, True), (0.97, False), (1.0, False)])
def test_sheer_cloth_exposes_and_dense_cloth_covers(opacity, exposed):
    found = by_part(seen([body(), sheet((-2, 0), (2, 3), opacity)], camera()))
    assert found == (front() if exposed else {})


@pytest.mark.parametrize("opacity", [0.55, 0.9])
def test_a_part_that_shows_through_cloth_is_neither_target_nor_background(opacity):
    veil = sheet((-2, 0), (2, 3), opacity)
    for covered in ({}, {0: set(front())}):
        found = by_part(seen([body(), veil], camera(), covered=covered))
        # In clothes nothing is left of what is hardly seen even without them.
        assert set(found) >= {"belly", "breast_left", "breast_right"}
        assert all(label.ignore for label in found.values())
        assert {part: label.box for part, label in found.items()} == {part: front()[part].box for part in found}


def test_a_part_of_which_most_is_bare_is_a_target_beside_its_veil():
    low, high = front()["belly"].box[1], front()["belly"].box[3]
    veiled = by_part(seen([body(), sheet((-2, 0), (2, 1.02), 0.7)], camera()))["belly"]
    assert veiled.box[1] == low
    assert veiled.box[3] < high - 5
    assert not veiled.ignore


def test_a_part_under_clothes_is_no_target_whatever_is_seen_around_them():
    found = by_part(seen([body()], camera(), covered={0: {"breast_left"}}))
    assert found["breast_left"].ignore
    assert found["breast_right"] == front()["breast_right"]
    # Of a covered part little of which is seen nothing remains: it is background.
    half = [body(), sheet((-2, 0), (2, 1.1), y=-0.3)]
    plain = by_part(seen(half, camera()))
    assert plain["belly"].ignore
    little = {name for name, label in plain.items() if label.share < labels_module.MIN_SHARE}
    dressed = by_part(seen(half, camera(), covered={0: set(plain)}))
    assert set(dressed) == set(plain) - little


def test_boxes_follow_the_frame_around_the_picture():
    found = by_part(seen([body()], camera(), placement=Placement(0.5, 0.75, 10.0, 20.0)))
    expected = np.array(front()["belly"].box) * (0.5, 0.75, 0.5, 0.75) + (10, 20, 10, 20)
    np.testing.assert_allclose(found["belly"].box, expected)
    # The genitalia are now under eight pixels wide or high.
    assert found["genitalia"].ignore
    assert not front()["genitalia"].ignore


def test_far_away_everything_is_too_small():
    assert all(label.ignore for label in seen([body()], camera(fill=0.15)))


def test_the_frame_cuts_boxes_and_what_it_cuts_away_counts_as_hidden():
    view = camera()
    belly = front()["belly"].box
    moved = dataclasses.replace(
        view,
        position=tuple(np.add(view.position, (0.25, 0, 0))),
        target=tuple(np.add(view.target, (0.25, 0, 0))),
        focal_length=150.0,
    )
    found = by_part(seen([body()], moved))
    assert found["belly"].box[0] == 0
    assert found["belly"].share < 0.75
    assert belly[0] > 0


def test_from_the_side_the_far_breast_is_no_target():
    found = by_part(seen([body()], camera(LEFT)))
    assert not found["breast_left"].ignore
    assert "breast_right" not in found or found["breast_right"].ignore


def test_splinters_do_not_widen_a_box():
    mask = np.zeros((60, 80), bool)
    mask[10:30, 20:40] = True
    mask[50, 70] = True
    np.testing.assert_array_equal(labels_module._box(mask), [20, 10, 40, 30])
    mask[40:50, 60:72] = True  # a second part that is not small counts
    np.testing.assert_array_equal(labels_module._box(mask), [20, 10, 72, 51])


def test_triangles_facing_away_count_for_nothing():
    view = Camera(position=(0, -3, 1), target=(0, 0, 1), image_size=SIZE)
    square = sheet((-0.5, 0.5), (0.5, 1.5), y=0.0)
    shares = np.ones((4, 1), np.float32)
    free, facing = labels_module._free_pixels(square, shares, view)
    side = view.focal_pixels / 3
    assert free[0] == pytest.approx(side**2, rel=1e-4)
    assert facing[0] == pytest.approx(side**2, rel=1e-4)
    turned = dataclasses.replace(square, triangles=square.triangles[:, ::-1].copy())
    assert labels_module._free_pixels(turned, shares, view)[0][0] == 0


def test_opencv_counts_the_background_as_a_component():
    # What `_box` takes for granted.
    assert cv2.connectedComponents(np.zeros((4, 4), np.uint8))[0] == 1
