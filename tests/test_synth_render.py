"""The renderer against geometry that can be worked out by hand."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("embreex")

from synth_shapes import CENTRE_VIEW, floor, sphere, wall

from detector.errors import UsageError
from detector.synth.camera import Camera, frame_on
from detector.synth.lights import Light, sample_lights
from detector.synth.rays import Scene
from detector.synth.render import render

HEAD_ON = Light(kind="sun", direction=(0.0, -1.0, 0.0))


def rng():
    return np.random.default_rng(7)


def plain(meshes, lights=(HEAD_ON,), camera=CENTRE_VIEW, **given):
    given = {"background": None, "rng": rng(), "ambient_rays": 0, "smooth_edges": False} | given
    return render(meshes, camera, lights, **given)


def test_camera_projects_points_where_its_rays_go():
    camera = Camera(position=(1.0, -3.0, 2.0), target=(0.2, 0.1, 0.9), roll=0.3, focal_length=35, image_size=(120, 200))
    pixels = np.array([[0.5, 0.5], [199.5, 0.5], [100.0, 60.0], [37.0, 91.0]])
    points = np.array(camera.position) + camera.rays(pixels) * np.array([[1.0], [2.0], [3.0], [4.0]])
    seen = camera.project(points)
    np.testing.assert_allclose(seen[:, :2], pixels, atol=1e-3)
    np.testing.assert_allclose(camera.project(np.array([camera.target]))[0, :2], [100, 60], atol=1e-9)
    assert (seen[:, 2] > 0).all()


def test_focal_length_is_the_35_mm_equivalent_and_roll_turns_anticlockwise():
    camera = Camera(position=(0, -1, 0), target=(0, 0, 0), focal_length=50, image_size=(240, 360))
    # 36 mm wide at 50 mm: half a picture's width is 0.36 m at 1 m.
    np.testing.assert_allclose(
        camera.project(np.array([[0.36, 0, 0], [0, 0, 0.24]]))[:, :2], [[360, 120], [180, 0]], atol=1e-6
    )
    rolled = dataclasses.replace(camera, roll=np.pi / 2)
    np.testing.assert_allclose(rolled.project(np.array([[0.1, 0, 0]]))[0, :2], [180, 70], atol=1e-6)


@pytest.mark.parametrize("fill", [0.5, 0.9, 1.4])
@pytest.mark.parametrize("elevation", [-0.2, 0.5, 1.5707])
def test_framing_puts_the_points_where_asked(fill, elevation):
    points = sphere((0.3, 0.2, 0.9), 0.8, rings=12).vertices * np.array([0.4, 0.3, 1.0])
    size = (150, 100)
    camera = frame_on(points, fill=fill, offset=(0.1, -0.05), rng=rng(), image_size=size, elevation=elevation)
    seen = camera.project(points)[:, :2]
    low, high = seen.min(axis=0), seen.max(axis=0)
    assert max((high - low) / (100, 150)) == pytest.approx(fill, rel=0.02)
    np.testing.assert_allclose((low + high) / 2, [60, 67.5], atol=2)


def test_framing_from_azimuth_zero_looks_at_the_front():
    camera = frame_on(sphere().vertices, fill=0.8, offset=(0, 0), rng=rng(), azimuth=0.0, elevation=0.0)
    assert camera.position[1] < -1
    assert abs(camera.position[0]) < 0.01
    camera = frame_on(sphere().vertices, fill=0.8, offset=(0, 0), rng=rng(), azimuth=np.pi / 2, elevation=0.0)
    assert camera.position[0] > 1


def test_sphere_is_hit_where_geometry_says():
    ball = sphere(rings=200)
    result = plain([ball])
    assert result.mesh[32, 32] == 0
    assert result.mesh[0, 0] == -1
    assert result.depth[32, 32] == pytest.approx(4.0, abs=1e-3)
    assert np.isinf(result.depth[0, 0])
    np.testing.assert_allclose(result.normal[32, 32], [0, -1, 0], atol=0.02)
    rows, columns = np.nonzero(result.mesh == 0)
    corners = ball.vertices[ball.triangles[result.triangle[rows, columns]]]
    u, v = result.barycentric[rows, columns].T
    points = np.einsum("nk,nkc->nc", np.stack([1 - u - v, u, v], 1), corners)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-3)
    seen = CENTRE_VIEW.project(points)
    np.testing.assert_allclose(seen[:, 0], columns + 0.5, atol=0.01)
    np.testing.assert_allclose(seen[:, 1], rows + 0.5, atol=0.01)
    np.testing.assert_allclose(seen[:, 2], result.depth[rows, columns], atol=1e-4)
    np.testing.assert_allclose(result.normal[rows, columns], points, atol=0.02)
    # The tangent cone of a unit ball at 5 m.
    assert len(rows) == pytest.approx(np.pi * (CENTRE_VIEW.focal_pixels / np.sqrt(24)) ** 2, rel=0.03)


def test_ids_name_the_nearest_of_several_meshes():
    empty = dataclasses.replace(wall(), triangles=np.zeros((0, 3), np.int32))
    result = plain([wall(1.0, 3.0), empty, sphere((0.6, 0, 0), 0.3), wall(0.5, 0.3)])
    right = CENTRE_VIEW.project(np.array([[0.6, -0.3, 0]]))[0]
    assert result.mesh[32, int(right[0])] == 2
    assert result.mesh[32, 32] == 3
    assert result.mesh[5, 5] == 0
    assert set(np.unique(result.triangle[result.mesh == 3])) == {0, 1}


def test_a_matte_wall_has_the_radiance_of_its_albedo():
    result = plain([wall(albedo=(0.2, 0.4, 0.8))], [dataclasses.replace(HEAD_ON, intensity=0.5)])
    # A little gloss of right-angled light is on top.
    np.testing.assert_allclose(result.image[20, 32], [0.1, 0.2, 0.4], atol=0.006)
    lamp = Light(kind="area", position=(0, -2, 0), intensity=4.0)
    np.testing.assert_allclose(plain([wall()], [lamp]).image[32, 32], 0.5, atol=0.02)


def test_a_back_of_a_surface_is_lit_like_a_front():
    flipped = dataclasses.replace(wall(), triangles=wall().triangles[:, ::-1].copy(), normals=-wall().normals)
    np.testing.assert_allclose(plain([flipped]).image, plain([wall()]).image, atol=1e-5)


def test_a_shadow_falls_where_geometry_says():
    # A square 1 m above the floor, the sun at 45 degrees from +x: its shadow is moved 1 m towards -x.
    lid = floor(1.0, 0.5)
    above = Camera(position=(0, 0, 9), target=(0, 0, 0), up=(0, 1, 0), image_size=(101, 101), focal_length=35)
    result = plain([floor(), lid], [Light(kind="sun", direction=(1.0, 0.0, 1.0))], above)
    spots = np.array([[-0.7, 0.0, 0], [-1.4, 0.3, 0], [-1.6, 0.0, 0], [0.7, 0.0, 0], [-1.0, 0.7, 0]])
    x, y = above.project(spots)[:, :2].astype(int).T
    brightness = result.image[y, x, 0]
    assert (brightness[:2] < 0.01).all(), brightness
    assert (brightness[2:] > 0.3).all(), brightness


def test_a_soft_light_has_a_penumbra():
    above = Camera(position=(0, 0, 9), target=(0, 0, 0), up=(0, 1, 0), image_size=(101, 101), focal_length=35)
    shares = []
    for softness in (0.0, 0.3):
        light = Light(kind="sun", direction=(1.0, 0.0, 1.0), softness=softness)
        image = plain([floor(), floor(1.0, 0.5)], [light], above).image[:, :, 0]
        shares.append(float(((image > 0.05) & (image < 0.28)).mean()))
    assert shares[1] > 2 * shares[0] + 0.005
    points = np.zeros((4000, 3), np.float32)
    for kind, spread in (("sun", 0.3), ("area", 0.1)):
        lamp = Light(kind=kind, direction=(0, 0, 1), position=(0, 0, 3), softness=0.3)
        ways = lamp.towards(points, rng())[0]
        np.testing.assert_allclose(np.linalg.norm(ways, axis=1), 1, atol=1e-5)
        # Evenly in a ball: each coordinate has a variance of a fifth of the square of the radius.
        assert ways[:, 0].std() == pytest.approx(spread / 5**0.5, rel=0.1)
        np.testing.assert_array_equal(lamp.towards(points)[0], np.tile([0, 0, 1], (4000, 1)))


def test_ambient_light_is_less_in_a_corner():
    sky = Light(kind="sky", direction=(0, 0, 1))
    result = plain([floor(-1.0), wall(1.0, 3.0)], [sky], ambient_rays=8)
    line = result.image[:, 32, 0]
    foot = int(CENTRE_VIEW.project(np.array([[0, 1.0, -1.0]]))[0, 1])
    assert line[foot - 1] < 0.9 * line[foot - 12]
    assert line[foot] < 0.9 * line[foot + 8]


def test_a_floor_throws_its_colour_up():
    sky = Light(kind="sky", colour=(0, 0, 1), ground=(1, 0, 0))
    image = plain([sphere()], [sky]).image
    top, bottom = image[20, 32], image[44, 32]
    assert top[2] > 2 * top[0]
    assert bottom[0] > 2 * bottom[2]


def test_framing_looks_from_all_around():
    eyes = np.array(
        [
            frame_on(sphere().vertices, fill=0.8, offset=(0, 0), rng=np.random.default_rng(seed)).position
            for seed in range(40)
        ]
    )
    assert (eyes[:, :2].min(axis=0) < -2).all()
    assert (eyes[:, :2].max(axis=0) > 2).all()


def test_a_half_clear_layer_composites_and_reports_what_lies_behind():
    veil = wall(-1.0, 0.4, opacity=0.25, kind="cloth", albedo=(1.0, 0.0, 0.0))
    back = wall(0.0, 0.8, albedo=(0.0, 0.0, 1.0))
    both = plain([veil, back], background=np.full((65, 65, 3), 0.5, np.float32))
    front = plain([dataclasses.replace(veil, opacity=np.ones(4, np.float32))]).image[32, 32]
    light = 0.75  # what the veil lets past to the wall behind, straight from the front
    behind = plain([back]).image[32, 32]
    np.testing.assert_allclose(both.image[32, 32], 0.25 * front + 0.75 * light * behind, atol=1e-3)
    assert (both.mesh[32, 32], both.under_mesh[32, 32]) == (0, 1)
    assert both.coverage[32, 32] == pytest.approx(0.25)
    assert both.depth[32, 32] == pytest.approx(4, abs=1e-3)
    assert both.under_depth[32, 32] == pytest.approx(5, abs=1e-3)
    # Beside the veil: one solid layer. Nothing behind: the background shines through.
    row = int(CENTRE_VIEW.project(np.array([[0, 0, 0.7]]))[0, 1])
    assert (both.mesh[row, 32], both.under_mesh[row, 32], both.coverage[row, 32]) == (1, -1, 1)
    alone = plain([veil], background=np.full((65, 65, 3), 0.5, np.float32))
    np.testing.assert_allclose(alone.image[32, 32], 0.25 * front + 0.375, atol=1e-3)
    assert alone.coverage[32, 32] == pytest.approx(0.25)
    assert alone.coverage[0, 0] == 0


def test_two_half_clear_layers_add_up():
    veils = [wall(y, 0.4, opacity=0.5, albedo=(0, 0, 0)) for y in (-1.0, -0.5)]
    result = plain([*veils, wall(0.0, 0.8)])
    assert result.coverage[32, 32] == pytest.approx(0.75)
    assert (result.mesh[32, 32], result.under_mesh[32, 32]) == (0, 2)
    lone = plain(veils)
    assert lone.coverage[32, 32] == pytest.approx(0.75)
    assert (lone.mesh[32, 32], lone.under_mesh[32, 32]) == (0, -1)


def test_a_clear_surface_is_not_reported():
    result = plain([wall(-1.0, 0.4, opacity=0.0), wall(0.0, 0.8)])
    assert (result.mesh[32, 32], result.under_mesh[32, 32]) == (1, -1)
    np.testing.assert_allclose(result.image[32, 32], plain([wall(0.0, 0.8)]).image[32, 32], atol=1e-5)


def test_skin_reddens_at_the_terminator():
    side = Light(kind="sun", direction=(1.0, 0.0, 0.0))
    skin = plain([sphere(kind="body", albedo=(0.5, 0.5, 0.5))], [side]).image[32, 30]
    stone = plain([sphere(albedo=(0.5, 0.5, 0.5))], [side]).image[32, 30]
    assert skin[0] > 1.5 * skin[2]
    assert stone[0] == pytest.approx(stone[2])


def test_edges_are_smoothed_between_what_meets_there():
    white = np.ones((65, 65, 3), np.float32)
    slanted = dataclasses.replace(CENTRE_VIEW, roll=0.2)
    hard = plain([wall(half=0.7, albedo=(0, 0, 0))], [], slanted, background=white)
    smooth = plain([wall(half=0.7, albedo=(0, 0, 0))], [], slanted, background=white, smooth_edges=True)
    assert set(np.unique(hard.image)) == {0, 1}
    assert len(np.unique(smooth.image)) > 2
    assert smooth.image.min() >= 0
    assert smooth.image.max() <= 1
    assert smooth.image.mean() == pytest.approx(hard.image.mean(), abs=0.01)
    np.testing.assert_array_equal(hard.mesh, smooth.mesh)
    # A gap between two walls that no pixel's centre sees: the background still shows through it.
    sides = [np.array([[-1.0, 0], [0.005, 0]]), np.array([[0.02, 0], [1.0, 0]])]
    leaves = []
    for (left, _), (right, _) in sides:
        leaf = wall(albedo=(0, 0, 0))
        x = np.where(leaf.vertices[:, :1] < 0, left, right)
        leaves.append(dataclasses.replace(leaf, vertices=np.hstack([x, leaf.vertices[:, 1:]]).astype(np.float32)))
    gap = plain(leaves, [], background=white, smooth_edges=True)
    assert (gap.mesh[25:40, 31:34] >= 0).all()
    assert 0.05 < gap.image[25:40, 32, 0].mean() < 0.6
    # Thinner than a pixel: samples that pass beside it show the background though no neighbour does.
    thin = wall(half=0.7, albedo=(0, 0, 0))
    thin = dataclasses.replace(thin, vertices=thin.vertices * np.array([0.012, 1, 1], np.float32))
    column = plain([thin], [], background=white, smooth_edges=True).image[25:40, 32, 0]
    assert 0.3 < column.mean() < 0.75


def test_the_same_seed_gives_the_same_picture():
    def once(seed):
        draw = np.random.default_rng(seed)
        camera = frame_on(sphere().vertices, fill=0.8, offset=(0, 0), rng=draw, image_size=(48, 48))
        meshes = [sphere(kind="body"), floor(-1.0), sphere((0.5, -1, 0), 0.3, opacity=0.5)]
        return render(meshes, camera, sample_lights(draw, camera), background=None, rng=draw)

    first, second, other = once(1), once(1), once(2)
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))
    assert (first.image != other.image).any()
    assert np.isfinite(first.image).all()
    assert first.image.min() >= 0


def test_sampled_lights_are_of_every_kind_and_light_the_scene():
    kinds, means = set(), []
    for seed in range(40):
        lights = sample_lights(np.random.default_rng(seed), CENTRE_VIEW)
        kinds |= {light.kind for light in lights}
        means.append(plain([sphere(radius=0.5)], lights).image.max())
    assert kinds == {"sky", "sun", "area", "flash"}
    assert min(means) > 0.1
    assert max(means) < 6


def test_nothing_to_render_is_the_background():
    picture = np.full((65, 65, 3), 0.3, np.float32)
    for meshes in ([], [dataclasses.replace(wall(), triangles=np.zeros((0, 3), np.int32))], [wall(-9.0)]):
        result = plain(meshes, background=picture)
        np.testing.assert_array_equal(result.image, picture)
        assert (result.mesh == -1).all()
        assert (result.triangle == -1).all()


def test_wrong_calls_say_what_must_hold():
    with pytest.raises(UsageError, match=r"background must be \(65, 65, 3\)"):
        plain([wall()], background=np.zeros((3, 3, 3), np.float32))
    with pytest.raises(UsageError, match="at least one triangle"):
        Scene([])
    with pytest.raises(UsageError, match="one of area, flash, sky, sun"):
        Light(kind="lamp")
    with pytest.raises(UsageError, match="not be negative"):
        Light(kind="sun", intensity=-1)
    with pytest.raises(UsageError, match="up must not lie along"):
        Camera(position=(0, 0, 1), target=(0, 0, 0))
    with pytest.raises(UsageError, match="must be positive"):
        Camera(position=(0, 1, 1), target=(0, 0, 0), focal_length=0)
    with pytest.raises(UsageError, match="two different points"):
        frame_on(np.zeros((3, 3)), fill=1, offset=(0, 0), rng=rng())
