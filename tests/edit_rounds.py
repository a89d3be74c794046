"""An editing round for tests: drawn pictures, a detector that finds what it is told, and a plain HTTP client."""

import http.client
import io
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from censor.edit.editing import Editing
from censor.edit.server import EditServer
from censor.pipeline import Pipeline
from censor.policy import CensorPolicy, load_censor_policy
from detector.classes import ALL_CLASSES
from detector.detections import Detections
from detector.picture import Picture

FOUND = {"label": "BUTTOCKS_EXPOSED", "score": 0.875, "box": [20.0, 30.0, 60.0, 80.0]}
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class TellsTheFirst:
    """Finds given records when it first looks at a picture, and nothing in what was written."""

    name, device, sha256, class_names = "told", "cpu", "0" * 64, ALL_CLASSES

    def __init__(self, *records: dict[str, Any]) -> None:
        self.records: Sequence[dict[str, Any]] = records

    def detect(self, images: Picture, *, classes: Sequence[str], **_: Any) -> Detections:
        records, self.records = self.records, ()
        found = Detections.from_records(records, images.image_size, class_names=ALL_CLASSES)
        return found.of_classes(classes)


def drawing(path: Path, size: tuple[int, int] = (120, 160), mode: str = "RGB", **options: Any) -> Path:
    """Write a picture of (height, width) in which no two neighbours are alike, and none is black."""
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(5).integers(30, 250, (*size, *channels), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def policy(**changes: Any) -> CensorPolicy:
    return load_censor_policy("default", **{"style": "box", "grow": 0.0, "second_opinion": False, **changes})


def editing_of(path: Path, target: Path, *records: dict[str, Any], rules: CensorPolicy | None = None) -> Editing:
    pipeline = Pipeline(model=TellsTheFirst(*records), opinion=None, policy=rules or policy())
    return Editing(pipeline, Picture.open(path), str(target))


@contextmanager
def serving(editing: Editing) -> Iterator[EditServer]:
    """Serve in a thread of this process until the block ends."""
    server = EditServer(editing)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.ending.set()
        thread.join(timeout=20)
        assert not thread.is_alive()


class Client:
    """Speaks to a round as its page does; every header can be changed, None leaves one out."""

    def __init__(self, server: EditServer) -> None:
        self.port = server.server_port
        self.host = f"127.0.0.1:{self.port}"
        self.headers: dict[str, str | None] = {"Host": self.host, "Origin": f"http://{self.host}"}

    def ask(
        self, method: str, path: str, body: object = None, **changes: str | None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Send one request; `changes` are headers with _ for -."""
        headers = {**self.headers, **{name.replace("_", "-"): value for name, value in changes.items()}}
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        if method == "POST":
            headers = {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(data or None)
        answer = connection.getresponse()
        result = answer.status, answer.read(), dict(answer.getheaders())
        connection.close()
        return result

    def log_in(self, token: str) -> None:
        """Exchange the token and keep the session."""
        status, body, headers = self.ask("POST", "/session", {"token": token})
        assert status == 200, body
        self.headers["Cookie"] = headers["Set-Cookie"].split(";")[0]
        self.headers["X-Censor-Key"] = json.loads(body)["key"]

    def json(self, method: str, path: str, body: object = None) -> Any:
        """Return the JSON of an answer that must be 200."""
        status, data, _ = self.ask(method, path, body)
        assert status == 200, data
        return json.loads(data)

    def pixels(self, method: str, path: str, body: object = None) -> np.ndarray:
        """Return the picture of an answer that must be 200."""
        status, data, _ = self.ask(method, path, body)
        assert status == 200, data
        return pixels(data)


def pixels(source: bytes | Path) -> np.ndarray:
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        return np.asarray(image.convert("RGB"))


def allow_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection but those to this machine."""
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        assert address[0] in LOOPBACK, f"the network was asked for: {address}"
        connect(self, address)

    def guarded_resolve(host: Any, *rest: Any, **named: Any) -> Any:
        assert host in LOOPBACK, f"the network was asked for: {host}"
        return resolve(host, *rest, **named)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)
