"""What stands around every handler: configured headers, gzip, and a guard against foreign web pages."""

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from moot.gossip.errors import ConfigError
from moot.http.exchange import VARY, Headers, HttpError, Reply, Request, Response

OWN_HEADERS = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "date", "transfer-encoding", "vary"}
)
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FIELD_VALUE = re.compile(r"[\t\x20-\x7e]*")

ALLOW_ORIGIN = b"Access-Control-Allow-Origin"
FOREIGN = "requests from other sites are refused"


def configured_headers(settings: Mapping[str, str]) -> Headers:
    """`http_api_response_headers` as they are sent, names in canonical case; the one check of that setting.

    Raises ConfigError for a name or value that HTTP does not allow (values are ASCII), and for the headers
    that the server itself sets.
    """
    headers = []
    for name, value in settings.items():
        if not TOKEN.fullmatch(name):
            raise ConfigError(f"http_api_response_headers: {name!r} is no header name")
        if not FIELD_VALUE.fullmatch(value):
            raise ConfigError(f"http_api_response_headers: the value of {name} must be printable ASCII")
        if name.lower() in OWN_HEADERS:
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
    was pointed at a loopback address (DNS rebinding). By TLS any name will do, for there the browser has made
    sure that our certificate is made out to it; but then the page must have come by TLS, too.
    """
    origin = request.header(b"origin")
    if request.header(b"sec-fetch-site") not in ("", "same-origin", "none"):
        raise HttpError(403, FOREIGN)
    if not origin:
        return
    host = request.header(b"host")
    parts = _split(origin)
    proven = parts is not None and (_is_local_or_literal(host) or (request.secure and parts.scheme == "https"))
    if parts is None or parts.netloc.lower() != host.lower() or not proven:
        raise HttpError(403, FOREIGN)


def refuse_foreign_names(request: Request, configured: Headers) -> None:
    """Keep pages of other sites from reading through a host name. Raises HttpError 403.

    A read is refused when all of this holds:

    - Host is neither an IP address nor `localhost`. By those, the browser itself keeps the answer from
      pages of other sites;
    - the request comes from a page of another site: `Sec-Fetch-Site` is `cross-site`, or Origin names
      another host. Tools send neither. A page that came through the same name passes, for that is what an
      operator's page behind a DNS name looks like. A page that rebound its own name looks just the same, and
      over plain HTTP browsers send no `Sec-Fetch-Site`: it can read, but it can change nothing;
    - it is no link that a person followed (`Sec-Fetch-Mode: navigate`), whose answer no page gets to see;
    - no `Access-Control-Allow-Origin` is configured, by which an operator allows other sites to read.
    """
    site, origin, host = (request.header(name) for name in (b"sec-fetch-site", b"origin", b"host"))
    if site != "cross-site" and (not origin or _host_name(origin) == _host_name(f"//{host}") != ""):
        return
    navigates = request.header(b"sec-fetch-mode") == "navigate"
    if navigates or _is_local_or_literal(host) or any(name == ALLOW_ORIGIN for name, _ in configured):
        return
    raise HttpError(403, FOREIGN)


def _split(url: str) -> SplitResult | None:
    """The parts of a URL, None for what is none (such as a bracket that is not closed)."""
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _host_name(url: str) -> str:
    parts = _split(url)
    return "" if parts is None else parts.hostname or ""


def _is_local_or_literal(host: str) -> bool:
    name = _host_name(f"//{host}")
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def finish(request: Request, reply: Reply, extra: Headers | None = None) -> Response:
    """Add what every answer carries, and compress it where the client asks for that; empty ones stay empty.

    Streams are not compressed: each piece shall reach the client when it is sent.
    """
    headers = [VARY, *(extra or ())]
    if reply.stream is not None:
        return Response(reply.status, [*headers, (b"Content-Type", reply.content_type)], stream=reply.stream)
    if not reply.body:
        return Response(reply.status, headers)
    headers.append((b"Content-Type", reply.content_type))
    if not accepts_gzip(request.header(b"accept-encoding")):
        return Response(reply.status, headers, reply.body)
    headers.append((b"Content-Encoding", b"gzip"))
    return Response(reply.status, headers, reply.packed)
