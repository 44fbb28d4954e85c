"""Packets and streams that were sent to real agents, and what those showed: our Serf must show the same.

The steps of tests/vectors/state_trace.json and serf_trace.json are replayed in order as the bytes they were,
through the wire, with no time passing but the 0.12 s between the packets.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from moot.gossip.config import WireConfig
from moot.gossip.record import Address, Ticket
from moot.gossip.serf.events import UserEventReceived
from moot.gossip.serf.messages import RESPONSE_ACK, QueryResponse, SerfPushPull
from moot.gossip.swim.messages import PushPull, StreamMessage, User
from moot.gossip.wire.packet import PacketCodec
from moot.gossip.wire.stream import StreamReader
from tests.support.serf import SerfDesk

VECTORS = Path(__file__).parent.parent / "vectors"
SENDER = Address(bytes((127, 0, 5, 9)), 7946)
GAP = 0.12

PACKETS = PacketCodec(WireConfig(), None)


def steps_of(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((VECTORS / name).read_text())["steps"]
    return loaded


class Agent(SerfDesk):
    """The agent of the traces: n1, tag role=web, and a sender that speaks bytes."""

    def __init__(self) -> None:
        super().__init__(me="n1", tags={"role": "web"})

    def packet(self, hexed: str) -> None:
        self.out.now += GAP
        opened = PACKETS.open(bytes.fromhex(hexed))
        assert opened.errors == []
        self.hear(*opened.messages, source=SENDER)

    def stream(self, hexed: str) -> StreamMessage | None:
        """Open a stream with these bytes; what the agent answers."""
        reader = StreamReader(WireConfig(), None, expect_label=True)
        request = reader.feed(bytes.fromhex(hexed))
        assert request is not None
        assert reader.errors == []
        self._tickets += 1
        self.serf.on_stream(self.now, SENDER, Ticket(self._tickets), request)
        return self.out.replies.get(Ticket(self._tickets))

    def shown(self, name: str) -> dict[str, str] | None:
        """A member as `serf members` shows it, None when it is not listed."""
        member = self.serf.member(name)
        if member is None:
            return None
        tags = ",".join(f"{key}={value}" for key, value in sorted(member.tags.items()))
        return {
            "address": str(member.address),
            "status": member.status.value,
            "tags_as_shown_by_serf_members": tags,
        }


def test_members_stand_as_in_real_agents_after_each_step() -> None:
    agent = Agent()
    steps = steps_of("state_trace.json")
    assert len(steps) == 27
    for step in steps[:-1]:
        for hexed in step["send_udp_hex"]:
            agent.packet(hexed)
        assert agent.shown(step["member"]) == step["expect"], step["step"]


def test_the_agent_itself_stays_alive_after_the_last_step() -> None:
    agent = Agent()
    for step in steps_of("state_trace.json"):
        for hexed in step["send_udp_hex"]:
            agent.packet(hexed)
    agent.run(1.0)
    mine = agent.shown("n1")
    assert mine is not None
    assert mine["status"] == "alive"
    # the trace accuses n1 by 100: the refutation is later than that
    assert agent.ltime("n1") > 100


class Trace:
    """serf_trace.json, replayed up to a step; what was seen in it."""

    def __init__(self) -> None:
        self.agent = Agent()
        self._steps = iter(steps_of("serf_trace.json"))

    def to(self, prefix: str) -> tuple[Any, list[StreamMessage | None]]:
        """Play on to the step whose name begins so. What real agents showed, and the replies of its streams."""
        for step in self._steps:
            self.agent.out.events.clear()
            self.agent.out.packets.clear()
            replies = []
            for sent in step["send"]:
                if "udp_hex" in sent:
                    self.agent.packet(sent["udp_hex"])
                else:
                    replies.append(self.agent.stream(sent["tcp_stream_hex"]))
            if step["step"].startswith(prefix):
                return step["observed"], replies
        raise AssertionError(f"no step {prefix}")

    def events(self) -> list[list[object]]:
        """User events delivered, an empty payload as null: as 0.9.4 shows it."""
        taken = self.agent.out.took(UserEventReceived)
        return [[e.event.ltime, e.event.name, e.event.payload.decode() or None] for e in taken]


def state_in(reply: StreamMessage | None) -> SerfPushPull:
    assert isinstance(reply, PushPull)
    assert isinstance(reply.state, SerfPushPull)
    return reply.state


QUERY_STEPS = [step["step"] for step in steps_of("serf_trace.json")[:15]]


def acknowledged(agent: Agent) -> bool:
    """Whether an ack went out since the step began."""
    return any(
        isinstance(user.body, QueryResponse) and user.body.flags & RESPONSE_ACK for _, user in agent.out.sent(User)
    )


@pytest.mark.parametrize("step", QUERY_STEPS)
def test_queries_are_acknowledged_as_by_real_agents(step: str) -> None:
    """Repeated ones, old ones, filtered ones: what means an agent is acknowledged, and nothing else."""
    trace = Trace()
    observed, _ = trace.to(step)
    assert acknowledged(trace.agent) is observed


def test_every_step_with_a_query_is_tried() -> None:
    assert QUERY_STEPS[0] == "query ack"
    assert QUERY_STEPS[-1] == "just in window"
    assert len(set(QUERY_STEPS)) == 15


@pytest.mark.parametrize("step", ["event", "dup", "same LTime other payload", "other LTime", "in window"])
def test_events_are_delivered_as_by_real_agents(step: str) -> None:
    trace = Trace()
    observed, _ = trace.to(step)
    assert trace.events() == observed


def test_far_and_old_events_are_told_apart_as_by_real_agents() -> None:
    trace = Trace()
    trace.to("other LTime")
    observed, _ = trace.to("far")
    assert trace.events() == observed
    observed, _ = trace.to("too old")
    assert trace.events() == observed == []


def test_before_coalescing_both_events_are_delivered_the_kept_one_last() -> None:
    trace = Trace()
    observed, _ = trace.to("coalesced")
    delivered = trace.events()
    assert len(delivered) == 2
    assert delivered[-1:] == observed


def test_events_of_a_push_pull_are_delivered_and_move_the_clocks() -> None:
    trace = Trace()
    observed, _ = trace.to("push/pull events")
    assert trace.events() == observed
    observed, (reply,) = trace.to("clocks")
    assert [state_in(reply).event_ltime, state_in(reply).query_ltime] == observed


def test_a_failed_member_listed_as_left_is_left() -> None:
    trace = Trace()
    observed, _ = trace.to("failed")
    assert trace.agent.held("pf").status.value == observed
    observed, _ = trace.to("LeftMembers")
    assert trace.agent.held("pf").status.value == observed
    observed, (reply,) = trace.to("StatusLTimes+1")
    told = state_in(reply)
    assert [told.status_ltimes["pf"], told.ltime, told.left_members] == observed
    observed, _ = trace.to("Join echoed")
    assert isinstance(reply, PushPull)
    assert reply.join is observed


@pytest.mark.parametrize("step", ["dead in push/pull", "left in push/pull"])
def test_what_a_push_pull_says_of_the_dead_and_the_left(step: str) -> None:
    trace = Trace()
    observed, replies = trace.to(step)
    reply = replies[-1]
    assert isinstance(reply, PushPull)
    assert [member.status for member in reply.members if member.name == "pd"] == observed
