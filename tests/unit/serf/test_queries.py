"""Being asked: whom a query means, what is sent back and where to, and how much of it."""

from collections.abc import Sequence

import pytest

from moot.gossip.config import SerfConfig
from moot.gossip.errors import CommandError
from moot.gossip.record import Address
from moot.gossip.serf import MemberStatus
from moot.gossip.serf.events import QueryReceived
from moot.gossip.serf.messages import (
    QUERY_ACK,
    RESPONSE_ACK,
    Filter,
    NodeFilter,
    Query,
    QueryResponse,
    Relay,
    TagFilter,
)
from moot.gossip.serf.queries import ANSWERABLE_MAX, FILTERS_MAX
from moot.gossip.swim.messages import User
from moot.gossip.wire.serf_codec import decode_serf, encode_filter, encode_serf
from tests.support.serf import SerfDesk
from tests.support.swim import alive

ORIGIN = Address(bytes((127, 0, 0, 9)), 7946)


def query(
    ltime: int = 3,
    number: int = 1,
    *,
    filters: Sequence[bytes] = (),
    flags: int = QUERY_ACK,
    relay_factor: int = 0,
    name: str = "uptime",
    timeout: float = 3.2,
) -> Query:
    return Query(ltime, number, ORIGIN, "asker", filters, flags, relay_factor, int(timeout * 1e9), name)


def sent_to_origin(desk: SerfDesk) -> list[object]:
    return [user.body for to, user in desk.out.sent(User) if to == ORIGIN]


def relayed(desk: SerfDesk) -> list[Relay]:
    return [user.body for _, user in desk.out.sent(User) if isinstance(user.body, Relay)]


def means(desk: SerfDesk, *filters: Filter | bytes) -> bool:
    """Whether a query with these filters reaches the program, and so is acknowledged."""
    encoded = [one if isinstance(one, bytes) else encode_filter(one) for one in filters]
    desk.out.packets.clear()
    desk.told(query(desk.clock("query") + 1, filters=encoded))
    taken = bool(desk.out.took(QueryReceived))
    assert bool(sent_to_origin(desk)) is taken
    return taken


@pytest.mark.parametrize(
    ("filters", "taken"),
    [
        ((NodeFilter(("me", "b")),), True),
        ((NodeFilter(("b",)),), False),
        ((NodeFilter(()),), False),
        ((TagFilter("role", "eb"),), True),
        ((TagFilter("role", "^eb"),), False),
        ((TagFilter("role", "^web$"),), True),
        ((TagFilter("zone", "^$"),), True),
        ((TagFilter("zone", "."),), False),
        ((NodeFilter(("me",)), TagFilter("role", "web")), True),
        ((NodeFilter(("me",)), TagFilter("role", "db")), False),
        ((TagFilter("role", "["),), False),
        ((TagFilter("role", r"(?=web)"),), False),
        ((b"",), False),
        ((b"\x07\x80",), False),
        ((b"\x00\x99",), False),
    ],
)
def test_a_query_means_us_when_all_its_filters_pass(filters: tuple[Filter | bytes, ...], taken: bool) -> None:
    assert means(SerfDesk(tags={"role": "web"}), *filters) is taken


def test_a_query_that_does_not_mean_us_is_passed_on_all_the_same() -> None:
    desk = SerfDesk()
    desk.told(query(filters=[encode_filter(NodeFilter(("b",)))]))
    assert len(desk.gossip()) == 1


def test_an_expression_that_would_run_for_ever_elsewhere_is_over_at_once() -> None:
    assert not means(SerfDesk(tags={"role": "a" * 200}), TagFilter("role", "(a*)*(a*)*(a|aa)+$b"))


def test_more_filters_than_anybody_needs_mean_nobody() -> None:
    desk = SerfDesk()
    assert means(desk, *[NodeFilter(("me",))] * FILTERS_MAX)
    assert not means(desk, *[NodeFilter(("me",))] * (FILTERS_MAX + 1))


@pytest.mark.parametrize("expression", ["^(?:.?.?.?.?){60}$", "(?:(?:a?){10}){99}b*$", r"\pL{20}"])
def test_expressions_that_cost_much_are_searched_for_only_so_often(expression: str) -> None:
    desk = SerfDesk(tags={"role": "a" * 200})
    dear, cheap = (encode_filter(TagFilter("role", expr)) for expr in (expression, "^a"))
    desk.told(*(query(3, number, filters=[dear] * 9) for number in range(100)))
    assert len(desk.out.took(QueryReceived)) < 5
    assert desk.serf.counters.refused["query-effort"] >= 80
    desk.out.now = 0.1
    desk.told(*(query(4, number, filters=[cheap]) for number in range(100)))
    assert len(desk.out.took(QueryReceived)) == 100


def test_the_dearest_expression_is_searched_for_once_in_a_while() -> None:
    desk = SerfDesk(tags={"role": "a" * 480})
    for now in (0.0, 0.2):
        desk.out.now = now
        assert means(desk, TagFilter("role", "(?:.?.?.?.?){200}"))
        assert not means(desk, TagFilter("role", "(?:.?.?.?.?){200}"))
        assert means(desk, TagFilter("role", "a$"))


def test_an_ack_goes_to_the_asker_and_only_when_it_is_asked_for() -> None:
    desk = SerfDesk()
    desk.told(query(3, 7))
    assert sent_to_origin(desk) == [QueryResponse(3, 7, "me", RESPONSE_ACK)]
    desk.out.packets.clear()
    desk.told(query(4, 7, flags=0))
    assert sent_to_origin(desk) == []


def test_an_answer_goes_to_the_asker_once() -> None:
    desk = SerfDesk()
    desk.told(query(3, 7, flags=0))
    (heard,) = desk.out.took(QueryReceived)
    assert heard.deadline == pytest.approx(3.2)
    desk.serf.respond(1.0, heard.query, b"up")
    assert sent_to_origin(desk) == [QueryResponse(3, 7, "me", 0, b"up")]
    with pytest.raises(CommandError, match=r"^response already sent$"):
        desk.serf.respond(1.0, heard.query, b"up")
    assert len(sent_to_origin(desk)) == 1


def test_an_answer_after_the_deadline_is_refused() -> None:
    desk = SerfDesk()
    desk.told(query(timeout=3.2))
    desk.told(query(number=2, timeout=3.2))
    late, heard = desk.out.took(QueryReceived)
    desk.serf.respond(3.2, heard.query, b"up")
    with pytest.raises(CommandError, match=r"^response is past the deadline$"):
        desk.serf.respond(3.3, late.query, b"up")


def test_an_answer_that_is_too_large_is_refused_and_may_be_given_shorter() -> None:
    desk = SerfDesk()
    desk.told(query(flags=0))
    (heard,) = desk.out.took(QueryReceived)
    room = 900 + 1024 - len(encode_serf(QueryResponse(3, 1, "me", 0, bytes(900))))
    with pytest.raises(CommandError, match=r"^response exceeds limit of 1024 bytes$"):
        desk.serf.respond(0.0, heard.query, bytes(room + 1))
    desk.serf.respond(0.0, heard.query, bytes(room))
    assert len(sent_to_origin(desk)) == 1


def test_a_query_that_was_never_heard_cannot_be_answered() -> None:
    with pytest.raises(CommandError, match="past the deadline"):
        SerfDesk().serf.respond(0.0, query(), b"up")


def test_a_timeout_that_has_passed_before_it_came_leaves_no_time() -> None:
    desk = SerfDesk()
    desk.told(query(timeout=-1))
    (heard,) = desk.out.took(QueryReceived)
    with pytest.raises(CommandError, match="past the deadline"):
        desk.serf.respond(0.0, heard.query, b"up")


def test_replies_are_relayed_by_others_too() -> None:
    desk = SerfDesk()
    desk.alive("b", "c", "d")
    desk.told(query(3, 7, relay_factor=2))
    wrapped = relayed(desk)
    assert len(wrapped) == 2
    for relay in wrapped:
        assert (relay.destination, relay.destination_name) == (ORIGIN, "asker")
        assert decode_serf(relay.inner) == QueryResponse(3, 7, "me", RESPONSE_ACK)


def test_relays_never_go_to_the_dead_nor_to_ourselves() -> None:
    desk = SerfDesk()
    desk.alive("b", "c", "d")
    desk.dies("c")
    desk.in_status("e", MemberStatus.LEAVING)
    desk.hear(alive("f", versions=bytes((1, 4, 2, 2, 5, 5))))
    desk.told(query(relay_factor=5))
    targets = {to for to, user in desk.out.sent(User) if isinstance(user.body, Relay)}
    assert targets == {desk.held("b").address, desk.held("d").address}


def test_a_pool_too_small_for_the_factor_relays_nothing() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.told(query(relay_factor=2))
    assert relayed(desk) == []


def test_an_answer_too_large_to_be_relayed_is_sent_directly_and_told() -> None:
    desk = SerfDesk()
    desk.alive("b", "c")
    desk.told(query(flags=0, relay_factor=1))
    (heard,) = desk.out.took(QueryReceived)
    answer = bytes(950)
    assert len(encode_serf(QueryResponse(3, 1, "me", 0, answer))) <= 1024
    with pytest.raises(CommandError, match=r"^relayed response exceeds limit of 1024 bytes$"):
        desk.serf.respond(0.0, heard.query, answer)
    assert len(sent_to_origin(desk)) == 1
    assert relayed(desk) == []
    with pytest.raises(CommandError, match=r"^response already sent$"):
        desk.serf.respond(0.0, heard.query, b"")


def test_an_answer_that_just_fits_is_relayed() -> None:
    desk = SerfDesk()
    desk.alive("b", "c")
    around = len(encode_serf(Relay(ORIGIN, "asker", encode_serf(QueryResponse(3, 1, "me", 0, bytes(900))))))
    for number, size in enumerate((900 + 1024 - around, 900 + 1025 - around), 1):
        desk.told(query(3, number, flags=0, relay_factor=1))
        (heard,) = desk.out.took(QueryReceived)
        if number == 1:
            desk.serf.respond(0.0, heard.query, bytes(size))
        else:
            with pytest.raises(CommandError, match="relayed"):
                desk.serf.respond(0.0, heard.query, bytes(size))
    assert [len(encode_serf(relay)) for relay in relayed(desk)] == [1024]


def test_a_flood_of_queries_is_not_answered_with_a_flood() -> None:
    desk = SerfDesk(config=SerfConfig(reply_rate=10, reply_burst=20))
    for number in range(200):
        desk.told(query(3, number))
    assert len(sent_to_origin(desk)) == 20
    assert desk.serf.counters.replies_withheld == 180
    desk.only_timers()
    desk.run(1.0)
    for number in range(200, 400):
        desk.told(query(3, number))
    assert len(sent_to_origin(desk)) == 30
    # nobody saves up for a greater flood
    desk.run(100.0)
    for number in range(400, 600):
        desk.told(query(3, number))
    assert len(sent_to_origin(desk)) == 50


def test_relays_count_as_replies() -> None:
    desk = SerfDesk(config=SerfConfig(reply_rate=1, reply_burst=3))
    desk.alive("b", "c", "d", "e", "f")
    desk.told(query(relay_factor=5))
    assert (len(sent_to_origin(desk)), len(relayed(desk))) == (1, 2)
    assert desk.serf.counters.replies_withheld == 1


def test_a_flood_of_relays_is_not_forwarded() -> None:
    desk = SerfDesk(config=SerfConfig(reply_rate=10, reply_burst=20))
    for _ in range(50):
        desk.told(Relay(ORIGIN, "asker", b"\x05x"))
    assert len(desk.out.packets) == 20


def test_queries_whose_time_is_up_are_forgotten_before_those_that_can_be_answered() -> None:
    desk = SerfDesk(config=SerfConfig(reply_burst=100_000))
    desk.told(query(3, 0, flags=0, timeout=60.0))
    for number in range(1, ANSWERABLE_MAX):
        desk.told(query(4, number, flags=0, timeout=1.0))
    first = desk.out.took(QueryReceived)[0]
    desk.only_timers()
    desk.run(2.0)
    desk.told(query(5, 1, flags=0))
    desk.serf.respond(2.0, first.query, b"")


def test_queries_that_nobody_answers_are_forgotten_oldest_first() -> None:
    desk = SerfDesk(config=SerfConfig(reply_burst=100_000))
    desk.told(query(3, 0, flags=0))
    for number in range(1, ANSWERABLE_MAX + 1):
        desk.told(query(4, number, flags=0))
    heard = [event.query for event in desk.out.took(QueryReceived)]
    with pytest.raises(CommandError, match="past the deadline"):
        desk.serf.respond(0.0, heard[0], b"")
    desk.serf.respond(0.0, heard[-1], b"")
