"""The editing round's server: who gets the picture, and who does not."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edit_rounds import FOUND, Client, allow_loopback, drawing, editing_of, pixels, policy, serving

from censor.edit import server as server_module
from censor.edit.access import Access
from censor.edit.editing import MAX_BOXES
from censor.edit.server import MAX_BODY, MAX_CONNECTIONS, EditServer

CALLS = [("GET", "/state"), ("GET", "/original"), ("GET", "/result"), ("GET", "/alive"), ("POST", "/preview"),
         ("POST", "/save"), ("POST", "/end")]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    allow_loopback(monkeypatch)
    monkeypatch.setattr(server_module, "POLL", 0.01)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[EditServer]:
    with serving(editing_of(drawing(tmp_path / "in.png"), tmp_path / "out.png", FOUND)) as server:
        yield server


@pytest.fixture
def client(served: EditServer) -> Client:
    client = Client(served)
    client.log_in(served.access.token)
    return client


def changes(*boxes: dict[str, Any], **look: Any) -> dict[str, Any]:
    return {"boxes": list(boxes), "look": look}


def test_it_listens_on_the_loopback_alone(served: EditServer) -> None:
    assert served.socket.getsockname()[0] == "127.0.0.1"
    assert served.url == f"http://127.0.0.1:{served.server_port}/#{served.access.token}"
    assert len(served.access.token) >= 43


def test_the_page_is_there_for_all_and_says_nothing(served: EditServer) -> None:
    client = Client(served)
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript"),
                       ("/boxes.js", "text/javascript"), ("/calls.js", "text/javascript"),
                       ("/stage.js", "text/javascript")):  # fmt: skip
        status, body, headers = client.ask("GET", path, Origin=None)
        assert status == 200
        assert headers["Content-Type"].startswith(kind)
        assert b"in.png" not in body
        assert served.access.token.encode() not in body
        assert b"//" not in body.replace(b"http://www.w3.org/2000/svg", b"").replace(b"// ", b""), "nothing from afar"


def test_every_answer_forbids_caches_frames_and_other_sources(served: EditServer, client: Client) -> None:
    for method, path, body in (("GET", "/", None), ("GET", "/state", None), ("GET", "/nowhere", None),
                               ("POST", "/preview", changes()), ("PUT", "/", None)):  # fmt: skip
        _, _, headers = client.ask(method, path, body)
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        rules = dict(part.split(None, 1) for part in headers["Content-Security-Policy"].split("; "))
        assert rules["default-src"] == rules["frame-ancestors"] == rules["form-action"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
        assert rules["img-src"] == "blob:"
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in headers
        assert "Python" not in headers["Server"]


def test_no_call_is_answered_without_the_session(served: EditServer) -> None:
    stranger, client = Client(served), Client(served)
    for method, path in CALLS:
        assert stranger.ask(method, path, changes() if method == "POST" else None)[0] == 403
    client.log_in(served.access.token)
    for method, path in CALLS:
        body = changes() if method == "POST" else None
        assert stranger.ask(method, path, body)[0] == 403
        for missing in ("Cookie", "X_Censor_Key"):
            assert client.ask(method, path, body, **{missing: None})[0] == 403
            wrong = f"{served.cookie}={'A' * 43}" if missing == "Cookie" else "A" * 43
            assert client.ask(method, path, body, **{missing: wrong})[0] == 403
    assert not served.ending.is_set()
    assert not os.path.exists(served.editing.target)


def test_the_token_is_good_for_one_session(served: EditServer) -> None:
    client = Client(served)
    for wrong in ({"token": served.access.token[:-1]}, {"token": "ü\ud800"}, {"token": None}, {}, [], "x"):
        assert client.ask("POST", "/session", wrong)[0] == 403
    status, body, headers = client.ask("POST", "/session", {"token": served.access.token})
    assert status == 200
    assert set(headers["Set-Cookie"].split("; ")[1:]) == {"Path=/", "HttpOnly", "SameSite=Strict"}
    assert headers["Set-Cookie"].startswith(f"censor-edit-{served.server_port}=")
    status, body, headers = client.ask("POST", "/session", {"token": served.access.token})
    assert status == 403
    assert b"used already" in body
    assert "Set-Cookie" not in headers


def test_of_many_who_come_at_once_one_gets_the_session() -> None:
    access = Access()
    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(access.exchange(access.token))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([session for session in got if session is not None]) == 1


def test_another_host_is_refused(served: EditServer, client: Client) -> None:
    port = served.server_port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", "127.0.0.1:1", f"0.0.0.0:{port}",
                 f"127.0.0.1:{port}.evil.example", "", None):  # fmt: skip
        for method, path in (("GET", "/"), ("GET", "/original"), ("POST", "/save")):
            status, body, _ = client.ask(method, path, changes() if method == "POST" else None, Host=host)
            assert status == 421, host
            assert b"PNG" not in body
    assert not os.path.exists(served.editing.target)


def test_the_name_localhost_is_the_loopback_too(served: EditServer, client: Client) -> None:
    host = f"localhost:{served.server_port}"
    assert client.ask("GET", "/state", Host=host, Origin=f"http://{host}")[0] == 200
    assert client.ask("GET", "/state", Host=host)[0] == 403, "the origin is another one"


def test_another_origin_is_refused(served: EditServer, client: Client) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1",
                   f"https://127.0.0.1:{served.server_port}", ""):  # fmt: skip
        for method, path in (("GET", "/original"), ("POST", "/preview"), ("POST", "/save"), ("POST", "/end")):
            status, _, _ = client.ask(method, path, changes() if method == "POST" else None, Origin=origin)
            assert status == 403, origin
    assert not served.ending.is_set()
    assert not os.path.exists(served.editing.target)


def test_a_change_without_origin_and_a_call_from_another_site_are_refused(client: Client) -> None:
    assert client.ask("POST", "/preview", changes(), Origin=None)[0] == 403
    assert client.ask("GET", "/state", Origin=None)[0] == 200, "browsers send none with their own GET"
    for site in ("cross-site", "same-site"):
        assert client.ask("GET", "/original", Origin=None, Sec_Fetch_Site=site)[0] == 403
        assert client.ask("GET", "/page.js", Origin=None, Sec_Fetch_Site=site)[0] == 403
    assert client.ask("GET", "/", Origin=None, Sec_Fetch_Site="cross-site")[0] == 200, "a link to the page is no harm"


def test_nothing_else_is_there(client: Client) -> None:
    for path in ("/nowhere", "/../editing.py", "/editing.py", "/page.js?x", "/%2e%2e/x",
                 "http://evil.example/original", "/state/"):  # fmt: skip
        assert client.ask("GET", path)[0] == 404
        assert client.ask("POST", path, {})[0] == 404


def test_requests_are_bounded(served: EditServer, client: Client) -> None:
    assert client.ask("POST", "/preview", None, Content_Length=str(MAX_BODY + 1))[0] == 413
    assert client.ask("POST", "/preview", None, Content_Length="9" * 30)[0] == 411
    assert client.ask("POST", "/preview", None, Content_Length="-1")[0] == 411
    assert client.ask("POST", "/preview", None, Content_Length=None)[0] == 411
    assert client.ask("POST", "/preview", None, Transfer_Encoding="chunked")[0] == 411
    assert client.ask("POST", "/preview", changes(), Content_Type="text/plain")[0] == 415
    assert client.ask("GET", "/" + "x" * 70000)[0] == 414
    for body in (b"{", b"[" * 100_000, b"\xff", b"1" * 5000):
        assert client.ask("POST", "/preview", body)[0] == 400
    assert client.ask("POST", "/preview", changes(*[FOUND] * (MAX_BOXES + 1)))[0] == 400
    assert client.ask("POST", "/preview", changes(*[FOUND] * MAX_BOXES))[0] == 200
    assert client.ask("DELETE", "/state")[0] == 501


def test_connections_are_bounded_and_none_waits_for_ever(
    served: EditServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module._Handler, "timeout", server_module._Handler.timeout / 20)
    idle = [socket.create_connection(("127.0.0.1", served.server_port)) for _ in range(MAX_CONNECTIONS)]
    over = socket.create_connection(("127.0.0.1", served.server_port))
    over.settimeout(5)
    assert over.recv(1) == b"", "one too many is closed at once"
    for connection in idle:
        connection.settimeout(5)
        assert connection.recv(1) == b"", "one that says nothing is closed in time"
    assert client.ask("GET", "/state")[0] == 200
    for connection in (*idle, over):
        connection.close()


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nX: ", b"POST /preview HTTP/1.1\r\nContent-Length: 9999\r\n"
                                  b"Content-Type: application/json\r\n\r\n{"])  # fmt: skip
def test_a_request_that_comes_byte_by_byte_is_given_up(
    served: EditServer, client: Client, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(server_module._Handler, "timeout", 0.4)
    with socket.create_connection(("127.0.0.1", served.server_port)) as slow:
        slow.sendall(sent)
        slow.settimeout(0.05)  # shorter than the server's patience with each silence
        end = time.monotonic() + 5
        answer = None
        while answer is None:
            assert time.monotonic() < end, "it must not be listened to for ever"
            with contextlib.suppress(TimeoutError):
                answer = slow.recv(100)
            with contextlib.suppress(OSError):
                slow.sendall(b" ")
    assert answer in (b"", b"HTTP/1.0 408"[: len(answer)]) or answer.startswith(b"HTTP/1.0 4")
    assert client.ask("GET", "/state")[0] == 200


NOT_UNDERSTOOD: list[object] = [
    {}, [], {"boxes": []}, {"boxes": [], "look": {}, "target": "/etc/x"}, changes({"label": "BELLY_EXPOSED"}),
    changes({**FOUND, "path": "x"}), changes({**FOUND, "label": "NOSE"}), changes({**FOUND, "hide": "yes"}),
    changes({**FOUND, "box": [1, 2, 3]}), changes({**FOUND, "box": [9, 9, 1, 1]}),
    changes({**FOUND, "box": [0, 0, float("nan"), 9]}), changes({**FOUND, "score": 7, "hide": False}),
    changes({**FOUND, "box": None, "hide": False}), changes(style="blurr"), changes(style=["box"]), changes(grow=-1),
    changes(grow="much"), changes(feather=9e99), changes(colour=[1, 2, 3]), changes(colour="rgb(1,2,3)"),
    changes(sticker="/etc/passwd.png"), changes(sticker="no-such"), changes(cells=9),
    changes(style="blur", caption="x"), changes(whole=True), changes(fallback="whole"), changes(caption="a\nb"),
]  # fmt: skip


def test_what_is_not_understood_is_refused_in_words(served: EditServer, client: Client) -> None:
    for body in NOT_UNDERSTOOD:
        for path in ("/preview", "/save"):
            status, data, _ = client.ask("POST", path, body)
            assert status == 400, (body, data)
            assert "; got" in json.loads(data)["error"]
    assert os.listdir(os.path.dirname(served.editing.target)) == ["in.png"]


def test_a_preview_and_a_save(served: EditServer, client: Client, tmp_path: Path) -> None:
    state = client.json("GET", "/state")
    assert state["boxes"] == [{**FOUND, "hide": True}]
    assert (state["width"], state["height"], state["factor"]) == (160, 120, 1)
    before = pixels(tmp_path / "in.png")
    assert np.array_equal(client.pixels("GET", "/original"), before)
    moved = {"label": "BUTTOCKS_EXPOSED", "box": [100, 10, 140, 50], "hide": True}
    shown = client.pixels("POST", "/preview", changes(moved))
    expected = before.copy()
    expected[10:50, 100:140] = 0
    assert np.array_equal(shown, expected)
    assert os.listdir(tmp_path) == ["in.png"], "a preview writes nothing"
    assert client.ask("GET", "/result")[0] == 400
    said = client.json("POST", "/save", changes(moved))
    assert (said["exit_code"], said["verified"], said["warnings"]) == (0, True, [])
    assert np.array_equal(pixels(tmp_path / "out.png"), expected)
    assert np.array_equal(client.pixels("GET", "/result"), expected)
    assert sorted(os.listdir(tmp_path)) == ["in.png", "out.png", "out.png.json"]


def test_a_save_that_fails_is_said_and_can_be_tried_again(client: Client, tmp_path: Path) -> None:
    (tmp_path / "out.png").mkdir()
    status, data, _ = client.ask("POST", "/save", changes())
    assert status == 500
    assert "is a folder" in json.loads(data)["error"]
    (tmp_path / "out.png").rmdir()
    assert client.ask("POST", "/save", changes())[0] == 200


def test_something_unexpected_is_an_error_and_ends_nothing(
    served: EditServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.editing, "state", lambda: 1 / 0)
    status, data, _ = client.ask("GET", "/state")
    assert status == 500
    assert "unexpected ZeroDivisionError" in json.loads(data)["error"]
    monkeypatch.undo()
    allow_loopback(monkeypatch)
    assert client.ask("GET", "/state")[0] == 200


def test_the_round_ends_when_the_page_says_so(tmp_path: Path) -> None:
    server = EditServer(editing_of(drawing(tmp_path / "in.png"), tmp_path / "out.png", FOUND))
    thread = threading.Thread(target=server.serve)
    thread.start()
    client = Client(server)
    client.log_in(server.access.token)
    assert client.ask("POST", "/end", {})[0] == 200
    thread.join(timeout=20)
    assert not thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        client.ask("GET", "/")


def test_the_round_ends_when_the_page_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "GRACE", 0.3)
    server = EditServer(editing_of(drawing(tmp_path / "in.png"), tmp_path / "out.png", FOUND))
    thread = threading.Thread(target=server.serve)
    thread.start()
    client = Client(server)
    client.log_in(server.access.token)
    line = socket.create_connection(("127.0.0.1", server.server_port))
    request = "".join(f"{name}: {value}\r\n" for name, value in client.headers.items())
    line.sendall(f"GET /alive HTTP/1.1\r\n{request}\r\n".encode())
    assert b"200" in line.recv(100)
    time.sleep(0.7)
    assert thread.is_alive(), "as long as the page is there"
    line.close()
    thread.join(timeout=20)
    assert not thread.is_alive()


def test_no_save_begins_after_the_end(tmp_path: Path) -> None:
    editing = editing_of(drawing(tmp_path / "in.png"), tmp_path / "out.png", FOUND, rules=policy())
    editing.close()
    with pytest.raises(ValueError, match="it has ended"):
        editing.save(changes())
    assert os.listdir(tmp_path) == ["in.png"]
