"""What agents tell each other while all of them stay: tags, events, queries, coordinates."""

from tests.interop.matrix.cell import Cell, asked, row
from tests.interop.matrix.pools import LETTER, other
from tests.interop.matrix.tap import tap
from tests.support.launching import GOSSIP_PORT, until


@row("tags update")
def test_tags_change_on_a_running_agent(cell: Cell) -> None:
    before = cell.actor.listing(cell.tool)[cell.actor.name]["tags"]
    assert cell.actor.tell("tags", "-set", "rack=8", "-set", "note=a b=ü") == "Successfully updated agent tags\n"
    cell.all_list_tags(cell.actor, before | {"rack": "8", "note": "a b=ü"})
    cell.actor.tell("tags", "-delete", "rack", "-delete", "note")
    cell.all_list_tags(cell.actor, before)


@row("user event")
def test_an_event_reaches_every_handler_once(cell: Cell) -> None:
    cell.actor.tell("event", "-coalesce=false", f"deploy-{cell.way}", "version 2")
    cell.all_hear(f"deploy-{cell.way}", "version 2")


@row("coalesced event")
def test_of_a_burst_of_events_the_last_is_heard(cell: Cell) -> None:
    event, sent = f"burst-{cell.way}", [str(number) for number in range(6)]
    for payload in sent:
        cell.actor.tell("event", event, payload)
    pool = cell.pool

    def all_heard_the_last() -> bool:
        heard = [[payload for _, payload in pool.heard(agent, event)] for agent in pool.agents.values()]
        assert all(len(payloads) < len(sent) and sorted(payloads) == payloads for payloads in heard)
        return all(sent[-1] in payloads for payloads in heard)

    until("all hear the last of the burst", all_heard_the_last, logs=[*pool.agents.values()])


@row("query with node filter")
def test_a_query_for_some_nodes_asks_just_them(cell: Cell) -> None:
    mine, theirs = LETTER[cell.way], LETTER[other(cell.way)]
    cell.all_answer(cell.actor, cell.tool, {f"{theirs}0"}, f"-node={theirs}0")
    names = {f"{theirs}1", f"{theirs}0", f"{mine}1"}
    cell.all_answer(cell.actor, cell.tool, names, *(f"-node={name}" for name in (*names, "nobody")))


@row("query with tag filter")
def test_a_query_for_some_tags_asks_just_who_has_them(cell: Cell) -> None:
    theirs = other(cell.way)
    both, second = {f"{LETTER[theirs]}0", f"{LETTER[theirs]}1"}, {f"{LETTER[theirs]}1"}
    cell.all_answer(cell.actor, cell.tool, both, f"-tag=kind=^{theirs[:2]}", "-tag=none=^$")
    cell.all_answer(cell.actor, cell.tool, second, f"-tag=kind={theirs[1:]}", "-tag=n=[1-9]")


@row("query with relay")
def test_an_answer_whose_direct_way_is_cut_comes_through_another_agent(cell: Cell) -> None:
    with cell.pools.fresh(cell.seal) as pool:
        answers = "-event-handler=query:ask=echo heard"
        outside = pool.host()
        answerer = pool.begin(other(cell.way), "answerer", answers)
        relay = pool.begin(cell.way, "relay", answers)
        asker = pool.begin(cell.way, "asker", f"-advertise={outside}:{GOSSIP_PORT}")
        with tap(outside, asker.host) as tapped:
            pool.gather(answerer, relay, asker)
            pool.settle(dict.fromkeys(("answerer", "relay", "asker"), "alive"))
            tapped.cut(answerer.host)
            words = ("-node=answerer", "ask")
            assert asked(asker, cell.tool, *words) == (set(), {}), "the direct way is cut"

            def arrived() -> bool:
                return asked(asker, cell.tool, "-relay-factor=2", *words) == ({"answerer"}, {"answerer": "heard\n"})

            until("the answer comes by way of the relay", arrived, logs=pool.running)


@row("query ack")
def test_all_ack_a_query_that_wants_acks(cell: Cell) -> None:
    def all_ack() -> bool:
        return asked(cell.actor, cell.tool, "nobody-answers") == (set(cell.pool.agents), {})

    until("all ack", all_ack, logs=[*cell.pool.agents.values()])
    assert asked(cell.actor, cell.tool, "-no-ack", "nobody-answers") == (set(), {})


@row("coordinates and rtt")
def test_an_agent_of_the_other_kind_knows_how_far_away_it_is(cell: Cell) -> None:
    actor, seer = cell.actor, cell.seer

    def estimate() -> str:
        """What both commands say, once they say the same: the coordinates change with every probe."""
        said = [seer.ask("rtt", actor.name, program=tool) for tool in cell.pools.programs.values()]
        return said[0].out if said[0] == said[1] and not said[0].code else ""

    until(f"{seer.name} knows the coordinate of {actor.name}", lambda: bool(estimate()), logs=[actor, seer])
    until("both know of all", lambda: all(known(cell, name) for name in cell.pool.agents))


def known(cell: Cell, name: str) -> bool:
    return cell.actor.ask("rtt", name, cell.seer.name).code == 0
