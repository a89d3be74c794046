"""A headless Chromium for tests, driven over the W3C WebDriver protocol, which is plain HTTP and JSON."""

import base64
import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROME_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-dev-shm-usage", "--force-device-scale-factor=1",
                "--hide-scrollbars", "--window-size=1400,1000")  # fmt: skip
# Chromium's own keys for what has no character.
KEYS = {"Delete": "\ue017", "Right": "\ue014", "Down": "\ue015", "Shift": "\ue008", "Alt": "\ue00a",
        "Control": "\ue009", "Tab": "\ue004"}  # fmt: skip


def missing() -> str:
    """Return what is not installed; empty where a browser can be started."""
    drivers = shutil.which("chromedriver")
    browsers = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    return "" if drivers and browsers else "chromium and chromedriver are not installed"


class Browser:
    """One window of a browser."""

    def __init__(self, port: int, options: dict[str, Any]) -> None:
        self.port = port
        self.session = ""
        capabilities = {"alwaysMatch": {"browserName": "chrome", "unhandledPromptBehavior": "accept", **options}}
        self.session = self._call("POST", "/session", {"capabilities": capabilities})["sessionId"]

    def _call(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        value = json.loads(answer.read())["value"]
        connection.close()
        assert answer.status == 200, value
        return value

    def _in_session(self, method: str, path: str, body: object = None) -> Any:
        return self._call(method, f"/session/{self.session}{path}", body)

    def open(self, url: str) -> None:
        self._in_session("POST", "/url", {"url": url})

    def resize(self, width: int, height: int) -> None:
        self._in_session("POST", "/window/rect", {"width": width, "height": height})

    def run(self, script: str, *arguments: object) -> Any:
        """Return what a function body in JavaScript returns."""
        return self._in_session("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, condition: str, seconds: float = 20.0) -> Any:
        """Wait for a JavaScript expression to be true; return it."""
        end = time.monotonic() + seconds
        while not (value := self.run(f"return {condition}")):
            assert time.monotonic() < end, f"{condition} did not come true; the page says: {self.said()}"
            time.sleep(0.02)
        return value

    def said(self) -> str:
        return str(self.run("return document.body.innerText"))

    def errors(self) -> list[str]:
        """Return what the page's console says is wrong."""
        log = self._in_session("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]

    def click(self, selector: str) -> None:
        find = {"using": "css selector", "value": selector}
        element = next(iter(self._in_session("POST", "/element", find).values()))
        self._in_session("POST", f"/element/{element}/click", {})

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse at one place of the window, move it in steps, and let go."""
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        moves = [{"type": "pointerMove", "duration": 20, "x": round(x), "y": round(y)} for x, y in (start, middle, end)]
        steps = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        self._perform({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps})

    def press(self, *keys: str) -> None:
        """Hold all but the last key, and press that."""
        values = [KEYS.get(key, key) for key in keys]
        steps = [{"type": "keyDown", "value": value} for value in values]
        steps += [{"type": "keyUp", "value": value} for value in reversed(values)]
        self._perform({"type": "key", "id": "keys", "actions": steps})

    def _perform(self, source: dict[str, Any]) -> None:
        self._in_session("POST", "/actions", {"actions": [source]})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._in_session("GET", "/screenshot")))

    def close(self) -> None:
        self._in_session("DELETE", "")


@contextmanager
def browser(profile: Path, *flags: str) -> Iterator[Browser]:
    """Start a driver and a browser with a new, empty profile; end both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}", "--allowed-ips=127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.05)
        options = {
            "goog:chromeOptions": {"args": [*CHROME_FLAGS, f"--user-data-dir={profile}", *flags]},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        window = Browser(port, options)
        try:
            yield window
        finally:
            window.close()
    finally:
        driver.terminate()
        driver.wait(timeout=20)
