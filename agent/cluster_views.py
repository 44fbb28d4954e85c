"""What the agents of a cluster see, and who agrees with whom."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from moot.agent import control_client
from moot.agent.cluster_start import control_of
from moot.agent.cluster_state import Node
from moot.agent.control_client import ControlError
from moot.agent.rpc.client import RpcClient
from moot.gossip.errors import GossipError
from moot.http.client import ApiClient, ApiError

View = dict[str, str]
"""Member name to status, as one agent answers it."""


class Observer:
    """Asks all agents of a cluster at once: ours over HTTP, serf's by their RPC. A context, for its threads."""

    def __init__(self, timeout: float = 2.0) -> None:
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="observer")

    def __enter__(self) -> "Observer":
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def views(self, nodes: Sequence[Node]) -> dict[str, View | None]:
        """By node name: what each agent sees, None from one that does not answer."""
        found = self._threads.map(self.view, nodes)
        return {node.name: view for node, view in zip(nodes, found, strict=True)}

    def counts(self, directory: Path, nodes: Sequence[Node]) -> dict[str, int | None]:
        """By node name: how many each agent sees alive, None from one that does not say.

        Ours say it on their control channels, which costs them next to nothing.
        """
        found = self._threads.map(lambda node: self._count(directory, node), nodes)
        return {node.name: count for node, count in zip(nodes, found, strict=True)}

    def _count(self, directory: Path, node: Node) -> int | None:
        if node.kind == "serf":
            view = self.view(node)
            return None if view is None else alive_count(view)
        try:
            found = control_client.ask(control_of(directory, node.name), {"do": "state"}, self._timeout).get("alive")
        except ControlError:
            return None
        return found if isinstance(found, int) else None

    def view(self, node: Node) -> View | None:
        """One agent's members and their statuses; None when it does not answer."""
        if node.process.stopped():
            return None
        if node.kind == "serf":
            return self._view_of_serf(node)
        try:
            members = ApiClient(node.url, timeout=self._timeout).members()["Members"]
        except ApiError:
            return None
        return {member["Name"]: member["Status"] for member in members}

    def _view_of_serf(self, node: Node) -> View | None:
        try:
            with RpcClient(node.rpc, timeout=self._timeout, patience=self._timeout) as client:
                return {member.name: member.status for member in client.members()}
        except (OSError, GossipError):
            return None


def agreeing(views: Mapping[str, View | None], expected: View) -> list[str]:
    """Names of the agents that see exactly `expected` of the members it names."""
    return [
        name
        for name, view in views.items()
        if view is not None and all(view.get(member) == status for member, status in expected.items())
    ]


def alive_everywhere(views: Mapping[str, View | None], count: int) -> list[str]:
    """Names of the agents that see `count` members alive."""
    return [name for name, view in views.items() if view is not None and alive_count(view) == count]


def alive_count(view: View) -> int:
    """How many members are alive in a view."""
    return sum(status == "alive" for status in view.values())


def groups(views: Mapping[str, View | None]) -> list[tuple[list[str], View | None]]:
    """The agents that see exactly the same, with what they see.

    The largest group comes first, those without an answer last; groups of one size in the order of their first.
    """
    found: list[tuple[list[str], View | None]] = []
    for name, view in views.items():
        for names, seen in found:
            if seen == view:
                names.append(name)
                break
        else:
            found.append(([name], view))
    return sorted(found, key=lambda group: (group[1] is None, -len(group[0])))
