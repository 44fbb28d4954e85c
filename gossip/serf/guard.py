"""Merge guards: who may be in the pool at all. A guard answers with the reason to refuse, or None.

It is asked about every member of a join push/pull before anything of it is taken over, and about the member
of each alive claim.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from moot.gossip.serf.tags import decode_tags
from moot.gossip.swim.member import Member

MergeGuard: TypeAlias = Callable[[Sequence[Member]], str | None]

_VERSION = re.compile(r"v?[0-9]+(\.[0-9]+)*(-[0-9A-Za-z.~-]+|-?[A-Za-z~][0-9A-Za-z.~-]*)?(\+[0-9A-Za-z.~-]+)?")
"""What Nomad's version parser accepts, for example 1.1.2, 0.5.5dev, 1.8.0-beta.1+ent."""
_INTEGER = re.compile(r"[+-]?[0-9]+")
_INTEGERS_IF_PRESENT = ("expect", "raft_vsn", "vsn")


def is_nomad_server(tags: Mapping[str, str]) -> bool:
    """Whether these are the tags of a Nomad server (nomad/util.go isNomadServer)."""
    if tags.get("role") != "nomad" or not _INTEGER.fullmatch(tags.get("port", "")):
        return False
    if not _VERSION.fullmatch(tags.get("build", "")):
        return False
    return all(_INTEGER.fullmatch(tags[key]) for key in _INTEGERS_IF_PRESENT if key in tags)


def nomad_guard(members: Sequence[Member]) -> str | None:
    """Refuse everything as soon as one member is not a Nomad server."""
    for member in members:
        if not is_nomad_server(decode_tags(member.meta)):
            return f"member '{member.name}' is not a server"
    return None
