"""Keys of the whole pool: who counts as holding which, what is refused on whose account, what is asked again."""

from base64 import b64encode

import pytest

from moot.agent.keys import ATTEMPTS, PoolKeys, key_id
from moot.gossip.serf.keys import KeyReport
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import KeyResponse
from moot.gossip.wire.keyring import Keyring
from moot.http.backend import BackendError, Unacceptable
from moot.http.pool import KeyHolder, KeyOperation, KeysRefused
from tests.api.scripted import made
from tests.api.scripted_pool import NEW, OLD, OTHER, ScriptedKeys, text_of

OLD_ID, NEW_ID, OTHER_ID = map(key_id, (OLD, NEW, OTHER))


def table(*statuses: MemberStatus) -> list[SerfMember]:
    """Members a, b, c …"""
    return [made("abcdefgh"[at], f"127.0.0.{at + 1}", {}, status) for at, status in enumerate(statuses)]


ALIVE, FAILED, LEFT = MemberStatus.ALIVE, MemberStatus.FAILED, MemberStatus.LEFT


def three(*keys: bytes) -> ScriptedKeys:
    """Three members that are alive."""
    return ScriptedKeys.of(table(ALIVE, ALIVE, ALIVE), *keys)


def over(node: ScriptedKeys, *locked_out: str) -> PoolKeys:
    return PoolKeys(node, lambda member: member.name in locked_out)


async def holders(node: ScriptedKeys, *locked_out: str) -> dict[str, KeyHolder]:
    return {it.name: it for it in (await over(node, *locked_out).listing()).holders}


async def refused(node: ScriptedKeys, operation: KeyOperation, key: bytes) -> KeysRefused:
    """The refusal of an operation; nothing but lists was asked."""
    with pytest.raises(KeysRefused) as caught:
        await over(node).change(operation, text_of(key), force=False)
    assert set(node.asked) == {"list"}
    return caught.value


def test_an_id_is_short_and_tells_nothing_of_the_key() -> None:
    assert len(OLD_ID) == 8
    assert OLD_ID not in (OLD.hex()[:8], text_of(OLD)[:8])
    assert len({OLD_ID, NEW_ID, OTHER_ID}) == 3


async def test_members_that_left_need_no_key_and_failed_ones_are_unreachable() -> None:
    node = ScriptedKeys.of(table(ALIVE, FAILED, LEFT), OLD)
    found = await holders(node, "b")
    assert list(found) == ["a", "b"]
    assert (found["a"].state, found["a"].primary, list(found["a"].keys)) == ("answered", OLD_ID, [OLD_ID])
    assert (found["b"].state, found["b"].locked_out) == ("unreachable", True)


async def test_who_says_nothing_is_asked_again_before_it_counts_as_silent() -> None:
    node = three(OLD)
    node.lost = {"b": ATTEMPTS - 1}
    assert (await holders(node))["b"].state == "answered"
    assert node.asked == ["list"] * ATTEMPTS
    node.lost = {"b": ATTEMPTS}
    assert (await holders(node))["b"].state == "silent"


async def test_who_is_no_longer_alive_is_not_waited_for() -> None:
    node = three(OLD)
    node.lost = {"b": 9}
    node.table[1] = node.table[1].became(MemberStatus.LEAVING)
    await holders(node)
    assert node.asked == ["list"]


async def test_a_refusal_keeps_its_reason() -> None:
    node = three(OLD)
    node.broken = {"c": "Keyring is empty (encryption not enabled)"}
    found = (await holders(node))["c"]
    assert (found.state, found.text) == ("refused", "Keyring is empty (encryption not enabled)")


class Answering(ScriptedKeys):
    """A pool in which `a` answers a list with what the test says."""

    answer = KeyResponse(True)

    async def list_keys(self) -> KeyReport:
        self.asked.append("list")
        return KeyReport("list", 1, {"a": self.answer}, (), "")


async def listed(answer: KeyResponse) -> KeyHolder:
    node = Answering.of(table(ALIVE), OLD)
    node.answer = answer
    return (await holders(node))["a"]


async def test_an_older_serf_names_no_primary_key_and_its_first_one_counts() -> None:
    found = await listed(KeyResponse(True, "", [text_of(NEW), text_of(OLD)]))
    assert found.primary == NEW_ID


async def test_what_is_no_key_in_an_answer_is_left_out() -> None:
    junk = ["", "x", b64encode(b"short").decode(), text_of(OLD)]
    found = await listed(KeyResponse(True, "", junk, "?"))
    assert (list(found.keys), found.primary) == ([OLD_ID], "")


async def test_a_list_that_was_cut_does_not_prove_that_a_key_is_missing() -> None:
    found = await listed(KeyResponse(True, "truncated key list response, showing first 1 of 2 keys", [text_of(OLD)]))
    assert not found.lacks(NEW_ID)
    node = Answering.of(table(ALIVE), OLD)
    node.answer = KeyResponse(True, "truncated key list response, showing first 1 of 2 keys", [text_of(OLD)])
    assert [it.reason for it in (await refused(node, "use", NEW)).blockers] == ["did not list all its keys"]


async def test_keys_are_listed_with_the_one_in_use_first() -> None:
    node = three(NEW, OLD, OTHER)
    assert next(iter((await over(node).listing()).keys)) == NEW_ID


# use


async def test_a_key_is_used_when_everybody_has_it() -> None:
    node = three(OLD, NEW)
    change = await over(node).change("use", text_of(NEW), force=False)
    assert (change.done, change.id, change.failed, change.silent) == (["a", "b", "c"], NEW_ID, {}, [])
    assert [node.held(name)[0] for name in "abc"] == [NEW] * 3


async def test_use_is_refused_while_somebody_may_lack_the_key() -> None:
    node = ScriptedKeys.of(table(ALIVE, ALIVE, ALIVE, ALIVE, FAILED, LEFT), OLD, NEW)
    node.rings["b"] = Keyring([OLD], lambda: bytes(12))
    node.lost = {"c": 9}
    node.broken = {"d": "disk full"}
    refusal = await refused(node, "use", NEW)
    assert {it.name: it.reason for it in refusal.blockers} == {
        "b": f"lacks {NEW_ID}",
        "c": "did not answer",
        "d": "says: disk full",
        "e": "failed, its keys are unknown",
    }
    assert str(refusal).startswith(f"key {NEW_ID} not used, it could cut off 4 of 5 members: b lacks {NEW_ID}; ")
    assert refusal.hints == [
        f"install it there first: moot keys install {NEW_ID}",
        "ask again in a moment; `moot members` shows whether they are still there",
        "bring e back first, or let it go for good: moot force-leave e",
        "or go on without them with --force; whoever lacks the key is cut off then",
    ]


async def test_use_of_a_key_that_nobody_has_is_refused() -> None:
    assert len((await refused(three(OLD), "use", NEW)).blockers) == 3


async def test_force_does_it_all_the_same_and_tells_who_did_not() -> None:
    node = three(OLD, NEW)
    node.rings["b"] = Keyring([OLD], lambda: bytes(12))
    change = await over(node).change("use", text_of(NEW), force=True)
    assert (change.done, change.failed) == (["a", "c"], {"b": "Requested key is not in the keyring"})
    assert node.asked == ["use"]


# remove


async def test_an_old_key_is_removed_when_nobody_uses_it() -> None:
    node = three(NEW, OLD)
    await over(node).change("remove", text_of(OLD), force=False)
    assert [node.held(name) for name in "abc"] == [[NEW]] * 3


async def test_remove_is_refused_while_the_key_is_somebodys_primary_one() -> None:
    node = three(NEW, OLD)
    node.rings["c"].use(OLD)
    refusal = await refused(node, "remove", OLD)
    assert str(refusal) == f"key {OLD_ID} not removed: it is the primary key of c"


async def test_remove_is_refused_while_somebody_lacks_a_key_that_others_seal_with() -> None:
    node = three(NEW, OLD, OTHER)
    node.rings["b"].use(OTHER)
    node.rings["c"].remove(OTHER)
    node.rings["a"].remove(OTHER)
    assert {it.name: it.reason for it in (await refused(node, "remove", OLD)).blockers} == {
        "a": f"lacks {OTHER_ID}",
        "c": f"lacks {OTHER_ID}",
    }


async def test_remove_is_refused_while_a_member_is_down() -> None:
    node = ScriptedKeys.of(table(ALIVE, FAILED), NEW, OLD)
    assert [it.name for it in (await refused(node, "remove", OLD)).blockers] == ["b"]


# install, and what is given as a key


async def test_install_asks_nobody_first_and_names_who_was_not_reached() -> None:
    node = ScriptedKeys.of(table(ALIVE, ALIVE, FAILED), OLD)
    node.lost = {"b": 9}
    change = await over(node).change("install", text_of(NEW), force=False)
    assert (change.done, change.silent, change.unreachable) == (["a"], ["b"], ["c"])
    assert node.asked == ["install"] * ATTEMPTS


async def test_a_key_that_somebody_holds_can_be_given_by_its_id() -> None:
    node = three(OLD)
    node.rings["a"].add(NEW)
    await over(node).change("install", NEW_ID, force=False)
    assert [node.held(name) for name in "abc"] == [[OLD, NEW]] * 3


@pytest.mark.parametrize("given", ["", "?", "AAAA", OTHER_ID, NEW_ID.upper()])
async def test_what_is_no_key_is_unacceptable(given: str) -> None:
    with pytest.raises(Unacceptable) as caught:
        await over(three(OLD)).change("install", given, force=True)
    assert given in ("", OTHER_ID) or given not in str(caught.value).split()


async def test_a_pool_without_encryption_has_no_keys() -> None:
    node = three(OLD)
    node.encrypted = False
    with pytest.raises(BackendError, match="encryption cannot be turned on while it runs"):
        await over(node).listing()
    with pytest.raises(BackendError, match="is not encrypted"):
        await over(node).change("install", text_of(NEW), force=True)
    assert node.asked == []
