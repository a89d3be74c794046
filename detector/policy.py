"""A named, versioned policy: what counts as found, and what is said about a picture.

The same file also says what is hidden and how; that part (`[hide]`) is read by `censor.policy`, which knows styles.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detector.classes import NSFW_CLASSES, canonical_classes, canonical_keys
from detector.config import from_table, read_toml
from detector.errors import PolicyError, UsageError
from detector.fusion import FusionModel
from detector.nearest import nearest
from detector.paths import configs_dir

__all__ = ["DetectRules", "Policy", "VerdictRules", "list_policies", "load_policy", "policy_path", "read_policy_file"]

# What a second opinion between `safe_below` and `nsfw_above` means when the detector found nothing.
UNSURE_MEANS = ("safe", "review")
# What a person's decision about a near copy is worth: see `detector.known`.
KNOWN_MEANS = ("note", "trust")


@dataclass(frozen=True, kw_only=True)
class DetectRules:
    """What counts as found.

    Attributes:
        score_thresh: lowest score that counts, for classes not named in `score_thresh_by_class`.
        score_thresh_by_class: the same for single classes; any spelling of a class name.
        tiles: look at large pictures and group photos in overlapping tiles too: slower, finds small parts.
    """

    score_thresh: float = 0.25
    score_thresh_by_class: dict[str, float] = field(default_factory=dict)
    tiles: bool = False

    def __post_init__(self) -> None:
        try:
            by_class = canonical_keys(self.score_thresh_by_class)
        except UsageError as error:
            raise PolicyError(str(error)) from error
        for name, value in {"score_thresh": self.score_thresh, **by_class}.items():
            if not 0 < value <= 1:
                raise PolicyError(f"{name}: a score threshold must lie in (0, 1]; got {value}")
        object.__setattr__(self, "score_thresh_by_class", by_class)

    def thresholds(self, classes: tuple[str, ...]) -> dict[str, float]:
        """Return the threshold of each of these classes."""
        return {name: self.score_thresh_by_class.get(name, self.score_thresh) for name in classes}


@dataclass(frozen=True, kw_only=True)
class VerdictRules:
    """What is said about a picture.

    Attributes:
        nsfw_classes: a picture with one of these is nsfw; the score of the verdict is the highest of theirs.
        second_opinion: whether the whole-picture classifier is asked too.
        safe_below: a second opinion under this says safe.
        nsfw_above: a second opinion over this says nsfw; between the two it is unsure.
        unsure: `safe` or `review`: the verdict when the detector found nothing and the second opinion is unsure.
        known: `note` or `trust`: whether a picture that is a near copy of a known one (`--known`) is looked at all the
            same, and may become nsfw by it but not safe; or takes the decision over without a look. A perceptual hash
            can be forged: `trust` only where nobody else puts pictures in.
    """

    nsfw_classes: tuple[str, ...] = NSFW_CLASSES
    second_opinion: bool = True
    safe_below: float = 0.2
    nsfw_above: float = 0.8
    unsure: str = "safe"
    known: str = "note"

    def __post_init__(self) -> None:
        object.__setattr__(self, "nsfw_classes", _policy_classes(self.nsfw_classes))
        if not self.nsfw_classes:
            raise PolicyError("nsfw_classes must name at least one class; without one every picture would be safe")
        if not 0 <= self.safe_below <= self.nsfw_above <= 1:
            raise PolicyError(
                f"0 <= safe_below <= nsfw_above <= 1 must hold; got {self.safe_below} and {self.nsfw_above}"
            )
        if self.unsure not in UNSURE_MEANS:
            raise PolicyError(f"unsure must be one of {', '.join(UNSURE_MEANS)}; got {self.unsure!r}")
        if self.known not in KNOWN_MEANS:
            raise PolicyError(f"known must be one of {', '.join(KNOWN_MEANS)}; got {self.known!r}")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What counts as found and what is said about it, under a name and a version that every result carries.

    `fusion` is the fitted model that `detector fit-fusion` writes; without one the rule table of `detector.verdict`
    decides. It stands in the same file as the thresholds that its features depend on, so that they cannot part.

    Raises:
        PolicyError: when the fusion was fitted for other classes, for lower thresholds, or with a second opinion that
            this policy does not ask.
    """

    name: str
    version: int
    summary: str = ""
    detect: DetectRules = field(default_factory=DetectRules)
    verdict: VerdictRules = field(default_factory=VerdictRules)
    fusion: FusionModel | None = None

    def __post_init__(self) -> None:
        if self.fusion is not None:
            _check_fusion(self.fusion, self.detect, self.verdict)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that must be looked for, for a verdict."""
        return self.verdict.nsfw_classes if self.fusion is None else tuple(self.fusion.counted_from)

    @property
    def label(self) -> str:
        """`name@version`, as results carry it."""
        return f"{self.name}@{self.version}"


def _policy_classes(names: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return canonical_classes(names)
    except UsageError as error:
        raise PolicyError(str(error)) from error


def _check_fusion(fusion: FusionModel, detect: DetectRules, verdict: VerdictRules) -> None:
    if set(fusion.nsfw_classes) != set(verdict.nsfw_classes):
        raise PolicyError(
            f"nsfw_classes must be those of the policy's [fusion], {', '.join(fusion.nsfw_classes)}; got "
            f"{', '.join(verdict.nsfw_classes)}; fit it again"
        )
    thresholds = detect.thresholds(tuple(fusion.counted_from))
    for name, counted_from in fusion.counted_from.items():
        if thresholds[name] > counted_from:
            raise PolicyError(
                f"{name}: the threshold must not be higher than that of the policy's [fusion], {counted_from:g}, "
                f"which counts parts from there up; got {thresholds[name]:g}; fit it again"
            )
    if fusion.needs_opinion and not verdict.second_opinion:
        raise PolicyError("the second opinion must be asked: the policy's [fusion] was fitted with it")


def list_policies() -> list[str]:
    """Return the names of the policies that are installed, sorted."""
    return sorted(path.stem for path in (configs_dir() / "policies").glob("*.toml"))


def policy_path(name: str | Path) -> Path:
    """Return the file of a policy.

    Args:
        name: a policy that is installed, such as `default`, or the path of a TOML file (anything with a folder or
            the suffix `.toml` in it).

    Raises:
        PolicyError: when no policy of this name is installed, with the nearest named.
    """
    path = Path(name)
    if path.suffix == ".toml" or len(path.parts) != 1:
        return path
    known = list_policies()
    if str(name) not in known:
        raise PolicyError(
            f"a policy must be one of {', '.join(known)}, or a .toml file; got {str(name)!r}"
            + nearest(str(name), known)
        )
    return configs_dir() / "policies" / f"{name}.toml"


def read_policy_file(name: str | Path) -> tuple[dict[str, Any], str]:
    """Return the table of a policy, by name or path as for `policy_path`, and the place to name in messages.

    Raises:
        PolicyError: when there is no such policy, with the nearest named, or the file is not TOML.
    """
    path = policy_path(name)
    return read_toml(path), path.name


def load_policy(name: str | Path | Policy = "default") -> Policy:
    """Load a policy by name or path; a `Policy` is returned as it is.

    Raises:
        PolicyError: when it is not there, or says something that is not understood.
    """
    if isinstance(name, Policy):
        return name
    table, where = read_policy_file(name)
    return from_table(Policy, {key: value for key, value in table.items() if key != "hide"}, where)
