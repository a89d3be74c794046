import os
from pathlib import Path

import pytest

from censor.jobs import Job, plan_jobs
from detector.errors import UsageError


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg"):
        Path(name).touch()
    for name in ("out", "x", "y"):
        Path(name).mkdir()
    for name in ("x/a.jpg", "y/a.jpg", "y/A.JPG"):
        Path(name).touch()


@pytest.mark.parametrize(
    ("paths", "jobs"),
    [
        (["a.jpg", "c.jpg"], [("a.jpg", "c.jpg")]),
        (["a.jpg", "b.jpg"], [("a.jpg", "b.jpg")]),
        (["a.jpg", "out"], [("a.jpg", "out/a.jpg")]),
        (["a.jpg", "b.jpg", "out"], [("a.jpg", "out/a.jpg"), ("b.jpg", "out/b.jpg")]),
        (["a.jpg", "new/"], [("a.jpg", "new/a.jpg")]),
        (["-", "-"], [("-", "-")]),
        (["-", "c.jpg"], [("-", "c.jpg")]),
        (["a.jpg", "-"], [("a.jpg", "-")]),
        (["missing.jpg", "c.jpg"], [("missing.jpg", "c.jpg")]),
    ],
)
def test_plans(paths: list[str], jobs: list[tuple[str, str]]) -> None:
    assert plan_jobs(paths) == [Job(*job) for job in jobs]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "IN and OUT must be given; got 0 paths"),
        (["a.jpg"], "IN and OUT must be given; got 1 path$"),
        (["a.jpg", "b.jpg", "c.jpg"], "several pictures must go to a folder; c.jpg is none; end its name with /"),
        (["a.jpg", "b.jpg", "-"], "several pictures must go to a folder"),
        (["x", "out"], "a folder must be the only IN, and OUT a folder too; got x"),
        (["a.jpg", "a.jpg"], "OUT must be another file than IN; both are a.jpg; --in-place replaces it"),
        (["a.jpg", "./a.jpg"], "OUT must be another file than IN"),
        (["x/a.jpg", "x"], "OUT must be another file than IN"),
        (["x/a.jpg", "y/a.jpg", "out"], "x/a.jpg and y/a.jpg would both become out/a.jpg"),
        (["x/a.jpg", "y/A.JPG", "out"], "would both become"),
        (["-", "out"], "standard input has no name"),
    ],
)
def test_refused_before_anything_is_written(paths: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_jobs(paths)


def test_links_to_the_input_are_the_input() -> None:
    os.symlink("a.jpg", "link.jpg")
    os.link("a.jpg", "hard.jpg")
    for name in ("link.jpg", "hard.jpg"):
        with pytest.raises(UsageError, match="OUT must be another file than IN"):
            plan_jobs(["a.jpg", name])


def test_in_place() -> None:
    assert plan_jobs(["a.jpg"], in_place=True) == [Job("a.jpg", "a.jpg")]
    assert plan_jobs(["a.jpg", "./a.jpg"], in_place=True) == [Job("a.jpg", "a.jpg")]
    for paths in ([], ["-"], ["a.jpg", "b.jpg"], ["a.jpg", "a.jpg", "a.jpg"]):
        with pytest.raises(UsageError, match="--in-place must be given one picture"):
            plan_jobs(paths, in_place=True)
