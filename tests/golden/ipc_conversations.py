"""Conversations over Serf's RPC as they were captured between real clients and the real agent."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moot.agent.rpc import protocol
from moot.agent.rpc.protocol import BODIES
from tests.support.rpc import canonical, unpack_all

VECTORS = Path(__file__).parents[1] / "vectors"


class Conversation:
    """Requests and answers of one connection, each an object and its bytes."""

    def __init__(self, scenario: str, number: int, data: dict[str, Any]) -> None:
        self.name = f"{scenario}-{number}-{'-'.join(data['command'])}"
        self.commands = tuple(data["command"])
        self.sent = [bytes.fromhex(entry["hex"]) for entry in data["client_objects"]]
        self.answers = [bytes.fromhex(entry["hex"]) for entry in data["agent_objects"]]
        self.is_whole = data["agent_objects_total"] == len(self.answers)

    def requests(self) -> Iterator[tuple[str, int, Any, bytes]]:
        """Command, seq, body and the bytes of each."""
        parts = iter(self.sent)
        for head in parts:
            (header,) = unpack_all(head)
            body = next(parts) if BODIES.get(header["Command"]) else b""
            yield header["Command"], header["Seq"], unpack_all(body)[0] if body else None, head + body

    @property
    def is_cut_off(self) -> bool:
        """Whether the agent hung up after the last answer, or instead of it."""
        errors = (protocol.HANDSHAKE_REQUIRED, protocol.UNSUPPORTED_COMMAND)
        (last,) = unpack_all(self.answers[-1])
        return last.get("Error") in errors or unpack_all(self.sent[-1])[0].get("Name") == "["

    def by_seq(self) -> dict[int, list[bytes]]:
        """The answers under each seq, in order: headers, bodies and records."""
        return by_seq(self.answers)

    def expected(self) -> dict[int, list[bytes]]:
        """What we are to answer: what Serf did, less two oddities.

        Serf takes the body of what it refuses for a header, and refuses that, too. In one capture a segment
        occurs twice, which makes three equal headers in a row.
        """
        answers = by_seq(self.answers if self.is_whole else self.answers[:-1])
        for parts in answers.values():
            if unpack_all(parts[0])[0]["Error"] == protocol.AUTH_REQUIRED:
                del parts[1:]
            if len(parts) > 2 and parts[0] == parts[1] == parts[2]:
                del parts[0]
        return {seq: [canonical(unpack_all(part)[0]) for part in parts] for seq, parts in answers.items()}


def by_seq(answers: list[bytes]) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = defaultdict(list)
    seq = 0
    for part in answers:
        (value,) = unpack_all(part)
        if value.keys() == {"Seq", "Error"}:
            seq = value["Seq"]
        found[seq].append(part)
    return found


def conversations(*files: str) -> list[Conversation]:
    return [
        Conversation(scenario["scenario"], number, data)
        for name in files
        for scenario in json.loads((VECTORS / name).read_text())["scenarios"]
        for number, data in enumerate(scenario["conversations"])
    ]


def ids(conversation: Conversation) -> str:
    return conversation.name
