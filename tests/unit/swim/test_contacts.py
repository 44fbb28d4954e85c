"""Who answers over UDP and over TCP: what the prober and push/pulls note, and only when somebody wants to know."""

from moot.gossip.config import LAN
from moot.gossip.record import Address
from moot.gossip.swim.contacts import Contact, Contacts
from moot.gossip.swim.messages import Ack, Ping, PushPull, Suspect
from tests.support.swim import PEER, Desk, alive, member


def probing(contacts: Contacts | None, *names: str) -> tuple[Desk, Ping, Address]:
    """A desk at the moment of its first probe."""
    desk = Desk(contacts=contacts)
    desk.hear(*(alive(name) for name in names))
    while not desk.out.sent(Ping):
        desk.run(0.05)
    ((to, ping),) = desk.out.sent(Ping)
    return desk, ping, to


def packet(contacts: Contacts, name: str) -> Contact:
    found = contacts.packet(name)
    assert found is not None
    return found


def test_who_was_never_tried_is_unknown() -> None:
    contacts = Contacts()
    probing(contacts, "b")
    assert (contacts.packet("b"), contacts.stream("b"), contacts.version) == (None, None, 0)


def test_a_direct_answer_is_noted_with_its_round_trip_time() -> None:
    contacts = Contacts()
    desk, ping, to = probing(contacts, "b")
    desk.run(0.1)
    desk.hear(Ack(ping.seq), source=to)
    noted = packet(contacts, "b")
    assert noted.answered
    assert noted.answered_at == noted.tried_at == desk.out.now
    assert noted.rtt is not None
    assert 0.1 <= noted.rtt < 0.16


def test_a_late_answer_counts_as_direct_when_it_comes_from_the_member_itself() -> None:
    for source, direct in ((None, True), (PEER, False)):
        contacts = Contacts()
        desk, ping, to = probing(contacts, "b", "c")
        desk.run(LAN.probe_timeout + 0.1)
        desk.hear(Ack(ping.seq), source=source or to)
        assert packet(contacts, ping.node).answered is direct


def test_what_is_not_answered_at_all_keeps_what_was_known() -> None:
    contacts = Contacts()
    contacts.note_packet(-5.0, "b", 0.02)
    desk, _, _ = probing(contacts, "b")
    desk.run(1.2)
    noted = packet(contacts, "b")
    assert (noted.answered, noted.answered_at, noted.rtt) == (False, -5.0, 0.02)
    assert noted.tried_at > 0


def test_tcp_pings_tell_of_tcp_whatever_becomes_of_the_probe() -> None:
    contacts = Contacts()
    desk, ping, to = probing(contacts, "b")
    desk.run(LAN.probe_timeout)
    (stream,) = desk.out.streams
    desk.hear(Ack(ping.seq), source=to)  # the probe is over before the stream is
    desk.swim.on_stream_failed(desk.out.now, stream.ticket, "connection refused")
    refused = contacts.stream("b")
    assert refused is not None
    assert (refused.answered, refused.answered_at, refused.reason) == (False, None, "connection refused")
    contacts.note_stream(9.0, "b", True)
    assert contacts.stream("b") == Contact(9.0, True, 9.0, None)


def test_a_push_pull_tells_of_tcp() -> None:
    contacts = Contacts()
    desk = Desk(contacts=contacts)
    desk.hear(alive("b"))
    while not any(isinstance(stream.first, PushPull) for stream in desk.out.streams):
        desk.run(1.0)
        desk.hear(alive("b", 100 + int(desk.out.now)))  # it must not fail meanwhile
    stream = next(stream for stream in desk.out.streams if isinstance(stream.first, PushPull))
    desk.swim.on_stream_reply(desk.out.now, stream.ticket, PushPull(False, [member("b", 1000)], None))
    noted = contacts.stream("b")
    assert noted is not None
    assert noted.answered


def test_forgotten_names_leave_nothing_behind() -> None:
    contacts = Contacts()
    contacts.note_packet(1.0, "b", None)
    contacts.note_stream(1.0, "b", False, "timeout")
    contacts.forget("b")
    contacts.forget("never seen")
    assert (contacts.packet("b"), contacts.stream("b")) == (None, None)


def test_a_history_is_the_same_whether_anybody_wants_to_know() -> None:
    histories = []
    for contacts in (None, Contacts()):
        desk, _, _ = probing(contacts, "b", "c", "d")
        desk.run(10.0)
        histories.append((desk.out.packets, desk.out.events))
    assert histories[0] == histories[1]


def test_a_suspicion_says_who_accuses_since_when_and_until_when() -> None:
    desk = Desk()
    desk.hear(*(alive(name) for name in ("b", "c", "d", "e", "f", "g")))
    assert desk.swim.suspicion("b") is None
    desk.hear(Suspect(1, "b", "d"))
    desk.hear(Suspect(1, "b", "c"))
    held = desk.swim.suspicion("b")
    assert held is not None
    assert (held.accusers, held.started, held.confirmed) == (("d", "c"), desk.out.now, 1)
    assert held.due > desk.out.now
    desk.hear(alive("b", 2))
    assert desk.swim.suspicion("b") is None
