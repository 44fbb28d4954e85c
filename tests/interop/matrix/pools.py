"""The pools of the matrix: one that many cells share, small ones for those that end agents."""

import base64
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support.launching import View, until
from tests.support.serf_cli import Program, SerfAgent, SerfPool

KEY = base64.b64encode(bytes(range(200, 232))).decode()
"""The key that encrypted pools start with."""
HEARD = 'printf "%s %s " $SERF_USER_EVENT $SERF_USER_LTIME; cat'
ANSWER = 'printf "%s heard " $SERF_SELF_NAME; cat'
ROLES = {"0": "web", "1": "db"}
LETTER = {"moot": "m", "serf": "s"}
"""How the names of agents begin, by kind."""


def other(kind: str) -> str:
    """The other kind."""
    return "serf" if kind == "moot" else "moot"


def new_key() -> str:
    """A key that no pool has."""
    return base64.b64encode(os.urandom(32)).decode()


class MixedPool(SerfPool):
    """Agents of both kinds. `programs` is what each kind is, as agent and as command."""

    def __init__(self, programs: Mapping[str, Program], folder: Path, options: Sequence[str]) -> None:
        super().__init__(folder, options)
        self.programs = programs

    def begin(self, kind: str, name: str, *options: str) -> SerfAgent:
        """An agent that is being started."""
        return self.launch(self.programs[kind], name, *options)

    def gather(self, first: SerfAgent, *others: SerfAgent) -> None:
        """Let agents that were begun join the first one, each by its own kind of command."""
        for agent in (first, *others):
            agent.wait()
        for agent in others:
            agent.tell("join", first.address)

    def settle(self, expected: View) -> None:
        """Wait until every running agent lists just these; then both commands must show the same of all of them."""
        running = self.running
        until(
            f"all of {[agent.name for agent in running]} see {expected}",
            lambda: all(agent.view(self.programs["serf"]) == expected for agent in running),
            logs=running,
        )
        shown = {
            (agent.name, kind): agent.listing(program) for agent in running for kind, program in self.programs.items()
        }
        for listing in shown.values():
            assert listing == next(iter(shown.values())), shown


class SharedPool(MixedPool):
    """Two agents of each kind, `m0 m1 s0 s1`, with handlers, tags and roles. Cells leave it as they found it."""

    agents: Mapping[str, SerfAgent]

    def build(self) -> None:
        """Start them, and wait until they know each other."""
        kinds = {f"{LETTER[kind]}{number}": kind for kind in LETTER for number in "01"}
        self.agents = {name: self._begin_member(kind, name) for name, kind in kinds.items()}
        self.gather(*self.agents.values())
        self.settle(self.whole)

    def _begin_member(self, kind: str, name: str) -> SerfAgent:
        number = name[1]
        return self.begin(
            kind,
            name,
            f"-tag=kind={kind}",
            f"-tag=n={number}",
            f"-role={ROLES[number]}",
            f"-event-handler=user=({HEARD}) >> {self.folder}/{name}.heard",
            f"-event-handler=query:ask={ANSWER}",
        )

    @property
    def whole(self) -> dict[str, str]:
        """The view that everybody has."""
        return dict.fromkeys(self.agents, "alive")

    def heard(self, agent: SerfAgent, event: str) -> list[tuple[str, str]]:
        """Lamport time and payload of the user events of a name that the agent's handler got, in order."""
        path = self.folder / f"{agent.name}.heard"
        whole_lines = path.read_text().split("\n")[:-1] if path.exists() else []
        found = [line.split(" ", 2) for line in whole_lines]
        return [(ltime, payload) for name, ltime, payload in found if name == event]


class Story(MixedPool):
    """A pool of `m` and `s`, and `v`, an agent of the wanted kind that comes, fails, leaves and is forgotten.

    Cells follow one another: what one leaves is where the next begins. One that begins elsewhere has a new pool.
    """

    def __init__(self, programs: Mapping[str, Program], folder: Path, options: Sequence[str], kind: str) -> None:
        super().__init__(programs, folder, options)
        self._kind = kind
        self._state = ""

    def reach(self, *states: str) -> None:
        """Bring `v` to one of these: `apart` (running and alone), `alive`, `failed`, `left`."""
        state, self._state = self._state, ""  # unknown while a test acts
        if state in states:
            return
        self.close()
        self.agents = {name: self.begin(kind, name) for name, kind in (("m", "moot"), ("s", "serf"))}
        self.visitor = self.begin(self._kind, "v")
        self.gather(*self.agents.values())
        self.visitor.wait()
        if "apart" in states:
            return
        self.visitor.tell("join", self.agents["m"].address)
        self.see("alive")
        if "alive" in states:
            return
        self.visitor.kill()
        self.see("failed")

    def see(self, status: str | None) -> None:
        """Wait until everybody lists `v` so; None is not at all."""
        view = {"m": "alive", "s": "alive"}
        if status:
            view["v"] = status
        self.settle(view)
        self._state = status or ""


class Pools:
    """Makes pools when they are first wanted, and ends them."""

    def __init__(self, programs: Mapping[str, Program], folder: Path) -> None:
        self.programs = programs
        self._folder = folder
        self._shared: dict[str, SharedPool] = {}

    def shared(self, seal: str) -> SharedPool:
        """The pool for cells that change nothing for good."""
        if seal not in self._shared:
            pool = self._shared[seal] = SharedPool(*self._place(seal))
            pool.build()
        return self._shared[seal]

    @contextmanager
    def fresh(self, seal: str) -> Iterator[MixedPool]:
        """An empty pool that is ended afterwards."""
        with closing(MixedPool(*self._place(seal))) as pool:
            yield pool

    @contextmanager
    def story(self, seal: str, kind: str) -> Iterator[Story]:
        """A pool for a `v` of this kind."""
        with closing(Story(*self._place(seal), kind)) as story:
            yield story

    def _place(self, seal: str) -> tuple[Mapping[str, Program], Path, Sequence[str]]:
        options = [f"-encrypt={KEY}"] if seal == "encrypted" else []
        return self.programs, Path(tempfile.mkdtemp(dir=self._folder)), options

    def drop_shared(self) -> None:
        """End the shared pools: the next cell gets a new one."""
        for pool in self._shared.values():
            pool.close()
        self._shared.clear()
