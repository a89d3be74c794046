from dataclasses import dataclass, field
from pathlib import Path

import pytest

from detector.config import from_table, read_toml
from detector.errors import PolicyError


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int = 3


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    rate: float = 0.5
    flag: bool = False
    words: tuple[str, ...] = ()
    pair: tuple[int, int] = (1, 2)
    limits: dict[str, float] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    maybe: float | None = None


def test_every_kind_of_value() -> None:
    table = {
        "name": "n",
        "rate": 1,
        "flag": True,
        "words": ["a", "b"],
        "pair": [3, 4],
        "limits": {"x": 1},
        "inner": {"size": 4},
        "maybe": 2,
    }
    made = from_table(Outer, table, "t")
    assert made == Outer(
        name="n", rate=1.0, flag=True, words=("a", "b"), pair=(3, 4), limits={"x": 1.0}, inner=Inner(size=4), maybe=2.0
    )
    assert isinstance(made.rate, float)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": "n", "rat": 1}, r"t: a key must be one of name, .*; got 'rat'; the nearest is rate$"),
        ({}, r"t: the key 'name' must be given; it is missing"),
        ({"name": 3}, r"t: name must be of type str; got 3"),
        ({"name": "n", "rate": True}, r"t: rate must be of type float; got True"),
        ({"name": "n", "rate": "0.5"}, r"t: rate must be of type float; got '0.5'"),
        ({"name": "n", "flag": 1}, r"t: flag must be of type bool; got 1"),
        ({"name": "n", "pair": [1]}, r"t: pair must hold 2 values; got \[1\]"),
        ({"name": "n", "words": "ab"}, r"t: words must be of type"),
        ({"name": "n", "limits": {"x": "y"}}, r"t: limits.x must be of type float"),
        ({"name": "n", "inner": {"sise": 1}}, r"t: inner: .*got 'sise'; the nearest is size"),
        ({"name": "n", "inner": 3}, r"t: inner must be a table; got 3"),
    ],
)
def test_what_is_not_understood_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        from_table(Outer, table, "t")


def test_files_that_are_no_toml(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"must be readable; .*nowhere.toml is not"):
        read_toml(tmp_path / "nowhere.toml")
    broken = tmp_path / "broken.toml"
    broken.write_bytes(b"a = [\xff")
    with pytest.raises(PolicyError, match=r"must be TOML; .*broken.toml is not"):
        read_toml(broken)
