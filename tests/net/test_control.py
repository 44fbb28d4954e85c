"""The control channel: who gets in, what is believed, and what an agent tells of itself."""

import contextlib
import itertools
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from moot.agent import control_client, control_socket, world
from moot.agent.control import Control
from moot.agent.control_client import ControlError, ask
from moot.agent.sockets import owner_of
from moot.agent.world import World
from moot.gossip.actions import parse
from moot.gossip.afflict import active, afflict
from moot.gossip.errors import ConfigError
from moot.gossip.net.node import Node
from moot.gossip.net.transport import to_address
from moot.gossip.record import Address
from moot.gossip.sim.history import EventDelivered, KeyState, Record, Sample, Seen, record_of
from tests.support.pool import PATIENCE, open_pool, settings_of, until

NAMES = ["a", "b"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A private directory, whose path is longer than the kernel allows for a socket."""
    found = tmp_path / ("long" * 25)
    found.mkdir(mode=0o700)
    return found


def told(*words: str, version: int = 1) -> World:
    """A world in which these actions were carried out."""
    found = World(version, places={"a": ["127.0.0.1:7"], "b": ["[::1]:7", "127.0.0.2:7"]}, pids={"b": 12})
    for each in words:
        assert afflict(found.conditions, parse(each), NAMES)
    return found


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Control]:
    """The channel of an agent `a`."""
    channel = Control(folder / "a.sock", "a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.serve)
        yield channel
        nursery.cancel_scope.cancel()
    channel.close()


async def asked(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    return await trio.to_thread.run_sync(ask, folder / "a.sock", request)


def test_a_world_is_read_as_it_was_told() -> None:
    found = told("partition a b", "slow a 300ms", "clock b +5s")
    again = World.read(json.loads(json.dumps(found.as_json())))
    assert again.as_json() == found.as_json()
    assert again.addresses["b"] == [Address.parse("::1", 7), Address.parse("127.0.0.2", 7)]


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {},
        {"version": True},
        {"version": -1},
        {"version": 1, "places": []},
        {"version": 1, "places": {"a": "127.0.0.1:7"}},
        {"version": 1, "places": {"a": ["localhost:7"]}},
        {"version": 1, "places": {"a": ["127.0.0.1"]}},
        {"version": 1, "places": {"a": ["127.0.0.1:7"] * 9}},
        {"version": 1, "pids": {"a": "1"}},
        {"version": 1, "pids": {"a": 0}},
        {"version": 1, "pids": {"a": 1 << 40}},
        {"version": 1, "conditions": {"faults": {"x": {"loss": 2}}}},
        {"version": 1, "pids": {str(number): 1 for number in range(world.MEMBERS_MAX + 1)}},
    ],
    ids=lambda wrong: json.dumps(wrong)[:60],
)
def test_a_world_that_cannot_be_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError):
        World.read(wrong)


async def test_the_state_of_the_world_is_taken_whole_and_told(folder: Path) -> None:
    async with served(folder) as channel:
        answer = await asked(folder, {"do": "world"} | told("cut a>b", "loss 10% udp").as_json())
        assert answer == {"ok": True, "version": 1, "active": ["cut a>b", "loss 10% udp"]}
        await asked(folder, {"do": "world"} | told("slow a 1s", version=2).as_json())
        assert (await asked(folder, {"do": "state"}))["active"] == ["slow a 1s"]
        assert channel.surroundings.slowness == 1.0
        assert channel.surroundings.is_passive("b")
        assert channel.surroundings.name_of(Address.parse("::1", 7)) == "b"


async def test_news_that_was_overtaken_is_passed_over(folder: Path) -> None:
    async with served(folder):
        await asked(folder, {"do": "world"} | told("slow a 1s", version=7).as_json())
        answer = await asked(folder, {"do": "world"} | told(version=6).as_json())
        assert (answer["version"], answer["active"]) == (7, ["slow a 1s"])


async def test_an_agent_that_starts_is_in_the_world_at_once(folder: Path) -> None:
    (folder / world.FILE).write_text(json.dumps(told("partition a b", version=3).as_json()))
    async with served(folder) as channel:
        assert active(channel.surroundings.conditions) == ["partition a b"]
        assert (await asked(folder, {"do": "state"}))["version"] == 3


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"{}", b'{"do": "nothing"}', b'{"do": "history"}', b"[" * 100_000]
)
async def test_what_makes_no_sense_is_answered_so_and_the_next_line_is_read(folder: Path, line: bytes) -> None:
    async with served(folder):
        with trio.fail_after(PATIENCE), world.beside(folder / "a.sock") as reachable:
            async with await trio.open_unix_socket(reachable) as stream:
                await stream.send_all(line + b"\n")
                assert "error" in json.loads(await read_line(stream))
                await stream.send_all(b'{"do": "state"}\n')
                assert json.loads(await read_line(stream))["ok"]


async def read_line(stream: trio.SocketStream) -> bytes:
    found = b""
    while not found.endswith(b"\n"):
        data = await stream.receive_some(65_536)
        assert data
        found += data
    return found


async def test_a_line_without_end_is_cut_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "LINE_MAX", 1000)
    async with served(folder):
        with trio.fail_after(PATIENCE), world.beside(folder / "a.sock") as reachable:
            async with await trio.open_unix_socket(reachable) as stream:
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(bytes(5000))
                    assert await stream.receive_some(10) == b""
        assert (await asked(folder, {"do": "state"}))["ok"]


async def test_nobody_but_the_same_user_gets_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(folder):
        assert stat.S_IMODE((folder / "a.sock").stat().st_mode) == 0o600
        monkeypatch.setattr(control_socket, "peer_user", lambda sock: os.getuid() + 1)
        with pytest.raises(ControlError):
            await asked(folder, {"do": "state"})


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o722])
def test_a_directory_that_others_get_into_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    with pytest.raises(ConfigError, match="mode 0700"):
        Control(folder / "a.sock", "a")


def test_without_an_agent_the_client_says_so(folder: Path) -> None:
    with pytest.raises(ControlError, match="a cannot be told on its control channel: No such file or directory"):
        ask(folder / "a.sock", {"do": "state"})


async def test_what_a_member_sees_and_does_is_told_as_it_happens(folder: Path) -> None:
    found: list[Record] = []

    def follow(path: Path) -> None:
        with control_client.history(path) as lines:
            for line in lines:
                found.append(record_of(line))
                if isinstance(found[-1], EventDelivered):
                    return

    async with open_pool(settings_of("a"), settings_of("b")) as pool:
        channel = Control(folder / "a.sock", "a")

        async def run() -> int:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, follow, folder / "a.sock")
                await until(lambda: any(isinstance(record, Sample) for record in found))
                await pool.join_all()
                pool["a"].user_event("deploy", b"42")
            return 3

        assert await channel.beside(run, pool["a"]) == 3
    views = [(record.subject, record.before, record.status) for record in found if isinstance(record, Seen)]
    assert views[:2] == [("a", "none", "alive"), ("b", "none", "alive")]
    last: Any = found[-1]
    assert (last.name, last.payload) == ("deploy", "42")
    assert not (folder / "a.sock").exists()


async def test_who_asks_before_the_member_starts_hears_all_of_it(folder: Path) -> None:
    found: list[Record] = []
    asked = threading.Event()
    node = Node(settings_of("a", keys=[bytes(32)]))

    def follow() -> None:
        with control_client.history(folder / "a.sock") as lines:
            asked.set()
            found.extend(itertools.islice(map(record_of, lines), 3))

    async def run() -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, follow)
            await until(asked.is_set)
            await nursery.start(node.run)
            await until(lambda: len(found) == 3)
            nursery.cancel_scope.cancel()
        return 0

    assert await Control(folder / "a.sock", "a").beside(run, node) == 0
    # the keys may come before the member has started, or with the first figures
    assert {type(record) for record in found} >= {Seen, KeyState}


async def test_the_end_of_the_agent_is_passed_on(folder: Path) -> None:
    async def fail() -> int:
        raise ConfigError("no such luck")

    with pytest.raises(ConfigError, match="no such luck"):
        await Control(folder / "a.sock", "a").beside(fail, None)


# whose a connection is

DIALLER = """
import socket, sys
made = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print(made.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.41.3.1", 0)) as found:
        yield found


def test_the_process_that_dialled_is_found_among_those_asked_about(listener: socket.socket) -> None:
    host, port = listener.getsockname()
    dialler = subprocess.Popen(
        [sys.executable, "-c", DIALLER, host, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        connection, source = listener.accept()
        with connection:
            ends = to_address(*source), to_address(host, port)
            assert source[0] == "127.0.0.1"
            assert owner_of(*ends, {"other": os.getpid(), "it": dialler.pid}) == "it"
            assert owner_of(*ends, {"other": os.getpid(), "gone": 1 << 22}) is None
            assert owner_of(ends[1], ends[0], {"it": dialler.pid}) is None
    finally:
        dialler.communicate()
