"""Join targets: the forms people write, and what they stand for."""

import socket
from typing import Literal

import pytest
import trio

from moot.gossip.net.targets import JoinOutcome, ResolveError, parse_target, resolve_target
from moot.gossip.record import Address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", ("10.0.0.1", 4648)),
        ("10.0.0.1:7946", ("10.0.0.1", 7946)),
        ("s1.global/10.0.0.1:7946", ("10.0.0.1", 7946)),
        ("a/b/10.0.0.1", ("10.0.0.1", 4648)),
        ("::1", ("::1", 4648)),
        ("fe80::1:7946", ("fe80::1:7946", 4648)),
        ("[::1]", ("::1", 4648)),
        ("[::1]:7946", ("::1", 7946)),
        ("n/[::1]:7946", ("::1", 7946)),
        ("host.example", ("host.example", 4648)),
        ("host.example:1", ("host.example", 1)),
        ("host.example:", ("host.example", 4648)),
    ],
)
def test_every_form_of_a_target_is_understood(text: str, expected: tuple[str, int]) -> None:
    assert parse_target(text, 4648) == expected


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "no host given"),
        (":7946", "no host given"),
        ("/10.0.0.1", "empty node name provided"),
        ("10.0.0.1:99999", "value out of range"),
        ("10.0.0.1:0", "value out of range"),
        ("10.0.0.1:-1", "is not a number"),
        ("10.0.0.1:٣", "is not a number"),
        ("10.0.0.1:http", "is not a number"),
        ("[::1", "brackets"),
        ("[::1]7946", "brackets"),
    ],
)
def test_an_impossible_target_is_refused_with_its_cause(text: str, cause: str) -> None:
    with pytest.raises(ResolveError, match=cause):
        parse_target(text, 4648)


async def test_a_literal_is_taken_as_it_is() -> None:
    assert await resolve_target("127.0.0.9:1", 7946, 1) == [Address(bytes((127, 0, 0, 9)), 1)]
    assert await resolve_target("::1", 7946, 1) == [Address(bytes(15) + b"\1", 7946)]


class ScriptedResolver(trio.abc.HostnameResolver):
    """Answers from a table; a name that is not there does not exist, `slow` takes for ever."""

    def __init__(self, table: dict[str, list[str]]) -> None:
        self.table = table

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002 - trio calls it so
        proto: int = 0,
        flags: int = 0,
    ) -> list[
        tuple[Literal[socket.AddressFamily.AF_INET], socket.SocketKind, int, str, tuple[str, int]]
        | tuple[
            Literal[socket.AddressFamily.AF_INET6],
            socket.SocketKind,
            int,
            str,
            tuple[str, int, int, int] | tuple[int, bytes],
        ]
    ]:
        assert host is not None
        assert isinstance(port, int)
        name = host.decode()
        if name == "slow":
            await trio.sleep_forever()
        if name not in self.table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in self.table[name]]

    async def getnameinfo(self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def test_a_name_stands_for_all_its_addresses_and_is_looked_up_anew_each_time() -> None:
    table = {"pool": ["10.0.0.1", "10.0.0.2", "10.0.0.1"]}
    trio.socket.set_custom_hostname_resolver(ScriptedResolver(table))
    assert await resolve_target("pool:5", 7946, 1) == [Address.parse("10.0.0.1", 5), Address.parse("10.0.0.2", 5)]
    table["pool"] = ["10.0.0.3"]
    assert await resolve_target("pool", 7946, 1) == [Address.parse("10.0.0.3", 7946)]


async def test_an_unknown_name_and_a_silent_resolver_give_their_cause(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trio.socket.set_custom_hostname_resolver(ScriptedResolver({}))
    with pytest.raises(ResolveError, match="lookup nobody: name or service not known"):
        await resolve_target("nobody", 7946, 1)
    with pytest.raises(ResolveError, match="lookup slow: i/o timeout"):
        await resolve_target("slow", 7946, 1)


async def test_a_name_that_no_resolver_takes_is_an_error_of_its_own() -> None:
    for name in ("a" * 70 + ".example", "nul\0byte"):
        with pytest.raises(ResolveError):
            await resolve_target(name, 7946, 5)


def test_an_outcome_words_its_error_as_nomad_does() -> None:
    address = Address.parse("127.0.0.9", 4648)
    cause = "dial tcp 127.0.0.9:4648: connect: connection refused"
    assert JoinOutcome("x", address, cause).error == f"Failed to join 127.0.0.9: {cause}"
    assert JoinOutcome("x", None, "lookup x: no such host").error == "Failed to resolve x: lookup x: no such host"
    assert JoinOutcome("x", address, None).error is None
