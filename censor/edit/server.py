"""`EditServer`: the page and its few calls over HTTP, on the loopback, for one session.

Whoever else can reach the port, another user of this machine or a page in the same browser, must learn nothing and
change nothing:

* the address is 127.0.0.1 (::1 where that is not there), the port is the system's choice;
* a request must name the server by a loopback name in `Host` (against DNS rebinding), and must not come from another
  origin (`Origin`, `Sec-Fetch-Site`);
* everything but the page's own text needs the session: see `censor.edit.access`;
* the page may load nothing from elsewhere, be framed by nobody, and nothing is cached;
* bodies, boxes, waiting times and the number of connections are bounded.
"""

import contextlib
import json
import select
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

from censor.edit.access import Access
from censor.edit.editing import Editing
from censor.report import Report
from detector.errors import OutputError, RetinaCensorError

__all__ = ["MAX_BODY", "EditServer"]

# 500 boxes are below 100 kB.
MAX_BODY = 1 << 18
MAX_CONNECTIONS = 32
# Seconds that a request may take to arrive.
ARRIVAL = 10.0
# Seconds without the page after which the round ends; a reload takes less.
GRACE = 10.0
# How often, in seconds, it is looked whether the round has ended.
POLL = 0.2

KEY_HEADER = "X-Censor-Key"

_FOLDER = Path(__file__).parent
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in ("page", "calls", "boxes", "stage")},
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class _Ended(Exception):
    """Leaves `serve_forever` from within."""


class _Refused(Exception):
    """A request that gets an error instead of an answer."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class EditServer(ThreadingHTTPServer):
    """Serves one editing round; listens as soon as it is made.

    Args:
        editing: the picture and what is done with it.
        saved: called with the report of each save.

    Attributes:
        access: holds the token.
    """

    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS
    allow_reuse_address = False  # on Windows this would let another program take the port over

    def __init__(self, editing: Editing, saved: Callable[[Report], None] = lambda report: None) -> None:
        self.editing = editing
        self.saved = saved
        self.access = Access()
        self.ending = threading.Event()
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._pages = 0
        self._left: float | None = None  # when the last page went, on the monotonic clock
        self._pages_lock = threading.Lock()
        try:
            super().__init__(("127.0.0.1", 0), _Handler)
        except OSError:
            self.address_family = socket.AF_INET6
            super().__init__(("::1", 0), _Handler)
        host = "127.0.0.1" if self.address_family == socket.AF_INET else "[::1]"
        self.hosts = (f"{host}:{self.server_port}", f"localhost:{self.server_port}")
        self.cookie = f"censor-edit-{self.server_port}"

    @property
    def url(self) -> str:
        """The link that opens the round, once. What follows the # is not part of any request or referrer."""
        return f"http://{self.hosts[0]}/#{self.access.token}"

    def server_bind(self) -> None:
        """Bind as every TCP server does; the HTTP server would also ask the network for this machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def serve(self) -> None:
        """Answer until the page says that it is done, or has been gone for a while.

        A save that is under way is finished before this returns or raises.

        Raises:
            KeyboardInterrupt: on Ctrl-C.
        """
        try:
            self.serve_forever(poll_interval=POLL)
        except _Ended:
            pass
        finally:
            self.ending.set()
            self.editing.close()
            self.server_close()

    def service_actions(self) -> None:
        """Look, between requests, whether the round has ended."""
        with self._pages_lock:
            gone = self._pages == 0 and self._left is not None and time.monotonic() - self._left > GRACE
        if gone or self.ending.is_set():
            raise _Ended

    def page_came(self) -> None:
        """Note that a page holds its line open."""
        with self._pages_lock:
            self._pages += 1

    def page_left(self) -> None:
        """Note that a page's line was closed."""
        with self._pages_lock:
            self._pages -= 1
            self._left = time.monotonic()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection on, if not too many are open."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection in its own thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a connection that breaks off is no event, and what goes wrong inside is answered as an error."""


class _Handler(BaseHTTPRequestHandler):
    server: EditServer
    timeout = ARRIVAL

    def version_string(self) -> str:
        """Tell nobody which Python runs."""
        return "censor"

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal for what matters."""

    def setup(self) -> None:
        """Begin to wait: `timeout` bounds each silence, and this all of them together."""
        super().setup()
        self._late = threading.Timer(self.timeout, self._hang_up)
        self._late.daemon = True
        self._late.start()

    def finish(self) -> None:
        """Answer is given."""
        self._late.cancel()
        super().finish()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)

    def do_GET(self) -> None:
        self._answer({"/state": self._state, "/original": self._original, "/result": self._result,
                      "/alive": self._alive})  # fmt: skip

    def do_POST(self) -> None:
        self._answer({"/session": self._session, "/preview": self._preview, "/save": self._save, "/end": self._end})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request at all; also called by the base class."""
        self._send(HTTPStatus(code), "application/json", _json({"error": message or HTTPStatus(code).phrase}))

    def _answer(self, calls: dict[str, Callable[[], None]]) -> None:
        try:
            body = self._read_body() if self.command == "POST" else b""  # all of it, or the refusal may be lost
            self._late.cancel()
            self._check_origin()
            if self.command == "GET" and self.path in _FILES:
                name, kind = _FILES[self.path]
                return self._send(HTTPStatus.OK, kind, (_FOLDER / name).read_bytes())
            call = calls.get(self.path)
            if call is None:
                raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing here")
            if self.path != "/session" and not self._has_session():
                raise _Refused(HTTPStatus.FORBIDDEN, "this page holds no session; open the link of the editing round")
            self._data = body
            call()
        except _Refused as refusal:
            self._send(refusal.status, "application/json", _json({"error": str(refusal)}))
        except OutputError as error:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "application/json", _json({"error": str(error)}))
        except RetinaCensorError as error:
            self._send(HTTPStatus.BAD_REQUEST, "application/json", _json({"error": str(error)}))
        except (ConnectionError, TimeoutError):
            raise  # nobody is there to answer
        except Exception as error:
            message = f"unexpected {type(error).__name__}: {error}; nothing was saved; please report this"
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "application/json", _json({"error": message}))

    def _check_origin(self) -> None:
        """Refuse what was not sent by our own page, or by a person who opens it."""
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            raise _Refused(HTTPStatus.MISDIRECTED_REQUEST, "this server is reached by its loopback address only")
        origin = self.headers.get("Origin")
        if origin is None and self.command != "GET":
            raise _Refused(HTTPStatus.FORBIDDEN, "a change must say where it comes from")
        if origin is not None and origin.lower() != f"http://{hosts[0].lower()}":
            raise _Refused(HTTPStatus.FORBIDDEN, "another page must not call this server")
        # Opening the page itself from a link elsewhere shows nothing yet.
        if self.path != "/" and self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise _Refused(HTTPStatus.FORBIDDEN, "another page must not call this server")

    def _has_session(self) -> bool:
        cookies = dict(part.strip().partition("=")[::2] for part in self.headers.get("Cookie", "").split(";"))
        return self.server.access.allows(cookies.get(self.server.cookie), self.headers.get(KEY_HEADER))

    def _read_body(self) -> bytes:
        """Return what a request holds; it must say how long that is, and that it is JSON."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 10) or "Transfer-Encoding" in self.headers:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "a request must say its length")
        if int(length) > MAX_BODY:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request must have at most {MAX_BODY} bytes")
        if self.headers.get_content_type() != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a request must be application/json")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, "a request must come in time, and as long as it says")
        return body

    def _body(self) -> Any:
        try:
            return json.loads(self._data)
        except (ValueError, RecursionError) as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, "a request must be JSON") from error

    def _send(self, status: HTTPStatus, kind: str, data: bytes, cookie: str | None = None) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if cookie is not None:
            self.send_header("Set-Cookie", f"{self.server.cookie}={cookie}; Path=/; HttpOnly; SameSite=Strict")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _session(self) -> None:
        """Exchange the token."""
        body = self._body()
        session = self.server.access.exchange(body.get("token") if isinstance(body, dict) else None)
        if session is None:
            why = "was used already" if self.server.access.used else "is not of this editing round"
            raise _Refused(HTTPStatus.FORBIDDEN, f"the link {why}; start a new one with `censor edit`")
        self._send(HTTPStatus.OK, "application/json", _json({"key": session.key}), session.cookie)

    def _state(self) -> None:
        self._send(HTTPStatus.OK, "application/json", _json(self.server.editing.state()))

    def _original(self) -> None:
        self._send(HTTPStatus.OK, "image/png", self.server.editing.original())

    def _result(self) -> None:
        self._send(HTTPStatus.OK, "image/png", self.server.editing.result())

    def _preview(self) -> None:
        self._send(HTTPStatus.OK, "image/png", self.server.editing.preview(self._body()))

    def _save(self) -> None:
        report = self.server.editing.save(self._body())
        self.server.saved(report)
        said = {"summary": report.summary(), "exit_code": report.exit_code, **report.to_dict()}
        self._send(HTTPStatus.OK, "application/json", _json(said))

    def _end(self) -> None:
        self._body()
        self._send(HTTPStatus.OK, "application/json", _json({}))
        self.server.ending.set()

    def _alive(self) -> None:
        """Hold the line while the page is open, to see when it goes."""
        self.send_response(HTTPStatus.OK)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.flush()
        self.server.page_came()
        try:
            while not self.server.ending.is_set():
                readable, _, _ = select.select([self.connection], [], [], POLL)
                if readable:  # there is nothing left to read but the end
                    break
        finally:
            self.server.page_left()


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode("ascii")
