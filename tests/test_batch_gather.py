"""Looks of several threads, put together; with models that record what they were asked at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from censor.batch.gather import BatchedDetector, BatchedOpinion, batched
from censor.pipeline import Pipeline
from censor.policy import load_censor_policy
from detector.errors import InputError

ASKED: dict[str, Any] = {"classes": ("A",), "score_thresh": 0.5, "tiles": False}


class Model:
    """Answers with the picture's own name; waits with its first answer until it is told."""

    name, class_names, sha256, device = "m", ("A",), "0", "cuda:0"

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.first, self.others = threading.Event(), threading.Event()

    def detect(self, images: Any, *, classes: Any, score_thresh: Any, tiles: bool) -> Any:
        return self.look(images)

    def look(self, images: Any) -> Any:
        self.calls.append(images)
        if len(self.calls) == 1:
            self.first.set()
            assert self.others.wait(10)
        if "bad" in images:
            raise InputError("bad")
        return [f"{image}!" for image in images] if isinstance(images, list) else f"{images}!"


def ask(model: Model, names: list[str], asked: list[dict[str, Any]]) -> list[Any]:
    """Ask the first alone, and all others while it is being answered."""
    gathering = BatchedDetector(model)
    with ThreadPoolExecutor(len(names)) as pool:
        futures = [pool.submit(gathering.detect, names[0], **asked[0])]
        assert model.first.wait(10)
        futures += [
            pool.submit(gathering.detect, name, **what) for name, what in zip(names[1:], asked[1:], strict=True)
        ]
        while len(gathering._gather._waiting) < len(names) - 1:
            pass
        model.others.set()
        return [future.exception() or future.result() for future in futures]


def test_what_is_asked_meanwhile_goes_together() -> None:
    model, names = Model(), [f"p{index}" for index in range(9)]
    assert ask(model, names, [ASKED] * 9) == [f"{name}!" for name in names]
    assert [len(call) for call in model.calls] == [1, 8]


def test_other_settings_are_asked_apart() -> None:
    model, names = Model(), ["p0", "p1", "p2", "p3", "p4"]
    other = {**ASKED, "score_thresh": {"A": 0.1}}
    assert ask(model, names, [ASKED, ASKED, other, ASKED, other]) == [f"{name}!" for name in names]
    assert sorted(tuple(sorted(call)) for call in model.calls[1:]) == [("p1", "p3"), ("p2", "p4")]


def test_a_bad_picture_fails_alone() -> None:
    answers = ask(Model(), ["p0", "p1", "bad", "p3"], [ASKED] * 4)
    assert answers[:2] + answers[3:] == ["p0!", "p1!", "p3!"]
    assert isinstance(answers[2], InputError)


def test_lists_and_tiles_go_through_as_they_are() -> None:
    model = Model()
    model.others.set()
    gathering = BatchedDetector(model)
    assert gathering.detect(["a", "b"], **ASKED) == ["a!", "b!"]
    assert gathering.detect("a", **{**ASKED, "tiles": True}) == "a!"
    assert BatchedOpinion(model).look("a") == "a!"
    assert model.calls == [["a", "b"], "a", ["a"]]


@pytest.mark.parametrize(("device", "gathers"), [("cpu", False), ("cuda", True), ("cuda:0", True)])
def test_only_where_the_device_gains(device: str, gathers: bool) -> None:
    model = Model()
    model.device = device
    pipeline = Pipeline(model=model, opinion=model, policy=load_censor_policy("default"))
    assert isinstance(batched(pipeline).model, BatchedDetector) is gathers
    assert isinstance(batched(pipeline).opinion, BatchedOpinion) is gathers
    assert batched(pipeline).model.sha256 == "0"
