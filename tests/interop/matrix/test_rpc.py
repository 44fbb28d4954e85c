"""The client RPC, command by command, while all agents stay: the command of one kind, an agent of the other."""

import json
import re
from collections.abc import Mapping

from tests.interop.matrix.cell import ASK_FOR, Cell, all_refuse, asked, held_keys, row
from tests.interop.matrix.pools import KEY, LETTER, ROLES, new_key
from tests.interop.matrix.test_keys import NONE_TO_LIST, NONE_TO_MODIFY
from tests.support.launching import GOSSIP_PORT, until
from tests.support.serf_cli import Program, following, in_one_order

KINDS = {letter: kind for kind, letter in LETTER.items()}
VOLATILE = ("goroutines", "event_queue", "intent_queue", "query_queue", "health_score")
"""Facts that change while one looks."""


def same(cell: Cell, *words: str) -> str:
    """What the command prints about the other kind's agent; the other command prints the same."""
    said = cell.seer.tell(*words, program=cell.tool)
    assert in_one_order(said) == in_one_order(cell.seer.tell(*words, program=cell.other_tool))
    return said


def listed(cell: Cell, *filters: str) -> set[str]:
    """Whom the command lists with such filters, as text and as JSON."""
    table = [line for line in same(cell, "members", *filters).splitlines() if " 127." in line]
    document = same(cell, "members", "-format=json", *filters)
    members = json.loads(document[document.index("{") :])["members"] or []
    names = {str(member["name"]) for member in members}
    assert {line.split()[0] for line in table} == names
    return names


@row("members")
def test_all_members_are_listed(cell: Cell) -> None:
    expected = [
        f"{name} {agent.address} alive kind={KINDS[name[0]]},n={name[1]},role={ROLES[name[1]]}"
        for name, agent in cell.pool.agents.items()
    ]
    listing = in_one_order(same(cell, "members")).splitlines()
    assert [" ".join(line.split()) for line in listing if line] == sorted(expected)


@row("members -detailed")
def test_protocol_versions_are_listed(cell: Cell) -> None:
    said = same(cell, "members", "-detailed")
    assert said.count("alive") == said.count("Protocol Version: 5  Available Protocol Range: [2, 5]") == 4


@row("members -format=json")
def test_members_are_listed_as_json(cell: Cell) -> None:
    members = json.loads(same(cell, "members", "-format=json"))["members"]
    expected = [
        {
            "name": name,
            "addr": agent.address,
            "port": GOSSIP_PORT,
            "tags": {"kind": KINDS[name[0]], "n": name[1], "role": ROLES[name[1]]},
            "status": "alive",
            "protocol": {"min": 2, "max": 5, "version": 5},
        }
        for name, agent in sorted(cell.pool.agents.items())
    ]
    assert sorted(members, key=lambda member: str(member["name"])) == expected


@row("members -status")
def test_members_are_listed_by_status(cell: Cell) -> None:
    assert listed(cell, "-status=alive") == set(cell.pool.agents)
    assert listed(cell, "-status=failed|left") == set()
    assert listed(cell, "-status=al") == set()


@row("members -name")
def test_members_are_listed_by_name(cell: Cell) -> None:
    assert listed(cell, "-name=m0") == {"m0"}
    assert listed(cell, "-name=[ms]1") == {"m1", "s1"}
    assert listed(cell, "-name=m") == set()


@row("members -tag")
def test_members_are_listed_by_tag(cell: Cell) -> None:
    assert listed(cell, "-tag=kind=moot") == {"m0", "m1"}
    assert listed(cell, "-tag=kind=.*", "-tag", "n=0") == {"m0", "s0"}
    assert listed(cell, "-tag=none=.+") == set()


@row("members -role")
def test_members_are_listed_by_role(cell: Cell) -> None:
    assert listed(cell, "-role=d.") == {"m1", "s1"}


@row("rpc event")
def test_an_agent_is_told_to_send_an_event(cell: Cell) -> None:
    said = cell.seer.tell("event", "-coalesce=false", f"told-{cell.way}", "by the other", program=cell.tool)
    assert said == f"Event 'told-{cell.way}' dispatched! Coalescing enabled: false\n"
    cell.all_hear(f"told-{cell.way}", "by the other")


@row("rpc query")
def test_an_agent_is_told_to_ask_the_pool(cell: Cell) -> None:
    cell.all_answer(cell.seer, cell.tool, cell.pool.agents)
    one = (ASK_FOR, f"-node={cell.actor.name}", "ask", "x")
    expected = [
        "Query 'ask' dispatched",
        f"Ack from '{cell.actor.name}'",
        f"Response from '{cell.actor.name}': {cell.actor.name} heard x",
        "Total Acks: 1",
        "Total Responses: 1",
    ]
    until("the answer is shown", lambda: cell.seer.tell("query", *one, program=cell.tool).splitlines() == expected)


@row("rpc tags")
def test_an_agent_is_told_to_change_its_tags(cell: Cell) -> None:
    before = cell.seer.listing(cell.tool)[cell.seer.name]["tags"]
    said = cell.seer.tell("tags", "-set=zone=b", "-delete=n", program=cell.tool)
    assert said == "Successfully updated agent tags\n"
    cell.all_list_tags(cell.seer, {"zone": "b"} | {key: before[key] for key in before if key != "n"})
    cell.seer.tell("tags", "-delete=zone", "-set", f"n={before['n']}", program=cell.tool)
    cell.all_list_tags(cell.seer, before)


@row("rpc keys")
def test_an_agent_is_told_to_change_keys(cell: Cell) -> None:
    agent, tool, key = cell.seer, cell.tool, new_key()
    if not cell.sealed:
        for flag in ("-install", "-use", "-remove"):
            all_refuse(agent.ask("keys", f"{flag}={key}", program=tool), cell.pool.agents, NONE_TO_MODIFY)
        all_refuse(agent.ask("keys", "-list", program=tool), cell.pool.agents, NONE_TO_LIST)
        return
    steps = [("-install", key), ("-use", key), ("-remove", KEY), ("-install", KEY), ("-use", KEY), ("-remove", key)]
    held = [{KEY, key}, {KEY, key}, {key}, {KEY, key}, {KEY, key}, {KEY}]
    for (flag, which), now in zip(steps, held, strict=True):
        assert "Successfully" in agent.tell("keys", f"{flag}={which}", program=tool)
        assert held_keys(agent, tool) == held_keys(agent, cell.other_tool) == dict.fromkeys(now, "4/4")


@row("rpc info")
def test_an_agent_tells_about_itself(cell: Cell) -> None:
    def facts(tool: Program) -> Mapping[str, Mapping[str, str]]:
        found: dict[str, dict[str, str]] = json.loads(cell.seer.tell("info", "-format=json", program=tool))
        return {
            section: {key: value for key, value in about.items() if key not in VOLATILE}
            for section, about in found.items()
        }

    told = facts(cell.tool)
    assert told == facts(cell.other_tool)
    assert told["agent"] == {"name": cell.seer.name}
    assert told["serf"].items() >= {"members": "4", "failed": "0", "encrypted": str(cell.sealed).lower()}.items()
    assert told["tags"] == cell.seer.listing(cell.tool)[cell.seer.name]["tags"]
    assert set(told["event_handlers"]) == {"user:", "query:ask"}
    text = cell.seer.tell("info", program=cell.tool).splitlines()
    expected = [f"\t{key} = {value}" for about in told.values() for key, value in about.items()]
    assert {f"{section}:" for section in told}.union(expected) <= set(text)


@row("rpc rtt")
def test_an_agent_estimates_a_round_trip(cell: Cell) -> None:
    def settled() -> bool:
        """Both say the same: coordinates change with every probe."""
        said = [cell.seer.ask("rtt", "m1", "s1", program=tool).out for tool in (cell.tool, cell.other_tool)]
        return said[0] == said[1] and re.fullmatch(r"Estimated m1 <-> s1 rtt: \d+\.\d{3} ms\n", said[0]) is not None

    until("both print the same estimate", settled)
    said = f"Estimated {cell.actor.name} <-> {cell.seer.name} rtt: "
    until("its own is shown", lambda: cell.seer.ask("rtt", cell.actor.name, program=cell.tool).out.startswith(said))
    assert cell.seer.ask("rtt", "nobody", program=cell.tool).code == 1


@row("rpc reachability")
def test_an_agent_reaches_all(cell: Cell) -> None:
    def reached() -> bool:
        done = cell.seer.ask("reachability", "-verbose", program=cell.tool)
        assert "Total members: 4, live members: 4\n" in done.out
        acks = [line for line in done.out.splitlines() if line.startswith("\tAck from ")]
        if cell.seer.is_real:
            acks = [line for line in acks if not line.endswith("''")]
        assert set(acks) <= {f"\tAck from '{name}'" for name in cell.pool.agents}
        return "Successfully contacted all live nodes\n" in done.out and (done.code, len(acks)) == (0, 4)

    until("all are reached", reached)


@row("rpc monitor")
def test_an_agent_streams_its_log_and_events(cell: Cell) -> None:
    output = cell.pool.folder / f"monitor-{cell.way}"
    past, event, question = f"past-{cell.way}", f"seen-{cell.way}", f"asked-{cell.way}"
    cell.actor.tell("event", "-coalesce=false", past, "before the monitor")
    cell.all_hear(past, "before the monitor")

    def shows(*texts: str) -> bool:
        return all(text in output.read_text() for text in texts)

    with following(cell.seer, output, "monitor", "-log-level=info", program=cell.tool):
        until("the log so far is shown", lambda: shows(f"[INFO] agent: Received event: user-event: {past}"))
        cell.actor.tell("event", "-coalesce=false", event, "for the monitor")
        payload = ", ".join(f"0x{byte:x}" for byte in b"for the monitor")
        until("the event is shown", lambda: shows(f'Name: "{event}"', f"Payload: []byte{{{payload}}}"))
        until("the log goes on", lambda: shows(f"[INFO] agent: Received event: user-event: {event}"))
        asked(cell.actor, cell.tool, question)
        until("the query is shown", lambda: shows(f'Name: "{question}"', 'Event: "query"'))
