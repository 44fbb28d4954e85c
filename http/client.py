"""The client of the API that CLI, cluster runner and tests use: synchronous, standard library only.

It speaks to any agent with Nomad's API; `agent` and `leave` are of this product's own.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

DEFAULT_URL = "http://127.0.0.1:4646"
DEFAULT_PORT = 4646


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


class ApiClient:
    """Calls one agent. One connection per call, so an object may be shared and kept.

    `url` is `http://HOST:PORT` or `https://…`; without a scheme http is meant, without a port 4646. IPv6
    literals stand in brackets. `timeout` is seconds for each wait on the network. Raises ValueError when
    the URL cannot be read.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, token: str = "", timeout: float = 10.0, ca_file: str | None = None
    ) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ValueError(f"{url!r} is no address of an agent; expected http://HOST:PORT")
        self.timeout = timeout
        self._tls = parts.scheme == "https"
        self._host = parts.hostname
        self._port = DEFAULT_PORT if port is None else port
        self._prefix = parts.path.rstrip("/")
        self._token = token
        self._ca_file = ca_file
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

    def request(
        self, method: str, path: str, query: Sequence[tuple[str, str]] = (), timeout: float | None = None
    ) -> bytes:
        """One call; the body of its answer. `path` starts with `/` and may hold any text.

        Raises ApiError for every status but 200, Unreachable when there was no answer.
        """
        target = self._prefix + quote(path, safe="/", errors="surrogateescape")
        if query:
            target += "?" + urlencode(query, errors="surrogateescape")
        headers = {"Accept": "application/json", "User-Agent": "moot"}
        if self._token:
            headers["X-Nomad-Token"] = self._token
        connection = self._connect(self.timeout if timeout is None else timeout)
        try:
            connection.request(method, target, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(self.url, _why(error)) from error
        finally:
            connection.close()
        if answer.status != 200:
            raise ApiError(answer.status, body.decode("utf-8", "replace"))
        return body

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        context = ssl.create_default_context(cafile=self._ca_file)
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=context)

    def _call(
        self, method: str, path: str, query: Sequence[tuple[str, str]] = (), timeout: float | None = None
    ) -> object:
        body = self.request(method, path, query, timeout)
        try:
            return json.loads(body)
        except ValueError as error:
            raise ApiError(200, body[:200].decode("utf-8", "replace"), self._not_an_agent()) from error

    def _object(
        self, method: str, path: str, query: Sequence[tuple[str, str]] = (), timeout: float | None = None
    ) -> dict[str, Any]:
        answer = self._call(method, path, query, timeout)
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


def _why(error: Exception) -> str:
    """A few words on a failed call."""
    match error:
        case TimeoutError():
            return "timed out"
        case ConnectionRefusedError():
            return "connection refused"
        case socket.gaierror():
            return "the host name is unknown"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case http.client.RemoteDisconnected() | ConnectionResetError():
            return "it hung up without an answer"
        case http.client.IncompleteRead():
            return "its answer broke off"
        case http.client.HTTPException():
            return "what answers does not speak HTTP"
        case OSError(strerror=str(words)):
            return words[:1].lower() + words[1:]
    return str(error) or type(error).__name__
