"""Keys of the whole pool: who holds which, and whether a change would cut somebody off. Coverage first.

The rules, over everybody that is known and has not left, failed members included:

- **use K** needs K on everybody: from then on all seal with it.
- **remove K** needs K to be nobody's primary key, and every primary key on everybody: without K, that is what
  opens what the others send.
- Who says nothing, says that it cannot tell, or is not alive counts as lacking it: nobody knows.

Replies travel once, by UDP, so a lossy network swallows some of them. Every operation here can be repeated
without harm, and is while somebody that is alive has said nothing.
"""

import functools
import hashlib
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import trio

from moot.agent.checks import decode_key
from moot.gossip.errors import CommandError
from moot.gossip.serf.keys import KeyReport, summary
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import KeyResponse
from moot.http.backend import BackendError, Unacceptable
from moot.http.pool import KeyBlocker, KeyChange, KeyHolder, KeyListing, KeyOperation, KeysRefused

ID = re.compile("[0-9a-f]{8}")
KEY_SIZES = (16, 24, 32)
ATTEMPTS = 3
"""How often an operation is asked for while somebody says nothing. One reply in twenty lost: one member in
8,000 seems silent after three."""
UNENCRYPTED = (
    "this pool is not encrypted, so it has no keys; encryption cannot be turned on while it runs:"
    " start its agents anew with the same key (`moot keygen` makes one), by MOOT_ENCRYPT or a file"
)
GONE = (MemberStatus.LEFT, MemberStatus.NONE)


def key_id(key: bytes) -> str:
    """What a key is called where it must not be shown."""
    return hashlib.sha256(key).hexdigest()[:8]


class KeyNode(Protocol):
    """What is needed of a node."""

    @property
    def encrypted(self) -> bool: ...

    def members(self) -> Sequence[SerfMember]: ...

    async def list_keys(self) -> KeyReport: ...

    async def install_key(self, key: bytes, /) -> KeyReport: ...

    async def use_key(self, key: bytes, /) -> KeyReport: ...

    async def remove_key(self, key: bytes, /) -> KeyReport: ...


class PoolKeys:
    """Key operations over the pool, one at a time. `locked_out` says of a failed member whether it is back."""

    def __init__(self, node: KeyNode, locked_out: Callable[[SerfMember], bool]) -> None:
        self._node = node
        self._locked_out = locked_out
        self._turn = trio.Lock()

    async def listing(self) -> KeyListing:
        """Raises BackendError in a pool without encryption, or when the agent is going."""
        async with self._turn:
            return await self._list()

    async def change(self, operation: KeyOperation, given: str, *, force: bool) -> KeyChange:
        """`given` is base64 text or an id. Raises KeysRefused, Unacceptable, BackendError."""
        key = None if ID.fullmatch(given) else _decoded(given)
        async with self._turn:
            if key is None or not (force or operation == "install"):
                held = await self._list()
                key = _named(held, given) if key is None else key
                if not force:
                    refuse_gaps(held, operation, key_id(key))
            report = await self._ask(operation, key)
        return change_of(operation, key_id(key), report, self._node.members())

    async def _list(self) -> KeyListing:
        report = await self._ask("list")
        return listing_of(report, self._node.members(), self._locked_out)

    async def _ask(self, operation: str, key: bytes = b"") -> KeyReport:
        if not self._node.encrypted:
            raise Unacceptable(UNENCRYPTED)
        return await ask_repeatedly(self._node, operation, key)


async def ask_repeatedly(node: KeyNode, operation: str, key: bytes = b"") -> KeyReport:
    """Have everybody list, install, use or remove, again while somebody that is alive says nothing.

    Told are the answers of all attempts together. Raises BackendError when the agent is going.
    """
    act: dict[str, Callable[[], Awaitable[KeyReport]]] = {
        "list": node.list_keys,
        "install": functools.partial(node.install_key, key),
        "use": functools.partial(node.use_key, key),
        "remove": functools.partial(node.remove_key, key),
    }
    answers: dict[str, KeyResponse] = {}
    for _ in range(ATTEMPTS):
        try:
            report = await act[operation]()
        except CommandError as error:
            raise BackendError(str(error)) from error
        answers |= report.answers
        alive = {member.name for member in node.members() if member.status is MemberStatus.ALIVE}
        silent = tuple(name for name in report.silent if name not in answers)
        if alive.isdisjoint(silent):
            break
    return KeyReport(operation, report.asked, answers, silent, summary(report.asked, answers, silent))


def _decoded(given: str) -> bytes:
    try:
        return decode_key(given)
    except ValueError as error:
        raise Unacceptable(f"{error}; a key that is installed can be given by its id, 8 of 0-9 and a-f") from None


def _named(held: KeyListing, given: str) -> bytes:
    if given not in held.keys:
        raise Unacceptable(f"nobody holds a key with the id {given}; `moot keys list` shows those that are held")
    return b64decode(held.keys[given])


def listing_of(
    report: KeyReport, members: Sequence[SerfMember], locked_out: Callable[[SerfMember], bool]
) -> KeyListing:
    """What a list said, set against everybody that should hold the keys."""
    known = {member.name: member for member in members if member.status not in GONE}
    texts: dict[str, str] = {}
    holders = []
    for name in sorted({**known, **report.answers}):
        member, answer = known.get(name), report.answers.get(name)
        # who answers and is not known yet has just joined
        status = MemberStatus.ALIVE if member is None else member.status
        if answer is not None:
            holders.append(_holder(name, status.value, answer, texts))
            continue
        holders.append(
            KeyHolder(
                name=name,
                status=status.value,
                state="unreachable" if status is MemberStatus.FAILED else "silent",
                locked_out=member is not None and locked_out(member),
            )
        )
    order = sorted(texts, key=lambda key: (-sum(it.primary == key for it in holders), key))
    return KeyListing(asked=report.asked, holders=holders, keys={key: texts[key] for key in order})


def _holder(name: str, status: str, answer: KeyResponse, texts: dict[str, str]) -> KeyHolder:
    """A member that answered; what it holds is added to `texts`. Serf before 0.9.4 does not name the primary."""
    if not answer.result:
        return KeyHolder(name=name, status=status, state="refused", text=answer.text or "it refused without a reason")
    ids = [found for text in answer.keys if (found := _taken(text, texts))]
    primary = _taken(answer.primary, texts) if answer.primary else (ids or [""])[0]
    return KeyHolder(
        name=name,
        status=status,
        state="answered",
        keys=ids,
        primary=primary,
        text=answer.text,
        is_cut=answer.text.startswith("truncated"),
    )


def _taken(text: str, texts: dict[str, str]) -> str:
    """The id of a key that a member named, and its text kept under it; empty for what is no key."""
    try:
        key = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        return ""
    if len(key) not in KEY_SIZES:
        return ""
    texts.setdefault(key_id(key), b64encode(key).decode())
    return key_id(key)


def change_of(operation: KeyOperation, key: str, report: KeyReport, members: Sequence[SerfMember]) -> KeyChange:
    """What became of an operation, by name."""
    answers = report.answers
    failed = (it.name for it in members if it.status is MemberStatus.FAILED)
    return KeyChange(
        operation=operation,
        id=key,
        asked=report.asked,
        done=sorted(name for name, answer in answers.items() if answer.result),
        failed={name: answer.text for name, answer in sorted(answers.items()) if not answer.result},
        silent=sorted(report.silent),
        unreachable=sorted(name for name in failed if name not in answers),
    )


def refuse_gaps(held: KeyListing, operation: KeyOperation, key: str) -> None:
    """Raises KeysRefused when the operation would cut a member off (rules in the module's head)."""
    if operation == "install":
        return
    if operation == "remove":
        users = [it for it in held.holders if it.primary == key]
        if users:
            raise KeysRefused(
                f"key {key} not removed: it is the primary key of {', '.join(it.name for it in users)}",
                [KeyBlocker(name=it.name, status=it.status, reason="seals with it") for it in users],
                ["make another key the primary one first: moot keys use ID (`moot keys list` shows the ids)"],
            )
        needed = sorted({it.primary for it in held.holders if it.primary})
    else:
        needed = [key]
    gaps = [gap for it in held.holders if (gap := _gap(it, needed))]
    if gaps:
        names = "; ".join(f"{gap.name} {gap.reason}" for gap in gaps)
        done = {"use": "not used", "remove": "not removed"}[operation]
        text = f"key {key} {done}, it could cut off {len(gaps)} of {len(held.holders)} members: {names}"
        raise KeysRefused(text, gaps, _hints(gaps, needed))


def _gap(holder: KeyHolder, needed: Sequence[str]) -> KeyBlocker | None:
    """Why a member may not hold all the keys it needs; None when it holds them."""
    missing = [key for key in needed if key not in holder.keys]
    if not missing:
        return None
    lacking = [key for key in missing if holder.lacks(key)]
    reasons = {
        "answered": f"lacks {', '.join(lacking)}" if lacking else "did not list all its keys",
        "refused": f"says: {holder.text}",
        "silent": "did not answer",
        "unreachable": "is back, but nobody here has its key"
        if holder.locked_out
        else "failed, its keys are unknown",
    }
    return KeyBlocker(name=holder.name, status=holder.status, reason=reasons[holder.state])


def _hints(gaps: Sequence[KeyBlocker], needed: Sequence[str]) -> list[str]:
    """What to do next, most useful first."""
    failed = [gap.name for gap in gaps if gap.status == MemberStatus.FAILED.value]
    hints = []
    if any(gap.reason.startswith("lacks") for gap in gaps):
        hints += [f"install it there first: moot keys install {key}" for key in needed]
    if any(gap.reason.startswith("did not answer") for gap in gaps):
        hints.append("ask again in a moment; `moot members` shows whether they are still there")
    hints += [f"bring {name} back first, or let it go for good: moot force-leave {name}" for name in failed]
    hints.append("or go on without them with --force; whoever lacks the key is cut off then")
    return hints
