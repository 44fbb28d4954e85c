"""KeyWatch: a failed member that is back with another key is noticed by where its bytes come from."""

import trio
from trio.testing import MockClock

from moot.agent.key_watch import RECENT, KeyWatch
from moot.gossip.net.refusals import TOLD_AFTER, TOLD_MAX, PeerUnreadable, Refusals
from moot.gossip.net.streams import StreamRefused
from moot.gossip.record import Address
from moot.gossip.serf.members import MemberStatus
from tests.api.scripted import made

FAILED = made("failed", "127.0.0.2", {}, MemberStatus.FAILED)
NEIGHBOUR = made("neighbour", "127.0.0.2", {}, MemberStatus.FAILED, port=9)
ALIVE = made("alive", "127.0.0.3", {})


def names(watch: KeyWatch, event: object) -> list[str]:
    return [member.name for member in watch.hear(event)]


async def test_packets_name_the_failed_member_at_that_address_and_port() -> None:
    watch = KeyWatch(lambda: [FAILED, NEIGHBOUR, ALIVE])
    assert names(watch, PeerUnreadable(FAILED.address)) == ["failed"]
    assert names(watch, PeerUnreadable(Address(b"\0" * 10 + b"\xff\xff" + FAILED.address.ip, 4648))) == ["failed"]
    assert names(watch, PeerUnreadable(ALIVE.address)) == []
    assert names(watch, PeerUnreadable(Address.parse("127.0.0.9", 4648))) == []
    assert names(watch, "another event") == []
    assert (watch.locked_out(FAILED), watch.locked_out(NEIGHBOUR)) == (True, False)


async def test_a_connection_may_be_of_any_failed_member_of_the_host() -> None:
    watch = KeyWatch(lambda: [FAILED, NEIGHBOUR, ALIVE])
    peer = Address.parse("127.0.0.2", 50_000)
    assert names(watch, StreamRefused(peer, "no installed key opens it")) == ["failed", "neighbour"]


async def test_who_was_not_heard_of_for_long_is_not_back(autojump_clock: MockClock) -> None:
    watch = KeyWatch(lambda: [FAILED])
    watch.hear(PeerUnreadable(FAILED.address))
    await trio.sleep(RECENT - 1)
    assert watch.locked_out(FAILED)
    await trio.sleep(1)
    assert not watch.locked_out(FAILED)


async def test_an_address_is_told_once_a_minute_and_not_too_many_of_them(autojump_clock: MockClock) -> None:
    told: list[Address] = []
    refusals = Refusals(lambda event: told.append(event.peer))
    for _ in range(5):
        refusals.note(FAILED.address)
    assert told == [FAILED.address]
    for port in range(100):
        refusals.note(Address.parse("127.0.0.7", port))
    assert len(told) == TOLD_MAX
    await trio.sleep(TOLD_AFTER)
    refusals.note(FAILED.address)
    assert len(told) == TOLD_MAX + 1
