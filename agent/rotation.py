"""Rotation: a pool's key is replaced step by step, and no step begins before the one before it is seen everywhere.

Every step leaves a pool in which all understand all: a new key that is installed but not used, two keys of which
some seal with one and some with the other, or an old key that nobody uses. So a rotation may stop anywhere, and
is taken up again by giving it the same new key.
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from moot.http.client import KeysRefused

TRIES = 3
"""How often a step is repeated while the list after it shows somebody who has not followed."""

Member = Mapping[str, Any]
"""A member as `/v1/moot/keys` lists it."""


class Pool(Protocol):
    """What is needed of the API's client."""

    def keys(self) -> dict[str, Any]: ...

    def change_keys(self, operation: str, key: str, *, force: bool = False) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """A step that is over and was seen to be. `seconds` is how long that took."""

    name: str
    text: str
    seconds: float


class RotationStopped(Exception):
    """A step did not come about everywhere. `hints` say how to go on."""

    def __init__(self, text: str, hints: Sequence[str]) -> None:
        super().__init__(text)
        self.hints = hints


class Rotation:
    """One rotation. `force` passes over members that failed, which will lack the key should they come back."""

    def __init__(self, pool: Pool, *, force: bool, keep_old: bool, tell: Callable[[Step], None]) -> None:
        self._pool = pool
        self._force = force
        self._keep_old = keep_old
        self._tell = tell
        self.id = ""
        """Of the new key, once somebody was told of it."""
        self.old: list[str] = []
        """Ids of the keys that it replaces, the one in use first."""

    def run(self, new: str) -> None:
        """Replace all keys by `new`, base64 or the id of one that is held. Raises RotationStopped, ApiError."""
        held = self._check()
        self._step("install", new, lambda it: "" if self.id in it["keys"] else f"lacks {self.id}")
        self.old = [key for key in held if key != self.id]
        self._step("use", self.id, lambda it: "" if it["primary"] == self.id else f"seals with {it['primary']}")
        for key in () if self._keep_old else self.old:
            self._step("remove", key, functools.partial(_still_holds, key))

    def ways_on(self) -> list[str]:
        """How to go on after a stop, and how to go back."""
        if not self.id:
            return ["rotate anew when that is mended: moot keys rotate"]
        flags = "".join([" --keep-old" * self._keep_old, " --force" * self._force])
        ways = [f"take it up again when that is mended: moot keys rotate --new {self.id}{flags}"]
        return ways + [f"or go back to the old key: moot keys use {key}" for key in self.old[:1]]

    def _check(self) -> list[str]:
        """Everybody must be there before anything is touched. The ids of the keys that are held."""
        begun = time.monotonic()
        listing = self._pool.keys()
        held = [str(key["id"]) for key in listing["keys"]]
        absent = self._unfinished(listing["members"], lambda it: "")
        if absent:
            failed = [member["name"] for member in listing["members"] if member["state"] == "unreachable"]
            hints = [f"bring {it} back first, or let it go for good: moot force-leave {it}" for it in failed]
            if failed:
                hints.append("or pass over failed members with --force; they lack the new key should they come back")
            if len(absent) > len(failed):
                hints.append("try again in a moment; `moot members` and `moot reachability` show who is there")
            raise RotationStopped(f"nothing was changed: {'; '.join(absent)}", hints)
        count = sum(member["state"] == "answered" for member in listing["members"])
        self._tell(Step("check", f"{count} members are there, keys: {', '.join(held)}", time.monotonic() - begun))
        return held

    def _step(self, operation: str, key: str, fault: Callable[[Member], str]) -> None:
        """Do it until the list shows no `fault` any more."""
        begun = time.monotonic()
        left: list[str] = []
        for _ in range(TRIES):
            failed = self._change(operation, key)
            members = self._pool.keys()["members"]
            left = self._unfinished(members, fault, failed)
            if not left:
                count = sum(member["state"] == "answered" for member in members)
                named = key if operation == "remove" else self.id
                self._tell(Step(operation, f"{named}, seen on {count} members", time.monotonic() - begun))
                return
        if operation == "install" and not any(self.id in member["keys"] for member in members):
            self.id = ""  # nobody holds it, so nothing can be taken up
        raise RotationStopped(
            f"stopped at {operation}, no alive member is cut off: {'; '.join(left)}", self.ways_on()
        )

    def _change(self, operation: str, key: str) -> Mapping[str, str]:
        """Ask for it; why it failed, by member."""
        try:
            answer = self._pool.change_keys(operation, key, force=self._force)
        except KeysRefused as refusal:
            text = f"stopped at {operation}, no alive member is cut off: {refusal}"
            raise RotationStopped(text, self.ways_on()) from refusal
        if operation == "install":
            self.id = answer["id"]
        failed: Mapping[str, str] = answer["failed"]
        return failed

    def _unfinished(
        self, members: Sequence[Member], fault: Callable[[Member], str], failed: Mapping[str, str] | None = None
    ) -> list[str]:
        """A text for everybody who stands in the way."""
        left = []
        for member in members:
            name, state = member["name"], member["state"]
            if state == "answered":
                reason = fault(member)
                if reason and failed and name in failed:
                    reason += f" ({failed[name]})"
            elif state == "unreachable":
                reason = "" if self._force else "failed, so nobody can give it the key"
            else:
                reason = "did not answer" if state == "silent" else f"says: {member['text']}"
            if reason:
                left.append(f"{name} {reason}")
        return left


def _still_holds(key: str, member: Member) -> str:
    return f"still holds {key}" if key in member["keys"] else ""
