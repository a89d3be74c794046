"""Who may see the picture: a one-time token, exchanged for a session of a cookie and a key.

Cookies know no ports: whatever else listens on the loopback gets them from the same browser. So the cookie alone opens
nothing: the page also sends a key, which it keeps in storage that belongs to its port.
"""

import secrets
import threading
from dataclasses import dataclass, field

__all__ = ["Access", "Session"]

# 256 bits: nobody guesses one.
_SECRET_BYTES = 32


@dataclass(frozen=True)
class Session:
    """The two secrets that every request must carry: one in a cookie, one in a header."""

    cookie: str
    key: str


@dataclass
class Access:
    """Gives out one session for one token, once.

    Attributes:
        token: what the link holds.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(_SECRET_BYTES))
    _session: Session | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def used(self) -> bool:
        """Whether somebody has exchanged the token."""
        return self._session is not None

    def exchange(self, token: object) -> Session | None:
        """Return the session for the right token, the first time; None for a wrong one and ever after."""
        if not isinstance(token, str) or not _same(token, self.token):
            return None
        with self._lock:
            if self._session is not None:
                return None
            self._session = Session(secrets.token_urlsafe(_SECRET_BYTES), secrets.token_urlsafe(_SECRET_BYTES))
            return self._session

    def allows(self, cookie: str | None, key: str | None) -> bool:
        """Whether both secrets are those of the session."""
        session = self._session
        if session is None or cookie is None or key is None:
            return False
        return _same(cookie, session.cookie) & _same(key, session.key)


def _same(given: str, expected: str) -> bool:
    """Compare in a time that tells nothing."""
    return secrets.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
