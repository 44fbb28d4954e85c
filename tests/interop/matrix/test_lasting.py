"""What outlasts an agent: the directory it leaves behind, and the name that it has."""

import signal

from tests.interop.matrix.cell import Cell, row
from tests.interop.matrix.pools import LETTER, MixedPool, other
from tests.support.launching import until
from tests.support.serf_cli import SerfAgent

RECEIVED = "Received event: user-event: "


def hand_over(pool: MixedPool, heir: SerfAgent, kind: str) -> None:
    """End the heir without a leave, and start it as the given kind, with a log of its own."""
    heir.process.send_signal(signal.SIGTERM)
    heir.process.wait(30)
    heir.restart_as(pool.programs[kind])


def hear_once(pool: MixedPool, peer: SerfAgent, heir: SerfAgent, event: str) -> None:
    """The heir is in the pool: it gets a new event."""
    pool.settle({"peer": "alive", "heir": "alive"})
    peer.tell("event", "-coalesce=false", event)
    until(f"the heir hears {event}", lambda: RECEIVED + event in heir.log_text(), logs=[peer, heir])


@row("snapshot hand-over")
def test_a_data_directory_goes_from_one_kind_to_the_other_and_back(cell: Cell) -> None:
    with cell.pools.fresh(cell.seal) as pool:
        snapshot = pool.folder / "snapshot"
        heir = pool.begin(cell.way, "heir", f"-snapshot={snapshot}")
        peer = pool.begin(other(cell.way), "peer")
        pool.gather(peer, heir)
        for number, kind in enumerate((other(cell.way), cell.way), start=1):
            hear_once(pool, peer, heir, f"event-{number}")
            hand_over(pool, heir, kind)
            written = snapshot.read_text().splitlines()
            assert {f"alive: peer {peer.address}", f"event-clock: {number}"} <= set(written)
        hear_once(pool, peer, heir, "event-3")
        assert heir.log_text().count(RECEIVED) == 1, "events from before are not heard again"
        assert "nrecognized snapshot line" not in heir.log_text()


@row("name conflict")
def test_a_second_agent_of_a_name_is_voted_out(cell: Cell) -> None:
    before = cell.actor.listing(cell.tool)
    with cell.pools.fresh(cell.seal) as outside:
        second = outside.begin(cell.way, LETTER[other(cell.way)] + "1", f"-join={cell.actor.address}")
        until("the second one ends", lambda: second.process.poll() is not None, logs=[second])
        assert second.process.returncode == 0
        assert "minority in name conflict resolution, quitting" in second.log_text()
    cell.pool.settle(cell.pool.whole)
    assert cell.actor.listing(cell.tool) == cell.seer.listing(cell.tool) == before
