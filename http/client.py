"""The client of the API that CLI, cluster runner and tests use: synchronous, standard library only.

It speaks to any agent with Nomad's API; what is about `/v1/moot/` is of this product's own.
"""

import http.client
import json
import socket
import ssl
from base64 import b64encode
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from moot.http.client_tls import ClientTls, why_no_tls

DEFAULT_URL = "http://127.0.0.1:4646"
DEFAULT_PORT = 4646
SILENCE_MAX = 30.0
"""Seconds; streams have a heartbeat that comes more often."""
QUERY_SLACK = 20.0
"""Seconds that a query's answer may be late before the agent counts as gone."""
PLAIN_TO_TLS = "Client sent an HTTP request to an HTTPS server"
"""What agents say to who speaks plain HTTP where TLS is spoken, Nomad's as well."""
KEYS_TIMEOUT = 300.0
"""Seconds that a key operation may take: it is asked up to six times, and each time waits for all members."""


class ApiError(Exception):
    """The agent answered with an error. `status` is the HTTP status, `body` its text.

    `status` is 0 when what came was no answer at all (see Unreachable).
    """

    def __init__(self, status: int, body: str, text: str = "") -> None:
        super().__init__(text or f"{body.strip() or http.client.responses.get(status, 'error')} (HTTP {status})")
        self.status = status
        self.body = body


class Unreachable(ApiError):
    """No agent answered; the text says why and what to do next."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            0,
            "",
            f"no agent answers at {url} ({why}). Start one with `moot agent`, or name a running one with "
            "--address URL or MOOT_ADDR.",
        )
        self.url = url


class KeysRefused(ApiError):
    """A key operation would cut members off, and was not done.

    `blockers` have `name`, `status` and `reason`; `hints` say how to go on.
    """

    def __init__(self, answer: Mapping[str, Any], body: str) -> None:
        super().__init__(409, body, str(answer.get("error", "refused")))
        self.blockers: list[dict[str, str]] = list(answer.get("blockers", ()))
        self.hints: list[str] = list(answer.get("hints", ()))


class _SecureConnection(http.client.HTTPConnection):
    """HTTP by TLS with an agent whose certificate may have another name than the host."""

    def __init__(self, host: str, port: int, timeout: float, context: ssl.SSLContext, server_name: str) -> None:
        super().__init__(host, port, timeout=timeout)
        self._context = context
        self._server_name = server_name

    def connect(self) -> None:
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._server_name)


class ApiClient:
    """Calls one agent. One connection per call, so an object may be shared and kept.

    `url` is `http://HOST:PORT` or `https://…`; without a scheme http is meant, without a port 4646. IPv6
    literals stand in brackets. `timeout` is seconds for each wait on the network, `tls` is for `https://`. Raises
    ValueError when the URL cannot be read or the token cannot be one, ConfigError when files for TLS cannot.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, token: str = "", timeout: float = 10.0, tls: ClientTls | None = None
    ) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            port = parts.port
            (parts.hostname or "").encode("idna")
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ValueError(f"{url!r} is no address of an agent; expected http://HOST:PORT")
        if not (token.isascii() and token.isprintable()):
            raise ValueError("a token is printable ASCII, such as `moot token` prints")
        self.timeout = timeout
        meets = tls or ClientTls()
        self._context = meets.context() if parts.scheme == "https" else None
        self._host = parts.hostname
        self._port = DEFAULT_PORT if port is None else port
        self._prefix = parts.path.rstrip("/")
        self._token = token
        self._server_name = meets.server_name or self._host
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"{parts.scheme}://{shown}:{self._port}{self._prefix}"

    def members(self) -> dict[str, Any]:
        """`{"ServerName", "ServerRegion", "ServerDC", "Members": [...]}` of the agent asked."""
        return self._object("GET", "/v1/agent/members")

    def self_(self) -> dict[str, Any]:
        """`{"config", "member", "stats"}`."""
        return self._object("GET", "/v1/agent/self")

    def join(self, addresses: Sequence[str], *, timeout: float | None = None) -> tuple[int, str]:
        """How many addresses were joined, and when none was, why. Waits for all of them."""
        answer = self._object("PUT", "/v1/agent/join", [("address", it) for it in addresses], timeout)
        return int(answer["num_joined"]), str(answer["error"])

    def force_leave(self, name: str, *, prune: bool = False, timeout: float | None = None) -> None:
        """Make a failed member `left`, and with `prune` forgotten. `name` is the full gossip name."""
        query = [("node", name), *([("prune", "1")] if prune else [])]
        self.request("PUT", "/v1/agent/force-leave", query, timeout)

    def join_each(self, addresses: Sequence[str], *, timeout: float | None = None) -> dict[str, Any]:
        """`joined` (how many) and `results`: `address`, `ip`, `status`, `error` and `hint` of each address."""
        return self._object("PUT", "/v1/moot/join", [("address", it) for it in addresses], timeout)

    def force_leave_each(self, names: Sequence[str], *, prune: bool = False, wait: float = 0.0) -> dict[str, Any]:
        """`observer` and `results`: `name`, `before`, `after`, `done`, `note` and `agreement` of each full name.

        With `wait` all others are asked for so many seconds at most, until they agree.
        """
        query = [*(("name", name) for name in names), *([("prune", "1")] if prune else [])]
        query += [("wait", f"{round(wait * 1000)}ms")] if wait else []
        return self._object("PUT", "/v1/moot/force-leave", query, self.timeout + wait)

    def view(self) -> dict[str, Any]:
        """All that the agent knows of each of its `members`."""
        return self._object("GET", "/v1/moot/view")

    def lines(self, path: str, query: Sequence[tuple[str, str]] = (), *, whole: bool = False) -> Iterator[str]:
        """The lines of a streamed answer as they come, without their ends.

        One that ends raises Unreachable, unless it is to be `whole`. So does one that is silent for longer than any
        stream of ours is.
        """
        with closing(self._connect(max(self.timeout, SILENCE_MAX))) as connection:
            try:
                for raw in iter(self._ask(connection, "GET", path, query).readline, b""):
                    yield raw.decode("utf-8", "replace").rstrip("\r\n")
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(self.url, _why(error)) from error
        if not whole:
            raise Unreachable(self.url, "its answer broke off")

    def regions(self) -> list[str]:
        """Regions that have an alive server."""
        return self._list("GET", "/v1/regions")

    def leader(self, region: str = "") -> str:
        """`ip:port` of the region's leader; of the agent's own region when none is named."""
        return str(self._call("GET", "/v1/status/leader", [("region", region)] if region else []))

    def peers(self, region: str = "") -> list[str]:
        """`ip:port` of the region's servers that have not left."""
        return self._list("GET", "/v1/status/peers", [("region", region)] if region else [])

    def servers(self) -> list[str]:
        """The client role's list of servers."""
        return self._list("GET", "/v1/agent/servers")

    def set_servers(self, addresses: Sequence[str]) -> None:
        """Replace the client role's list of servers."""
        self.request("PUT", "/v1/agent/servers", [("address", it) for it in addresses])

    def agent(self) -> dict[str, Any]:
        """The agent in short: names, addresses, pid, uptime, profile, counts of members per status."""
        return self._object("GET", "/v1/moot/agent")

    def leave(self, *, timeout: float | None = None) -> None:
        """Make the agent leave the pool gracefully and end; returns when the pool has heard it."""
        self.request("PUT", "/v1/moot/leave", [], timeout)

    def event(self, name: str, payload: bytes = b"", *, coalesce: bool = False) -> None:
        """Send a user event to the pool."""
        wish = {"name": name, "payload": _base64(payload), "coalesce": coalesce}
        self.request("PUT", "/v1/moot/event", body=wish)

    def query(
        self,
        name: str,
        payload: bytes = b"",
        *,
        nodes: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        ack: bool = True,
        relay_factor: int = 0,
        timeout: float = 0.0,
    ) -> Generator[dict[str, Any], None, None]:
        """Ask the pool, and give its replies as they come; a call that fails raises at the first of them.

        Every item has a `type`: first `asked` (`timeout` says for how many seconds), then `ack` (`from`) and
        `response` (`from`, `payload` as base64, and `text` if it is some), at the end `done` (`acks`, `responses`).
        Closing the generator (`contextlib.closing`) drops the query. `timeout` is seconds, 0 the pool's default.
        """
        wish = {
            "name": name,
            "payload": _base64(payload),
            "nodes": list(nodes),
            "tags": dict(tags or {}),
            "ack": ack,
            "relay_factor": relay_factor,
            "timeout": timeout,
        }
        return self._lines("/v1/moot/query", wish)

    def keys(self, *, show: bool = False) -> dict[str, Any]:
        """Who holds which key: `asked`, `keys` (by id, with `show` also the keys themselves), `members`."""
        return self._object("GET", "/v1/moot/keys", [("show", "1")] if show else [], KEYS_TIMEOUT)

    def change_keys(self, operation: str, key: str, *, force: bool = False) -> dict[str, Any]:
        """`operation` is install, use or remove, `key` base64 or an id. Raises KeysRefused."""
        try:
            path, wish = f"/v1/moot/keys/{operation}", {"key": key, "force": force}
            return self._object("PUT", path, timeout=KEYS_TIMEOUT, body=wish)
        except ApiError as error:
            if error.status != 409:
                raise
            raise KeysRefused(self._line(error.body), error.body) from None

    def tags(self) -> dict[str, Any]:
        """`name` of the agent, and its `tags`."""
        return self._object("GET", "/v1/moot/tags")

    def change_tags(self, changed: Mapping[str, str], deleted: Sequence[str] = ()) -> dict[str, Any]:
        """Announce other tags; `name` and all `tags` as they are then."""
        return self._object("PUT", "/v1/moot/tags", body={"set": dict(changed), "delete": list(deleted)})

    def round_trip(self, start: str, end: str = "") -> dict[str, Any]:
        """Estimated round trip time between two members: `from`, `to` (the agent asked unless given), `seconds`."""
        return self._object("GET", "/v1/moot/rtt", [("from", start), *([("to", end)] if end else [])])

    def flaps(self) -> dict[str, int]:
        """Members that came back soon after they had failed, and how often."""
        return {str(name): int(number) for name, number in self._object("GET", "/v1/moot/flaps")["flaps"].items()}

    def request(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        timeout: float | None = None,
        body: object = None,
    ) -> bytes:
        """One call; the body of its answer. `path` starts with `/` and may hold any text.

        `body` is sent as JSON unless it is None. Raises ApiError for every status but 200, Unreachable when there
        was no answer.
        """
        with closing(self._connect(self.timeout if timeout is None else timeout)) as connection:
            try:
                return self._ask(connection, method, path, query, body).read()
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(self.url, _why(error)) from error

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        body: object = None,
    ) -> http.client.HTTPResponse:
        """The answer, its body not read yet. Raises ApiError, OSError, HTTPException."""
        try:
            target = self._prefix + quote(path, safe="/", errors="surrogateescape")
            if query:
                target += "?" + urlencode(query, errors="surrogateescape")
        except UnicodeEncodeError as error:
            raise ValueError(f"{ascii(error.object)[:60]} cannot be sent: it holds a lone surrogate") from None
        headers = {"Accept": "application/json", "User-Agent": "moot"}
        if self._token:
            headers["X-Nomad-Token"] = self._token
        content = None if body is None else json.dumps(body).encode()
        connection.request(method, target, content, headers)
        answer = connection.getresponse()
        if answer.status == 200:
            return answer
        words = answer.read().decode("utf-8", "replace")
        if answer.status == 400 and words.startswith(PLAIN_TO_TLS):
            raise ApiError(400, words, f"the agent at {self.url} speaks TLS: name it as https://")
        if answer.status == 404 and not words and path.startswith("/v1/moot/"):
            raise ApiError(404, words, f"what answers at {self.url} is no agent of moot, or an older one: no {path}")
        raise ApiError(answer.status, words)

    def _lines(self, path: str, wish: object) -> Generator[dict[str, Any], None, None]:
        """The objects of a streamed answer, as they come."""
        with closing(self._connect(self.timeout)) as connection:
            try:
                connection.connect()
                link = connection.sock
                answer = self._ask(connection, "PUT", path, body=wish)
                for raw in iter(answer.readline, b""):
                    line = self._line(raw)
                    kind = line.get("type")
                    if kind == "error":
                        raise ApiError(200, "", str(line.get("error")))
                    wait = line.get("timeout")
                    if kind == "asked" and isinstance(wait, int | float):
                        link.settimeout(wait + QUERY_SLACK)
                    yield line
                    if kind == "done":
                        return
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(self.url, _why(error)) from error
        raise Unreachable(self.url, "its answer broke off")

    def _line(self, raw: str | bytes) -> dict[str, Any]:
        try:
            line = json.loads(raw)
        except ValueError:
            line = None
        if not isinstance(line, dict):
            raise ApiError(200, str(raw)[:200], self._not_an_agent())
        return line

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        return _SecureConnection(self._host, self._port, timeout, self._context, self._server_name)

    def _call(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        timeout: float | None = None,
        body: object = None,
    ) -> object:
        answer = self.request(method, path, query, timeout, body)
        try:
            return json.loads(answer)
        except ValueError as error:
            raise ApiError(200, answer[:200].decode("utf-8", "replace"), self._not_an_agent()) from error

    def _object(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        timeout: float | None = None,
        body: object = None,
    ) -> dict[str, Any]:
        answer = self._call(method, path, query, timeout, body)
        if not isinstance(answer, dict):
            raise ApiError(200, json.dumps(answer)[:200], self._not_an_agent())
        return answer

    def _list(self, method: str, path: str, query: Sequence[tuple[str, str]] = ()) -> list[str]:
        answer = self._call(method, path, query)
        if not isinstance(answer, list):
            raise ApiError(200, json.dumps(answer)[:200], self._not_an_agent())
        return [str(item) for item in answer]

    def _not_an_agent(self) -> str:
        return f"what answers at {self.url} does not speak the agent's API"


def _base64(payload: bytes) -> str:
    return b64encode(payload).decode()


def _why(error: Exception) -> str:
    """A few words on a failed call."""
    match error:
        case TimeoutError():
            return "timed out"
        case ConnectionRefusedError():
            return "connection refused"
        case socket.gaierror():
            return "the host name is unknown"
        case ssl.SSLError():
            return why_no_tls(error)
        case http.client.RemoteDisconnected() | ConnectionResetError():
            return "it hung up without an answer"
        case http.client.IncompleteRead():
            return "its answer broke off"
        case http.client.HTTPException():
            return "what answers does not speak HTTP"
        case OSError(strerror=str(words)):
            return words[:1].lower() + words[1:]
    return str(error) or type(error).__name__
