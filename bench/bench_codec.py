"""What the wire costs: microseconds per operation, the best of several rounds. One JSON line per case.

    python bench/bench_codec.py [--seconds 0.05] [--case push_pull]

`--seconds` is the time of one round; a case takes five of them. Everything is synthetic and the same in every run.
"""

import argparse
import json
import timeit
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

from moot.gossip.config import WireConfig
from moot.gossip.record import Address
from moot.gossip.serf.messages import JoinIntent, SerfPushPull
from moot.gossip.serf.tags import encode_tags
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import Ack, Alive, PacketMessage, Ping, PushPull, Suspect, User
from moot.gossip.wire import lzw
from moot.gossip.wire.codec import decode, encode, size_of
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.packet import PacketCodec
from moot.gossip.wire.stream import StreamReader, frame

Case: TypeAlias = tuple[str, int, Callable[[], object]]
"""Name, how many things one call handles, the call."""

ROUNDS = 5
NODES = 1000
PLAIN = WireConfig()
TEXT = b"".join(b"the quick brown fox %d jumps over the lazy dog; " % (line % 7) for line in range(30))[:1400]


def member(index: int) -> Member:
    """A member as a pool of servers has it, with tags of a usual size."""
    tags = {"role": "nomad", "region": "global", "dc": "dc1", "build": "1.9.3", "id": f"{index:08x}", "port": "4647"}
    address = Address(bytes((127, 0, index >> 8 & 255, index & 255)), 4648)
    return Member(f"server-{index}.global", address, index, Status.ALIVE, encode_tags(tags))


def single_cases() -> Iterator[Case]:
    """Messages on their own: what each packet pays at least."""
    source = Address(b"\x7f\0\0\1", 7946)
    messages: dict[str, PacketMessage] = {
        "ping": Ping(70_000, "server-1.global", source, "server-2.global"),
        "ack": Ack(70_000, b"\x01" + bytes(130)),
        "alive": Alive(member(300)),
        "suspect": Suspect(3, "server-1.global", "server-2.global"),
        "join_intent": User(JoinIntent(7, "server-1.global")),
    }
    for name, message in messages.items():
        data = encode(message)
        yield f"encode_{name}", 1, partial(encode, message)
        yield f"decode_{name}", 1, partial(decode, data)
        yield f"size_of_{name}", 1, partial(size_of, message)


def packet_cases() -> Iterator[Case]:
    """Whole packets: a bare ping, ten messages, the same encrypted."""
    ping = [Ping(70_000, "server-1.global", Address(b"\x7f\0\0\1", 7946), "server-2.global")]
    ten: list[PacketMessage] = [*ping, *(Alive(member(index)) for index in range(9))]
    bare = PacketCodec(PLAIN, None)
    keyed = PacketCodec(PLAIN, Keyring([bytes(32)], lambda: bytes(12)))
    for name, codec, messages in (("ping", bare, ping), ("compound_of_10", bare, ten), ("sealed_of_10", keyed, ten)):
        data = codec.seal(messages, True)
        yield f"packet_seal_{name}", 1, partial(codec.seal, messages, True)
        yield f"packet_open_{name}", 1, partial(codec.open, data)


def layer_cases() -> Iterator[Case]:
    """Compression and encryption of 1,400 bytes."""
    keys = Keyring([bytes(32)], lambda: bytes(12))
    squeezed, sealed = lzw.compress(TEXT), keys.seal(TEXT)
    yield f"lzw_compress_1400_to_{len(squeezed)}", 1, partial(lzw.compress, TEXT)
    yield f"lzw_decompress_1400_from_{len(squeezed)}", 1, partial(lzw.decompress, squeezed, 65_536)
    yield "seal_1400", 1, partial(keys.seal, TEXT)
    yield "open_1400", 1, partial(keys.open, sealed)


def read_stream(data: bytes) -> object:
    """Parse a whole plain stream at once."""
    return StreamReader(PLAIN, None, expect_label=True).feed(data)


def push_pull_cases() -> Iterator[Case]:
    """A push/pull with the state of Serf, per member."""
    members = [member(index) for index in range(NODES)]
    state = SerfPushPull(9, {each.name: 3 for each in members}, [], 2, [None] * 512, 1)
    message = PushPull(False, members, state)
    bare = PushPull(False, members)
    for name, each in (("push_pull_per_node", message), ("push_pull_without_state_per_node", bare)):
        data = frame(each, PLAIN, None, dialer=True)
        yield f"encode_{name}", NODES, partial(frame, each, PLAIN, None, dialer=True)
        yield f"decode_{name}", NODES, partial(read_stream, data)


def measure(work: Callable[[], object], seconds: float) -> float:
    """Seconds per call, the best of some rounds of about `seconds` each."""
    timer = timeit.Timer(work)
    once = max(timer.timeit(1), timer.timeit(1), 1e-7)
    number = max(1, int(seconds / once))
    return min(timer.repeat(ROUNDS, number)) / number


def main() -> None:
    """Run the cases whose names contain `--case`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--case", default="")
    options = parser.parse_args()
    for group in (single_cases, packet_cases, layer_cases, push_pull_cases):
        for name, count, work in group():
            if options.case in name:
                spent = measure(work, options.seconds) / count
                print(json.dumps({"case": f"codec_{name}", "us": round(spent * 1e6, 3)}), flush=True)


if __name__ == "__main__":
    main()
