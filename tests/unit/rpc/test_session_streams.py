"""Streams, monitors and queries of a session, against a scripted agent."""

import math

import pytest
import trio
import trio.testing

from moot.agent.rpc import protocol
from moot.agent.rpc.protocol import encode_request
from moot.gossip.record import Address, Ticket
from moot.gossip.serf.asking import Question
from moot.gossip.serf.coalesce import MemberEvents
from moot.gossip.serf.events import MemberChange, QueryAcked, QueryAnswered, QueryReceived, UserEventReceived
from moot.gossip.serf.messages import Query, UserEvent
from tests.support.rpc import Caller, ScriptedBackend, serf_member, session


def head(seq: int, error: str = "") -> dict[str, object]:
    return {"Seq": seq, "Error": error}


def user_event(number: int = 1) -> UserEventReceived:
    return UserEventReceived(UserEvent(number, f"e{number}", b"\0\xff"))


def query(deadline: float = math.inf, ident: int = 4711) -> QueryReceived:
    return QueryReceived(Query(3, ident, Address(b"\x7f\0\0\1", 1), "n1", (), 0, 0, 10**9, "load", b""), deadline)


async def open_stream(caller: Caller, seq: int, filters: str = "*") -> None:
    assert await caller.ask("stream", seq, protocol.Stream(filters)) == head(seq)


async def test_each_kind_of_event_has_its_record() -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        await open_stream(caller, 2)
        ((_, feed),) = backend.feeds
        feed.send_nowait(MemberEvents(MemberChange.FAILED, (serf_member("a", status="failed"),)))
        feed.send_nowait(user_event())
        feed.send_nowait(query())
        found = await caller.take(6)
        assert found[::2] == [head(2)] * 3
        assert found[1]["Event"] == "member-failed"
        assert found[1]["Members"][0]["Status"] == "failed"
        assert found[3] == {"Event": "user", "LTime": 1, "Name": "e1", "Payload": b"\0\xff", "Coalesce": False}
        assert found[5] == {"Event": "query", "ID": 1, "LTime": 3, "Name": "load", "Payload": None}


async def test_the_filter_goes_to_the_agent_and_the_client_has_a_name_there() -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        await open_stream(caller, 2, "user:deploy,query")
        ((wanted, _),) = backend.feeds
        assert wanted.matches("user", "deploy")
        assert not wanted.matches("user", "other")
    assert backend.calls == [("events", "127.0.0.1:5")]


async def test_bad_filters_and_a_second_stream_under_the_same_seq_are_refused() -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        await open_stream(caller, 2)
        assert await caller.ask("stream", 3, protocol.Stream("bogus")) == head(3, "Invalid event filter")
        assert await caller.ask("stream", 2, protocol.Stream("*")) == head(2, "Stream with given sequence exists")
        assert await caller.ask("stream", 2, protocol.Stream("bogus")) == head(2, "Invalid event filter")
        await open_stream(caller, 4)
        assert len(backend.feeds) == 2


async def test_after_the_answer_to_stop_nothing_more_comes_from_the_stream() -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        await open_stream(caller, 2)
        ((_, feed),) = backend.feeds
        for number in range(100):
            feed.send_nowait(user_event(number))
        await caller.send(encode_request("stop", 3, protocol.Stop(2)), encode_request("stats", 4))
        found = await caller.take(1)
        while found[-1] != head(3):
            found += await caller.take(1)
        assert await caller.take(2) == [head(4), {}]
        assert backend.feeds == []
        # an even number of objects before the answer: no record was cut off from its header
        assert len(found) % 2 == 1


async def test_a_stream_can_be_stopped_before_it_sent_anything_and_its_seq_used_again() -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        await caller.send(
            encode_request("stream", 2, protocol.Stream()),
            encode_request("stop", 3, protocol.Stop(2)),
            encode_request("stream", 2, protocol.Stream()),
        )
        assert await caller.take(3) == [head(2), head(3), head(2)]
        ((_, feed),) = backend.feeds
        feed.send_nowait(user_event())
        assert (await caller.take(2))[1]["Event"] == "user"


async def test_stopping_what_is_not_there_succeeds() -> None:
    async with session(ScriptedBackend()) as caller:
        assert await caller.ask("stop", 2, protocol.Stop(2**64 - 1)) == head(2)


async def test_streams_end_with_the_connection() -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        await open_stream(caller, 2)
        await open_stream(caller, 3)
        await caller.stream.aclose()
        with trio.fail_after(5):
            while backend.feeds:
                await trio.testing.wait_all_tasks_blocked()


# ---- queries that can be answered


async def test_a_streamed_query_is_answered_under_its_number_on_this_connection() -> None:
    backend = ScriptedBackend()
    backend.refusals["respond"] = ["", "response already sent"]
    async with session(backend) as caller, session(backend) as other:
        await open_stream(caller, 2)
        ((_, feed),) = backend.feeds
        feed.send_nowait(query())
        assert (await caller.take(2))[1]["ID"] == 1
        assert await other.ask("respond", 5, protocol.Respond(1, b"x")) == head(5, "No pending queries matching ID")
        assert await caller.ask("respond", 5, protocol.Respond(1, b"42")) == head(5)
        assert await caller.ask("respond", 6, protocol.Respond(1, b"43")) == head(
            6, "failed to respond to key query: response already sent"
        )
        assert await caller.ask("respond", 7, protocol.Respond(2, b"")) == head(7, "No pending queries matching ID")
    assert [call for call in backend.calls if call[0] == "respond"] == [
        ("respond", 4711, b"42"),
        ("respond", 4711, b"43"),
    ]


async def test_every_stream_gives_a_query_a_number_of_its_own() -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        await open_stream(caller, 2)
        await open_stream(caller, 3)
        for _, feed in backend.feeds:
            feed.send_nowait(query())
        found = await caller.take(4)
        assert sorted(record["ID"] for record in found if "ID" in record) == [1, 2]


async def test_a_query_is_forgotten_at_its_deadline(autojump_clock: trio.testing.MockClock) -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        await open_stream(caller, 2)
        ((_, feed),) = backend.feeds
        feed.send_nowait(query(trio.current_time() + 3))
        assert (await caller.take(2))[1]["ID"] == 1
        await trio.sleep(3.1)
        assert await caller.ask("respond", 5, protocol.Respond(1)) == head(5, "No pending queries matching ID")
    assert all(call[0] != "respond" for call in backend.calls)


async def test_only_so_many_queries_are_kept_the_newest() -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        await open_stream(caller, 2)
        ((_, feed),) = backend.feeds
        for number in range(513):
            await feed.send(query(ident=number))
            await caller.take(2)
        assert await caller.ask("respond", 5, protocol.Respond(1)) == head(5, "No pending queries matching ID")
        assert await caller.ask("respond", 6, protocol.Respond(2)) == head(6)
        assert await caller.ask("respond", 7, protocol.Respond(513)) == head(7)


# ---- our own queries


async def test_replies_to_a_query_are_records_and_done_comes_last() -> None:
    backend = ScriptedBackend()
    backend.replies = [QueryAcked(Ticket(1), "a"), QueryAnswered(Ticket(1), "b", b"42"), QueryAcked(Ticket(1), "b")]
    asked = protocol.Query("load", b"p", ["a"], {"role": "w"}, True, 2, 1_500_000_000)
    async with session(backend) as caller:
        assert await caller.ask("query", 2, asked) == head(2)
        found = await caller.take(8)
        assert found[::2] == [head(2)] * 4
        assert found[1::2] == [
            {"Type": "ack", "From": "a", "Payload": None},
            {"Type": "response", "From": "b", "Payload": b"42"},
            {"Type": "ack", "From": "b", "Payload": None},
            {"Type": "done", "From": "", "Payload": None},
        ]
    assert backend.calls[0] == ("query", Question("load", b"p", ("a",), {"role": "w"}, True, 2, 1.5))


async def test_done_waits_for_the_deadline() -> None:
    backend = ScriptedBackend()
    backend.hold_queries = True
    async with session(backend) as caller:
        assert await caller.ask("query", 2, protocol.Query("load")) == head(2)
        (send,) = backend.reply_to
        send.send_nowait(QueryAnswered(Ticket(1), "b", b"42"))
        assert (await caller.take(2))[1]["Type"] == "response"
        assert await caller.ask("stats", 3) == head(3)
        assert await caller.next() == {}
        send.close()
        assert (await caller.take(2))[1]["Type"] == "done"


async def test_a_query_that_is_refused_has_no_records() -> None:
    backend = ScriptedBackend()
    backend.refusals["query"] = ["query exceeds limit of 1024 bytes"]
    async with session(backend) as caller:
        assert await caller.ask("query", 2, protocol.Query("load")) == head(2, "query exceeds limit of 1024 bytes")
        assert await caller.ask("stats", 3) == head(3)


async def test_open_queries_are_dropped_when_the_client_goes() -> None:
    backend = ScriptedBackend()
    backend.hold_queries = True
    async with session(backend) as caller:
        assert await caller.ask("query", 2, protocol.Query("load")) == head(2)
        await caller.stream.aclose()
        with trio.fail_after(5):
            while ("query over", "load") not in backend.calls:
                await trio.testing.wait_all_tasks_blocked()


# ---- the monitor


async def test_a_monitor_shows_the_last_lines_and_then_new_ones() -> None:
    backend = ScriptedBackend()
    for line in ("[DEBUG] a", "[INFO] b", "c"):
        backend.log_ring.write(line)
    async with session(backend) as caller:
        assert await caller.ask("monitor", 2, protocol.Monitor("InFo")) == head(2)
        assert (await caller.take(4))[1::2] == [{"Log": "[INFO] b"}, {"Log": "c"}]
        backend.log_ring.write("[DEBUG] d")
        backend.log_ring.write("[ERR] e")
        assert await caller.take(2) == [head(2), {"Log": "[ERR] e"}]


@pytest.mark.parametrize(("level", "shown"), [("bogus", "BOGUS"), ("", ""), ("error", "ERROR")])
async def test_an_unknown_level_is_refused(level: str, shown: str) -> None:
    async with session(ScriptedBackend()) as caller:
        assert await caller.ask("monitor", 2, protocol.Monitor(level)) == head(2, f"Unknown log level: {shown}")


async def test_there_is_one_monitor_and_after_stop_there_may_be_another() -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        assert await caller.ask("monitor", 2, protocol.Monitor("info")) == head(2)
        assert await caller.ask("monitor", 3, protocol.Monitor("info")) == head(3, "Monitor already exists")
        assert await caller.ask("stop", 4, protocol.Stop(2)) == head(4)
        backend.log_ring.write("unheard")
        assert await caller.ask("monitor", 2, protocol.Monitor("err")) == head(2)
        assert await caller.take(2) == [head(2), {"Log": "unheard"}]


async def test_one_stop_ends_a_stream_and_a_monitor_under_the_same_seq() -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        await open_stream(caller, 2)
        assert await caller.ask("monitor", 2, protocol.Monitor("info")) == head(2)
        assert await caller.ask("stop", 3, protocol.Stop(2)) == head(3)
        backend.log_ring.write("unheard")
        assert backend.feeds == []
        assert await caller.ask("stats", 4) == head(4)
