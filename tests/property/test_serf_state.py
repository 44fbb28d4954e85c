"""Whatever a Serf took in, its part of a push/pull is read back whole: nobody can make it silence itself."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from moot.gossip.config import WireConfig
from moot.gossip.serf.messages import SerfPushPull, UserEvent
from moot.gossip.serf.user_events import UserEvents
from moot.gossip.swim.messages import PushPull
from moot.gossip.wire.stream import StreamReader, frame

WIRE = WireConfig()

floods = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.sampled_from((1, 50, 999, 1000, 1100)),
        st.sampled_from(("", "deploy", "\udcff", "\U0001f600" * 3000)),
        st.sampled_from((0, 1, 9000)),
    ),
    max_size=5,
)
"""Lamport time, how many events, the beginning of their names, bytes of payload."""


@given(floods)
@example([(5, 1025, "", 0)])
@example([(5, 60, "", 9000)])
@example([(5, 1, "", 600 * 1024)])
@example([(5, 1, "\U0001f600" * 150 * 1024, 0)])
@settings(max_examples=25, deadline=None)
def test_the_event_ring_is_read_back_as_it_was_sent(heard: list[tuple[int, int, str, int]]) -> None:
    held = UserEvents(512)
    for ltime, count, name, size in heard:
        for number in range(count):
            held.take(UserEvent(ltime, f"{name}{number}", bytes(size)))
    slots = [(slot.ltime, list(slot.events)) for slot in held.slots()]
    message = PushPull(False, [], SerfPushPull(1, {"me": 1}, [], held.ring.clock.time, held.slots(), 1))
    reader = StreamReader(WIRE, None, expect_label=True)
    found = reader.feed(frame(message, WIRE, None, dialer=True))
    assert reader.errors == []
    assert isinstance(found, PushPull)
    assert isinstance(found.state, SerfPushPull)
    assert [(slot.ltime, list(slot.events)) for slot in found.state.events if slot] == slots
