"""Who plays the trials of a sweep: processes here, or the workers of a Dask scheduler.

Dask brings what a fleet of machines needs (queues, retries, workers that die or come later), so it is used as it is.
"""

import importlib
import importlib.util
from collections.abc import Iterator, Sequence

from moot import __version__
from moot.agent.explorer import Workers
from moot.agent.interrupts import Interrupts
from moot.agent.sweep import Task, run_task
from moot.gossip.errors import ConfigError
from moot.gossip.sim.trial import Measured

CONNECT_MAX = 30.0
"""Seconds until a scheduler that does not answer is given up."""


def by_processes(tasks: Sequence[Task], jobs: int, interrupts: Interrupts) -> Iterator[tuple[Task, Measured]]:
    """Play trials on the cores of this machine; results come in the order of the tasks. Raises Interrupted."""
    with Workers(jobs, interrupts) as workers:
        yield from zip(tasks, workers.each(run_task, tasks), strict=True)


def by_dask(tasks: Sequence[Task], address: str, interrupts: Interrupts) -> Iterator[tuple[Task, Measured]]:
    """Play trials on the workers of a scheduler; results come as they are done. Raises Interrupted, ConfigError.

    What a worker had when it died is played by another. Trials depend on nothing but their task, so that one that
    is played twice gives the same.
    """
    if importlib.util.find_spec("distributed") is None:
        raise ConfigError("--scheduler needs Dask: pip install 'moot[dask]'")
    dask = importlib.import_module("distributed")
    try:
        client = dask.Client(address, timeout=CONNECT_MAX, set_as_default=False, name="moot-sweep")
    except (OSError, ValueError) as error:
        raise ConfigError(f"no Dask scheduler answers at {address}: {error}") from None
    with client:
        _check_versions(client.run(_version))
        futures = {client.submit(run_task, task, pure=False, retries=2): task for task in tasks}
        done = dask.as_completed(futures, loop=client.loop)
        for _ in range(len(futures)):
            with interrupts.allowed():
                future = next(done)
            try:
                measured = future.result()
            except dask.KilledWorker as error:
                raise ConfigError(f"Dask gave up a trial: {error}") from None
            yield futures.pop(future), measured
            future.release()


def _version() -> str:
    return __version__


def _check_versions(found: dict[str, str]) -> None:
    other = {worker: version for worker, version in found.items() if version != __version__}
    if other:
        worker, version = min(other.items())
        raise ConfigError(f"the worker {worker} has moot {version}, and this is {__version__}: they must be the same")
