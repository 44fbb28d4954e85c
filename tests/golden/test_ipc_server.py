"""Our server in the conversations of real clients with the real agent.

It gets what the clients sent, byte for byte, and a scripted agent behind it that knows what the real one knew; what
it answers must be what the real agent answered, up to the order of maps that Go does not order.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest
import trio

from moot.agent.delivery import Deliverable
from moot.agent.rpc import protocol
from moot.agent.rpc.protocol import KeyResponse
from moot.gossip.record import Address, Ticket
from moot.gossip.serf.coalesce import MemberEvents
from moot.gossip.serf.events import MemberChange, QueryAcked, QueryAnswered, QueryReceived, UserEventReceived
from moot.gossip.serf.members import SerfMember
from moot.gossip.serf.messages import Coordinate, Query, UserEvent
from tests.golden.ipc_conversations import Conversation, conversations, ids
from tests.support.rpc import ScriptedBackend, canonical, serf_member, session, unpack_all


class Script:
    """The scripted agent for one conversation, told what the real one said."""

    def __init__(self, conversation: Conversation) -> None:
        self.events: dict[int, list[Deliverable]] = {}
        self.backend = ScriptedBackend()
        self.backend.hold_queries = not conversation.is_whole
        answers = conversation.by_seq()
        for command, seq, body, _ in conversation.requests():
            parts = [unpack_all(part)[0] for part in answers[seq]]
            if parts:
                self._learn(command, seq, body, parts[0]["Error"], [part for part in parts[1:] if "Seq" not in part])

    def happen(self) -> Iterable[int]:
        """Deliver to the stream what the real agent delivered; the seq of that stream if there is one."""
        if not self.backend.feeds:
            return ()
        happened, self.events = self.events, {}
        for events in happened.values():
            ((_, feed),) = self.backend.feeds
            for event in events:
                feed.send_nowait(event)
        return happened

    def _learn(self, command: str, seq: int, body: Any, error: str, rest: list[Any]) -> None:  # noqa: ANN401 - whatever was recorded
        backend = self.backend
        if command == "stream":
            if not error:
                self.events[seq] = [event_of(record) for record in rest]
        elif command == "monitor":
            for record in rest:
                backend.log_ring.write(record["Log"] + "\n")
        elif command == "query":
            backend.refusals.setdefault("query", []).append(error)
            backend.replies = [reply_of(record) for record in rest if record["Type"] != "done"]
        elif command.startswith("members") and rest and "Members" in rest[0]:
            backend.listing = [member_of(member) for member in rest[0]["Members"]]
        elif command == "join":
            backend.refusals.setdefault("join", []).append(error)
            backend.joined = rest[0]["Num"]
        elif command.endswith(("-key", "-keys")):
            it = rest[0]
            said = KeyResponse(it["Messages"], it["Keys"], it["NumNodes"], it["NumErr"], it["NumResp"])
            backend.keys.append((said, error))
        elif command == "stats":
            backend.statistics = rest[0]
        elif command == "get-coordinate":
            it = rest[0]["Coord"]
            if rest[0]["Ok"]:
                backend.coordinates[body["Node"]] = Coordinate(it["Vec"], it["Error"], it["Adjustment"], it["Height"])
        elif command in ("event", "tags", "respond"):
            name = {"event": "user_event", "tags": "change_tags"}.get(command, command)
            if error != protocol.NO_PENDING_QUERY:
                backend.refusals.setdefault(name, []).append(error.removeprefix("failed to respond to key query: "))


def member_of(data: dict[str, Any]) -> SerfMember:
    six = ("ProtocolMin", "ProtocolMax", "ProtocolCur", "DelegateMin", "DelegateMax", "DelegateCur")
    versions = bytes(data[key] for key in six)
    return serf_member(data["Name"], data["Addr"], data["Port"], data["Tags"], data["Status"], versions)


def event_of(record: dict[str, Any]) -> MemberEvents | UserEventReceived | QueryReceived:
    payload = record.get("Payload") or b""
    if record["Event"] == "user":
        return UserEventReceived(UserEvent(record["LTime"], record["Name"], payload, record["Coalesce"]))
    if record["Event"] == "query":
        source = Address(b"\x7f\0\0\1", 7946)
        query = Query(record["LTime"], 77, source, "n1", (), 0, 0, 10**9, record["Name"], payload)
        return QueryReceived(query, math.inf)
    return MemberEvents(MemberChange(record["Event"]), tuple(map(member_of, record["Members"])))


def reply_of(record: dict[str, Any]) -> QueryAcked | QueryAnswered:
    if record["Type"] == "ack":
        return QueryAcked(Ticket(1), record["From"])
    return QueryAnswered(Ticket(1), record["From"], record["Payload"] or b"")


@pytest.mark.parametrize("conversation", conversations("ipc_cli.json", "ipc_raw.json"), ids=ids)
async def test_our_server_says_what_the_real_agent_said(conversation: Conversation) -> None:
    expected = conversation.expected()
    auth_key = "sekret" if "auth" in conversation.commands or protocol.AUTH_REQUIRED in str(expected) else ""
    received: dict[int, list[bytes]] = defaultdict(list)
    everything: list[bytes] = []
    last = 0

    with trio.fail_after(20):
        script = Script(conversation)
        async with session(script.backend, auth_key=auth_key, shaken=False) as caller:

            async def receive(seq: int, count: int) -> None:
                """Until there are so many under this seq; records of others may come in between."""
                nonlocal last
                while len(received[seq]) < count:
                    found = await caller.next()
                    last = found.get("Seq", last)
                    received[last].append(canonical(found))
                    everything.append(received[last][-1])

            for command, seq, _, request in conversation.requests():
                if command not in ("stream", "monitor"):
                    for streamed in script.happen():
                        await receive(streamed, len(expected[streamed]))
                await caller.send(request)
                if seq in expected:
                    # as the client did, wait for the answer before the next request
                    await receive(seq, len(received[seq]) + 1)
            script.happen()
            for seq, parts in expected.items():
                await receive(seq, len(parts))
            assert {seq: parts[: len(expected[seq])] for seq, parts in received.items()} == expected
            assert caller.received.startswith(b"".join(everything))  # our maps are in order, our integers minimal
            if conversation.is_cut_off:
                assert await caller.hung_up()


def test_the_conversations_with_a_hangup_are_found() -> None:
    assert sum(it.is_cut_off for it in conversations("ipc_raw.json")) == 4
