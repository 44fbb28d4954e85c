"""PoolBackend: the pool's operations as the API sees them, carried out by a node."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from moot.agent.insight import NodeInsight
from moot.agent.key_watch import KeyWatch
from moot.agent.keys import PoolKeys
from moot.agent.logs import Log
from moot.gossip import expressions
from moot.gossip.errors import CommandError, ConfigError
from moot.gossip.net.answers import Answers
from moot.gossip.net.node import Node
from moot.gossip.serf.asking import Question
from moot.gossip.serf.messages import Coordinate
from moot.gossip.serf.queries import FILTERS_MAX
from moot.http.backend import BackendError, Unacceptable
from moot.http.pool import KeyChange, KeyListing, KeyOperation


class PoolBackend:
    """`fixed_tags` are the tags that belong to the agent and not to its operator."""

    def __init__(self, node: Node, fixed_tags: Collection[str]) -> None:
        self._node = node
        self._fixed_tags = fixed_tags
        self.insight = NodeInsight(node)
        self._watch = KeyWatch(node.members)
        self._keys = PoolKeys(node, self._watch.locked_out)

    def hear(self, event: object, log: Log) -> None:
        """An event of the node's: say who is back and cannot be understood."""
        for member in self._watch.hear(event):
            log.warn(
                "a failed member is back, but sends what no key here opens",
                name=member.name,
                address=member.address,
                hint="it was away when the keys changed, or has another label: `moot keys list` shows who holds"
                " what; give it the present key and start it anew",
            )

    def user_event(self, name: str, payload: bytes, *, coalesce: bool) -> None:
        with _as_wish():
            self._node.user_event(name, payload, coalesce=coalesce)

    @contextmanager
    def query(self, question: Question) -> Iterator[Answers]:
        if len(question.tags) >= FILTERS_MAX:
            raise Unacceptable(f"a query can have at most {FILTERS_MAX} filters")
        for tag, expression in question.tags.items():
            try:
                expressions.compile(expression)
            except expressions.ExpressionError as error:
                raise Unacceptable(f"tag {tag}: no regular expression: {error}") from None
        with ExitStack() as stack:
            with _as_wish():
                answers = stack.enter_context(self._node.query(question))
            yield answers

    async def list_keys(self) -> KeyListing:
        return await self._keys.listing()

    async def change_keys(self, operation: KeyOperation, key: str, *, force: bool) -> KeyChange:
        return await self._keys.change(operation, key, force=force)

    def tags(self) -> Mapping[str, str]:
        return self._node.tags

    async def change_tags(self, changed: Mapping[str, str], deleted: Sequence[str]) -> Mapping[str, str]:
        fixed = sorted({*changed, *deleted}.intersection(self._fixed_tags))
        if fixed:
            raise Unacceptable(f"the tag {fixed[0]} is the agent's own in a nomad pool; take another name")
        kept = {name: value for name, value in self._node.tags.items() if name not in deleted}
        try:
            await self._node.set_tags(kept | dict(changed))
        except ConfigError as error:
            raise Unacceptable(str(error)) from error
        except CommandError as error:
            raise BackendError(str(error)) from error
        return self._node.tags

    def coordinate(self, name: str) -> Coordinate | None:
        return self._node.coordinate(name)

    def flaps(self, name: str) -> int:
        return self._node.flaps(name)


@contextmanager
def _as_wish() -> Iterator[None]:
    """What the node refuses here is what was asked for: too large, or a reserved name."""
    try:
        yield
    except CommandError as error:
        hint = "; send less, or where to find the rest" if "exceeds" in str(error) else ""
        raise Unacceptable(f"{error}{hint}") from error
