"""What stands around every handler: configured headers, gzip, and a guard against foreign web pages."""

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from moot.gossip.errors import ConfigError
from moot.http.exchange import Headers, HttpError, Reply, Request, Response

FRAMING_HEADERS = frozenset({"connection", "content-encoding", "content-length", "date", "transfer-encoding", "vary"})
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FIELD_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")

VARY = (b"Vary", b"Accept-Encoding")


def configured_headers(settings: Mapping[str, str]) -> Headers:
    """`http_api_response_headers` as they are sent, names in canonical case.

    Raises ConfigError for a name or value that HTTP does not allow, and for the headers by which the
    server itself frames its answers.
    """
    headers = []
    for name, value in settings.items():
        if not TOKEN.fullmatch(name) or not FIELD_VALUE.fullmatch(value):
            raise ConfigError(f"http_api_response_headers: {name!r} = {value!r} is no valid HTTP header")
        if name.lower() in FRAMING_HEADERS:
            raise ConfigError(f"http_api_response_headers: {name} is set by the server itself")
        canonical = "-".join(part.capitalize() for part in name.split("-"))
        headers.append((canonical.encode(), value.strip().encode()))
    return headers


def accepts_gzip(accept: str) -> bool:
    """Whether an Accept-Encoding value takes gzip, that is, names it with a quality above zero."""
    for item in accept.split(","):
        coding, *parameters = (part.strip() for part in item.split(";"))
        if coding.lower() != "gzip":
            continue
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "q":
                try:
                    return float(value) > 0
                except ValueError:
                    return False
        return True
    return False


def refuse_foreign_pages(request: Request) -> None:
    """Keep web pages of other sites from changing anything. Raises HttpError 403.

    Browsers send Origin with every request that changes something; tools do not, and pass. The page must
    come from this very server, and by an IP address or `localhost`: a host name may be a stranger's that
    was pointed at a loopback address (DNS rebinding).
    """
    origin = request.header(b"origin")
    if request.header(b"sec-fetch-site") not in ("", "same-origin", "none"):
        raise HttpError(403, "requests from other sites are refused")
    if not origin:
        return
    host = request.header(b"host")
    if urlsplit(origin).netloc.lower() != host.lower() or not _is_local_or_literal(host):
        raise HttpError(403, "requests from other sites are refused")


def _is_local_or_literal(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def finish(request: Request, reply: Reply, extra: Headers | None = None) -> Response:
    """Add what every answer carries, and compress it where the client asks for that; empty ones stay empty."""
    headers = [VARY, *(extra or ())]
    if not reply.body:
        return Response(reply.status, headers)
    headers.append((b"Content-Type", reply.content_type))
    if not accepts_gzip(request.header(b"accept-encoding")):
        return Response(reply.status, headers, reply.body)
    headers.append((b"Content-Encoding", b"gzip"))
    return Response(reply.status, headers, reply.packed)
