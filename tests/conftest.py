"""Shared fixtures: the rendered mannequins, and no network for anybody."""

import gc
import json
import os
import signal
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

# Two workers with two of torch's threads each, on two cores, wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A job in the background starts with Ctrl-C ignored, and so would everything that it starts: tests of it would hang.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    config.add_cleanup(gc.unfreeze)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What importing makes stays to the end: searching it for garbage again and again finds nothing."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


ROOT = Path(__file__).resolve().parent.parent
MANNEQUINS = ROOT / "tests" / "data" / "mannequins"


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def example() -> Path:
    return ROOT / "examples" / "in.jpg"


@pytest.fixture(scope="session")
def mannequins() -> list[Path]:
    return sorted(MANNEQUINS.glob("*.jpg"))


@pytest.fixture(scope="session")
def annotations() -> dict[str, Any]:
    return json.loads((MANNEQUINS / "annotations.json").read_text())


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test runs must stay silent: any attempt to connect fails it."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"the network was asked for: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
