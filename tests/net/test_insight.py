"""What real nodes tell for people: events with who said so, the last change of each member, what others hold."""

import dataclasses
import json
from typing import Any

from moot.agent.insight import NodeInsight
from moot.gossip.net.node import Node
from moot.gossip.serf.asking import Question
from moot.http.insight import MemberView
from tests.support.pool import open_pool, settings_of, until


def told(insight: NodeInsight, *kinds: str) -> list[dict[str, Any]]:
    """The events of these kinds so far."""
    events = [json.loads(it.data) for it in insight.events.after(0, 10_000)]
    return [it for it in events if it["kind"] in kinds]


def has(insight: NodeInsight, kind: str, name: str) -> bool:
    return any(it["member"]["name"] == name for it in told(insight, kind))


def view(node: Node, insight: NodeInsight, name: str) -> MemberView:
    member = node.member(name)
    assert member is not None
    return insight.looking()(member)


async def test_a_members_life_is_told_from_its_join_until_it_is_forgotten() -> None:
    async with open_pool() as pool:
        first = Node(settings_of("a"))
        insight = NodeInsight(first)
        await pool.adopt(first)
        await pool.start(settings_of("b", tags={"role": "db"}))
        await pool.start(settings_of("c"))
        await pool.join_all()
        await until(pool.converged)
        (joined,) = [it for it in told(insight, "joined") if it["member"]["name"] == "b"]
        assert joined["member"]["tags"] == {"role": "db"}
        assert joined["member"]["address"] == str(pool["b"].address)

        await pool["b"].set_tags({"role": "web"})
        await until(lambda: has(insight, "updated", "b"))
        assert told(insight, "updated")[0]["member"]["tags"] == {"role": "web"}
        pool["b"].user_event("deploy", b"v7")
        with pool["b"].query(Question("load", timeout=0.5)):
            await until(lambda: len(told(insight, "user-event", "query")) == 2)
        by_kind = {it["kind"]: it for it in told(insight, "user-event", "query")}
        assert (by_kind["user-event"]["text"], by_kind["query"]["sender"]) == ("v7", "b")

        await until(lambda: view(first, insight, "b").udp.state == "answers")
        again = dataclasses.replace(pool["b"].settings, bind_port=pool["b"].bind_address.port)
        pool.kill("b")
        await until(lambda: has(insight, "failed", "b"))
        assert view(first, insight, "b").udp.state == "silent"
        failed = told(insight, "failed")[0]
        assert failed["accuser"] in ("a", "c")
        change = view(first, insight, "b").change
        assert change is not None
        assert (change.kind, change.accuser) == ("failed", failed["accuser"])
        assert [it["accuser"] in ("a", "c") for it in told(insight, "suspected")]

        await pool.start(settings_of("b"))  # elsewhere: nobody may have the name of one that failed
        await pool["b"].join([str(first.address)])
        await until(lambda: has(insight, "conflict", "b"))
        conflict = told(insight, "conflict")[0]
        assert (conflict["member"]["address"], conflict["other"]) == (
            failed["member"]["address"],
            str(pool["b"].address),
        )
        pool.kill("b")
        await pool.start(again)
        await pool["b"].join([str(first.address)])
        await until(lambda: has(insight, "flapped", "b"))
        assert told(insight, "flapped")[0]["flaps"] == view(first, insight, "b").flaps == 1

        pool.kill("b")
        await until(lambda: len(told(insight, "failed")) == 2)
        await first.force_leave("b")
        assert told(insight, "left")[0]["member"]["status"] == "left"
        await until(lambda: pool.view("c").get("b") == "left")
        heard = await insight.opinions("b", 20.0)
        assert (list(heard.asked), heard.answers) == (["a", "c"], {"a": "left", "c": "left"})
        await first.force_leave("b", prune=True)
        await until(lambda: has(insight, "pruned", "b"))
        assert told(insight, "reaped") == []
        await until(lambda: "b" not in pool.view("c"))
        assert (await insight.opinions("b", 20.0)).answers == {"a": "gone", "c": "gone"}


async def test_a_live_member_that_is_made_to_leave_is_told_to_stay_and_what_is_ours_alone_is_said() -> None:
    async with open_pool() as pool:
        first = Node(settings_of("a"))
        insight = NodeInsight(first)
        await pool.adopt(first)
        for name in ("b", "c"):
            await pool.start(settings_of(name))
        await pool.join_all()
        await until(pool.converged)
        await pool["c"].force_leave("b")
        await until(lambda: has(insight, "staying", "b"))
        assert has(insight, "leaving", "b")
        own = view(first, insight, "a")
        assert (own.udp.state, own.tcp.state, own.rtt.measured, own.rtt.estimated) == ("self", "self", None, None)
        assert own.versions.protocol_min <= own.versions.protocol <= own.versions.protocol_max
        assert insight.clocks() == first.serf.clocks
        before = insight.table_version
        await pool["b"].set_tags({"x": "y"})
        await until(lambda: insight.table_version > before)
