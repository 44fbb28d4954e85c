"""What is advised when a join fails depends on why it failed."""

import pytest

from moot.agent.join_hints import hint, hints


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        ("dial tcp 127.0.0.1:9: connect: connection refused", "start them first"),
        ("dial tcp 10.0.0.9:4648: i/o timeout", "check address and firewall"),
        ("dial tcp 10.0.0.9:4648: connect: no route to host", "check address and firewall"),
        ("lookup nope: no such host", "check the name"),
        ("remote error: Remote state is encrypted and encryption is not configured", "check the key"),
        ("remote error: encryption is configured but remote state is not encrypted", "check the key"),
        ("No installed keys could decrypt the message", "check the key"),
        ("member 's' is not a server", "--pool serf"),
        ("member 's' speaks protocol 9, which is not within [1, 5]", "versions that do not go together"),
        ("EOF", "closed the connection without an answer: its label or key may differ"),
        ("read tcp 127.0.0.1:1: read: connection reset by peer", "its label or key may differ"),
        ("received invalid msgType (72), expected pushPullMsg (6) from=127.0.0.1:4646", "give the gossip port"),
    ],
)
def test_each_cause_has_its_advice(cause: str, advice: str) -> None:
    assert advice in hint(cause)


def test_a_cause_that_nobody_knows_gets_no_advice() -> None:
    assert hint("the moon is full") == ""


def test_one_advice_is_given_once() -> None:
    refused = "dial tcp 127.0.0.1:{}: connect: connection refused"
    both = hints([refused.format(1), refused.format(2), "EOF", "the moon is full"])
    assert both == f". Hint: {hint(refused)}; {hint('EOF')}"
    assert hints(["the moon is full"]) == ""
