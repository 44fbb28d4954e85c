"""How many requests the HTTP server answers per second of its CPU time, with a list of 100 members.

One JSON line per case. The server runs in this process; a second process keeps a few connections busy with
one request at a time each, so what is measured is the whole way of a request: socket, h11, checks, answer.

    python bench/bench_http.py [--seconds 3] [--connections 8] [--members 100]
"""

import argparse
import json
import multiprocessing
import multiprocessing.connection
import resource
import selectors
import socket
import sys
import time
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from moot.gossip.record import Address
from moot.http.api import build_api
from moot.http.counters import HttpCounters
from moot.http.server import HttpServer
from tests.api.scripted import ScriptedBackend, identity, made, server_tags

CASES = {
    "members": ("/v1/agent/members", ""),
    "members_gzip": ("/v1/agent/members", "gzip"),
    "self": ("/v1/agent/self", ""),
    "leader": ("/v1/status/leader", ""),
}


def drive(address: Address, request: bytes, connections: int, seconds: float) -> int:
    """Keep `connections` busy for `seconds`; how many answers came. Every answer must be a 200."""
    answers = 0
    with selectors.DefaultSelector() as selector:
        waiting: dict[socket.socket, bytearray] = {}
        for _ in range(connections):
            link = socket.create_connection((address.host, address.port))
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.sendall(request)
            waiting[link] = bytearray()
            selector.register(link, selectors.EVENT_READ, link)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for key, _ in selector.select(1.0):
                link = key.data
                held = waiting[link]
                held += link.recv(262_144)
                if is_whole(held):
                    answers += 1
                    held.clear()
                    link.sendall(request)
        for link in waiting:
            link.close()
    return answers


def is_whole(held: bytearray) -> bool:
    """Whether the bytes are a complete answer, by its Content-Length."""
    head_end = held.find(b"\r\n\r\n")
    if head_end < 0:
        return False
    assert held.startswith(b"HTTP/1.1 200"), bytes(held[:200])
    at = held.find(b"Content-Length: ") + 16
    return len(held) >= head_end + 4 + int(held[at : held.find(b"\r", at)])


def load(pipe: multiprocessing.connection.Connection) -> None:
    """The second process: drive whatever comes through the pipe until None."""
    while (job := pipe.recv()) is not None:
        pipe.send(drive(*job))


def cpu() -> float:
    """Seconds of CPU that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measure(pipe: multiprocessing.connection.Connection, options: argparse.Namespace) -> None:
    """Serve, let the other process drive each case, print its line."""
    members = [
        made(f"s{n:03}.global", f"127.0.{n // 250}.{n % 250 + 1}", server_tags(id=f"{n:036}", raft_vsn="3"))
        for n in range(options.members)
    ]
    api = build_api(ScriptedBackend(identity("s000"), members), counters=HttpCounters())
    server = HttpServer(api, report=fail)
    (address,) = await server.listen([("127.0.0.1", 0)])
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        for name, (path, coding) in CASES.items():
            accept = f"Accept-Encoding: {coding}\r\n" if coding else ""
            request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\n{accept}\r\n".encode()
            begun, used = time.perf_counter(), cpu()
            pipe.send((address, request, options.connections, options.seconds))
            answers = await trio.to_thread.run_sync(pipe.recv)
            used, took = cpu() - used, time.perf_counter() - begun
            line = {"bench": "http", "case": name, "members": options.members, "requests": answers}
            print(json.dumps({**line, "per_cpu_second": round(answers / used), "per_second": round(answers / took)}))
        await server.stop()


def fail(what: str, error: Exception) -> None:
    """A bug in the server makes the figures worthless."""
    raise AssertionError(what) from error


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="per case")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--members", type=int, default=100)
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    other = spawn.Process(target=load, args=(theirs,))
    other.start()
    try:
        trio.run(measure, ours, options)
    finally:
        ours.send(None)
        other.join()


if __name__ == "__main__":
    main()
