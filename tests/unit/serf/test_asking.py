"""Asking: what goes out, who may answer how often, and when it is over."""

import pytest

from moot.gossip.errors import CommandError
from moot.gossip.serf.alarms import STEP
from moot.gossip.serf.asking import OPEN_MAX, PROGRAM_MAX, STRANGERS_MAX, Question
from moot.gossip.serf.events import QueryAcked, QueryAnswered, QueryDone, QueryReceived
from moot.gossip.serf.messages import (
    QUERY_ACK,
    RESPONSE_ACK,
    NodeFilter,
    Query,
    QueryResponse,
    TagFilter,
)
from moot.gossip.swim.effects import Timer
from moot.gossip.wire.serf_codec import decode_filter, encode_serf
from tests.support.serf import SerfDesk
from tests.support.swim import address


def ask(desk: SerfDesk, question: Question) -> Query:
    return desk.serf.query(desk.now, question)[1]


def only_serf_time(desk: SerfDesk, seconds: float) -> None:
    desk.only_serf_timers()
    desk.run(seconds)


def test_a_query_says_who_asks_whom_what_and_how_long() -> None:
    desk = SerfDesk()
    _, query, deadline = desk.serf.query(
        0.0, Question("load", b"1m", nodes=("me", "b"), tags={"role": "web"}, ack=True, relay_factor=2, timeout=1.5)
    )
    assert (query.ltime, query.name, query.payload) == (1, "load", b"1m")
    assert (query.source, query.source_node) == (address(1), "me")
    assert (query.flags, query.relay_factor, query.timeout_ns) == (QUERY_ACK, 2, 1_500_000_000)
    assert [decode_filter(one) for one in query.filters] == [NodeFilter(["me", "b"]), TagFilter("role", "web")]
    assert query.id < 2**31
    plain = [ask(desk, Question("load", relay_factor=255)) for _ in range(20)]
    assert {one.flags for one in plain} == {0}
    assert max(one.id for one in plain) < 2**31
    assert len({one.id for one in plain}) > 10
    assert deadline == 1.5
    assert desk.gossip()[-1] == query
    assert desk.clock("query") == 22


@pytest.mark.parametrize(("others", "seconds"), [(0, 3.2), (8, 3.2), (9, 6.4), (98, 6.4), (99, 9.6)])
def test_the_default_timeout_grows_with_the_pool(others: int, seconds: float) -> None:
    desk = SerfDesk()
    desk.alive(*(f"m{number}" for number in range(others)))
    assert ask(desk, Question("load")).timeout_ns == pytest.approx(seconds * 1e9)


def test_we_are_asked_ourselves_by_the_same_way_as_others() -> None:
    desk = SerfDesk()
    query = ask(desk, Question("load", ack=True))
    assert [event.query for event in desk.out.took(QueryReceived)] == [query]
    assert [packet.to for packet in desk.out.packets] == [address(1)]


def test_acks_and_answers_are_reported_once_per_member() -> None:
    desk = SerfDesk()
    desk.alive("b", "c")
    ticket, query, _ = desk.serf.query(0.0, Question("load", ack=True))
    for _ in range(2):
        desk.told(QueryResponse(query.ltime, query.id, "b", RESPONSE_ACK))
        desk.told(QueryResponse(query.ltime, query.id, "b", 0, b"low"))
        desk.told(QueryResponse(query.ltime, query.id, "c", 0, b"high"))
    assert desk.out.took(QueryAcked) == [QueryAcked(ticket, "b")]
    assert desk.out.took(QueryAnswered) == [QueryAnswered(ticket, "b", b"low"), QueryAnswered(ticket, "c", b"high")]


def test_what_comes_after_the_deadline_is_dropped() -> None:
    desk = SerfDesk()
    desk.alive("b")
    ticket, query, _ = desk.serf.query(0.0, Question("load"))
    only_serf_time(desk, 3.3)
    assert desk.out.took(QueryDone) == [QueryDone(ticket)]
    desk.told(QueryResponse(query.ltime, query.id, "b"))
    assert desk.out.took(QueryAnswered) == []
    assert desk.serf.counters.refused["query-response"] == 1


def test_an_answer_to_another_query_of_the_same_time_is_dropped() -> None:
    desk = SerfDesk()
    desk.alive("b")
    query = ask(desk, Question("load"))
    desk.told(QueryResponse(query.ltime, query.id ^ 1, "b"), QueryResponse(query.ltime + 1, query.id, "b"))
    assert desk.out.took(QueryAnswered) == []


def test_made_up_names_answer_only_so_often_and_members_still_do() -> None:
    desk = SerfDesk()
    desk.alive("b")
    query = ask(desk, Question("load"))
    for number in range(2 * STRANGERS_MAX):
        desk.told(QueryResponse(query.ltime, query.id, f"made-up-{number}"))
    desk.told(QueryResponse(query.ltime, query.id, "b"))
    answered = [event.sender for event in desk.out.took(QueryAnswered)]
    assert len(answered) == STRANGERS_MAX + 1
    assert desk.serf.counters.refused["query-response"] == STRANGERS_MAX
    assert answered[-1] == "b"


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (Question("load", bytes(1000)), "query exceeds limit of 1024 bytes"),
        (Question("_serf_install-key"), "Queries cannot contain the '_serf_' prefix"),
        (Question("_serf_ping", b"x"), "Queries cannot contain the '_serf_' prefix"),
        (Question("load", relay_factor=256), "relay factor must be from 0 to 255"),
        (Question("load", timeout=-1), "query timeout must be from 0 to 24 hours"),
        (Question("load", timeout=float("nan")), "query timeout must be from 0 to 24 hours"),
    ],
)
def test_what_must_not_be_asked_is_refused(question: Question, text: str) -> None:
    desk = SerfDesk()
    with pytest.raises(CommandError) as caught:
        desk.serf.query(0.0, question)
    assert str(caught.value) == text
    assert desk.gossip() == []
    assert desk.clock("query") == 1


def test_a_query_of_exactly_the_limit_is_asked() -> None:
    desk = SerfDesk()
    size = len(encode_serf(ask(desk, Question("load", bytes(800)))))
    ask(desk, Question("load", bytes(800 + 1024 - size)))
    with pytest.raises(CommandError, match="exceeds"):
        ask(desk, Question("load", bytes(800 + 1025 - size)))


def test_the_ping_between_agents_may_be_asked() -> None:
    desk = SerfDesk()
    ask(desk, Question("_serf_ping", ack=True))
    assert desk.out.took(QueryReceived) == []
    assert len(desk.out.packets) == 1


def test_only_so_many_queries_are_open_at_once() -> None:
    desk = SerfDesk()
    for _ in range(PROGRAM_MAX):
        ask(desk, Question("load", timeout=1.0))
    with pytest.raises(CommandError, match=f"{PROGRAM_MAX} queries are open already"):
        ask(desk, Question("load"))
    desk.serf.keys(0.0, "list")  # the agent itself always has a place
    only_serf_time(desk, 1.1)
    ask(desk, Question("load"))


def test_a_query_that_nobody_waits_for_any_more_makes_room_and_is_not_heard_of_again() -> None:
    desk = SerfDesk()
    for _ in range(OPEN_MAX):
        ticket, query, _ = desk.serf.query(0.0, Question("load", timeout=24 * 3600.0))
        desk.serf.abandon(ticket)
    waited_for, kept, _ = desk.serf.query(0.0, Question("load", timeout=1.0))
    desk.out.events.clear()
    desk.told(*(QueryResponse(one.ltime, one.id, "b") for one in (query, kept)))
    assert len(desk.out.took(QueryAnswered)) == 1
    only_serf_time(desk, 2.0)
    assert desk.out.took(QueryDone) == [QueryDone(waited_for)]
    for over in (ticket, waited_for):
        desk.serf.abandon(over)


def test_the_timers_of_abandoned_queries_are_gone_within_a_minute() -> None:
    desk = SerfDesk()
    asked = [desk.serf.query(0.0, Question("load", timeout=3600.0))[0] for _ in range(100)]
    for ticket in asked[1:]:
        desk.serf.abandon(ticket)
    desk.only_timers(Timer.QUERY_DEADLINE)
    desk.run(STEP)
    assert len(desk.out.timers) == 1
    desk.run(3600.0 - STEP - 1)
    assert desk.out.took(QueryDone) == []
    desk.run(1.0)
    assert desk.out.took(QueryDone) == [QueryDone(asked[0])]
