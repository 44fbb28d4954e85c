"""Serf's protocol over Swim: why a member is gone, and what else is worth telling everybody.

Swim finds out who answers. It cannot tell a crash from a departure, for a goodbye may be lost, and nobody
can say it for somebody who crashed. Serf adds *intents*: "I am about to leave", "I am here", and an operator's
"that one is gone for good". They are gossiped, ordered by a *Lamport clock* (`lamport`), and weighed against
the last one known of that member (`intents`). A member that goes with an intent to leave has *left*, one that
goes without has *failed* and is tried again for a day (`membership`). News of members whom one has not met
yet is kept until they come.

An operator may have a member forgotten: *prune*. That the next push/pull does not bring it back is the work
of `prune`, and that it may come back when it really lives, of `revival`.

User events and queries travel the same way; a *ring* of recent Lamport times keeps them from going round twice.
All of it goes out in three queues (`outbox`). `announcer` says what is to be said about ourselves.

`core` is the way in. Source: Serf, whose behaviour decides except where a docstring says `Deviation:`.
"""

from moot.gossip.serf.announcer import SerfState
from moot.gossip.serf.core import Serf
from moot.gossip.serf.guard import MergeGuard, nomad_guard
from moot.gossip.serf.members import MemberStatus, SerfMember

__all__ = ["MemberStatus", "MergeGuard", "Serf", "SerfMember", "SerfState", "nomad_guard"]
