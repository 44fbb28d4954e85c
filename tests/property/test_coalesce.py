"""Whatever comes when, coalescing delays little, loses no last word, and says nothing twice."""

from hypothesis import given
from hypothesis import strategies as st

from moot.gossip.serf.coalesce import PERIOD, Coalescer, MemberEvents
from moot.gossip.serf.events import MemberChange, MemberEvent, UserEventReceived
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import UserEvent
from tests.support.swim import member

changes = st.builds(
    lambda change, name: MemberEvent(change, SerfMember(member(name), MemberStatus.ALIVE)),
    st.sampled_from(MemberChange),
    st.sampled_from("abc"),
)
user_events = st.builds(
    lambda *parts: UserEventReceived(UserEvent(*parts)),
    st.integers(1, 4),
    st.sampled_from("xy"),
    st.sampled_from((b"1", b"2")),
    st.booleans(),
)
histories = st.lists(st.tuples(st.floats(0.0, 1.5), changes | user_events), max_size=50)
Delivery = tuple[float, object]


def played(history: list[tuple[float, object]]) -> tuple[list[Delivery], list[Delivery]]:
    """What came and what was delivered, each with its instant; the driver is punctual."""
    coalescer = Coalescer()
    now, came, delivered = 0.0, list[Delivery](), list[Delivery]()
    for after, event in (*history, (2 * PERIOD, None)):
        while coalescer.due is not None and coalescer.due <= now + after:
            due = coalescer.due
            delivered += [(due, found) for found in coalescer.flush(due)]
            assert coalescer.due is None or coalescer.due > due
        now += after
        if event is not None:
            came.append((now, event))
            delivered += [(now, found) for found in coalescer.add(now, event)]
    assert coalescer.close() == []
    return came, delivered


@given(histories)
def test_the_last_delivery_about_a_member_is_its_last_change(history: list[tuple[float, object]]) -> None:
    came, delivered = played(history)
    last = {event.member.name: event for _, event in came if isinstance(event, MemberEvent)}
    told = {}
    for _, event in delivered:
        if isinstance(event, MemberEvents):
            told.update(dict.fromkeys((one.name for one in event.members), event.change))
    assert told == {name: event.change for name, event in last.items()}


@given(histories)
def test_no_change_but_an_update_is_told_of_a_member_twice_in_a_row(history: list[tuple[float, object]]) -> None:
    told: dict[str, MemberChange] = {}
    for _, event in played(history)[1]:
        if isinstance(event, MemberEvents):
            for one in event.members:
                assert told.get(one.name) is not event.change or event.change in (
                    MemberChange.UPDATE,
                    MemberChange.REAP,
                )
                told[one.name] = event.change


@given(histories)
def test_user_events_are_delivered_once_and_only_older_ones_of_a_name_are_left_out(
    history: list[tuple[float, object]],
) -> None:
    came, delivered = played(history)
    out = [event for _, event in delivered if isinstance(event, UserEventReceived)]
    for _, event in came:
        if not isinstance(event, UserEventReceived):
            continue
        if any(event is one for one in out):
            out.remove(event)
        else:
            assert event.event.coalesce
            assert any(
                one.event.name == event.event.name and one.event.ltime > event.event.ltime
                for _, one in came
                if isinstance(one, UserEventReceived)
            )
    assert out == []


@given(histories)
def test_nothing_waits_longer_than_the_period(history: list[tuple[float, object]]) -> None:
    came, delivered = played(history)
    arrivals = {id(event): at for at, event in came}
    for at, event in delivered:
        if isinstance(event, UserEventReceived):
            assert at - arrivals[id(event)] <= PERIOD + 1e-9
