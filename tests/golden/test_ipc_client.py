"""Our client in the conversations of the real command line with the real agent.

It gets what the agent sent, byte for byte, and must ask what the command line asked.
"""

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from moot.agent.rpc.client import RpcClient, RpcClosed, RpcError
from tests.golden.ipc_conversations import Conversation, conversations, ids
from tests.support.rpc import canonical, unpack_all


class Recorded:
    """An agent that says what was recorded, whatever it is asked, and keeps what it is asked."""

    def __init__(self, answers: list[bytes]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._answers = answers
        self._heard = b""
        self._task = threading.Thread(target=self._serve)
        self._task.start()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        with self._listener, self._listener.accept()[0] as link:
            link.sendall(b"".join(self._answers))
            link.shutdown(socket.SHUT_WR)
            while data := link.recv(65536):
                self._heard += data

    def heard(self) -> bytes:
        """All that was asked, when the client is gone."""
        self._task.join(10)
        return self._heard


def perform(client: RpcClient, command: str, body: Any) -> object:  # noqa: ANN401 - whatever was recorded
    """Ask what the command line asked, by our client's methods."""
    if command == "query":
        return list(
            client.query(
                body["Name"],
                body["Payload"] or b"",
                nodes=body["FilterNodes"] or (),
                tags=body["FilterTags"],
                ack=body["RequestAck"],
                relay_factor=body["RelayFactor"],
                timeout=body["Timeout"] / 1e9,
            )
        )
    actions: dict[str, Callable[[], object]] = {
        "join": lambda: client.join(body["Existing"], replay=body["Replay"]),
        "members": client.members,
        "members-filtered": lambda: client.members_filtered(
            tags=body["Tags"], status=body["Status"], name=body["Name"]
        ),
        "stats": client.stats,
        "event": lambda: client.event(body["Name"], body["Payload"] or b"", coalesce=body["Coalesce"]),
        "tags": lambda: client.tags(body["Tags"], body["DeleteTags"] or ()),
        "get-coordinate": lambda: client.get_coordinate(body["Node"]),
        "list-keys": client.list_keys,
        "install-key": lambda: client.install_key(body["Key"]),
        "use-key": lambda: client.use_key(body["Key"]),
        "remove-key": lambda: client.remove_key(body["Key"]),
        "force-leave": lambda: client.force_leave(body["Node"], prune=body["Prune"]),
        "leave": client.leave,
        "stream": lambda: client.start_stream(body["Type"]),
        "monitor": lambda: client.start_monitor(body["LogLevel"]),
    }
    return actions[command]()


@pytest.mark.parametrize("conversation", conversations("ipc_cli.json"), ids=ids)
def test_our_client_asks_as_the_real_command_line_does(conversation: Conversation) -> None:
    agent = Recorded(conversation.answers)
    failures = []
    with RpcClient(agent.address) as client:
        for command, _, body, _ in list(conversation.requests())[1:]:
            try:
                perform(client, command, body)
            except RpcError as refusal:
                failures.append(str(refusal))
            except RpcClosed:
                # the end of a capture that was cut
                assert not conversation.is_whole
    heard = agent.heard()
    in_order = b"".join(map(canonical, unpack_all(conversation.sent)))
    assert heard == in_order
    assert len(heard) == sum(map(len, conversation.sent))
    errors = [unpack_all(part)[0].get("Error", "") for part in conversation.answers]
    assert failures == [error for error in errors if error and "key" not in conversation.commands[-1]]


def test_our_client_reads_what_the_real_agent_says() -> None:
    found = {it.name: it for it in conversations("ipc_cli.json")}
    rtt = next(it for it in found.values() if it.commands[1:] == ("stats", "get-coordinate", "get-coordinate"))
    with RpcClient(Recorded(rtt.answers).address) as client:
        assert client.stats()["agent"] == {"name": "n1"}
        there = client.get_coordinate("n2")
        assert there is not None
        assert (there.error, len(there.vec)) == (1.1406217206039166, 8)
    reach = next(it for it in found.values() if it.commands[1:] == ("members", "query"))
    with RpcClient(Recorded(reach.answers).address) as client:
        n1 = client.members()[0]
        assert (n1.name, str(n1.address), n1.status, n1.tags["role"]) == ("n1", "127.0.1.1:7946", "alive", "web")
        assert (n1.protocol_min, n1.protocol_max, n1.protocol_cur) == (1, 5, 2)
        replies = [(it.type, it.sender) for it in client.query("_serf_ping", ack=True)]
        assert replies == [("ack", "n1"), ("ack", "n2"), ("ack", "n3"), ("done", "")]
    keys = next(it for it in found.values() if it.commands[1:] == ("list-keys",))
    with RpcClient(Recorded(keys.answers).address) as client:
        said, error = client.list_keys()
        assert error == "3/3 nodes reported failure"
        assert said.messages["n3"] == "Keyring is empty (encryption not enabled)"
        assert (said.node_count, said.error_count, said.response_count) == (3, 3, 3)
