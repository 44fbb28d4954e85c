"""The ring of events: numbers, bounds, what is told of gaps."""

import json

import trio

from moot.http.event_ring import EventRing, MemberFacts
from moot.http.events_api import Begin, Wish, write_events

FACTS = MemberFacts("a", "127.0.0.1:7946", "alive", 3)


class Clock:
    """A clock that the test turns."""

    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def filled(count: int, *, events_max: int = 100, bytes_max: int = 1_000_000) -> EventRing:
    ring = EventRing("aa", events_max=events_max, bytes_max=bytes_max)
    for _ in range(count):
        ring.member("joined", FACTS)
    return ring


def test_an_event_says_who_what_and_when_and_leaves_out_the_rest() -> None:
    ring = EventRing("aa", clock=Clock())
    ring.member("suspected", FACTS, accuser="b")
    ring.message("user-event", "deploy", b"\xff", ltime=4)
    ring.message("query", "load", b"all", ltime=5, sender="c")
    assert [json.loads(it.data) for it in ring.after(0, 10)] == [
        {
            "id": "aa.1",
            "kind": "suspected",
            "time": "2023-11-14T22:13:20.000Z",
            "member": {"name": "a", "address": "127.0.0.1:7946", "status": "alive", "incarnation": 3},
            "accuser": "b",
        },
        {
            "id": "aa.2",
            "kind": "user-event",
            "time": "2023-11-14T22:13:20.000Z",
            "name": "deploy",
            "ltime": 4,
            "payload": "/w==",
        },
        {
            "id": "aa.3",
            "kind": "query",
            "time": "2023-11-14T22:13:20.000Z",
            "name": "load",
            "ltime": 5,
            "sender": "c",
            "payload": "YWxs",
            "text": "all",
        },
    ]
    assert [it.member for it in ring.after(0, 10)] == ["a", "", "c"]


def test_names_that_are_no_utf8_are_kept_for_the_filter_and_shown_with_replacements() -> None:
    ring = EventRing("aa")
    ring.member("joined", MemberFacts("a\udcff", "127.0.0.1:1", "alive", 1))
    (kept,) = ring.after(0, 1)
    assert kept.member == "a\udcff"
    assert json.loads(kept.data)["member"]["name"] == "a\N{REPLACEMENT CHARACTER}"


def test_the_oldest_go_first_by_count_and_by_bytes() -> None:
    ring = filled(25, events_max=10)
    assert (ring.first, ring.last) == (16, 25)
    assert [it.number for it in ring.after(0, 3)] == [16, 17, 18]
    assert [it.number for it in ring.after(23, 10)] == [24, 25]
    one = len(filled(1).after(0, 1)[0].data)
    small = filled(50, bytes_max=10 * one)
    assert small.size <= 10 * one
    assert 5 < small.last - small.first + 1 <= 10


def test_what_is_larger_than_all_room_is_lost_and_counted() -> None:
    ring = EventRing("aa", bytes_max=200)
    ring.message("user-event", "big", bytes(1000), ltime=1)
    assert (ring.first, ring.last, ring.size) == (2, 1, 0)
    assert ring.after(0, 5) == []


def test_since_finds_the_first_that_is_young_enough() -> None:
    clock = Clock()
    ring = EventRing("aa", clock=clock)
    for _ in range(5):
        ring.member("joined", FACTS)
        clock.now += 10
    assert ring.since(Clock.now + 15) == 2
    assert ring.since(0) == 0
    assert ring.since(clock.now + 1) == 5


async def test_a_reader_that_was_overtaken_is_told_how_much_it_missed_and_costs_nothing() -> None:
    ring = filled(3, events_max=5)
    sent: list[bytes] = []
    stuck, go_on = trio.Event(), trio.Event()

    async def send(data: bytes) -> None:
        sent.append(data)
        if b"data" in data and not stuck.is_set():
            stuck.set()
            await go_on.wait()

    wish = Wish(frozenset(), frozenset(), follow=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_events, ring, Begin(0), wish, 60.0, send)
        with trio.fail_after(30):
            await stuck.wait()
        for _ in range(100):
            ring.member("failed", FACTS)
        go_on.set()
    text = b"".join(sent).decode()
    numbers = [int(line.removeprefix("id: aa.")) for line in text.splitlines() if line.startswith("id: ")]
    assert numbers == [0, 1, 2, 3, 98, 99, 100, 101, 102, 103]
    gaps = [json.loads(line[6:]) for line in text.splitlines() if '"gap"' in line]
    assert [(it["id"], it["reason"], it["lost"]) for it in gaps] == [("aa.98", "overrun", 95)]
    assert len(ring.after(0, 1000)) == 5
