"""The demo: a pool of real agents, a join, a crash, a force-leave, and a real serf agent that agrees."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from moot.agent import text
from moot.agent.cluster import Cluster, wait_ready
from moot.agent.cluster_places import Wish
from moot.agent.cluster_state import Node
from moot.agent.cluster_views import Observer, View, agreeing
from moot.agent.console import natural, wait_until
from moot.agent.interrupts import Interrupts
from moot.agent.processes import spawn
from moot.gossip.errors import GossipError
from moot.http.client import ApiClient, ApiError

AGENTS = 5
NAME = "demo"
PATIENCE = 30.0
"""Seconds after which a step that did not come about fails the demo."""
RPC_PORT = 7373
GUEST = "real-serf"
TAGS = {"dc": "dc1", "role": "demo"}
_DIE_WITH_PARENT = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGKILL)\n"
    "os.getppid() == int(sys.argv[1]) or sys.exit(1)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)
"""Runs another program so that the kernel ends it with us (prctl PR_SET_PDEATHSIG): it has no lifeline of its own."""


Described = tuple[str, str, str]
"""Address, status and tags of a member, for comparing two tools' lists."""


class DemoFailed(GossipError):
    """Something that the demo promises did not hold."""


@dataclass(frozen=True, slots=True)
class SerfTool:
    """The `serf` program, talking to the agent whose RPC address is `rpc`."""

    program: str
    rpc: str

    def run(self, verb: str, *options: str) -> str:
        """What the command prints; empty when the agent does not answer."""
        where = [] if verb == "version" else [f"-rpc-addr={self.rpc}"]
        command = [self.program, verb, *where, *options]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        return asked.stdout if asked.returncode == 0 else ""

    def members(self) -> dict[str, Described]:
        """The members as the serf agent lists them."""
        listed = self.run("members", "-format=json")
        return {
            member["name"]: (member["addr"], member["status"], text.tag_text(member["tags"] or {}))
            for member in (json.loads(listed)["members"] if listed else ())
        }


class Demo:
    """One run. `tell` gets the lines for people; `steps` collects the same as data.

    What `interrupts` catches comes through while the demo waits for something.
    """

    def __init__(self, *, tell: Callable[[str], None], serf: str | None, interrupts: Interrupts) -> None:
        self.steps: list[dict[str, object]] = []
        self._tell = tell
        self._serf = serf
        self._began = time.monotonic()
        self._interrupts = interrupts
        wish = Wish(count=AGENTS, name=NAME, numbered=True, profile="local", pool="serf", tags=TAGS)
        self._cluster = Cluster(wish, interrupts)
        self._observer = Observer()
        self._killed: Node | None = None
        self._guest: SerfTool | None = None

    def run(self) -> None:
        """All steps, and a clean end whatever happens. Raises DemoFailed."""
        self._say(f"starting {AGENTS} agents, each a process with an address of its own")
        try:
            with self._observer, self._cluster:
                self._steps()
                count = len(self._cluster.nodes)
                self._cluster.end()
                self._done("end", f"all {count} agents ended, nothing is left behind")
        except DemoFailed:
            raise
        except ApiError as error:
            raise DemoFailed(f"an agent answered wrongly: {error}") from error
        except GossipError as error:
            raise DemoFailed(str(error)) from error
        self._tell(f"everything held, in {time.monotonic() - self._began:.1f} s")

    def _steps(self) -> None:
        self._form()
        late = self._join()
        with contextlib.ExitStack() as stack:
            if self._serf is None:
                self._say("no `serf` on PATH: the part with a real serf agent is skipped (Debian's package is serf)")
            else:
                self._guest = stack.enter_context(self._serf_agent(self._serf, late))
            victim = self._crash()
            self._force_leave(victim)
            if self._guest is not None:
                self._guest_leaves(self._guest)

    # steps

    def _form(self) -> None:
        self._cluster.start()
        name = self._cluster.name
        self._say(f"`moot cluster status --name {name}` shows them while this runs")
        for _ in wait_ready(self._cluster, self._observer, PATIENCE):
            pass
        nodes = self._cluster.nodes
        self._done("form", f"each of the {len(nodes)} agents sees {len(nodes)} alive, by GET /v1/agent/members")
        self._show()

    def _join(self) -> Node:
        place = self._cluster.next_place()
        late = self._cluster.add(place)
        self._say(f"starting {late.name} alone")
        self._until(lambda: self._observer.view(late) == {late.member: "alive"}, f"{late.name} alone in its pool")
        seed = self._cluster.nodes[0]
        began = self._say(f"PUT {late.url}/v1/agent/join?address={seed.gossip}")
        with self._interrupts.allowed():
            joined, error = ApiClient(late.url).join([seed.gossip])
        if joined != 1:
            raise DemoFailed(f"{late.name} could not join: {error.strip()}")
        self._agree({node.member: "alive" for node in self._cluster.nodes}, "join", began)
        return late

    def _crash(self) -> Node:
        victim = self._cluster.nodes[2]
        began = self._say(f"kill -9 {victim.process.pid}, which is {victim.name}")
        victim.process.kill(signal.SIGKILL)
        self._killed = victim
        self._agree({victim.member: "failed"}, "crash", began)
        self._show()
        return victim

    def _force_leave(self, victim: Node) -> None:
        asked = self._cluster.nodes[0]
        began = self._say(f"PUT {asked.url}/v1/agent/force-leave?node={victim.member}")
        with self._interrupts.allowed():
            ApiClient(asked.url).force_leave(victim.member)
        self._agree({victim.member: "left"}, "force-leave", began)
        self._show()

    # the real serf

    @contextlib.contextmanager
    def _serf_agent(self, serf: str, beside: Node) -> Iterator[SerfTool]:
        """A real serf agent in the pool, ended at the end of the block if it did not leave."""
        host, _, port = beside.gossip.partition(":")
        network, _, number = host.rpartition(".")
        host = f"{network}.{int(number) + 1}"
        tool = SerfTool(serf, f"{host}:{RPC_PORT}")
        version = tool.run("version").splitlines()[0]
        began = self._say(f"starting a real serf agent ({version}) that joins {beside.gossip}")
        arguments = [serf, "agent", f"-node={GUEST}", f"-bind={host}:{port}", f"-rpc-addr={tool.rpc}"]
        arguments += ["-profile=local", "-tag=role=demo", f"-join={beside.gossip}"]
        child = spawn(
            [sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid()), *arguments], self._cluster.log_of(GUEST)
        )
        try:
            self._guest = tool
            self._agree({GUEST: "alive"}, "serf joins", began)
            self._show_guest(tool)
            yield tool
        finally:
            child.kill()
            child.wait()

    def _guest_leaves(self, guest: SerfTool) -> None:
        self._show_guest(guest)
        self._guest = None
        began = self._say("`serf leave`: the serf agent leaves gracefully")
        with self._interrupts.allowed():
            guest.run("leave")
        self._agree({GUEST: "left"}, "serf leaves", began)

    def _show_guest(self, guest: SerfTool) -> None:
        with self._interrupts.allowed():
            printed = guest.run("members")
        self._tell(_indented("\n".join(["$ serf members", *map(text.printable, printed.splitlines())])))

    def _members(self) -> dict[str, Described]:
        """The members as our first agent answers them."""
        return {
            member["Name"]: (f"{member['Addr']}:{member['Port']}", member["Status"], text.tag_text(member["Tags"]))
            for member in ApiClient(self._cluster.nodes[0].url).members()["Members"]
        }

    # telling and waiting

    def _say(self, line: str) -> float:
        """Tell it; the time of it, from which the step that it announces is measured."""
        now = time.monotonic()
        self._tell(f"[{now - self._began:5.1f} s] {line}")
        return now

    def _done(self, step: str, line: str, took: float | None = None) -> None:
        at = time.monotonic() - self._began
        self.steps.append({"step": step, "at": round(at, 3), "took": took and round(took, 3), "what": line})
        self._say(f"  ok: {line}" + (f", {took:.1f} s later" if took is not None else ""))

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        with self._interrupts.allowed():
            came = wait_until(holds, PATIENCE)
        if not came:
            raise DemoFailed(f"after {PATIENCE:.0f} s this did not come about: {what}")

    def _agree(self, expected: View, step: str, began: float) -> None:
        """Wait until every running agent's HTTP answer says so, and the serf agent lists the same as ours.

        `began` is when that was asked for; the step's time is from there.
        """
        observers = self._running()
        statuses = " and ".join(sorted(set(expected.values())))
        names = next(iter(expected)) if len(expected) == 1 else f"all {len(expected)}"
        what = f"{names} {statuses} in the HTTP answers of all {len(observers)} agents"
        self._until(lambda: len(agreeing(self._observer.views(observers), expected)) == len(observers), what)
        self._done(step, what, time.monotonic() - began)
        if (guest := self._guest) is not None:
            what = "`serf members` of the real agent lists the same names, addresses, tags and statuses"
            self._until(lambda: guest.members() == self._members(), what)
            self._done(f"{step}: serf agrees", what, time.monotonic() - began)

    def _running(self) -> list[Node]:
        return [node for node in self._cluster.nodes if node is not self._killed]

    def _show(self) -> None:
        """Who sees whom how: a row per member, a column per agent asked."""
        self._tell(_indented("\n".join(matrix(self._observer.views(self._running())))))


def matrix(views: Mapping[str, View | None]) -> list[str]:
    """Lines of a table: each member's status in each agent's view."""
    names = sorted({member for view in views.values() for member in view or ()}, key=natural)
    rows = [[name, *((view or {}).get(name, "unknown") for view in views.values())] for name in names]
    return text.columns(["member", *(f"by {name}" for name in views)], rows)


def _indented(lines: str) -> str:
    return "\n".join(f"          {row}" for row in lines.splitlines())
