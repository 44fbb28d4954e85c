"""Figures of the machine for `telemetry.publish_node_metrics`: memory and processors, as Linux tells them."""

from pathlib import Path
from typing import Final

_MEMORY: Final = {"MemTotal": "total", "MemAvailable": "available", "MemFree": "free"}
_TIMES: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""The first columns of a line of /proc/stat, in ticks since the machine started."""


class Machine:
    """Call it for the figures by name. Those of the processors are shares of the time since the last call."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._before: dict[str, int] = {}

    def __call__(self) -> dict[str, float]:
        """Bytes and percent. What the kernel does not tell is not there."""
        return {**self._memory(), **self._processors()}

    def _memory(self) -> dict[str, float]:
        found = {}
        for line in self._text("meminfo").splitlines():
            name, _, rest = line.partition(":")
            if name in _MEMORY:
                found[f"memory.{_MEMORY[name]}"] = float(rest.split()[0]) * 1024
        if "memory.total" in found and "memory.available" in found:
            found["memory.used"] = found["memory.total"] - found["memory.available"]
        return found

    def _processors(self) -> dict[str, float]:
        """Nomad's four, over all processors together."""
        first = self._text("stat").partition("\n")[0].split()[1:]
        now = dict(zip(_TIMES, map(int, first), strict=False))
        before, self._before = self._before, now
        passed = {name: ticks - before.get(name, 0) for name, ticks in now.items()}
        total = sum(passed.values())
        if not total:
            return {}
        share = {name: 100 * ticks / total for name, ticks in passed.items()}
        idle = share["idle"] + share["iowait"]
        return {
            "cpu.user_percent": share["user"] + share["nice"],
            "cpu.system_percent": share["system"],
            "cpu.idle_percent": idle,
            "cpu.total_percent": 100 - idle,
        }

    def _text(self, name: str) -> str:
        try:
            return (self._proc / name).read_text()
        except OSError:
            return ""
