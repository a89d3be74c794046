"""What a mannequin looks like, in numbers; only adults can be said."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError

__all__ = ["ADULT_AGE", "ADULT_WORDS", "Phenotype", "macro_weights"]

# On anny's scale: 2/3 is a young adult, 1 is old; 1/3 and less are children, for whom no blend shape is stored.
ADULT_AGE = 2 / 3
# Part of anny's range of heights, which for adults runs from below 1.20 m to 2.45 m: the shortest body is then 1.46 m,
# so that no combination of the other parameters comes below `MIN_HEIGHT`.
_LOWEST, _HIGHEST = 0.32, 0.56
_RANGES = ("sex", "muscle", "weight", "height", "proportions", "cup_size", "firmness")
# Every word that the name of a stored blend shape may hold.
ADULT_WORDS = frozenset(
    (
        *("female", "male", "young", "old", "minheight", "maxheight", "idealproportions", "uncommonproportions"),
        *("minmuscle", "averagemuscle", "maxmuscle", "minweight", "averageweight", "maxweight"),
        *("mincup", "averagecup", "maxcup", "minfirmness", "averagefirmness", "maxfirmness"),
        *("african", "asian", "caucasian"),
    )
)
# How `sample` draws. Most bodies are clearly of one sex; some are between.
_BETWEEN_SHARE, _BETWEEN_WIDTH = 0.15, 0.35
_YOUNG_SHARE = 0.35
_LOCAL_SHARE, _LOCAL_SPREAD = 0.35, 0.4
# Local changes that go with the weight of a body, and how far they follow it.
_WITH_WEIGHT = ("fat", "stomach-pregnant", "buttocks-volume", "waist-circ", "hips-circ", "neck-double")
_FOLLOW = 0.8
_LONGEST = 0.3
# Gaunt, and slight, bodies are left out of what is drawn: they tell a detector little, and could pass for younger.
_LEANEST, _SMALLEST_CUP = 0.12, 0.15


@dataclass(frozen=True, kw_only=True)
class Phenotype:
    """An adult body.

    Attributes:
        sex: 0 female to 1 male; from 0.5 on the body has male external anatomy.
        age: 2/3 young adult to 1 old. Less is refused.
        muscle: 0 to 1.
        weight: 0 thin to 1 heavy.
        height: 0 short to 1 tall, within adult heights.
        proportions: 0 ideal to 1 uncommon.
        cup_size: 0 to 1; acts in proportion to how female the body is.
        firmness: 0 to 1, likewise.
        ancestry: weights of African, Asian and Caucasian features, not negative; only their ratio counts.
        local: local changes by name (`BodyModel.local_names`), each from -1 to 1.
    """

    sex: float = 0.0
    age: float = 0.75
    muscle: float = 0.5
    weight: float = 0.5
    height: float = 0.5
    proportions: float = 0.5
    cup_size: float = 0.5
    firmness: float = 0.5
    ancestry: tuple[float, float, float] = (1.0, 1.0, 1.0)
    local: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is not an adult, and what lies outside the ranges.

        Raises:
            UsageError: adults only; every number finite and in its range.
        """
        # Written so that NaN is refused too.
        if not ADULT_AGE <= self.age <= 1:
            raise UsageError(
                f"mannequins are adults only: age must be from 2/3 (young adult) to 1 (old); got {self.age}; "
                "there is no younger body"
            )
        for name in _RANGES:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be from 0 to 1; got {getattr(self, name)}; give a number in that range")
        mixture = self.ancestry
        if len(mixture) != 3 or not all(0 <= part < math.inf for part in mixture) or not sum(mixture) > 0:
            raise UsageError(f"ancestry must be three weights, not negative and not all 0; got {mixture}")
        for name, value in self.local.items():
            if not -1 <= value <= 1:
                raise UsageError(f"the local change {name} must be from -1 to 1; got {value}")
        object.__setattr__(self, "local", MappingProxyType(dict(self.local)))

    def __reduce__(self) -> tuple[object, tuple[dict[str, object]]]:
        """Travel to worker processes: a read-only mapping cannot on its own."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return _rebuild, (values | {"local": dict(self.local)},)

    @property
    def male(self) -> bool:
        """Whether the body has male external anatomy."""
        return self.sex >= 0.5

    @classmethod
    def sample(cls, rng: np.random.Generator, *, local_names: Sequence[str] = ()) -> "Phenotype":
        """Draw an adult: both sexes, all ages of adulthood, all builds.

        Args:
            rng: the only source of chance.
            local_names: local changes to draw from, as `BodyModel.local_names`; about a third of them is drawn, mostly
                small; none when empty.
        """
        between = rng.random() < _BETWEEN_SHARE
        away = rng.uniform(0, _BETWEEN_WIDTH) if between else 0.0
        sex = abs(float(rng.integers(2)) - away)
        age = ADULT_AGE if rng.random() < _YOUNG_SHARE else rng.uniform(ADULT_AGE, 1)
        weight = _LEANEST + (1 - _LEANEST) * float(rng.beta(1.2, 1.2))
        mixture = rng.dirichlet([0.6, 0.6, 0.6])
        local = {}
        for name in local_names:
            chosen, value = rng.random() < _LOCAL_SHARE, rng.normal(0, _LOCAL_SPREAD)
            if any(word in name for word in _WITH_WEIGHT):
                value += _FOLLOW * (weight - 0.5)
            if chosen:
                local[name] = float(np.clip(value, -1, _LONGEST if name == "penis-length" else 1))
        return cls(
            sex=sex,
            age=float(min(age, 1.0)),
            muscle=_LEANEST + (1 - _LEANEST) * float(rng.beta(1.5, 1.5)),
            weight=weight,
            height=float(rng.beta(1.6, 2.4)),
            proportions=float(rng.uniform(0, 1)),
            cup_size=float(rng.uniform(_SMALLEST_CUP, 1)),
            firmness=float(rng.uniform(0, 1)),
            ancestry=(float(mixture[0]), float(mixture[1]), float(mixture[2])),
            local=local,
        )


def _rebuild(values: dict[str, Any]) -> Phenotype:
    """Make a phenotype from its fields by name; checked again on arrival."""
    return Phenotype(**values)


def _low_middle_high(value: float) -> tuple[float, float, float]:
    return max(0.0, 1 - 2 * value), 1 - abs(2 * value - 1), max(0.0, 2 * value - 1)


def _word_weights(body: Phenotype) -> dict[str, float]:
    old = min(max((body.age - ADULT_AGE) / (1 - ADULT_AGE), 0.0), 1.0)
    words = {"female": 1 - body.sex, "male": body.sex, "young": 1 - old, "old": old}
    tall = _LOWEST + (_HIGHEST - _LOWEST) * body.height
    words |= {"minheight": 1 - tall, "maxheight": tall}
    words |= {"idealproportions": 1 - body.proportions, "uncommonproportions": body.proportions}
    graded = {"muscle": body.muscle, "weight": body.weight, "cup": body.cup_size, "firmness": body.firmness}
    for name, value in graded.items():
        words |= dict(zip((f"min{name}", f"average{name}", f"max{name}"), _low_middle_high(value), strict=True))
    total = sum(body.ancestry)
    for name, part in zip(("african", "asian", "caucasian"), body.ancestry, strict=True):
        words[name] = part / total
    return words


def macro_weights(body: Phenotype, names: Sequence[str]) -> NDArray[np.float64]:
    """Return (K,) weights in [0, 1] of the blend shapes with these names.

    A name is words joined by `-`, and its weight is the product of theirs: linear between the two or three ends of
    each parameter, so nothing outside the adult ends can be reached. Of the range of heights the middle is used.

    Source:
        `phenotype_blendshape_weights` of anny 0.6.2 (Brégier et al., Human Mesh Modeling for Anny Body,
        arXiv:2511.03589), which holds MakeHuman's rule; here without the three younger ages.
    """
    words = _word_weights(body)
    return np.array([math.prod(words[word] for word in name.split("-")) for name in names])
