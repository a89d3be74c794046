"""Jewellery lies on the skin, closed and facing outwards, wherever the pose takes the limb."""

import numpy as np
import pytest

pytest.importorskip("embreex", reason="rendering needs the extra [synth]")

from detector.synth.body import BodyModel
from detector.synth.jewellery import AROUND, RINGS, ring_around, sample_jewellery
from detector.synth.phenotype import Phenotype
from detector.synth.poses import make_pose


@pytest.fixture(scope="module")
def posed() -> tuple:
    body = BodyModel.load()
    shaped = body.shape(Phenotype(sex=0.2, age=0.8))
    pose = make_pose("hands on hips", body, shaped)
    return body, body.pose(shaped, pose.rotations)


@pytest.mark.parametrize("name", list(RINGS))
def test_a_ring_goes_around_its_limb(posed: tuple, name: str) -> None:
    body, mesh = posed
    region, _, (low, high) = RINGS[name]
    ring = ring_around(body, mesh, name, (low + high) / 2, 0.006)
    skin = mesh.vertices[np.flatnonzero(body.regions[region][body.source])]
    centre = ring.vertices.mean(axis=0)
    # Around it, not beside it: there is skin near the centre's plane, and the ring is as wide as a limb.
    assert np.linalg.norm(skin - centre, axis=1).min() < 0.07
    assert 0.04 < np.ptp(ring.vertices, axis=0).max() < 0.25
    # Each point of the ring is on the skin or a little off it.
    off = np.linalg.norm(ring.vertices[:, None] - skin[None], axis=2).min(axis=1)
    assert off.max() < 0.035
    corners = ring.vertices[ring.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # Seen from the middle of the tube at its place on the ring, every triangle faces away.
    grid = ring.vertices.reshape(-1, AROUND, 3)
    tube = grid[:-1].mean(axis=0)
    middle = corners.mean(axis=1)
    nearest = tube[np.linalg.norm(middle[:, None] - tube[None], axis=2).argmin(axis=1)]
    assert (np.einsum("ij,ij->i", normals, middle - nearest) > 0).mean() > 0.98


def test_bracelets_are_at_the_hand_and_anklets_at_the_foot(posed: tuple) -> None:
    body, mesh = posed
    hand = mesh.vertices[np.flatnonzero(body.regions["hands_left"][body.source])].mean(axis=0)
    elbow = mesh.vertices[np.flatnonzero(body.regions["upper_arms_left"][body.source])].mean(axis=0)
    place = ring_around(body, mesh, "bracelet left", 0.1, 0.006).vertices.mean(axis=0)
    assert np.linalg.norm(place - hand) < np.linalg.norm(place - elbow)
    foot = ring_around(body, mesh, "anklet right", 0.1, 0.006).vertices[:, 2].mean()
    assert foot < 0.25


def test_the_same_draw_gives_the_same_pieces(posed: tuple) -> None:
    body, mesh = posed
    for seed in range(6):
        one, two = (sample_jewellery(np.random.default_rng(seed), body, mesh) for _ in range(2))
        assert 1 <= len(one) <= 4
        for a, b in zip(one, two, strict=True):
            assert np.array_equal(a.vertices, b.vertices)
            assert a.kind == "object"
            assert np.isfinite(a.vertices).all()
