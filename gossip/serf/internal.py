"""Queries between agents: answering those of others, and asking our own about keys."""

from moot.gossip.errors import WireError
from moot.gossip.record import Ticket
from moot.gossip.serf.asking import Asking, Question
from moot.gossip.serf.conflict import CONFLICT, STATUS_OF, opinion
from moot.gossip.serf.events import KeysDone, OpinionsHeard
from moot.gossip.serf.keys import (
    OPERATION_OF,
    KeyStore,
    Tally,
    fitting,
    operate,
    query_name,
    read_request,
)
from moot.gossip.serf.members import MemberStatus, SerfTable
from moot.gossip.serf.messages import ConflictResponse, KeyRequest, KeyResponse, Query, QueryResponse
from moot.gossip.serf.queries import Allowance, Queries
from moot.gossip.serf.state import State
from moot.gossip.swim.member import Status

CHANGES_RATE = 4.0
"""Changes of our keyring per second that others may ask for in the long run.

Deviation: the reference knows no limit. A keyring that is kept in a file is on disk before a change counts, which
holds up everything else for some milliseconds, and one datagram can ask for 255 of them."""
CHANGES_BURST = 10
"""How many at once: a rotation is three."""


class Internal:
    """The agents' own queries. One that we do not know, and the ping whose ack is its answer, need nothing."""

    def __init__(
        self, state: State, table: SerfTable, store: KeyStore | None, queries: Queries, asking: Asking
    ) -> None:
        self._state = state
        self._codec = state.codec
        self._table = table
        self._store = store
        self._queries = queries
        self._asking = asking
        self._changes = Allowance(CHANGES_RATE, CHANGES_BURST)

    def answer(self, now: float, query: Query) -> None:
        """Do what another agent asks."""
        if query.name == CONFLICT:
            self._answer_conflict(now, query)
        elif query.name in OPERATION_OF:
            self._answer_keys(now, query, OPERATION_OF[query.name])

    def ask_keys(self, now: float, operation: str, key: bytes) -> Ticket:
        """Have every member do something with a key; ends in KeysDone, early when all have answered.

        Raises CommandError when it cannot be asked now.
        """
        ticket = self._state.swim.new_ticket()
        tally = Tally(operation, self._present(), self._codec.decode_serf)
        over = False

        def finish() -> None:
            nonlocal over
            if not over:
                over = True
                self._state.effects.notify(KeysDone(ticket, tally.report()))

        def take(at: float, sender: str, payload: bytes | None) -> None:
            if payload is not None and not over:
                tally.take(sender, payload)
                if tally.is_complete:
                    finish()

        payload = self._codec.encode_serf(KeyRequest(key))
        self._asking.ask(now, Question(name=query_name(operation), payload=payload), take, lambda at: finish())
        return ticket

    def ask_opinions(self, now: float, name: str, timeout: float) -> Ticket:
        """Ask everybody how they hold a member; ends in OpinionsHeard, early when all have answered.

        It is the question that decides name conflicts, and asked for nothing else: whoever speaks Serf answers it,
        but for the member itself. Raises CommandError when it cannot be asked now.
        """
        ticket = self._state.swim.new_ticket()
        asked = [each for each in self._present() if each != name]
        answers: dict[str, MemberStatus | None] = {}
        waiting = set(asked)
        over = False

        def finish() -> None:
            nonlocal over
            if not over:
                over = True
                self._state.effects.notify(OpinionsHeard(ticket, asked, answers))

        def take(at: float, sender: str, payload: bytes | None) -> None:
            if payload is None or over or sender not in waiting:
                return
            try:
                heard = self._codec.decode_serf(payload)
            except WireError:
                return
            if isinstance(heard, ConflictResponse):
                held = heard.member
                answers[sender] = None if held is None else STATUS_OF.get(held.status, MemberStatus.NONE)
                waiting.discard(sender)
                if not waiting:
                    finish()

        question = Question(name=CONFLICT, payload=name.encode(errors="surrogateescape"), timeout=timeout)
        self._asking.ask(now, question, take, lambda at: finish())
        return ticket

    def _present(self) -> list[str]:
        """Names of all that may answer, ourselves included."""
        return sorted(it.name for it in self._state.swim.members if it.status <= Status.SUSPECT)

    def _answer_conflict(self, now: float, query: Query) -> None:
        name = query.payload.decode(errors="surrogateescape")
        if name != self._state.name:
            payload = self._codec.encode_serf(opinion(self._table.get(name)))
            self._queries.respond_internally(now, query, payload)

    def _answer_keys(self, now: float, query: Query, operation: str) -> None:
        if operation == "list":  # whatever the payload is, as in the reference
            response = operate(self._store, operation, b"")
        else:
            response = self._change_keys(now, operation, query.payload)

        def fits(attempt: KeyResponse) -> bool:
            payload = self._codec.encode_serf(attempt)
            return self._queries.fits(QueryResponse(query.ltime, query.id, self._state.name, 0, payload))

        cut = fitting(response, fits) if operation == "list" else response
        if cut is not None:
            self._queries.respond_internally(now, query, self._codec.encode_serf(cut))

    def _change_keys(self, now: float, operation: str, payload: bytes) -> KeyResponse:
        key = read_request(self._codec.decode_serf, payload)
        if key is None:
            return KeyResponse(False)
        if not self._changes.take(now):
            return KeyResponse(False, "too many key changes at once; try again in a moment")
        return operate(self._store, operation, key)
