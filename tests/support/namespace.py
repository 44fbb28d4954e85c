"""A network namespace of one's own: two addresses on one wire, and nobody else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import require_tool

FIRST, SECOND = "10.9.0.1", "10.9.0.2"
"""The addresses, both on the interface that multicast goes through."""
_SETUP = f"""
set -e
ip link set lo up
ip link add ve0 type veth peer name ve1
ip link set ve0 up
ip link set ve1 up
ip addr add {FIRST}/24 dev ve0
ip addr add {SECOND}/24 dev ve0
ip route add 224.0.0.0/4 dev ve0
"""
TENTATIVE = 0x40
"""Flag of an IPv6 address that the kernel still checks."""


def run_in_namespace(module: str, *args: str) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE ARGS…` in a new namespace. Skips the test where none can be made, as in many containers."""
    require_tool("ip", "Debian's package iproute2")
    require_tool("unshare", "Debian's package util-linux")
    unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    tried = subprocess.run([*unshare, "sh", "-c", _SETUP], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no network namespace can be made here: {tried.stderr.strip()}")
    command = [*unshare, "sh", "-c", _SETUP + 'exec "$@"', "sh", sys.executable, "-m", module, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)


def addresses_settled() -> bool:
    """Whether the kernel is done looking for others with our IPv6 addresses; it sends nothing before."""
    rows = Path("/proc/net/if_inet6").read_text().splitlines()
    flags = [int(row.split()[4], 16) for row in rows if row.split()[5].startswith("ve")]
    return len(flags) == 2 and not any(flag & TENTATIVE for flag in flags)
