"""memberlist's protocol: SWIM with Lifeguard's extensions, without a clock or a socket.

Who is there? Nobody is asked; everybody watches a little. Once per interval each member pings one other,
in random order, each once per pass (`probe`). Who does not answer, not to us, not to those we ask, not over
TCP, is *suspect*: not yet gone, for the fault may be ours. The suspicion is gossiped (`spread`), the suspect
hears of it and *refutes* by announcing itself under a higher *incarnation*, a number only it may raise
(`claims`). If it stays silent, the suspicion ends in *dead* after a time that shrinks as independent members
accuse (`suspicion`) and stretches as we find reason to doubt ourselves (`awareness`): Lifeguard.

Gossip rides on pings and acks and in packets of its own, each piece of news a bounded number of times
(`broadcast`, `scaling`). What gossip missed, whole tables exchanged over TCP bring (`sync`), which is also
how one joins.

`effects` is the contract with whoever drives it, `upper` the one with the layer above, `core` the way in.

Sources: SWIM (Das, Gupta, Motivala, DSN 2002), Lifeguard (Dadgar, Phillips, Currey, 2018), and memberlist,
whose behaviour decides wherever they differ.
"""

from moot.gossip.swim.core import Swim
from moot.gossip.swim.effects import Effects, Timer
from moot.gossip.swim.member import VERSIONS, Member, Status
from moot.gossip.swim.table import MemberTable, Roster
from moot.gossip.swim.upper import Solo, Upper

__all__ = ["VERSIONS", "Effects", "Member", "MemberTable", "Roster", "Solo", "Status", "Swim", "Timer", "Upper"]
