"""The view: one agent's whole table, made in slices and kept while it may be."""

import trio

from moot.gossip.serf.members import MemberStatus
from tests.api.live import serving_api
from tests.api.scripted import ScriptedBackend, identity, made
from tests.api.situations import three

URL = "/v1/moot/view"


def crowd(count: int) -> ScriptedBackend:
    """A pool of so many, in no order."""
    names = [f"m{number:05}.global" for number in range(count)]
    return ScriptedBackend(identity("m00000"), [made(name, "127.0.0.1") for name in reversed(names)])


async def test_it_has_a_row_for_everybody_by_name() -> None:
    backend = three(MemberStatus.FAILED)
    async with serving_api(backend) as live:
        answer = (await live.ask("GET", URL)).json()
        assert [it["name"] for it in answer["members"]] == ["s1.global", "s2.global", "s3.global"]
        assert [it["status"] for it in answer["members"]] == ["alive", "alive", "failed"]
        assert (answer["name"], answer["clocks"]) == ("s1.global", {"member": 7, "event": 8, "query": 9})
        assert set(answer["members"][0]) == {
            *("name", "address", "status", "incarnation", "ltime", "suspicion", "change", "udp", "tcp", "rtt"),
            *("versions", "flaps"),
        }
        pretty = await live.ask("GET", f"{URL}?pretty")
        assert pretty.json() == answer
        assert pretty.text.startswith('{\n    "clocks": {')


async def test_a_large_one_is_kept_until_a_member_changes() -> None:
    backend = crowd(1000)
    insight = backend.operations.insight
    async with serving_api(backend) as live:
        answers = []

        async def ask() -> None:
            answers.append((await live.ask("GET", URL)).body)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert len(set(answers)) == 1
        assert insight.looked == 1000
        insight.contact_version += 1
        await ask()
        assert insight.looked == 1000
        insight.table_version += 1
        await ask()
        assert insight.looked == 2000
        backend.set_status("m00007.global", MemberStatus.FAILED)
        await ask()
        assert insight.looked == 3000
        assert answers[-1] != answers[0]


async def test_a_small_one_is_as_of_now() -> None:
    backend = three()
    insight = backend.operations.insight
    async with serving_api(backend) as live:
        await live.ask("GET", URL)
        await live.ask("GET", URL)
        assert insight.looked == 3
        insight.contact_version += 1
        await live.ask("GET", URL)
        assert insight.looked == 6


async def test_names_that_are_no_utf8_break_nothing() -> None:
    backend = ScriptedBackend(identity("a"), [made("a.global", "127.0.0.1"), made("\udcff", "127.0.0.2")])
    async with serving_api(backend) as live:
        answer = (await live.ask("GET", URL)).json()
        assert [it["name"] for it in answer["members"]] == ["a.global", "\N{REPLACEMENT CHARACTER}"]
