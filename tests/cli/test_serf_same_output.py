"""The same commands through the real `serf` and through `moot serf`, to real agents and to ours, print the same."""

import re
from collections.abc import Iterator, Sequence

import pytest

from tests.support.launching import until
from tests.support.serf_cli import MOOT, Outcome, SerfAgent, in_one_order, of_somebody, run, serf_pool

pytestmark = [pytest.mark.live, pytest.mark.peer]

KEY = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8="
LONG = "x" * 1100
NOWHERE = "127.255.0.1:1"

READING = [
    ["members"],
    ["members", "-detailed"],
    ["members", "--detailed=true", "-format", "text"],
    ["members", "-format=json"],
    ["members", "-format=json", "-detailed", "a word"],
    ["members", "-format=xml"],
    ["members", "-format="],
    ["members", "-name=web"],
    ["members", "-name=we"],
    ["members", "-name", "x|web"],
    ["members", "-name=("],
    ["members", "-status=alive"],
    ["members", "-status=Alive"],
    ["members", "-status=bogus", "-format=json"],
    ["members", "-tag", "kind=w.b"],
    ["members", "-tag=kind=web", "-tag=zone=b"],
    ["members", "-tag", "none="],
    ["members", "-tag", "kind=("],
    ["members", "-tag", "kind"],
    ["members", "-tag", "=x"],
    ["members", "-role=db"],
    ["members", "-", "-bogus"],
    ["members", "--", "-bogus"],
    ["rtt", "web", "nobody"],
    ["rtt", "nobody"],
    ["rtt", ""],
    ["rtt"],
    ["rtt", "a", "b", "c"],
    ["reachability"],
    ["info", "-format=xml"],
    ["join"],
    ["join", NOWHERE],
    ["join", NOWHERE, "127.255.0.2:1"],
    ["force-leave", "nobody"],
    ["force-leave", "-prune", "nobody"],
    ["force-leave", "a", "b"],
    ["force-leave"],
    ["event", "deploy"],
    ["event", "deploy", "now"],
    ["event", "-coalesce=false", "deploy", "now"],
    ["event", "--coalesce", "it's\n<x>", "now"],
    ["event", "_serf_x"],
    ["event", "deploy", "x" * 600],
    ["event"],
    ["event", "a", "b", "c"],
    ["query", "-timeout=500ms", "nothing"],
    ["query", "-timeout=500ms", "-no-ack", "nothing"],
    ["query", "-timeout=500ms", "-format=json", "nothing"],
    ["query", "-timeout=500ms", "-format=json", "-no-ack", "nothing"],
    ["query", "-timeout=500ms", "-node=nobody", "answer"],
    ["query", "-timeout=500ms", "-node=web", "answer"],
    ["query", "-timeout=500ms", "-node=web", "-format=json", "answer", "twice"],
    ["query", "-timeout=500ms", "-tag=kind=eb", "-tag", "zone=", "answer"],
    ["query", "-timeout=500ms", "-tag=kind=(", "answer"],
    ["query", "-timeout=500ms", "-relay-factor=0x1", "answer"],
    ["query", "-timeout=0", "-node=web", "answer"],
    ["query", "-timeout=-1s", "answer"],
    ["query", "-timeout=300ms", "-relay-factor=255", "answer"],
    ["query", "-timeout=300ms", ""],
    ["event", ""],
    ["join", ""],
    ["query", "-tag=kind", "answer"],
    ["query", "-format=xml", "answer"],
    ["query", "-relay-factor=256", "answer"],
    ["query", "_serf_ping", "x"],
    ["query", "_serf_conflict"],
    ["query", "answer", LONG],
    ["query"],
    ["query", "a", "b", "c"],
    ["tags"],
    ["tags", "-set", "kind"],
    ["tags", "-set", "big=" + LONG],
    ["tags", "a word"],
    ["keys"],
    ["keys", "-list"],
    ["keys", "-list", "-install=x"],
    ["keys", "-list=false"],
    ["keys", "-install=abc"],
    ["keys", "-install=YWJj"],
    ["keys", "-use=" + KEY],
    ["keys", "-remove", KEY],
    ["monitor", "-log-level=bogus"],
    ["monitor", "-log-level="],
    ["members", "-rpc-auth=wrong"],
]
"""What changes nothing, or what may well be done twice."""

WITHOUT_AN_AGENT = [
    *[[command, "-rpc-addr=" + NOWHERE] for command in ("members", "leave", "info", "reachability", "monitor")],
    ["rtt", "-rpc-addr=" + NOWHERE, "a"],
    ["tags", "-rpc-addr=" + NOWHERE, "-set=x"],
    ["query", "-rpc-addr=" + NOWHERE, "-relay-factor=300"],
    ["members", "-rpc-addr=bogus"],
    ["members", "-rpc-addr=::1"],
    ["members", "-rpc-addr=127.0.0.1:99999"],
    ["members", "-format"],
    ["members", "-bogus"],
    ["members", "-bogus=1", "-detailed=x"],
    ["members", "---detailed"],
    ["members", "-=x"],
    ["members", "-detailed=x"],
    ["members", "-h=x"],
    ["members", "--version=1"],
    ["query", "-timeout=5", "x"],
    ["query", "-timeout=5d", "x"],
    ["query", "-relay-factor=x", "x"],
    ["query", "-relay-factor=99999999999999999999", "x"],
    ["event", "-coalesce=maybe", "x"],
    ["agent", "-protocol=x"],
    ["agent", "-bogus"],
    ["agent", "-retry-interval=5"],
    ["agent", "-broadcast-timeout=x"],
    ["agent", "-tag=x"],
    ["agent", "-config-file=/nowhere"],
    ["agent", "-config-dir=/nowhere"],
    ["agent", "-bind=::1"],
    ["agent", "-bind=127.255.0.1:99999"],
    ["agent", "-bind=127.255.0.1:x"],
    ["agent", "-iface=bogus"],
    ["agent", "-bind=127.255.0.1", "-advertise=[::1"],
    ["agent", "-bind=127.255.0.1", "-encrypt=abc"],
    ["agent", "-bind=127.255.0.1", "-log-level=bogus"],
    ["agent", "-bind=127.255.0.1", "-profile=bogus"],
    ["agent", "-bind=127.255.0.1", "-tag=a=b", "-tags-file=/nowhere"],
    ["agent", "-bind=127.255.0.1", "-encrypt=" + KEY, "-keyring-file=/nowhere"],
    ["agent", "-bind=127.255.0.1", "-keyring-file=/nowhere"],
    ["agent", "-bind=127.255.0.1", "-rpc-addr=bogus"],
    ["agent", "-bind=127.255.0.1", "-rpc-addr=127.255.0.1:99999"],
    [],
    ["bogus"],
    ["-h"],
    ["help"],
    ["-version"],
    ["--", "members"],
    ["-bogus", "members"],
    ["members", "-h"],
    ["members", "--help"],
    ["event", "x", "-help"],
    ["agent", "-h"],
]


def same_in_both(outcome: Outcome) -> Outcome:
    """Without what may differ: the order of members, and the wording of help and advice."""
    out = re.sub(r"(==> )?Usage: .*", r"\1USAGE", outcome.out, flags=re.DOTALL)
    out = re.sub(r"\nTroubleshooting.*|This could mean.*", "", out, flags=re.DOTALL)
    err = "HELP" if "Usage: " in outcome.err else outcome.err
    return Outcome(outcome.code, in_one_order(of_somebody(out)), err)


def compare(words: Sequence[str], serf: Outcome, ours: Outcome) -> str:
    """A text about a difference, or an empty one."""
    if same_in_both(serf) == same_in_both(ours):
        return ""
    return f"\n--- {' '.join(words)[:200]}\nserf: {serf}\nmoot: {ours}"


@pytest.fixture(params=["serf", "moot"])
def agent(request: pytest.FixtureRequest, serf_binary: str) -> Iterator[SerfAgent]:
    """One of two agents, called web, of either program. It answers queries named `answer`."""
    program = (serf_binary,) if request.param == "serf" else MOOT
    handler = 'query:answer=cat; printf "<\\001>\\n\\n"'
    with serf_pool("-profile=local") as running:
        web = running.start(program, "web", "-tag=kind=web", "-tag=zone=b", f"-event-handler={handler}")
        db = running.start(program, "db", f"-join={web.address}", "-role=db")
        until("both see both", lambda: len(web.view()) == len(db.view()) == 2, 30)
        yield web


def test_the_same_commands_print_the_same(agent: SerfAgent, serf_binary: str) -> None:
    wrong = ""
    for words in READING:
        real = agent.ask(*words, program=(serf_binary,))
        ours = agent.ask(*words, program=MOOT)
        wrong += compare(words, real, ours)
    assert not wrong, wrong


def test_without_an_agent_the_same_words_fail_alike(serf_binary: str) -> None:
    wrong = ""
    for words in WITHOUT_AN_AGENT:
        wrong += compare(words, run((serf_binary,), *words), run(MOOT, *words))
    assert not wrong, wrong
