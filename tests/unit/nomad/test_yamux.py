"""Mux: the frames of yamux, windows, and what a peer must not do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.agent.nomad.yamux import HELD_MAX, PIECE, WINDOW, Ended, Mux, Opened, Received, Widened
from moot.gossip.errors import WireError
from tests.support.yamux import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    Frame,
    data,
    frame,
    frames,
    opening,
)


def said(mux: Mux) -> list[Frame]:
    """What it sends, once."""
    sent = frames(bytes(mux.outgoing))
    mux.outgoing.clear()
    return sent


def opened(streams_max: int = 10, *numbers: int) -> Mux:
    """With these streams open, or with stream 1."""
    mux = Mux(streams_max)
    for number in numbers or (1,):
        mux.feed(opening(number))
    said(mux)
    return mux


@pytest.mark.parametrize("first", [opening(1), data(1, b"", SYN)])
def test_a_stream_that_is_opened_is_acknowledged(first: bytes) -> None:
    mux = Mux(10)
    assert mux.feed(first) == [Opened(1)]
    assert said(mux) == [Frame(WINDOW_UPDATE, ACK, 1, 0)]
    assert mux.is_open(1)


def test_data_may_come_with_the_opening_and_with_the_end() -> None:
    mux = Mux(10)
    assert mux.feed(data(3, b"abc", SYN | FIN)) == [Opened(3), Received(3, b"abc"), Ended(3, broken=False)]


@given(st.lists(st.integers(1, 20), max_size=60))
def test_however_frames_are_cut_the_same_comes_out(cuts: list[int]) -> None:
    raw = (
        opening(1) + data(1, b"hello") + opening(3) + data(3, b"x" * 40) + data(1, b"", FIN) + frame(PING, SYN, 0, 7)
    )
    mux, events = Mux(10), []
    while raw:
        size = cuts.pop() if cuts else len(raw)
        events += mux.feed(raw[:size])
        raw = raw[size:]
    texts = {1: b"", 3: b""}
    for event in events:
        if isinstance(event, Received):
            texts[event.stream] += event.data
    assert texts == {1: b"hello", 3: b"x" * 40}
    assert [event for event in events if not isinstance(event, Received)] == [
        Opened(1),
        Opened(3),
        Ended(1, broken=False),
    ]
    assert said(mux)[-1] == Frame(PING, ACK, 0, 7)


def test_a_ping_is_answered_with_its_value_and_an_answer_is_not() -> None:
    mux = Mux(10)
    mux.feed(frame(PING, SYN, 0, 4711) + frame(PING, ACK, 0, 1))
    assert said(mux) == [Frame(PING, ACK, 0, 4711)]


def test_what_is_sent_goes_out_in_pieces_and_no_further_than_the_window() -> None:
    mux, sent = opened(), 0
    payload = bytes(range(256)) * (2 * WINDOW // 256)
    while count := mux.send(1, payload[sent:]):
        assert count <= PIECE
        sent += count
    assert sent == WINDOW
    assert b"".join(each.payload for each in said(mux)) == payload[:WINDOW]
    assert mux.feed(frame(WINDOW_UPDATE, 0, 1, 100)) == [Widened(1)]
    assert mux.send(1, payload[sent:]) == 100


def test_the_peer_gets_room_again_when_half_a_window_is_consumed() -> None:
    mux = opened()
    mux.feed(data(1, b"x" * WINDOW))
    mux.consumed(1, WINDOW // 2 - 1)
    assert said(mux) == []
    mux.consumed(1, 1)
    assert said(mux) == [Frame(WINDOW_UPDATE, 0, 1, WINDOW // 2)]
    mux.feed(data(1, b"x" * (WINDOW // 2)))
    with pytest.raises(WireError):
        mux.feed(data(1, b"x"))


def test_a_stream_that_the_peer_ended_is_closed_politely_and_forgotten() -> None:
    mux = opened()
    assert mux.feed(data(1, b"", FIN)) == [Ended(1, broken=False)]
    assert mux.send(1, b"last words") == 10
    mux.close(1)
    assert said(mux)[-1] == Frame(WINDOW_UPDATE, FIN, 1, 0)
    assert not mux.is_open(1)
    mux.close(1)
    assert said(mux) == []


def test_a_stream_that_we_leave_first_is_reset_and_what_still_comes_is_dropped() -> None:
    mux = opened()
    mux.close(1)
    assert said(mux) == [Frame(WINDOW_UPDATE, RST, 1, 0)]
    assert mux.feed(data(1, b"x" * 100, FIN) + frame(WINDOW_UPDATE, 0, 1, 5)) == []


def test_a_stream_that_the_peer_resets_is_gone() -> None:
    mux = opened()
    assert mux.feed(frame(WINDOW_UPDATE, RST, 1, 0)) == [Ended(1, broken=True)]
    assert not mux.is_open(1)
    mux.consumed(1, 5)


def test_streams_beyond_the_limit_are_reset() -> None:
    mux = opened(2, 1, 3)
    assert mux.feed(opening(5)) == []
    assert said(mux) == [Frame(WINDOW_UPDATE, RST, 5, 0)]
    assert mux.feed(data(5, b"ignored")) == []


def test_going_away_ends_no_stream() -> None:
    mux = opened()
    assert mux.feed(frame(GO_AWAY, 0, 0, 0)) == []
    assert mux.feed(data(1, b"x")) == [Received(1, b"x")]


@pytest.mark.parametrize(
    "bad",
    [
        frame(DATA, 0, 1, 5, b"hello", version=1),
        frame(9, 0, 1, 0),
        opening(2),
        opening(0),
        opening(1),
        data(1, b"x" * (WINDOW + 1)),
        frame(DATA, 0, 99, WINDOW + 1),
        frame(WINDOW_UPDATE, 0, 1, 2**32 - 1),
        data(1, b"", FIN) + data(1, b"x"),
    ],
)
def test_what_a_peer_must_not_do_ends_the_connection_with_a_word(bad: bytes) -> None:
    mux = opened()
    with pytest.raises(WireError):
        mux.feed(bad)
    assert said(mux)[-1] == Frame(GO_AWAY, 0, 0, 1)


def test_streams_together_hold_only_so_much() -> None:
    numbers = range(1, 41, 2)
    mux = opened(20, *numbers)
    whole = HELD_MAX // 100_000
    for number in numbers[:whole]:
        mux.feed(data(number, b"x" * 100_000))
    with pytest.raises(WireError):
        mux.feed(data(numbers[whole], b"x" * 100_000))


def test_what_is_held_is_counted_until_it_is_consumed_or_its_stream_is_gone() -> None:
    mux = Mux(10)
    for round_ in range(100):
        number = 2 * round_ + 1
        mux.feed(data(number, b"x" * 100_000, SYN))
        mux.consumed(number, 50_000)
        mux.close(number)
    assert mux._held == 0


@given(st.binary(max_size=200))
def test_any_bytes_are_events_or_an_error(raw: bytes) -> None:
    mux = opened()
    try:
        mux.feed(raw)
    except WireError:
        assert said(mux)[-1].kind == GO_AWAY


FRAMES = st.builds(
    frame,
    st.sampled_from([DATA, WINDOW_UPDATE, PING, GO_AWAY]),
    st.integers(0, 15),
    st.integers(0, 6),
    st.integers(0, 50),
)


@given(st.lists(FRAMES, max_size=30), st.booleans())
def test_whatever_frames_come_no_count_goes_wrong(raw: list[bytes], consume: bool) -> None:
    mux, unread = Mux(2), dict[int, int]()
    try:
        for each in raw:
            payload = b"x" * int.from_bytes(each[8:12], "big") if each[1] == DATA else b""
            for event in mux.feed(each + payload):
                if isinstance(event, Received):
                    unread[event.stream] = unread.get(event.stream, 0) + len(event.data)
                elif isinstance(event, Opened) or (isinstance(event, Ended) and event.broken):
                    unread.pop(event.stream, None)
            if consume:
                for stream, count in unread.items():
                    mux.consumed(stream, count)
                unread.clear()
            assert mux._held == sum(unread.values())
    except WireError:
        return
