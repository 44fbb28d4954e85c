"""Everything that a Serf bounds at its bound at once: a peer must still be able to read its push/pull."""

from moot.gossip.config import WireConfig
from moot.gossip.net.streams import HELD_BYTES_MAX
from moot.gossip.record import Address
from moot.gossip.serf.messages import SerfPushPull, UserEvent
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import Alive, Dead, PushPull
from moot.gossip.wire.stream import StreamReader, frame
from tests.support.serf import SerfDesk

WIRE = WireConfig()
AT = Address(bytes(16), 65535)


def fat_claim(number: int, meta: int) -> Member:
    return Member(f"{number:01000}", AT, 2**32 - 1, Status.ALIVE, bytes(meta))


def test_a_push_pull_of_all_that_we_take_in_is_one_that_we_read() -> None:
    desk = SerfDesk()
    # long names without meta weigh most in Serf's part, those with it in Swim's
    for wave, meta in ((0, 0), (1, 512), (2, 512), (3, 0)):
        claims = [fat_claim(wave * 8000 + number, meta) for number in range(8000)]
        for claim in claims:
            desk.hear(Alive(claim))
            if wave < 3:
                desk.hear(Dead(claim.incarnation, claim.name, "judge"))
                desk.leave_intent(claim.name, 2**33)
    for ltime in range(600):
        desk.told(UserEvent(2**33 + ltime, "flood", bytes(9200)))
    ours = desk.sync(SerfPushPull(1, {}, [], 1, [], 1), join=True)
    assert isinstance(ours, PushPull)
    data = frame(ours, WIRE, None, dialer=False)
    assert len(data) > 18 * 2**20
    reader = StreamReader(WIRE, None, expect_label=False)
    read, held = None, 0
    for start in range(0, len(data), 65536):
        read = reader.feed(data[start : start + 65536])
        held = max(held, reader.held)
    assert held < HELD_BYTES_MAX
    assert isinstance(read, PushPull)
    assert reader.errors == []
    sent, found = ours.state, read.state
    assert isinstance(sent, SerfPushPull)
    assert isinstance(found, SerfPushPull)
    assert found.status_ltimes == sent.status_ltimes
    assert found.left_members == sent.left_members
    assert [slot and list(slot.events) for slot in found.events] == [
        slot and list(slot.events) for slot in sent.events
    ]
