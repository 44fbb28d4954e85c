"""The agents that the contract vectors ask for, by the words that they use for them."""

from base64 import b64decode
from collections.abc import Callable

from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.http.acl import Acl
from moot.http.nomad_operations import ApiSettings
from moot.http.schema import MemberAnswer
from moot.http.self_config import AgentSettings
from tests.api.scripted import ScriptedBackend, identity, made, server_tags
from tests.api.scripted_nomad import ScriptedClientRole, ScriptedNomad, ScriptedRemote, answer_of
from tests.api.scripted_pool import ScriptedKeys

REFUSED = "dial tcp {}: connect: connection refused"

JOIN_CAUSES = {
    "127.0.0.9": ("127.0.0.9", REFUSED.format("127.0.0.9:4648")),
    "127.0.0.1:4999": ("127.0.0.1", REFUSED.format("127.0.0.1:4999")),
    "127.0.0.1:4998": ("127.0.0.1", REFUSED.format("127.0.0.1:4998")),
    "[::1]:4999": ("::1", REFUSED.format("[::1]:4999")),
    "127.0.0.1:4646": (
        "127.0.0.1",
        "received invalid msgType (72), expected pushPullMsg (6) from=127.0.0.1:4646",
    ),
    "127.0.0.1:99999": ("", 'strconv.ParseUint: parsing "99999": value out of range'),
    "/127.0.0.1:4648": ("", "empty node name provided"),
    "": ("", "lookup : no such host"),
    "nope": ("", "lookup nope: no such host"),
}
"""What the pool answers to these addresses, for every scripted agent."""

DEV = AgentSettings(
    bind_addr="127.0.0.1",
    http_advertise="127.0.0.1:4646",
    rpc_advertise="127.0.0.1:4647",
    serf_advertise="127.0.0.1:4648",
    dev_mode=True,
    log_level="DEBUG",
    enable_debug=True,
    server_enabled=True,
    client_enabled=True,
    version="0.5.5",
    version_prerelease="dev",
)


KEY = "cg8StVXbQJ0gPvMd9o7yrg=="
"""The key of the encrypted pools."""


def dev() -> ScriptedBackend:
    """Both roles on 127.0.0.1."""
    table = [made("bacon-mac.global", "127.0.0.1", server_tags(bootstrap="1"))]
    plain = ScriptedKeys(table, {}, encrypted=False)
    return ScriptedBackend(
        identity("bacon-mac"),
        table,
        nomad=ScriptedNomad(plain, ApiSettings(enable_debug=True, prometheus_metrics=True)),
        client=ScriptedClientRole(["127.0.0.1:4647"], frozenset({"127.0.0.1:4999", "127.0.0.1:4998"})),
        settings=DEV,
        join_errors=dict(JOIN_CAUSES),
    )


def pool(*others: SerfMember) -> ScriptedBackend:
    """Server s1 in region global at 127.0.0.2, and others."""
    own = made("s1.global", "127.0.0.2", server_tags(expect="3"))
    return ScriptedBackend(identity("s1"), [own, *others], join_errors=dict(JOIN_CAUSES))


def three(third: MemberStatus = MemberStatus.ALIVE, *, encrypted: bool = False) -> ScriptedBackend:
    """Servers s1, s2, s3, seen by s1."""
    tags = server_tags(expect="3")
    backend = pool(made("s2.global", "127.0.0.3", tags), made("s3.global", "127.0.0.4", tags, third))
    backend.encrypted = encrypted
    if encrypted:
        backend.nomad = ScriptedNomad(ScriptedKeys.of(backend.table, b64decode(KEY)))
    return backend


def with_acl() -> ScriptedBackend:
    """A server with access control, and nobody who has any right."""
    backend = pool()
    backend.nomad.settings = ApiSettings(acl=Acl(enabled=True), enable_debug=True)
    return backend


def two_regions(eu: MemberStatus = MemberStatus.ALIVE) -> ScriptedBackend:
    """s1 in global and e1 in eu."""
    return pool(made("e1.eu", "127.0.0.4", server_tags("eu"), eu))


def left_alone() -> ScriptedBackend:
    """No server of the region is alive: the only one has left, and its API still answers."""
    return ScriptedBackend(identity("s1"), [made("s1.global", "127.0.0.2", status=MemberStatus.LEFT)])


def client(*servers: str, failure: str = "") -> ScriptedBackend:
    """A client-only agent that knows these servers, the first of which is s1; what calls to them fail with."""
    s1 = MemberAnswer.of(made("s1.global", "127.0.0.2"))
    return ScriptedBackend(
        identity("c1", is_server=False),
        client=ScriptedClientRole(list(servers)),
        remote=ScriptedRemote(
            answer_of("s1", [s1]),
            {"global": "127.0.0.2:4647"},
            failure if servers else "no servers",
        ),
    )


def with_header() -> ScriptedBackend:
    """A server with a configured response header."""
    backend = pool()
    backend.header_settings = {"x-custom-one": "abc"}
    return backend


def joining(address: str, cause: str) -> Callable[[], ScriptedBackend]:
    """A server for which joining `address` fails."""

    def situation() -> ScriptedBackend:
        backend = pool()
        backend.join_errors[address] = (address, cause)
        return backend

    return situation


SITUATIONS: dict[str, Callable[[], ScriptedBackend]] = {
    "any": pool,
    "server": pool,
    "server only": pool,
    "server only, with leader": pool,
    "server, ACLs off": pool,
    "one server, bootstrap_expect 3, never joined": pool,
    "server with encrypt set to cg8StVXbQJ0gPvMd9o7yrg==": lambda: three(encrypted=True),
    "dev": dev,
    "dev, no other option": dev,
    "dev, node name bacon-mac": dev,
    "client": client,
    "client only": client,
    "client only, no servers": client,
    "client only, advertise.serf not set": client,
    "client only with a server": lambda: client("127.0.0.2:4647"),
    "client only, server 127.0.0.2": lambda: client("127.0.0.2:4647"),
    "client only, its server is s1": lambda: client("127.0.0.2:4647"),
    "client only, its server was killed": lambda: client(
        "127.0.0.2:4647", failure=f"rpc error: failed to get conn: {REFUSED.format('127.0.0.2:4647')}"
    ),
    "client only; servers s1 127.0.0.2 and s2 127.0.0.3 up": client,
    "client only, list was 127.0.0.2 and 127.0.0.3": lambda: client("127.0.0.2:4647", "127.0.0.3:4647"),
    "server, acl { enabled = true }, no policies": with_acl,
    "server, enable_debug not set": pool,
    "server, prometheus_metrics not set": pool,
    "server without scheduler workers": pool,
    "dev (no encryption)": dev,
    "3 alive servers, asked at s1": three,
    "s1 and s2 alive, s3 left, asked at s1": lambda: three(MemberStatus.LEFT),
    f"3 servers, encrypt = {KEY}": lambda: three(encrypted=True),
    "3 servers joined": three,
    "3 servers s1 s2 s3 joined, bootstrap_expect 3": three,
    "3 servers, s3 failed, asked at s1": lambda: three(MemberStatus.FAILED),
    "3 servers, s3 left, asked at s1": lambda: three(MemberStatus.LEFT),
    "3 servers, s3 force-left before": lambda: three(MemberStatus.LEFT),
    "3 servers, s3 failed then force-left; asked at s1; encryption on": lambda: three(
        MemberStatus.LEFT, encrypted=True
    ),
    "s1 in global, e1 in eu": two_regions,
    "s1 in global, e1 in eu, joined": two_regions,
    "s1 in global, e1 127.0.0.4 in eu": two_regions,
    "s1 in global, the only eu server failed": lambda: two_regions(MemberStatus.FAILED),
    "server, bootstrap_expect 3, alone (a Raft-backed agent)": left_alone,
    'http_api_response_headers { "x-custom-one" = "abc" }': with_header,
    "server; two other servers up": pool,
    "3 servers not joined yet (127.0.0.2, .3, .4), nothing at 127.0.0.9, asked at 127.0.0.2": pool,
    "server; at 127.0.0.5 a gossip agent without tag role=nomad, named plain": joining(
        "127.0.0.5", "member 'plain' is not a server"
    ),
    "server without encrypt; 127.0.0.2 encrypted": joining(
        "127.0.0.2", "Remote state is encrypted and encryption is not configured"
    ),
    "server with encrypt; 127.0.0.5 plain": joining(
        "127.0.0.5", "Encryption is configured but remote state is not encrypted"
    ),
    "server with key A; 127.0.0.2 with key B": joining("127.0.0.2", "No installed keys could decrypt the message"),
}
