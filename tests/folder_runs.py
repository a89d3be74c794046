"""Whole folders for tests: a small tree, a detector that finds one part in every original, and the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from samples import colour_picture, saved
from test_pipeline import FakeDetector

import censor.api
from censor.batch.journal import JOURNAL_NAME
from censor.cli import main
from censor.pipeline import Pipeline
from censor.policy import load_censor_policy

JPEG, PNG = saved(colour_picture(), "JPEG"), saved(colour_picture(), "PNG")
FOUND = [("BUTTOCKS_EXPOSED", 0.8, (10.0, 12.0, 30.0, 40.0))]


class Finder(FakeDetector):
    """Finds one part in every original and nothing in what was censored; counts originals."""

    def __init__(self) -> None:
        super().__init__([])
        self.looks = 0

    def detect(self, images: Any, **settings: Any) -> Any:
        first = images.name != "<bytes>"  # the name of a result that is checked
        self.looks += first
        self.answers = [FOUND if first else []]
        return super().detect(images, **settings)


def folder_of_three(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Finder:
    """Make the tree `in` in a fresh folder, go there, and put the finder in the place of every model."""
    fake = Finder()

    def build(policy: str, *, known: Any = None, model: Any = None, **settings: Any) -> Pipeline:
        changes = {
            name: value
            for name, value in settings.items()
            if name not in ("device", "threads", "verify", "ahead", "keep_memory")
        }
        rules = load_censor_policy(policy, **{**changes, "second_opinion": False})
        return Pipeline(model=fake, opinion=None, policy=rules, verify=settings["verify"])

    monkeypatch.setattr(censor.api, "build_pipeline", build)
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "x/b.png", "x/y/c.jpg"):
        put(f"in/{name}", len(name))
    return fake


def put(path: str, shade: int = 0, data: bytes | None = None) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    image = colour_picture()
    image.putpixel((0, 0), (shade, 0, 0))  # so that each file's bytes are its own
    Path(path).write_bytes(saved(image, "JPEG" if path.endswith("jpg") else "PNG") if data is None else data)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--workers", "1"])
    return int(stop.value.code or 0)


def files(root: str) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in Path(root).rglob("*") if path.is_file())


def journal_lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("out", JOURNAL_NAME).read_text().splitlines()]


ALL = [JOURNAL_NAME, "a.png", "x/b.png", "x/y/c.jpg"]
