"""The keys of the configuration: one table for files, environment, flags, messages and the documentation.

The names are Nomad's; what Nomad does not have is in the block `moot`.
"""

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from moot.agent import checks
from moot.agent.discovery import check_discovery
from moot.agent.handlers import TIMEOUT, parse_handler
from moot.gossip.config import CONFLICT_MODES
from moot.gossip.errors import ConfigError
from moot.http.hosts import host_pattern

Value: TypeAlias = str | int | bool | float | list[str] | dict[str, str]
Layer: TypeAlias = dict[str, Value]

_KINDS = {bool: "boolean", int: "number", float: "duration", str: "text", list[str]: "list", dict[str, str]: "block"}


@dataclass(frozen=True, slots=True)
class Key:
    """How one key is checked, and how a later source meets an earlier one: by default it replaces it."""

    check: Callable[[object], Value]
    default: Value
    about: str
    """For people: what it does."""
    append: bool = False
    """Lists: a later source adds to the earlier ones."""
    reload: bool = False
    """A change takes effect without a restart, on SIGHUP."""
    secret: bool = False
    """Its value is shown to nobody."""

    @property
    def kind(self) -> str:
        """boolean, number, duration (a text), text, list (of texts) or block (of names with texts)."""
        if self.check is checks.rate:
            return "number"
        return _KINDS[typing.get_type_hints(self.check)["return"]]


def _handlers(value: object) -> list[str]:
    """Event handlers as `handlers.parse_handler` takes them."""
    found = checks.texts(value)
    for spec in found:
        _tried(parse_handler, spec)
    return found


def _discovery(value: object) -> str:
    """A name for `discovery.Discovery`."""
    found = checks.text(value)
    if found:
        _tried(check_discovery, found)
    return found


def _hosts(value: object) -> list[str]:
    """Further names of the HTTP API, as patterns."""
    found = checks.texts(value)
    for name in found:
        _tried(host_pattern, name)
    return [host_pattern(name) for name in found]


def _tried(check: Callable[[str], object], value: str) -> None:
    """What a part of the agent says about its setting, as a ValueError."""
    try:
        check(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _block(name: str, /, **keys: Key) -> dict[str, Key]:
    return {f"{name}.{key}": entry for key, entry in keys.items()}


def _tls(check: Callable[[object], Value], default: Value, about: str) -> Key:
    return Key(check, default, about, reload=True)


_GENERAL = {
    "name": Key(checks.name, "", "name of the node; the host's name when empty"),
    "region": Key(checks.name, "global", "region, part of the name in nomad pools"),
    "datacenter": Key(checks.name, "dc1", "datacenter"),
    "data_dir": Key(
        checks.directory,
        "",
        "absolute path for what outlives a restart: node id, snapshot, keyring; made when missing",
    ),
    "bind_addr": Key(checks.ip, "127.0.0.1", "IP to listen on; Nomad's default is 0.0.0.0"),
    "log_level": Key(checks.level, "info", "trace, debug, info, warn or error; `--dev`: debug", reload=True),
    "log_json": Key(checks.flag, False, "write the log as JSON objects"),
    "enable_debug": Key(
        checks.flag, False, "tell about the machine to who asks without access control; `--dev`: true", reload=True
    ),
    "leave_on_interrupt": Key(checks.flag, False, "leave the pool gracefully on SIGINT"),
    "leave_on_terminate": Key(checks.flag, False, "leave the pool gracefully on SIGTERM"),
    "http_api_response_headers": Key(checks.headers, {}, "headers of every answer of the API", reload=True),
    **_block(
        "ports",
        http=Key(checks.port, 4646, "port of the HTTP API; 0 takes any free one"),
        rpc=Key(checks.port, 4647, "port of the RPC between agents, in nomad pools; 0 takes any free one"),
        serf=Key(checks.port, 4648, "port of the gossip, UDP and TCP; 0 takes any free one"),
    ),
    **_block(
        "addresses",
        http=Key(checks.ip, "", "IP that the HTTP API listens on, instead of `bind_addr`"),
        rpc=Key(checks.ip, "", "the same for RPC"),
        serf=Key(checks.ip, "", "the same for the gossip"),
    ),
    **_block(
        "advertise",
        http=Key(checks.advertise, "", "IP or IP:PORT that others are told of the HTTP API"),
        rpc=Key(checks.advertise, "", "the same of RPC"),
        serf=Key(checks.advertise, "", "the same of the gossip"),
    ),
}
_ROLES = {
    **_block(
        "server",
        enabled=Key(checks.flag, True, "be a server: a member of the pool; true unless `client.enabled` is"),
        bootstrap_expect=Key(
            checks.expected, 0, "announced as the tags `expect` and, for 1, `bootstrap`; `--dev`: 1"
        ),
        encrypt=Key(checks.key, "", "gossip key: base64 of 16, 24 or 32 bytes, from `moot keygen`", secret=True),
        start_join=Key(checks.texts, [], "join these at start, or end when nobody is there", append=True),
        retry_join=Key(checks.texts, [], "join these in the background until it works", append=True),
        retry_max=Key(checks.count, 0, "attempts after the first, then end; 0 is for ever"),
        retry_interval=Key(checks.retry_pause, 30.0, "longest pause between attempts, at least 100ms"),
        rejoin_after_leave=Key(checks.flag, False, "find back to the pool of the snapshot also after a leave"),
        heartbeat_grace=Key(checks.duration, 0.0, "how long a client may be late before it is down"),
        min_heartbeat_ttl=Key(checks.some_time, 10.0, "shortest time to live of a client's registration"),
        max_heartbeats_per_second=Key(checks.rate, 50.0, "with more clients, their times to live grow"),
        node_gc_threshold=Key(checks.duration, 24 * 3600.0, "how long a client that is down is remembered"),
    ),
    **_block(
        "server.server_join",
        start_join=Key(checks.texts, [], "as `server.start_join`, but a later file replaces the list"),
        retry_join=Key(checks.texts, [], "as `server.retry_join`, but a later file replaces the list"),
        retry_max=Key(checks.count, 0, "as `server.retry_max`"),
        retry_interval=Key(checks.retry_pause, 30.0, "as `server.retry_interval`"),
    ),
    **_block(
        "client",
        enabled=Key(checks.flag, False, "be a client: registered with a server; `--dev`: true"),
        servers=Key(checks.texts, [], "HOST or HOST:PORT of servers to begin with; the port is 4647", append=True),
        node_class=Key(checks.name, "", "a word to group clients by"),
        state_dir=Key(checks.directory, "", "absolute path for the client's identity, if there is no `data_dir`"),
        meta=Key(checks.loose_map, {}, "further facts about the client"),
    ),
    **_block(
        "client.server_join",
        start_join=Key(checks.no_start_join, [], "nothing: a client starts whether a server answers or not"),
        retry_join=Key(checks.texts, [], "further servers, looked for until one is found"),
        retry_max=Key(checks.count, 0, "attempts after the first, then end; 0 is for ever"),
        retry_interval=Key(checks.retry_pause, 30.0, "longest pause between attempts, at least 100ms"),
    ),
}
_SECURITY = {
    **_block(
        "acl",
        enabled=Key(checks.flag, False, "ask callers of the HTTP API for tokens", reload=True),
        tokens=Key(checks.tokens, {}, "tokens by name, as `moot token` prints them", reload=True, secret=True),
    ),
    **_block(
        "tls",
        http=_tls(checks.flag, False, "TLS for the HTTP API"),
        rpc=_tls(checks.flag, False, "TLS for RPC"),
        ca_file=_tls(checks.file, "", "certificates of those who may sign, PEM"),
        cert_file=_tls(checks.file, "", "our certificate, PEM"),
        key_file=_tls(checks.file, "", "its key, PEM"),
        verify_https_client=_tls(checks.flag, False, "callers of the HTTP API show a certificate"),
        verify_server_hostname=_tls(checks.flag, False, "RPC only with servers whose certificate names their region"),
        rpc_upgrade_mode=_tls(checks.flag, False, "RPC takes plain connections besides"),
        tls_min_version=_tls(checks.text, "tls12", "tls12 or tls13"),
        tls_cipher_suites=_tls(checks.text, "", "cipher suites of TLS 1.2 by Go's names, with commas between"),
        tls_prefer_server_cipher_suites=_tls(checks.flag, False, "nothing any more, as in Nomad"),
    ),
    **_block(
        "limits",
        http_max_conns_per_client=Key(checks.count, 100, "HTTP connections of one IP; 0 is no limit", reload=True),
        https_handshake_timeout=Key(checks.duration, 5.0, "for a TLS handshake; 0s is no limit", reload=True),
        rpc_max_conns_per_client=Key(checks.count, 100, "RPC connections of one IP; 0 is no limit"),
        rpc_handshake_timeout=Key(checks.duration, 5.0, "for the beginning of a connection; 0s is no limit"),
    ),
}
_TELEMETRY = _block(
    "telemetry",
    prometheus_metrics=Key(checks.flag, False, "figures for Prometheus; `--dev`: true", reload=True),
    statsd_address=Key(checks.receiver, "", "HOST:PORT of a statsd server to send figures to", reload=True),
    statsite_address=Key(checks.receiver, "", "HOST:PORT of a statsite server to send figures to", reload=True),
    datadog_address=Key(checks.receiver, "", "HOST:PORT of a DogStatsD server to send figures to", reload=True),
    disable_hostname=Key(checks.flag, False, "leave the host's name out of the names of figures", reload=True),
    use_node_name=Key(checks.flag, False, "put the node's name there instead of the host's", reload=True),
    collection_interval=Key(checks.some_time, 1.0, "how often figures are collected", reload=True),
    publish_node_metrics=Key(checks.flag, False, "figures of the machine", reload=True),
    publish_allocation_metrics=Key(checks.flag, False, "nothing: there are no allocations here", reload=True),
)
_MOOT = {
    **_block(
        "moot",
        pool=Key(
            checks.one_of("nomad", "serf"),
            "nomad",
            "nomad: Nomad's names, tags and merge check; serf: mixes with serf agents",
        ),
        profile=Key(
            checks.one_of("lan", "wan", "local"), "", "timing: lan, wan or local; wan in nomad pools, else lan"
        ),
        label=Key(checks.label, "", "packets with another label are refused"),
        tags=Key(checks.text_map, {}, "tags to announce", reload=True),
        log_levels=Key(checks.levels, {}, "levels of single modules of the log, by name", reload=True),
        http_hosts=Key(_hosts, [], "names besides its own that the HTTP API answers to", append=True, reload=True),
        encrypt_file=Key(checks.file, "", "a file with the gossip key in it, instead of `server.encrypt`"),
        keyring_file=Key(checks.file, "", "where the pool's keys are kept; serf/local.keyring in the data directory"),
        snapshot=Key(
            checks.file, "", "where it is noted who is in the pool; serf/local.snapshot in the data directory"
        ),
        replay=Key(checks.flag, False, "joins bring the pool's past user events"),
        conflict=Key(
            checks.one_of(*CONFLICT_MODES),
            "",
            "when another member has our name: off, warn or vote; warn in nomad pools, else vote",
        ),
        reclaim_after=Key(
            checks.duration, 0.0, "how long after a failure a name may come back elsewhere; 0s is never"
        ),
        ipc_addr=Key(checks.endpoint, "", "IP or IP:PORT to serve Serf's client RPC at; nowhere when empty"),
        ipc_auth=Key(checks.text, "", "what clients of that must show", secret=True),
        ipc_auth_file=Key(checks.file, "", "a file with that in it"),
        event_handlers=Key(
            _handlers, [], "SCRIPT or FILTER=SCRIPT, run when something happens", append=True, reload=True
        ),
        handler_timeout=Key(checks.duration, TIMEOUT, "how long a script may run; 0s is for ever"),
        discover=Key(_discovery, "", "find the agents of this name by multicast DNS, and join them"),
        discover_interface=Key(checks.text, "", "the only interface to discover through, by name or IP"),
    ),
    **_block(
        "moot.timing",
        probe_interval=Key(checks.timing, 0.0, "between two probes; the times here are the profile's when 0s"),
        probe_timeout=Key(checks.timing, 0.0, "for an answer to a probe"),
        gossip_interval=Key(checks.timing, 0.0, "between two rounds of gossip"),
        push_pull_interval=Key(checks.timing, 0.0, "between two exchanges of the whole table"),
        suspicion_mult=Key(checks.multiplier, 0, "how long a suspect has to answer; the profile's when 0"),
        retransmit_mult=Key(checks.multiplier, 0, "how often news are repeated; the profile's when 0"),
    ),
}
KEYS: dict[str, Key] = {**_GENERAL, **_ROLES, **_SECURITY, **_TELEMETRY, **_MOOT}
"""Every key, by its dotted path."""
BLOCKS = {".".join(name.split(".")[:depth]) for name in KEYS for depth in range(1, name.count(".") + 1)}
DEV: Layer = {
    "client.enabled": True,
    "log_level": "debug",
    "server.bootstrap_expect": 1,
    "enable_debug": True,
    "telemetry.prometheus_metrics": True,
}
"""What `--dev` says."""


def defaults() -> Layer:
    """A fresh copy of the built-in values."""
    return {
        name: value.copy() if isinstance(value := key.default, list | dict) else value for name, key in KEYS.items()
    }
