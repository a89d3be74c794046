"""Adults only: no parameter, no asset and no combination of them makes a younger body."""

import dataclasses
import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest

from detector.errors import ModelError, UsageError
from detector.paths import weights_dir
from detector.synth.asset import ASSET_NAME, ASSET_SHA256, pack_asset, read_asset
from detector.synth.body import MIN_HEIGHT, BodyModel
from detector.synth.phenotype import ADULT_AGE, Phenotype, macro_weights

WOMAN, MAN = Phenotype(sex=0, age=0.7, cup_size=0.7), Phenotype(sex=1, age=0.9)
YOUNGER = {"newborn", "baby", "child", "teen", "infant"}


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return BodyModel.load()


@pytest.mark.parametrize("age", [0.5, 0.0, -1.0, 1 / 3, 0.6666, 1.01, float("nan")])
def test_no_age_but_an_adults(age: float) -> None:
    with pytest.raises(UsageError, match=r"^mannequins are adults only: age must be from 2/3 .*; got .*$"):
        Phenotype(age=age)


def test_an_age_cannot_be_changed_afterwards() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MAN.age = 0.2  # type: ignore[misc]
    with pytest.raises(UsageError, match="adults only"):
        dataclasses.replace(MAN, age=0.2)


def test_every_stored_blend_shape_is_an_adults() -> None:
    asset = read_asset()
    assert len(asset.macro_names) == len(set(asset.macro_names)) == 336
    for name in asset.macro_names:
        words = set(name.split("-"))
        assert not words & YOUNGER
        assert len(words & {"young", "old"}) == 1
    assert not [name for name in asset.local_names if YOUNGER & set(name.split("-"))]
    assert "adult" in asset.provenance["ages"]
    assert "CC0-1.0" in asset.provenance["licence"]


def test_an_asset_with_a_younger_blend_shape_is_refused(tmp_path: Path) -> None:
    asset = read_asset()
    name = asset.macro_names[0].replace("young", "child")
    altered = dataclasses.replace(asset, macro_names=(name,), macro=asset.macro[:1], local=asset.local[:1])
    (tmp_path / "body.npz").write_bytes(pack_asset(altered))
    with pytest.raises(ModelError, match="every blend shape must be an adult's; 'female-child-"):
        read_asset(tmp_path / "body.npz")


def test_only_the_known_asset_is_rendered_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = read_asset()
    assert hashlib.sha256((weights_dir() / ASSET_NAME).read_bytes()).hexdigest() == ASSET_SHA256
    # The names of adults, but shapes of nobody knows whom.
    altered = dataclasses.replace(asset, macro=asset.macro[::-1][:2], macro_names=asset.macro_names[:2])
    (tmp_path / ASSET_NAME).write_bytes(pack_asset(altered))
    monkeypatch.setattr("detector.synth.asset.weights_dir", lambda: tmp_path)
    with pytest.raises(
        ModelError, match=r"adults only: the body asset must be the one with sha256 \w{64}; .* has \w{64}"
    ):
        read_asset()


@pytest.mark.parametrize(
    ("part", "factor", "message"),
    [
        (
            "head",
            (1.2, 1.2, 1.0),
            r"at least 9\.8 times as tall as its head is wide; this one would be [89]\.\d\d times",
        ),
        ("body", (1.0, 1.0, 0.8), r"at least 1\.400 m tall; this one would be 1\.\d{3} m"),
        ("body", (1.0, 1.0, float("nan")), r"at least 1\.400 m tall; this one would be nan m"),
        ("body", (1.0, 1.0, float("inf")), r"this one would be (nan|inf) m"),
        ("head", (float("nan"), 1.0, 1.0), r"this one would be nan times"),
    ],
)
def test_a_tampered_asset_makes_no_body_with_a_childs_measures(
    part: str, factor: tuple[float, float, float], message: str
) -> None:
    asset = read_asset()
    template = asset.template.copy()
    rows = np.flatnonzero(asset.regions[part])
    template[rows] *= np.array(factor, dtype=np.float32)
    with pytest.raises(UsageError, match=message), np.errstate(invalid="ignore"):
        BodyModel(dataclasses.replace(asset, template=template)).shape(WOMAN)


def test_no_corner_of_the_parameters_has_a_childs_head(model: BodyModel) -> None:
    # The local changes that widen a head or lower a body, all at their worst.
    local = {"forehead-nubian": -1.0, "head-scale-depth": -1.0, "ear-scale": -1.0, "ear-wing": 1.0}
    for sex, weight, proportions in itertools.product((0, 1), (0, 1), (0, 1)):
        model.shape(
            Phenotype(
                sex=sex,
                age=ADULT_AGE,
                weight=weight,
                proportions=proportions,
                height=0,
                muscle=0,
                ancestry=(0, 1, 0),
                local=local,
            )
        )


def test_the_face_cannot_be_made_younger() -> None:
    asset = read_asset()
    row = asset.local_names.index("head-age")
    assert asset.local[row, 0].any()
    assert not asset.local[row, 1].any()


def test_weights_stay_within_the_stored_shapes() -> None:
    names = read_asset().macro_names
    universal = [row for row, name in enumerate(names) if len(name.split("-")) == 4]
    rng = np.random.default_rng(1)
    for _ in range(50):
        weights = macro_weights(Phenotype.sample(rng), names)
        assert weights.min() >= 0
        assert weights.max() <= 1
        # Muscle and weight at their middles have shapes of their own, so these weights are a mean of adults.
        assert weights[universal].sum() == pytest.approx(1)


def test_the_shortest_corners_have_an_adults_height(model: BodyModel) -> None:
    ends = itertools.product((0, 1), (ADULT_AGE, 1), (0, 1), (0, 1), (0, 1), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    heights = []
    for sex, age, muscle, weight, proportions, ancestry in ends:
        body = Phenotype(
            sex=sex, age=age, muscle=muscle, weight=weight, proportions=proportions, ancestry=ancestry, height=0
        )
        heights.append(model.shape(body).height)
    assert min(heights) > 1.45


def test_a_body_below_an_adults_height_is_refused(monkeypatch: pytest.MonkeyPatch, model: BodyModel) -> None:
    monkeypatch.setattr("detector.synth.body.MIN_HEIGHT", 1.9)
    with pytest.raises(UsageError, match=r"at least 1\.900 m tall; this one would be 1\.\d{3} m"):
        model.shape(WOMAN)
    assert MIN_HEIGHT >= 1.40


def test_sampled_bodies_are_adults_of_both_sexes_and_every_build(model: BodyModel) -> None:
    rng = np.random.default_rng(7)
    bodies = [Phenotype.sample(rng, local_names=model.local_names) for _ in range(200)]
    heights = [model.shape(body).height for body in bodies[:60]]
    assert 1.45 < min(heights) < 1.60
    assert 1.8 < max(heights) < 2.05
    assert 60 < sum(body.male for body in bodies) < 140
    assert min(body.age for body in bodies) == ADULT_AGE
    assert max(body.age for body in bodies) > 0.98
    assert max(body.weight for body in bodies) - min(body.weight for body in bodies) > 0.8
