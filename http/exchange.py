"""Request, Reply and Response: what goes from the server to a handler and back."""

import gzip
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

Headers = list[tuple[bytes, bytes]]

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"
LINES = b"application/x-ndjson"
"""One JSON object per line, as they come."""

VARY = (b"Vary", b"Accept-Encoding")
"""On every answer, also those that the server makes itself."""

GZIP_LEVEL = 1
"""Member lists shrink more than tenfold at level 1; level 9 gains little and costs several times the CPU."""


class HttpError(Exception):
    """An answer other than success, raised by a handler; the text is the whole body."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class BadEscape(ValueError):
    """A percent sign without two hexadecimal digits after it."""


@dataclass(slots=True)
class Request:
    """One request, its body read whole. Header names are lower case; `target` is as sent."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""
    peer: str = ""
    """IP text of the client."""
    secure: bool = False
    """Whether it came by TLS: then the client has made sure that the name it asked for is ours."""

    def header(self, name: bytes) -> str:
        """The first value of a header given in lower case, empty when it is absent."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return ""


Send = Callable[[bytes], Awaitable[None]]
"""Sends a piece of a body; waits while the client does not read, so what comes about meanwhile must wait or go."""


@dataclass(slots=True)
class Stream:
    """A body of unknown length, written while it comes about.

    The server calls `write` once, and cancels it when the client hangs up or the server stops. It calls `close`
    once and always, also when `write` was never called; it frees what feeds the stream and does not wait.
    """

    write: Callable[[Send], Awaitable[None]]
    close: Callable[[], None]


@dataclass(slots=True)
class Response:
    """One answer. The server adds Content-Length, Date and Connection itself. With a `stream`, `body` is unused."""

    status: int
    headers: Headers
    body: bytes = b""
    stream: Stream | None = None


class Reply:
    """What a handler answers, before the headers that all answers carry. May be kept and sent many times."""

    __slots__ = ("_packed", "body", "content_type", "status", "stream")

    def __init__(self, body: bytes = b"", content_type: bytes = b"", status: int = 200) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.stream: Stream | None = None
        self._packed = b""

    @classmethod
    def text(cls, status: int, words: str) -> "Reply":
        """Plain words, without a final newline."""
        return cls(words.encode("utf-8", "replace"), TEXT, status)

    @classmethod
    def streamed(cls, stream: Stream, content_type: bytes) -> "Reply":
        """A body that is written while it comes about. Such a reply is sent once."""
        reply = cls(content_type=content_type)
        reply.stream = stream
        return reply

    @property
    def packed(self) -> bytes:
        """The body as gzip, made when first asked for; the same bytes for the same body."""
        if not self._packed:
            self._packed = gzip.compress(self.body, GZIP_LEVEL, mtime=0)
        return self._packed


Application = Callable[[Request], Awaitable[Response]]


def unescape(text: str) -> str:
    """Undo percent escapes; bytes that are no UTF-8 become surrogate escapes, as in member names.

    Raises BadEscape.
    """
    if "%" not in text:
        return text
    for part in text.split("%")[1:]:
        if len(part) < 2 or not all(digit in "0123456789abcdefABCDEF" for digit in part[:2]):
            raise BadEscape(text)
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def split_target(target: str) -> tuple[str, str]:
    """Path (still escaped) and query of a request target; the absolute form that proxies get is taken too."""
    if not target.startswith("/"):
        scheme, found, rest = target.partition("://")
        if found and scheme.lower() in ("http", "https"):
            slash = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
            target = rest[slash:] if rest[slash : slash + 1] == "/" else "/" + rest[slash:]
    path, _, query = target.partition("?")
    return path, query


class Query:
    """The parameters of a URL query, as Go reads them: what cannot be decoded is left out."""

    __slots__ = ("_values",)

    def __init__(self, text: str) -> None:
        self._values: dict[str, list[str]] = {}
        for pair in text.split("&") if text else ():
            if not pair or ";" in pair:
                continue
            key, _, value = pair.replace("+", " ").partition("=")
            try:
                name, plain = unescape(key), unescape(value)
            except BadEscape:
                continue
            self._values.setdefault(name, []).append(plain)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def first(self, name: str) -> str:
        """The first value, empty when the parameter is absent."""
        values = self._values.get(name)
        return values[0] if values else ""

    def all(self, name: str) -> list[str]:
        """Every value in the order given."""
        return self._values.get(name, [])
