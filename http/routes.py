"""Which handler answers a request, and the order in which a request is checked.

For a path that is known: method (405), role of the agent (501), guard against foreign pages (403), common
query parameters (400), rights (403), then the handler with its own parameters. That order decides which error a
client sees when several apply, and it is Nomad's. Where Nomad checks its rights later, so do the handlers here.
"""

import enum
import posixpath
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from moot.http.acl import Acl, Right
from moot.http.backend import Backend, BackendError, Unacceptable
from moot.http.describe import Doc
from moot.http.exchange import (
    HTML,
    JSON,
    BadEscape,
    Headers,
    HttpError,
    Query,
    Reply,
    Request,
    Response,
    split_target,
    unescape,
)
from moot.http.guard import finish, refuse_foreign_names, refuse_foreign_pages
from moot.http.schema import encode

READ = frozenset({"GET"})
WRITE = frozenset({"PUT", "POST"})
ANY = frozenset({"ANY"})
"""Whatever the method, but for CONNECT: to grant that would be to become a tunnel."""

GO_DURATION = re.compile(r"[+-]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)")
TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class Role(enum.Enum):
    """Which role an agent needs to answer."""

    ANY = enum.auto()
    SERVER = enum.auto()
    CLIENT = enum.auto()
    SERVER_FIRST = enum.auto()
    """As SERVER, but asked before the method is, and refused with 400: what Nomad got later does so."""


@dataclass(slots=True)
class Call:
    """A request that passed the checks, as its handler sees it."""

    request: Request
    query: Query
    path: str
    """Decoded and clean."""
    acl: Acl
    stale: bool = False

    def require(self, right: Right) -> None:
        """For handlers that check their parameters first. Raises HttpError 403 when the caller lacks the right."""
        self.acl.check(self.request, right)

    @property
    def pretty(self) -> bool:
        """`?pretty` in any form but `pretty=0`."""
        return self.has_flag("pretty")

    def has_flag(self, name: str) -> bool:
        """Whether a parameter is there, with any value but 0."""
        return name in self.query and self.query.first(name) != "0"

    def json(self, answer: object) -> Reply:
        """The answer as JSON in the form that the request asks for."""
        return Reply(encode(answer, pretty=self.pretty), JSON)


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    """One path. A path that ends in `/` stands for all paths below it too."""

    path: str
    methods: frozenset[str]
    handler: Handler
    role: Role = Role.ANY
    checks_query: bool = False
    """Whether malformed `stale`, `wait`, `index` and `per_page` are refused."""
    own_pages_only: bool = False
    """Whether pages of other sites are refused whatever they ask; else only by `guard.refuse_foreign_names`."""
    right: Right | None = Right.AGENT_WRITE
    """What the caller's token must give; None for routes that are open, or whose handlers call `Call.require`.

    Who forgets to say it gets the strongest."""
    docs: Sequence[Doc] = ()
    """What it takes and answers; see `describe` on how to write it. A test wants one for every method."""


Observer = Callable[[str, str, int, float], None]
"""Told of each answer of a handler: the route's path, the method, the status, and how many seconds it took."""


class Router:
    """The application that the server calls: finds the route, checks, asks the handler, finishes the answer."""

    def __init__(self, backend: Backend, routes: Iterable[Route], *, observe: Observer | None = None) -> None:
        self._backend = backend
        self._observe = observe
        self._exact = {route.path: route for route in routes}
        self._prefixes = [route for path, route in self._exact.items() if path.endswith("/")]

    async def __call__(self, request: Request) -> Response:
        raw_path, query = split_target(request.target)
        try:
            path = unescape(raw_path)
        except BadEscape:
            return finish(request, Reply.text(400, "invalid escape in the path"))
        clean = clean_path(path)
        if clean != path:
            return redirect(request, 301, clean, query)
        if path == "/":
            return redirect(request, 307, "/ui/", query)
        route = self._find(path)
        if route is None:
            if f"{path}/" in self._exact:
                return redirect(request, 301, f"{path}/", query)
            return finish(request, Reply(status=404))
        begun = time.perf_counter()
        reply = await self._answer(route, request, path, Query(query))
        if self._observe is not None:
            self._observe(route.path, request.method, reply.status, time.perf_counter() - begun)
        return finish(request, reply, self._backend.response_headers)

    def _find(self, path: str) -> Route | None:
        exact = self._exact.get(path)
        if exact is not None:
            return exact
        return next((route for route in self._prefixes if path.startswith(route.path)), None)

    async def _answer(self, route: Route, request: Request, path: str, query: Query) -> Reply:
        try:
            return await route.handler(self._check(route, request, path, query))
        except HttpError as error:
            return Reply.text(error.status, error.text)
        except Unacceptable as error:
            return Reply.text(400, str(error))
        except BackendError as error:
            return Reply.text(500, str(error))

    def _check(self, route: Route, request: Request, path: str, query: Query) -> Call:
        """Raises HttpError by the order in the module's head."""
        backend = self._backend
        is_server = backend.identity.is_server
        if route.role is Role.SERVER_FIRST and not is_server:
            raise HttpError(400, "Server only endpoint")
        if request.method not in route.methods and (route.methods is not ANY or request.method == "CONNECT"):
            raise HttpError(405, "Invalid method")
        if (route.role is Role.SERVER and not is_server) or (route.role is Role.CLIENT and backend.client is None):
            raise HttpError(501, "Invalid method")
        if route.own_pages_only:
            refuse_foreign_pages(request)
        else:
            refuse_foreign_names(request, backend.response_headers)
        call = Call(request, query, path, backend.nomad.settings.acl)
        if route.checks_query:
            call.stale = check_query(query)
        if route.right is not None:
            call.require(route.right)
        return call


def check_query(query: Query) -> bool:
    """Check the parameters that all reading endpoints share; answers with `stale`. Raises HttpError 400.

    Nothing here blocks, so well-formed `wait` and `index` change nothing.
    """
    stale = "stale" in query and (query.first("stale") == "" or read_bool(query.first("stale")))
    if stale is None:
        raise HttpError(400, "Expect `true` or `false` for `stale` query string parameter")
    wait, index, per_page = query.first("wait"), query.first("index"), query.first("per_page")
    if wait and not GO_DURATION.fullmatch(wait):
        raise HttpError(400, "Invalid wait time")
    if index and not (re.fullmatch("[0-9]{1,20}", index) and int(index) < 2**64):
        raise HttpError(400, "Invalid index")
    if per_page and not (re.fullmatch("[+-]?[0-9]{1,10}", per_page) and -(2**31) <= int(per_page) < 2**31):
        raise HttpError(400, "Expect a number for `per_page` query string parameter")
    return stale


def read_bool(text: str) -> bool | None:
    """A truth value in the spellings that Go takes, None for any other text."""
    return True if text in TRUE else False if text in FALSE else None


def clean_path(path: str) -> str:
    """The path without `.`, `..` and doubled slashes; a slash at the end stays."""
    clean = posixpath.normpath("/" + path.lstrip("/"))
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def redirect(request: Request, status: int, path: str, query: str) -> Response:
    """Send the client to another path of ours, its query kept. Readers get a link in the body."""
    location = quote(path, safe="/$&+,:;=@~!*'()", errors="surrogateescape") + (f"?{query}" if query else "")
    words = {301: "Moved Permanently", 307: "Temporary Redirect"}[status]
    link = location.replace("&", "&amp;").replace("'", "&#39;").replace('"', "&#34;").replace("<", "&lt;")
    reads = request.method in ("GET", "HEAD")
    body = f'<a href="{link}">{words}</a>.\n\n'.encode() if reads else b""
    extra: Headers = [(b"Location", location.encode())]
    return finish(request, Reply(body, HTML, status), extra)
