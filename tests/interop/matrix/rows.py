"""The rows of the interop matrix, and what its page says about each.

A cell is a row, the program that acts, and whether the pool is encrypted. Every row has one test that carries its
name in the mark `row`; `tests/interop/matrix/test_rows.py` holds the two together.
"""

from dataclasses import dataclass
from typing import Final

GOSSIP: Final = "Between agents"
RPC: Final = "Client RPC, command by command"
WAYS: Final = ("moot", "serf")
SEALS: Final = ("plain", "encrypted")
ACTS: Final = {
    GOSSIP: {"moot": "moot acts, serf sees", "serf": "serf acts, moot sees"},
    RPC: {"moot": "`moot serf` asks serf's agent", "serf": "`serf` asks moot's agent"},
}
"""What the program of a cell does, by group."""


@dataclass(frozen=True)
class Row:
    """`shows` is what must be seen at the end for the cell to be good."""

    name: str
    group: str
    shows: str


ROWS: Final = tuple(
    Row(name, group, shows)
    for group, named in {
        GOSSIP: {
            "join": "an agent joins through one of the other kind; all list all alike",
            "fail": "an agent is killed with `kill -9`; both kinds list it as failed",
            "force-leave": "a failed member is listed as left by both kinds",
            "prune": "a failed member is listed by nobody any more",
            "leave": "the agent ends with 0; both kinds list it as left",
            "tags update": "tags set and deleted on a running agent are listed by everybody",
            "user event": "every agent's handler gets name, payload and Lamport time, the same and once",
            "coalesced event": "of a burst every handler gets the last, and not all",
            "query with node filter": "the named agents ack and answer, nobody else does",
            "query with tag filter": "the agents that match all expressions ack and answer, nobody else does",
            "query with relay": "an answer whose direct way is cut comes through a third agent, of the asker's kind",
            "query ack": "everybody acks once when acks are wanted, nobody when they are not",
            "key install": "both kinds list the new key on all members; a plain pool refuses in the same words",
            "key use": "the new key cannot be removed any more, the old one can, gossip goes on; plain: refused",
            "key remove": "both kinds list the key on no member; plain: refused",
            "key list": "both kinds list the same keys and counts; plain: refused",
            "coordinates and rtt": "both kinds know the coordinate of the agent and estimate the way to it",
            "snapshot hand-over": "a data directory of the acting kind is taken over by the other and given back: "
            "the pool is found, old events stay old",
            "name conflict": "a second agent of that name is voted out and ends by itself; the first stays as it was",
        },
        RPC: {
            "members": "both commands print the same; everybody is there",
            "members -detailed": "the same, with protocol versions",
            "members -format=json": "the same document",
            "members -status": "only members of that status",
            "members -name": "only members whose whole name matches",
            "members -tag": "only members whose tags all match",
            "members -role": "only members of that role",
            "rpc join": "the agent joins; both kinds list it",
            "rpc force-leave": "a failed member is listed as left by both kinds",
            "rpc force-leave -prune": "a failed member is listed by nobody any more",
            "rpc leave": "the command waits for the leave; the agent ends; both kinds list it as left",
            "rpc event": "every agent's handler gets it",
            "rpc query": "acks and answers of everybody, as text and as JSON",
            "rpc tags": "tags set and deleted are listed by everybody",
            "rpc keys": "install, list, use and remove, as the other command sees it; plain: refused",
            "rpc info": "both commands print the same sections and facts, as text and as JSON",
            "rpc rtt": "both commands print the same estimate",
            "rpc reachability": "every member acks",
            "rpc monitor": "the log, and an event and a query of the other kind, show up",
        },
    }.items()
    for name, shows in named.items()
)

ODDITIES: Final = (
    "`serf version` of Debian's package 0.9.4 says 0.8.2-dev.",
    "A prune is told by gossip alone, to a random choice of members. In a pool with `local` timing one in a dozen "
    "may miss it; it keeps the member for good and hands it back to other real agents with its next push/pull. So "
    "the matrix prunes with `lan` timing, in a pool of three, where everybody is told.",
    "Queries are not repeated: an ack or an answer that is lost stays lost, and the command says nothing about it. "
    "Where all must answer, the matrix asks again.",
    "At the deadline of a query a real agent may report acks and answers of nobody: `Ack from ''`. The matrix "
    "overlooks them, of real agents only.",
    "An agent knows the coordinate of a member only after it has probed that member itself. Until then `serf rtt` "
    "fails, however long the others have known it.",
    "`serf rtt NAME` puts its own agent last: it prints the way from NAME to the agent that was asked.",
    "No command tells which key is the primary one. The matrix tells by what cannot be removed.",
    "A plain pool refuses to change keys because there is `No keyring to modify`, but to list them because the "
    "`Keyring is empty`.",
    "As JSON, `serf query` prints `null` where nobody acked and `{}` where nobody answered; `serf members` prints "
    "`null` where nobody matches.",
    "`serf monitor` shows payloads as a list of bytes in Go's notation.",
    "Of an event handler `user=SCRIPT`, `serf info` says `user:`.",
)
"""What real serf does differently from what one expects, as the matrix came upon it."""
