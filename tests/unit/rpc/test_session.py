"""Sessions: the order of the checks, what stays open, and every command against a scripted agent."""

import pytest
import trio

from moot.agent.rpc import protocol
from moot.agent.rpc.protocol import encode_request
from moot.gossip.serf.messages import Coordinate
from tests.support.rpc import HeardLog, ScriptedBackend, serf_member, session

OK = ""


def head(seq: int, error: str = OK) -> dict[str, object]:
    return {"Seq": seq, "Error": error}


# ---- handshake and authentication


async def test_a_command_before_the_handshake_is_refused_and_the_agent_hangs_up() -> None:
    async with session(ScriptedBackend(), shaken=False) as caller:
        assert await caller.ask("members", 7) == head(7, "Handshake required")
        assert await caller.hung_up()


async def test_the_refusal_does_not_wait_for_the_body() -> None:
    async with session(ScriptedBackend(), shaken=False) as caller:
        with trio.fail_after(5):
            await caller.send(encode_request("event", 7, protocol.Event("x"))[:20])
            assert await caller.next() == head(7, "Handshake required")


async def test_a_wrong_version_leaves_the_handshake_to_be_done() -> None:
    async with session(ScriptedBackend(), shaken=False) as caller:
        for version in (0, 2, -1):
            assert await caller.ask("handshake", 1, protocol.Handshake(version)) == head(1, "Unsupported IPC version")
        assert await caller.ask("handshake", 2, protocol.Handshake()) == head(2)
        assert await caller.ask("members", 3) == head(3)


async def test_a_second_handshake_is_refused_and_the_session_goes_on() -> None:
    async with session(ScriptedBackend()) as caller:
        assert await caller.ask("handshake", 2, protocol.Handshake()) == head(2, "Handshake already performed")
        assert await caller.ask("stop", 3, protocol.Stop(9)) == head(3)


async def test_without_the_key_every_command_is_refused_once_and_its_body_is_passed_over() -> None:
    backend = ScriptedBackend()
    async with session(backend, auth_key="sekret") as caller:
        assert await caller.ask("event", 2, protocol.Event("x", b"y")) == head(2, "Authentication required")
        assert await caller.ask("members", 3) == head(3, "Authentication required")
        await caller.send(protocol.REQUEST_HEADER.encode(protocol.RequestHeader("frobnicate", 4)))
        assert await caller.next() == head(4, "Authentication required")
        assert await caller.ask("auth", 5, protocol.Auth("wrong")) == head(5, "Invalid authentication token")
        assert await caller.ask("members", 6) == head(6, "Authentication required")
        assert await caller.ask("auth", 7, protocol.Auth("sekret")) == head(7)
        assert await caller.ask("event", 8, protocol.Event("x", b"y")) == head(8)
    assert backend.calls == [("user_event", "x", b"y", False)]


async def test_the_refusal_comes_before_the_body() -> None:
    async with session(ScriptedBackend(), auth_key="sekret") as caller:
        with trio.fail_after(5):
            await caller.send(encode_request("event", 7, protocol.Event("x"))[:20])
            assert await caller.next() == head(7, "Authentication required")


async def test_an_agent_without_a_key_takes_only_the_empty_one() -> None:
    async with session(ScriptedBackend()) as caller:
        assert await caller.ask("auth", 2, protocol.Auth("")) == head(2)
        assert await caller.ask("auth", 3, protocol.Auth("x")) == head(3, "Invalid authentication token")


async def test_an_unknown_command_ends_the_session() -> None:
    log = HeardLog()
    async with session(ScriptedBackend(), log=log) as caller:
        await caller.send(protocol.REQUEST_HEADER.encode(protocol.RequestHeader("frobnicate", 4)))
        assert await caller.next() == head(4, "Unsupported command")
        assert await caller.hung_up()
    assert "command 'frobnicate' not recognized" in log.lines[-1]


async def test_a_body_that_is_none_ends_the_session_without_an_answer() -> None:
    async with session(ScriptedBackend()) as caller:
        await caller.send(protocol.REQUEST_HEADER.encode(protocol.RequestHeader("event", 4)), b"\x81\xa4Name\x01")
        assert await caller.hung_up()


# ---- commands


async def test_requests_are_served_one_at_a_time_in_their_order() -> None:
    backend = ScriptedBackend()
    backend.held = trio.Event()
    async with session(backend) as caller:
        await caller.send(encode_request("join", 2, protocol.Join(["a"])), encode_request("stats", 3))
        await trio.testing.wait_all_tasks_blocked()
        assert backend.calls == [("join", ("a",), False)]
        backend.held.set()
        assert await caller.take(4) == [head(2), {"Num": 1}, head(3), {}]


async def test_streams_go_on_while_a_request_takes_its_time() -> None:
    backend = ScriptedBackend()
    backend.held = trio.Event()
    async with session(backend) as caller:
        assert await caller.ask("monitor", 2, protocol.Monitor("info")) == head(2)
        await caller.send(encode_request("join", 3, protocol.Join(["a"])))
        await trio.testing.wait_all_tasks_blocked()
        backend.log_ring.write("news")
        assert await caller.take(2) == [head(2), {"Log": "news"}]
        backend.held.set()
        assert await caller.take(2) == [head(3), {"Num": 1}]


async def test_a_failed_join_answers_its_error_and_no_nodes() -> None:
    backend = ScriptedBackend()
    backend.refusals["join"] = ["1 error occurred:\n\t* x\n\n"]
    async with session(backend) as caller:
        assert await caller.ask("join", 2, protocol.Join(["a", "b"], replay=True)) == head(
            2, "1 error occurred:\n\t* x\n\n"
        )
        assert await caller.next() == {"Num": 0}
    assert backend.calls == [("join", ("a", "b"), True)]


@pytest.mark.parametrize(
    ("command", "body", "call"),
    [
        ("event", protocol.Event("e", b"p", True), ("user_event", "e", b"p", True)),
        ("force-leave", protocol.ForceLeave("n", True), ("force_leave", "n", True)),
        ("tags", protocol.Tags({"a": "b"}, ["c"]), ("change_tags", {"a": "b"}, ("c",))),
        ("tags", protocol.Tags(None), ("change_tags", {}, ())),
    ],
)
async def test_a_command_does_what_it_says_and_answers_refusals(
    command: str, body: protocol.Body, call: tuple[object, ...]
) -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        assert await caller.ask(command, 2, body) == head(2)
        assert backend.calls == [call]
        backend.refusals[str(call[0])] = ["too large"]
        assert await caller.ask(command, 3, body) == head(3, "too large")
        assert await caller.ask(command, 4, body) == head(4)


async def test_a_leave_is_answered_before_the_agent_ends() -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        await caller.send(encode_request("leave", 2))
        await backend.ended.wait()
        assert await caller.next() == head(2)
    assert backend.calls == [("leave",), ("end",)]


async def test_the_agent_ends_also_when_who_asked_for_it_is_gone() -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        await caller.send(encode_request("leave", 2))
        await caller.stream.aclose()
        with trio.fail_after(5):
            await backend.ended.wait()


async def test_a_leave_that_is_refused_does_not_end_the_agent() -> None:
    backend = ScriptedBackend()
    backend.refusals["leave"] = ["Leave already in progress"]
    async with session(backend) as caller:
        assert await caller.ask("leave", 2) == head(2, "Leave already in progress")
        assert not backend.ended.is_set()


async def test_key_operations_answer_what_the_members_said_with_the_error() -> None:
    backend = ScriptedBackend()
    said = protocol.KeyResponse({"n1": "no"}, None, 3, 1, 3)
    backend.keys = [(said, "1/3 nodes reported failure"), (protocol.KeyResponse({}, {"k": 3}, 3, 0, 3), OK)]
    async with session(backend) as caller:
        assert await caller.ask("use-key", 2, protocol.Key("S0VZ")) == head(2, "1/3 nodes reported failure")
        assert await caller.next() == {
            "Keys": None,
            "Messages": {"n1": "no"},
            "NumErr": 1,
            "NumNodes": 3,
            "NumResp": 3,
        }
        assert await caller.ask("list-keys", 3) == head(3)
        assert (await caller.next())["Keys"] == {"k": 3}
        backend.refusals["change_keys"] = ["illegal base64 data at input byte 0"]
        assert await caller.ask("install-key", 4, protocol.Key("!")) == head(4, "illegal base64 data at input byte 0")
        assert (await caller.next())["NumNodes"] == 0
    assert [call for call in backend.calls if call[0] == "change_keys"] == [
        ("change_keys", "use", "S0VZ"),
        ("change_keys", "install", "!"),
    ]


async def test_an_unknown_member_has_no_coordinate() -> None:
    backend = ScriptedBackend()
    backend.coordinates["a"] = Coordinate((1.0, 2.0), 1.5, 0.0, 1e-5)
    async with session(backend) as caller:
        assert await caller.ask("get-coordinate", 2, protocol.GetCoordinate("a")) == head(2)
        known = {"Adjustment": 0.0, "Error": 1.5, "Height": 1e-5, "Vec": [1.0, 2.0]}
        assert await caller.next() == {"Coord": known, "Ok": True}
        assert await caller.ask("get-coordinate", 3, protocol.GetCoordinate("b")) == head(3)
        nothing = {"Adjustment": 0.0, "Error": 0.0, "Height": 0.0, "Vec": None}
        assert await caller.next() == {"Coord": nothing, "Ok": False}


# ---- filters of members

POOL = [
    serf_member("a1", tags={"role": "web", "dc": "eu"}),
    serf_member("a2", tags={"role": "webby"}),
    serf_member("b1", tags={"role": "db"}, status="failed"),
    serf_member("b2", status="left"),
]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (protocol.MembersFiltered({}), ["a1", "a2", "b1", "b2"]),
        (protocol.MembersFiltered(None, "", ""), ["a1", "a2", "b1", "b2"]),
        (protocol.MembersFiltered({"role": "web"}), ["a1"]),
        (protocol.MembersFiltered({"role": "web.*"}), ["a1", "a2"]),
        (protocol.MembersFiltered({"role": ""}), ["b2"]),
        (protocol.MembersFiltered({"dc": ""}), ["a2", "b1", "b2"]),
        (protocol.MembersFiltered({"role": "web", "dc": "eu"}), ["a1"]),
        (protocol.MembersFiltered({}, "failed|left"), ["b1", "b2"]),
        (protocol.MembersFiltered({}, "", "a"), []),
        (protocol.MembersFiltered({}, "", "a|2"), ["a1", "a2", "b2"]),
        (protocol.MembersFiltered({}, "alive", ".1"), ["a1"]),
    ],
    ids=str,
)
async def test_filters_are_anchored_but_not_grouped(body: protocol.MembersFiltered, names: list[str]) -> None:
    backend = ScriptedBackend()
    backend.listing = POOL
    async with session(backend) as caller:
        assert await caller.ask("members-filtered", 2, body) == head(2)
        assert [member["Name"] for member in (await caller.next())["Members"]] == names


@pytest.mark.parametrize(
    "body",
    [
        protocol.MembersFiltered({}, "", "["),
        protocol.MembersFiltered({}, "(", ""),
        protocol.MembersFiltered({"a": "x**"}),
        protocol.MembersFiltered({"a": "(?=x)"}),
    ],
)
async def test_an_expression_that_is_none_ends_the_session_without_an_answer(body: protocol.MembersFiltered) -> None:
    log = HeardLog()
    async with session(ScriptedBackend(), log=log) as caller:
        await caller.send(encode_request("members-filtered", 2, body))
        assert await caller.hung_up()
    assert "Failed to compile regex" in log.lines[-1]


async def test_many_members_arrive_whole_between_the_records_of_a_stream() -> None:
    backend = ScriptedBackend()
    backend.listing = [serf_member(f"n{number}") for number in range(3000)]
    async with session(backend) as caller:
        assert await caller.ask("monitor", 2, protocol.Monitor("info")) == head(2)
        await caller.send(encode_request("members", 3))
        for number in range(20):
            backend.log_ring.write(f"line {number}")
        found = await caller.take(2 + 40)
        at = found.index(head(3))
        assert [member["Name"] for member in found[at + 1]["Members"]] == [f"n{number}" for number in range(3000)]
        assert [record["Log"] for record in found if "Log" in record] == [f"line {number}" for number in range(20)]
