"""One snapshot, two kinds of agents: what either wrote, the other goes on with."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.launching import GOSSIP_PORT, Net, until
from tests.support.processes import Lab, Serf
from tests.support.serf_cli import MOOT

pytestmark = [pytest.mark.live, pytest.mark.peer, pytest.mark.timeout(300)]

BOTH_WAYS = pytest.mark.parametrize(("first", "second"), [("serf", "moot"), ("moot", "serf")])


class Heir(Serf):
    """The agent `b` with a snapshot, as `serf agent` or as `moot serf agent`."""

    def __init__(self, serf_binary: str, net: Net, folder: Path) -> None:
        self.kinds = {"serf": (serf_binary,), "moot": MOOT}
        self.snapshot = folder / "snapshot"
        super().__init__(self.kinds["serf"], "b", net.host(), folder, ())

    def become(self, kind: str, *flags: str) -> None:
        """Start as this kind, with a log of its own."""
        self.restart_as(self.kinds[kind], "-profile=local", f"-snapshot={self.snapshot}", *flags)

    def end(self) -> None:
        """SIGTERM: it ends without a leave, and writes down what it knows."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    @property
    def lines(self) -> list[str]:
        return self.snapshot.read_text().splitlines()

    def received(self, event: str) -> bool:
        return f"Received event: user-event: {event}" in self.log_text()


@pytest.fixture
def heir(mixed: Lab, serf_binary: str) -> Iterator[Heir]:
    with tempfile.TemporaryDirectory(prefix="moot-test-") as folder:
        agent = Heir(serf_binary, Net(), Path(folder))
        mixed.agents.append(agent)
        yield agent


def settled(peer: Serf, heir: Heir, view: dict[str, str]) -> None:
    until(
        f"{peer.name} and {heir.name} see {view}",
        lambda: peer.view() == view and heir.view() == view,
        logs=[peer, heir],
    )


@BOTH_WAYS
def test_after_a_restart_as_the_other_kind_the_pool_is_found_and_old_events_stay_old(
    mixed: Lab, heir: Heir, first: str, second: str
) -> None:
    peer, lost = mixed.serf("a"), mixed.serf("c")
    heir.become(first, f"-join={peer.host}")
    lost.join(peer)
    settled(peer, heir, {"a": "alive", "b": "alive", "c": "alive"})
    lost.kill()
    settled(peer, heir, {"a": "alive", "b": "alive", "c": "failed"})
    peer.tell("event", "-coalesce=false", "before")
    until("the event arrives", lambda: heir.received("before"), logs=[heir])
    peer.tell("query", "-timeout=1s", "load")

    def query_is_noted() -> bool:
        # the reference writes with the next line only
        peer.tell("event", "-coalesce=false", "again")
        return "query-clock: 1" in heir.lines

    until("the query is noted", query_is_noted, logs=[heir])
    heir.end()

    written = [line for line in heir.lines if not line.startswith("#")]
    assert f"alive: a {peer.host}:{GOSSIP_PORT}" in written
    assert "not-alive: c" in written
    assert "event-clock: 1" in written
    assert "query-clock: 1" in written
    assert (f"# moot failed: c {lost.host}:{GOSSIP_PORT}" in heir.lines) == (first == "moot")

    heir.become(second)
    # who is dead is not told to those who never met it
    until("the heir is back", lambda: heir.view() == {"a": "alive", "b": "alive"}, logs=[peer, heir])
    until("the pool sees it", lambda: peer.view()["b"] == "alive", logs=[peer, heir])
    peer.tell("event", "-coalesce=false", "after")
    until("a new event arrives", lambda: heir.received("after"), logs=[heir])
    assert not heir.received("before")
    for complaint in ("nrecognized", "left out", "parse", "snapshot:"):
        assert complaint not in heir.log_text()


@BOTH_WAYS
def test_after_a_leave_nobody_is_looked_for_unless_told_to_rejoin(
    mixed: Lab, heir: Heir, first: str, second: str
) -> None:
    peer = mixed.serf("a")
    heir.become(first, f"-join={peer.host}")
    settled(peer, heir, {"a": "alive", "b": "alive"})
    heir.leave()
    assert "leave" in heir.lines
    kept = heir.snapshot.read_bytes()

    heir.become(second)
    assert heir.view() == {"b": "alive"}
    heir.kill()

    heir.snapshot.write_bytes(kept)
    heir.become(second, "-rejoin")
    settled(peer, heir, {"a": "alive", "b": "alive"})


def test_an_agent_that_restarts_during_an_outage_finds_who_had_failed(mixed: Lab, heir: Heir) -> None:
    peer = mixed.serf("a")
    heir.become("moot", f"-join={peer.host}")
    settled(peer, heir, {"a": "alive", "b": "alive"})
    peer.kill()
    until("the failure is seen", lambda: heir.view() == {"a": "failed", "b": "alive"}, logs=[heir])
    until("it is written", lambda: "not-alive: a" in heir.lines)
    heir.kill()
    peer.start()

    heir.become("moot")
    settled(peer, heir, {"a": "alive", "b": "alive"})


def test_a_file_that_both_wrote_in_turn_is_still_read_by_both(mixed: Lab, heir: Heir) -> None:
    peer = mixed.serf("a")
    heir.become("moot", f"-join={peer.host}")
    for kind in ("serf", "moot", "serf", "moot"):
        settled(peer, heir, {"a": "alive", "b": "alive"})
        heir.end()
        heir.become(kind)
    settled(peer, heir, {"a": "alive", "b": "alive"})
    assert set(heir.lines) >= {f"alive: {agent.name} {agent.host}:{GOSSIP_PORT}" for agent in (peer, heir)}
