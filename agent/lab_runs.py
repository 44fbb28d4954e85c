"""Runs: several runs of scenarios, one after the other or side by side, each a process of its own then."""

import functools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from moot.agent import lab
from moot.agent.interrupts import Interrupts
from moot.gossip.errors import GossipError
from moot.gossip.sim import lab as sim
from moot.gossip.sim.history import load
from moot.gossip.sim.lab import Result, judge
from moot.gossip.sim.scenario import Scenario
from moot.gossip.sim.scenario_file import dump

LAST_WORDS: Final = 3
LOOK: Final = 0.1
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Task:
    """One run that is to be: `scenario` under `seed`, on processes unless it is to be `simulated`."""

    scenario: Scenario
    seed: int
    simulated: bool = False
    keep: bool = False
    timeout: float = float("inf")
    in_process: bool = False

    def __str__(self) -> str:
        return f"{self.scenario.name} (seed {self.seed})"


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a task: a result, or why there is none. `began` and `logs` as in `lab.ProcessRun`."""

    task: Task
    result: Result | None = None
    error: str = ""
    began: float = 0.0
    logs: Mapping[str, Path] = field(default_factory=dict)


def run_one(task: Task, interrupts: Interrupts, tell: Tell, logs: Path | None = None) -> Ran:
    """Run a task here. Raises Interrupted."""
    try:
        if task.simulated:
            return Ran(task, sim.run(task.scenario, task.seed))
        found = lab.run(
            task.scenario,
            task.seed,
            interrupts=interrupts,
            tell=tell,
            in_process=task.in_process,
            keep=task.keep,
            logs=logs,
            timeout=task.timeout,
        )
    except GossipError as error:
        tell(str(error))
        return Ran(task, error=str(error))
    return Ran(task, found.result, began=found.began, logs=found.logs)


def run_all(
    tasks: Sequence[Task], interrupts: Interrupts, tell: Callable[[Task, str], None], *, jobs: int, logs: Path | None
) -> Iterator[Ran]:
    """Run them, so many side by side, and give each as it is over. Raises Interrupted, once all have ended."""
    if jobs == 1 or len(tasks) == 1:
        for number, task in enumerate(tasks):
            yield run_one(task, interrupts, functools.partial(tell, task), logs_of(logs, number))
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moot-lab-")))
        children = stack.enter_context(_Children())
        pool = stack.enter_context(ThreadPoolExecutor(jobs, thread_name_prefix="lab-run"))
        stack.callback(children.end)
        running: set[Future[Ran]] = set()
        for number, task in enumerate(tasks):
            own = folder / str(number)
            running.add(pool.submit(_run_apart, task, children, tell, own, logs_of(logs, number)))
        while running:
            with interrupts.allowed():
                done, running = wait(running, LOOK, FIRST_COMPLETED)
            for future in done:
                yield future.result()


def logs_of(logs: Path | None, number: int) -> Path | None:
    """The folder for the logs of one of several runs."""
    return logs / str(number + 1) if logs is not None else None


class _Children:
    """Processes that run a task each. Leaving the block ends them; so does our own end, however it comes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over = False
        self._children: list[subprocess.Popen[str]] = []
        self.lifeline, self._held = os.pipe()

    def __enter__(self) -> "_Children":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        os.close(self.lifeline)
        os.close(self._held)

    def start(self, command: Sequence[str]) -> "subprocess.Popen[str] | None":
        """Start one, its progress going to a pipe; None when it is too late."""
        with self._lock:
            if self._over:
                return None
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
                pass_fds=[self.lifeline],
            )
            self._children.append(child)
            return child

    def end(self) -> None:
        """Tell all to end; whoever waits for them sees it. Safe to call again."""
        with self._lock:
            self._over = True
            for child in self._children:
                if child.poll() is None:
                    child.send_signal(signal.SIGTERM)


def _run_apart(
    task: Task, children: _Children, tell: Callable[[Task, str], None], folder: Path, logs: Path | None
) -> Ran:
    """Run a task in a process of its own, and judge what it wrote down."""
    folder.mkdir()
    scenario, history = folder / "scenario.toml", folder / "history.jsonl"
    scenario.write_text(dump(task.scenario))
    command = [sys.executable, "-P", "-m", "moot", "lab", "run", str(scenario), "--seed", str(task.seed)]
    command += ["--history", str(history), "--lifeline", str(children.lifeline)]
    command += ["--sim"] if task.simulated else []
    command += ["--in-process"] if task.in_process else []
    command += ["--keep"] if task.keep else []
    command += ["--logs", str(logs)] if logs is not None else []
    command += ["--timeout", str(task.timeout)] if task.timeout < float("inf") else []
    began = time.time()
    child = children.start(command)
    if child is None:
        return Ran(task, error="interrupted")
    words: list[str] = []
    with child:
        assert child.stderr is not None
        for line in child.stderr:
            words = [*words, line.rstrip()][-LAST_WORDS:]
            tell(task, line.rstrip())
    if not history.exists():
        return Ran(task, error=" ".join(words) or f"its process ended with {child.returncode}")
    with history.open() as lines:
        found = load(line.rstrip("\n") for line in lines)
    files = {path.stem: path for path in sorted(logs.glob("*.log"))} if logs is not None and logs.is_dir() else {}
    return Ran(task, Result(task.scenario, found, judge(task.scenario, found)), began=began, logs=files)


def hang_on(lifeline: int) -> None:
    """Let this process end, as by SIGTERM, when the other end of the pipe is closed."""

    def watch() -> None:
        while os.read(lifeline, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
