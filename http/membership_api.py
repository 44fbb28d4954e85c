"""`POST /v1/moot/join` and `/v1/moot/force-leave`: as Nomad's, but they say what became of it, and why.

Nomad's force-leave answers an empty 200 whatever it did: the member may be alive and contradict, be unknown, have
left before, or others may not have heard of it. Here the status before and after is told, the reason in words, and
with `wait` what everybody else holds, who are asked until they agree or the time is up.

They are asked by the query that Serf has for name conflicts, which every agent answers, real serf agents too; the
member in question has no say. At most `ASKING_MAX` names are asked for at a time, each once a second at most.
"""

from collections.abc import Collection
from typing import Final, Literal

import msgspec
import trio

from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.http.acl import Right
from moot.http.backend import Backend, BackendError
from moot.http.describe import Answer, Doc, Failure, Name, Parameter
from moot.http.durations import Duration, read_duration
from moot.http.exchange import HttpError, Reply
from moot.http.insight import Opinions
from moot.http.routes import WRITE, Call, Role, Route

ADDRESSES_MAX: Final = 64
NAMES_MAX: Final = 64
WAIT_MAX: Final = 120.0
REFUTES_WITHIN: Final = 3.0
"""Seconds that a live member gets to contradict before the status after is read."""
POLL: Final = 0.05
ASK_EVERY: Final = 1.0
"""Seconds between two rounds of asking about one name."""
ROUND_MAX: Final = 3.0
"""Seconds after which whoever is silent is asked again: a lost packet looks the same."""
ASKING_MAX: Final = 4
OBSERVERS_MAX: Final = 100
"""Most observers that are listed by name."""
UNKNOWN: Final = "unknown"
GONE: Final = "gone"
NO_ANSWER: Final = "no answer"


class JoinResult(msgspec.Struct):
    """What became of one address. A name that stands for several makes several."""

    address: str
    """As given."""
    ip: str
    """What was dialled; empty when it did not come to that."""
    status: Literal["joined", "failed"]
    error: str
    """The cause; empty when it was joined."""
    hint: str
    """What to do about it, where that is known."""


class JoinResults(msgspec.Struct):
    """POST /v1/moot/join."""

    joined: int
    results: list[JoinResult]
    """In the order given."""


class ObserverAnswer(msgspec.Struct):
    """What one member holds of the one in question."""

    name: str
    status: str
    """Its status, `gone` when it knows none of that name, or `no answer`."""


class Agreement(msgspec.Struct):
    """What the others hold, as they said themselves."""

    asked: int
    """Members that were alive, this agent included, the member itself not."""
    answered: int
    agreeing: int
    """Of those that answered."""
    observers: list[ObserverAnswer]
    """Up to 100: first those that disagree, then those that did not answer, then those that agree."""


class ForceLeaveResult(msgspec.Struct):
    """What became of one name."""

    name: str
    before: str
    """A status, or `unknown`, as this agent saw it."""
    after: str
    """A status, `gone` once it is forgotten, or `unknown`."""
    done: bool
    """Whether it is as was asked for: left, or with `prune` gone; with `wait` also for all that answered."""
    note: str
    """Why not, or what else there is to know; empty when there is nothing."""
    agreement: Agreement | None
    """With `wait`, unless there was nothing to be agreed on."""


class ForceLeaveResults(msgspec.Struct):
    """POST /v1/moot/force-leave."""

    observer: str
    """The agent that was asked, whose view `before` and `after` are."""
    results: list[ForceLeaveResult]
    """In the order given."""


JOIN: Final = Doc(
    "Join others, and tell what became of each address.",
    "They are tried at once, eight at a time; it answers when the last one is over, also when none could be joined.",
    parameters=(
        Parameter(
            "address",
            f"`[NAME/]HOST[:PORT]`, by default the agent's own gossip port. Repeatable, up to {ADDRESSES_MAX}.",
            list[str],
            required=True,
            example="127.77.0.2",
        ),
    ),
    answers=(Answer(JoinResults, "A result for each."),),
    failures=(
        Failure(400, "missing address to join"),
        Failure(400, "more than … addresses"),
        Failure(500, "Serf can't Join after Leave or Shutdown"),
    ),
)
FORCE_LEAVE: Final = Doc(
    "Have failed members count as left, and tell what became of each.",
    "A member that is alive refutes, and stays; the answer says so.",
    parameters=(
        Parameter(
            "name",
            f"The full name of a member. Repeatable, up to {NAMES_MAX}.",
            list[Name],
            required=True,
            example="nobody.global",
        ),
        Parameter("prune", "In any form but `prune=0`: forget it altogether."),
        Parameter(
            "wait",
            f"Ask all others what they hold, until they agree or this time is over, such as 10s; at most"
            f" {WAIT_MAX:g}s.",
            Duration,
        ),
    ),
    answers=(Answer(ForceLeaveResults, "A result for each."),),
    failures=(
        Failure(400, "missing name of a member"),
        Failure(400, "more than … names"),
        Failure(400, "wait must be a duration such as 10s, at most …s"),
    ),
)


class MembershipApi:
    """The handlers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._asking = trio.CapacityLimiter(ASKING_MAX)

    def routes(self) -> list[Route]:
        """The table. Other than with Nomad, a token needs the right to join."""
        table = (("join", self.join, JOIN), ("force-leave", self.force_leave, FORCE_LEAVE))
        right = Right.AGENT_WRITE
        return [
            Route(f"/v1/moot/{path}", WRITE, handler, Role.SERVER, own_pages_only=True, right=right, docs=(doc,))
            for path, handler, doc in table
        ]

    async def join(self, call: Call) -> Reply:
        """Try every address, and tell what became of each."""
        addresses = call.query.all("address")
        if not addresses:
            raise HttpError(400, "missing address to join")
        if len(addresses) > ADDRESSES_MAX:
            raise HttpError(400, f"more than {ADDRESSES_MAX} addresses")
        advice = self._backend.operations.insight.advice
        attempts = await self._backend.join(addresses)
        results = [
            JoinResult(
                address=it.given,
                ip=it.ip,
                status="failed" if it.error else "joined",
                error=it.error,
                hint=advice(it.error) if it.error else "",
            )
            for it in attempts
        ]
        return call.json(JoinResults(joined=sum(not it.error for it in attempts), results=results))

    async def force_leave(self, call: Call) -> Reply:
        """Declare that members left, and tell what became of it."""
        names = list(dict.fromkeys(call.query.all("name")))
        if not names or "" in names:
            raise HttpError(400, "missing name of a member")
        if len(names) > NAMES_MAX:
            raise HttpError(400, f"more than {NAMES_MAX} names")
        wait = 0.0
        if text := call.query.first("wait"):
            found = read_duration(text)
            if found is None or found > WAIT_MAX:
                raise HttpError(400, f"wait must be a duration such as 10s, at most {WAIT_MAX:g}s")
            wait = found
        prune = call.has_flag("prune")
        results: dict[str, ForceLeaveResult] = {}

        async def one(name: str) -> None:
            results[name] = await self._let_go(name, prune, wait)

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(one, name)
        observer = self._backend.identity.gossip_name
        return call.json(ForceLeaveResults(observer=observer, results=[results[name] for name in names]))

    async def _let_go(self, name: str, prune: bool, wait: float) -> ForceLeaveResult:
        member = self._find(name)
        before = member.status if member is not None else None
        futile = self._futile(name, before, prune)
        if futile:
            shown = _word(before, UNKNOWN)
            done = before is MemberStatus.LEFT
            return ForceLeaveResult(name, shown, shown, done, futile, None)
        wanted: Collection[MemberStatus | None] = (None,) if prune else (MemberStatus.LEFT, None)
        deadline = trio.current_time() + wait
        try:
            await self._backend.force_leave(name, prune)
        except BackendError as error:
            note = f"{error}; what was sent so far may still reach others"
        else:
            note = ""
        alive = before in (MemberStatus.ALIVE, MemberStatus.LEAVING)
        patience = max(deadline, trio.current_time() + REFUTES_WITHIN) if alive else deadline
        after = await self._settled(name, wanted, patience)
        done = after in wanted
        agreement = None
        if wait and done:
            agreement = await self._agree(name, wanted, deadline)
            done = agreement.agreeing == agreement.answered
            note = note or _dissent(agreement)
        elif not done:
            note = note or _stubborn(after)
        return ForceLeaveResult(name, _word(before, UNKNOWN), _word(after, GONE), done, note, agreement)

    def _find(self, name: str) -> SerfMember | None:
        return next((it for it in self._backend.members() if it.name == name), None)

    def _futile(self, name: str, before: MemberStatus | None, prune: bool) -> str:
        """Why nothing can come of it, so that nothing is sent; empty otherwise."""
        if name == self._backend.identity.gossip_name:
            return "that is the agent you asked; to let it go, have it leave itself (PUT /v1/moot/leave)"
        if before is None:
            same = [it.name for it in self._backend.members() if it.name.rpartition(".")[0] == name][:3]
            hint = f"; did you mean {' or '.join(same)}?" if same else ""
            return f"no member of that name is known here, so nothing was sent{hint}"
        if before is MemberStatus.LEFT and not prune:
            return "it had left already, so nothing was sent; with prune it is forgotten"
        return ""

    async def _settled(
        self, name: str, wanted: Collection[MemberStatus | None], deadline: float
    ) -> MemberStatus | None:
        """The status once it is what was wanted, the member has contradicted, or the time is over."""
        was_leaving = False
        while True:
            member = self._find(name)
            status = member.status if member is not None else None
            was_leaving = was_leaving or status is MemberStatus.LEAVING
            refuted = was_leaving and status is MemberStatus.ALIVE
            if status in wanted or refuted or trio.current_time() >= deadline:
                return status
            await trio.sleep(POLL)

    async def _agree(self, name: str, wanted: Collection[MemberStatus | None], deadline: float) -> Agreement:
        """Ask everybody, again and again, until all hold what was wanted or the time is over."""
        insight = self._backend.operations.insight
        words = {_word(status, GONE) for status in wanted}
        heard = Opinions(asked=(), answers={})
        while True:
            async with self._asking:
                begun = trio.current_time()
                left = max(ASK_EVERY, deadline - begun)  # whatever was spent so far, they are asked once
                try:
                    latest = await insight.opinions(name, min(left, ROUND_MAX))
                except BackendError:
                    break
            heard = Opinions(asked=latest.asked, answers={**heard.answers, **latest.answers})
            agreed = all(heard.answers.get(each) in words for each in heard.asked)
            if agreed or trio.current_time() >= deadline:
                break
            await trio.sleep_until(min(deadline, begun + ASK_EVERY))
        return _agreement(heard, words)


def _agreement(heard: Opinions, words: Collection[str]) -> Agreement:
    said = {each: heard.answers.get(each, NO_ANSWER) for each in heard.asked}
    answered = {each: word for each, word in said.items() if word != NO_ANSWER}
    order = sorted(said, key=lambda each: (said[each] in words, said[each] == NO_ANSWER, each))
    return Agreement(
        asked=len(said),
        answered=len(answered),
        agreeing=sum(word in words for word in answered.values()),
        observers=[ObserverAnswer(each, said[each]) for each in order[:OBSERVERS_MAX]],
    )


def _dissent(agreement: Agreement) -> str:
    """Who does not agree, in words; empty when all do."""
    parts = []
    if not agreement.asked:
        return "nobody could be asked: too many questions are open; ask again in a moment"
    others = [f"{it.name} ({it.status})" for it in agreement.observers][: agreement.answered - agreement.agreeing]
    if others:
        more = "" if len(others) <= 5 else f" and {len(others) - 5} more"
        parts.append(f"not everybody holds it so yet: {', '.join(others[:5])}{more}; it spreads on, ask again")
    silent = agreement.asked - agreement.answered
    if silent:
        parts.append(f"{silent} of {agreement.asked} did not answer")
    return "; ".join(parts)


def _stubborn(after: MemberStatus | None) -> str:
    """Why a force-leave that was sent changed nothing."""
    if after is MemberStatus.ALIVE:
        return "it is alive and refutes; stop that agent first, or have it leave itself"
    if after is MemberStatus.LEAVING:
        return "it is leaving, or has not refuted yet; look again in a moment"
    return f"it is still {_word(after, GONE)}; look again in a moment"


def _word(status: MemberStatus | None, nothing: str) -> str:
    return nothing if status is None else status.value
