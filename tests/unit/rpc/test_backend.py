"""NodeRpcBackend: what it makes of a node's answers."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, cast

import pytest

from moot.agent.delivery import Delivery
from moot.agent.rpc.backend import QUERIES_MAX, NodeRpcBackend, decode_base64
from moot.agent.rpc.log_ring import LogRing
from moot.gossip.errors import CommandError
from moot.gossip.net.node import Node
from moot.gossip.net.targets import JoinOutcome
from moot.gossip.record import Address
from moot.gossip.serf.asking import Question
from moot.gossip.serf.keys import KeyReport
from moot.gossip.serf.messages import KeyResponse


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("!!!", 0),
        ("abc", 0),
        ("abcde", 4),
        ("=AAA", 0),
        ("A=AA", 1),
        ("AA=A", 2),
        ("AA==A", 4),
        ("AAA=AAAA", 4),
        ("AAAAAA", 4),
        ("A=", 1),
        ("AA=", 3),
        ("AAAAAA=", 7),
        ("YWJjZA=====", 8),
        ("AAAA AAAA", 4),
        ("é", 0),
    ],
)
def test_what_is_no_base64_is_refused_where_go_refuses_it(text: str, fault: int) -> None:
    with pytest.raises(CommandError, match=rf"^illegal base64 data at input byte {fault}$"):
        decode_base64(text)


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("", b""),
        ("AA==", b"\0"),
        ("AAA=", b"\0\0"),
        ("AAAA", b"\0\0\0"),
        ("A\nA\r=\n=", b"\0"),
        ("AAAA\n", b"\0\0\0"),
    ],
)
def test_base64_is_read_with_line_ends_anywhere(text: str, octets: bytes) -> None:
    assert decode_base64(text) == octets


class FakeNode:
    """A node that answers what the test prepared."""

    def __init__(self) -> None:
        self.tags: Mapping[str, str] = {"a": "1", "b": "2"}
        self.report = KeyReport("list", 3, {}, (), "")
        self.outcomes: Sequence[JoinOutcome] = ()
        self.asked: list[Any] = []

    async def set_tags(self, tags: Mapping[str, str]) -> None:
        self.asked.append(tags)

    async def join(self, targets: Sequence[str], ignore_old: bool) -> Sequence[JoinOutcome]:
        self.asked.append((targets, ignore_old))
        return self.outcomes

    async def list_keys(self) -> KeyReport:
        return self.report

    async def install_key(self, key: bytes) -> KeyReport:
        self.asked.append(("install", key))
        return self.report

    async def use_key(self, key: bytes) -> KeyReport:
        self.asked.append(("use", key))
        return self.report

    async def remove_key(self, key: bytes) -> KeyReport:
        self.asked.append(("remove", key))
        return self.report

    def query(self, question: Question) -> AbstractContextManager[Question]:
        if question.timeout < 0:
            raise CommandError("no such time")
        return nullcontext(question)


def backend(node: FakeNode) -> NodeRpcBackend:
    unused = cast(Delivery, None)
    return NodeRpcBackend(cast(Node, node), unused, LogRing(), name="n1", end=lambda: None)


def test_clients_together_have_only_so_many_queries_open() -> None:
    asked = backend(FakeNode())
    with ExitStack() as held:
        for _ in range(QUERIES_MAX):
            held.enter_context(asked.query(Question("load")))
        with pytest.raises(CommandError, match=f"{QUERIES_MAX} queries are open already"), asked.query(Question("x")):
            pass
    for _ in range(QUERIES_MAX + 1):  # one that is refused takes no place
        with pytest.raises(CommandError, match="no such time"), asked.query(Question("x", timeout=-1.0)):
            pass
    with asked.query(Question("load")):
        pass


async def test_tags_are_deleted_first_and_then_set() -> None:
    node = FakeNode()
    await backend(node).change_tags({"b": "3", "c": "4"}, ["a", "b", "zz"])
    assert node.asked == [{"b": "3", "c": "4"}]


ADDRESS = Address(b"\x7f\0\0\1", 7946)


async def test_a_join_counts_the_nodes_that_were_contacted() -> None:
    node = FakeNode()
    node.outcomes = [JoinOutcome("a", ADDRESS, None), JoinOutcome("b", None, "lookup b: no such host")]
    assert await backend(node).join(["a", "b"], replay=True) == 1
    assert node.asked == [(["a", "b"], False)]


async def test_a_join_that_reached_nobody_says_why_for_each() -> None:
    node = FakeNode()
    node.outcomes = [JoinOutcome("a", ADDRESS, "refused"), JoinOutcome("b", None, "lookup b: no such host")]
    with pytest.raises(CommandError) as refusal:
        await backend(node).join(["a", "b"], replay=False)
    reasons = [
        "2 errors occurred:",
        "Failed to join 127.0.0.1: refused",
        "Failed to resolve b: lookup b: no such host",
    ]
    assert str(refusal.value) == "\n\t* ".join(reasons) + "\n\n"


async def test_a_join_of_nobody_succeeds() -> None:
    assert await backend(FakeNode()).join([], replay=False) == 0


async def test_keys_are_counted_over_the_members() -> None:
    node = FakeNode()
    answers = {
        "n1": KeyResponse(True, "", ["k1", "k2"], "k1"),
        "n2": KeyResponse(True, "truncated key list response, showing first 1 of 2 keys", ["k1"], "k1"),
        "n3": KeyResponse(False, "no keyring"),
    }
    node.report = KeyReport("list", 4, answers, ("n4",), "1/4 nodes reported failure")
    said, error = await backend(node).list_keys()
    assert error == "1/4 nodes reported failure"
    assert said.keys == {"k1": 2, "k2": 1}
    assert said.messages == {"n2": answers["n2"].text, "n3": "no keyring"}
    assert (said.node_count, said.error_count, said.response_count) == (4, 1, 3)


@pytest.mark.parametrize("operation", ["install", "use", "remove"])
async def test_other_key_operations_list_no_keys(operation: str) -> None:
    node = FakeNode()
    node.report = KeyReport(operation, 1, {"n1": KeyResponse(True)}, (), "")
    said, error = await backend(node).change_keys(operation, "AAAA")
    assert node.asked == [(operation, b"\0\0\0")]
    assert (said.messages, said.keys, error) == ({}, None, "")
