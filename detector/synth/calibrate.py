"""Learn from NudeNet's boxes which vertices belong to which part; run once: python -m detector.synth.calibrate."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from detector.atomic import write_atomic
from detector.boxes import box_iou
from detector.classes import CLASSES
from detector.models import load
from detector.paths import weights_dir
from detector.synth.body import BodyModel
from detector.synth.camera import Camera, frame_on
from detector.synth.develop import Development, develop
from detector.synth.labels import find_labels
from detector.synth.lights import sample_lights
from detector.synth.mesh import Mesh
from detector.synth.phenotype import Phenotype
from detector.synth.poses import on_ground, sample_pose
from detector.synth.regions import REGIONS_NAME
from detector.synth.render import Rendered, render
from detector.synth.skin_texture import dress_skin

__all__ = ["FRACTIONS", "Counts", "Plain", "choose_regions", "compare", "count_boxes", "plain_pictures"]

# Share of the class's 99.9th percentile that a vertex must exceed: those with the best mean IoU on fresh renders.
FRACTIONS: Mapping[str, float] = {
    "BELLY_EXPOSED": 0.70,
    "BUTTOCKS_EXPOSED": 0.62,
    "FEMALE_BREAST_EXPOSED": 0.70,
    "FEMALE_GENITALIA_EXPOSED": 0.62,
    "MALE_GENITALIA_EXPOSED": 0.62,
}
# Metres. Vertices in the plane of symmetry belong to neither breast.
_MIDDLE = 1e-3
_PERCENTILE = 99.9
# A vertex that was seen in fewer pictures than this share says nothing.
_SEEN_SHARE = 0.05
_SCORE = 0.25
_SIZE = 384


@dataclass(frozen=True, kw_only=True)
class Plain:
    """One plain render of one nude body.

    Attributes:
        picture: (H, W, 3) uint8.
        mesh: of the body.
        male: its sex.
        camera: that it was seen with.
        rendered: with the geometry.
    """

    picture: NDArray[np.uint8]
    mesh: Mesh
    male: bool
    camera: Camera
    rendered: Rendered


def plain_pictures(count: int, seed: int) -> Iterator[Plain]:
    """Yield renders of one body before a plain wall, from all sides, whole or from the thighs up, sexes in turn."""
    model = BodyModel.load()
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        while True:
            phenotype = Phenotype.sample(rng, local_names=model.local_names)
            if phenotype.male == bool(number % 2):
                break
        shaped = model.shape(phenotype)
        # Upright bodies: there the detector whose convention is learned is surest.
        while (pose := sample_pose(rng, model, shaped)).support != "stand":
            pass
        mesh = dress_skin(on_ground(model.pose(shaped, pose.rotations, pose.root)), model, phenotype, rng)
        points = mesh.vertices[np.unique(mesh.triangles)]
        if rng.random() < 0.5:
            torso = model.regions["torso"] | model.regions["upper_legs"]
            points = mesh.vertices[torso[model.source]]
        camera = frame_on(
            points,
            fill=float(rng.uniform(0.75, 1.0)),
            offset=(0.0, 0.0),
            rng=rng,
            image_size=(_SIZE, _SIZE),
            azimuth=float(rng.normal(np.pi * rng.integers(2), 0.8)),
            elevation=float(rng.normal(0, 0.15)),
        )
        wall = np.broadcast_to(rng.uniform(0.15, 0.6) * rng.uniform(0.9, 1.1, 3), (_SIZE, _SIZE, 3))
        rendered = render([mesh], camera, sample_lights(rng, camera), background=wall.astype(np.float32), rng=rng)
        picture, _ = develop(rendered.image, rng, Development(middle=0.5), rendered=rendered)
        yield Plain(picture=picture, mesh=mesh, male=phenotype.male, camera=camera, rendered=rendered)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How often each base vertex was seen, and lay in a box; by class.

    Attributes:
        seen: (V0,) by class: in how many pictures of bodies that have the part.
        inside: (V0,) by class: in how many of them it lay in a box of the class.
        pictures: how many pictures of such bodies there were, by class.
    """

    seen: Mapping[str, NDArray[np.int64]]
    inside: Mapping[str, NDArray[np.int64]]
    pictures: Mapping[str, int]


def count_boxes(pictures: Iterator[Plain], detector: Any) -> Counts:
    """Look at plain pictures and count.

    Args:
        pictures: as from `plain_pictures`.
        detector: what draws the boxes whose convention is learned.
    """
    source = BodyModel.load().source
    count = int(source.max()) + 1
    count = max(count, len(BodyModel.load().regions["body"]))
    seen = {name: np.zeros(count, np.int64) for name in FRACTIONS}
    inside = {name: np.zeros(count, np.int64) for name in FRACTIONS}
    number = dict.fromkeys(FRACTIONS, 0)
    for plain in pictures:
        hit = plain.rendered.triangle[plain.rendered.mesh == 0]
        used = np.unique(plain.mesh.triangles[np.unique(hit)])
        places = plain.camera.project(plain.mesh.vertices[used])[:, :2]
        found = detector.detect(plain.picture, score_thresh=_SCORE)
        for name in FRACTIONS:
            if name.startswith("FEMALE" if plain.male else "MALE"):
                continue
            boxes = found.boxes[found.labels == CLASSES.index(name)]
            low = (places[:, None] >= boxes[None, :, :2]).all(axis=2)
            within = (low & (places[:, None] <= boxes[None, :, 2:]).all(axis=2)).any(axis=1)
            seen[name][np.unique(source[used])] += 1
            inside[name][np.unique(source[used[within]])] += 1
            number[name] += 1
    return Counts(seen=seen, inside=inside, pictures=number)


def _mirror() -> NDArray[np.intp]:
    """Return (V0,) the vertex on the other side of the body."""
    model = BodyModel.load()
    rest = np.full((len(model.regions["body"]), 3), 9.0, dtype=np.float32)
    rest[model.source] = model.rest
    flipped = rest * np.array([-1, 1, 1], dtype=np.float32)
    nearest = [
        np.argmin(((part[:, None] - rest[None]) ** 2).sum(axis=2), axis=1)
        for part in np.split(flipped, range(256, len(rest), 256))
    ]
    return np.concatenate(nearest)


def choose_regions(counts: Counts, fractions: Mapping[str, float] = FRACTIONS) -> dict[str, NDArray[np.bool_]]:
    """Return (V0,) bool by region: vertices whose share of boxes exceeds the class's fraction of the 99.9th percentile.

    Both sides of the body count together, so regions are as symmetric as the mesh.
    """
    model, mirror = BodyModel.load(), _mirror()
    side = np.zeros(len(mirror), dtype=np.float32)
    side[model.source] = model.rest[:, 0]
    body, male = model.regions["body"], model.regions["male_anatomy"]
    chosen: dict[str, NDArray[np.bool_]] = {}
    for name, fraction in fractions.items():
        seen = counts.seen[name] + counts.seen[name][mirror]
        inside = counts.inside[name] + counts.inside[name][mirror]
        known = (seen >= 2 * _SEEN_SHARE * counts.pictures[name]) & (body | male)
        share = np.where(known, inside / np.maximum(seen, 1), 0.0)
        chosen[name] = share > fraction * np.percentile(share[known], _PERCENTILE)
    breast = chosen["FEMALE_BREAST_EXPOSED"]
    return {
        "belly": chosen["BELLY_EXPOSED"] & body,
        "buttocks": chosen["BUTTOCKS_EXPOSED"] & body,
        "breast_left": breast & body & (side > _MIDDLE),
        "breast_right": breast & body & (side < -_MIDDLE),
        "female_genitalia": chosen["FEMALE_GENITALIA_EXPOSED"] & body,
        # Seldom seen vertices between the others belong to it too: nothing else is there.
        "male_genitalia": chosen["MALE_GENITALIA_EXPOSED"] | male,
    }


def compare(pictures: Iterator[Plain], detector: Any) -> dict[str, dict[str, float]]:
    """Return for each class how many boxes we and the detector draw, and how well those that meet agree."""
    figures = {name: {"ours": 0, "theirs": 0, "met": 0, "iou": 0.0} for name in CLASSES}
    for plain in pictures:
        labels = find_labels(plain.rendered, [plain.mesh], {0: plain.male}, plain.camera)
        found = detector.detect(plain.picture, score_thresh=_SCORE)
        for number, name in enumerate(CLASSES):
            # It takes many a mannequin for one of the other sex: that says nothing about where boxes end.
            if name.startswith("FEMALE" if plain.male else "MALE"):
                continue
            ours = np.array([label.box for label in labels if label.class_name == name]).reshape(-1, 4)
            theirs = found.boxes[found.labels == number]
            row = figures[name]
            row["ours"] += sum(label.class_name == name and not label.ignore for label in labels)
            row["theirs"] += len(theirs)
            if len(ours) and len(theirs):
                best = box_iou(theirs, ours.astype(np.float32)).max(axis=1)
                row["met"] += int((best > 0.1).sum())
                row["iou"] += float(best[best > 0.1].sum())
    for row in figures.values():
        row["iou"] = row["iou"] / max(row["met"], 1)
    return figures


@click.command()
@click.option("--count", default=300, show_default=True, help="Plain pictures to learn from.")
@click.option("--fresh", default=120, show_default=True, help="Plain pictures to judge by.")
@click.option("--seed", default=1, show_default=True)
def main(count: int, fresh: int, seed: int) -> None:
    """Write `weights/body_regions.json`, and print how well our boxes then agree with NudeNet's."""
    detector = load("nudenet-320n")
    regions = choose_regions(count_boxes(plain_pictures(count, seed), detector))
    table = {
        "vertices": len(next(iter(regions.values()))),
        "provenance": {
            "made_by": "python -m detector.synth.calibrate",
            "boxes_of": "nudenet-320n",
            "pictures": count,
            "seed": seed,
            "fractions": dict(FRACTIONS),
        },
        "regions": {name: np.flatnonzero(region).tolist() for name, region in regions.items()},
    }
    write_atomic(Path(weights_dir()) / REGIONS_NAME, (json.dumps(table) + "\n").encode())
    click.echo({name: int(region.sum()) for name, region in regions.items()})
    for name, row in compare(plain_pictures(fresh, seed + 1_000_000), detector).items():
        met = f"{row['met']} of NudeNet's {row['theirs']} boxes"
        click.echo(f"{name:26} mean IoU {row['iou']:.3f} over {met}; ours {row['ours']}")


if __name__ == "__main__":
    main()
