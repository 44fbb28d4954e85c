"""LZW as Go's compress/lzw writes it: 8-bit literals, least significant bit first, codes of 9 to 12 bits.

Compression gives the same bytes as Go. Decompression stops at a limit before its output grows beyond it.
"""

from typing import Final

from moot.gossip.errors import LimitExceeded, WireError
from moot.gossip.wire.slices import Slices, finished

CLEAR: Final = 256
END: Final = 257
WIDTH_MIN: Final = 9
WIDTH_MAX: Final = 12
CODES_MAX: Final = 1 << WIDTH_MAX

TABLE_SIZE_MAX: Final = 8 * 1024 * 1024
"""Memory of the table at the most: each string in it is one byte longer than one that was there."""

_FIRST: Final = 258
"""The first code that is learnt."""
_BATCH: Final = 32
"""Codes taken out of the bits at once."""
_SLICE: Final = 8192
"""Codes that make a slice of work."""
_LITERALS: Final = [bytes((value,)) for value in range(256)] + [b"", b""]


def decompress(data: bytes, limit: int) -> bytes:
    """What was compressed. Raises LimitExceeded above `limit` bytes, WireError for what is no LZW.

    Bytes after the end code are ignored. Takes memory for the output twice, when its pieces are joined, and
    at most `TABLE_SIZE_MAX` for the table.
    """
    return finished(decompress_slices(data, limit))


def decompress_slices(data: bytes, limit: int) -> Slices[bytes]:
    """`decompress` in slices."""
    table = _LITERALS.copy()
    done: list[bytes] = []  # the output of whole slices
    pieces: list[bytes] = []
    size = at = 0  # bytes of output, bits of input read
    bit_count = len(data) << 3
    width, last = WIDTH_MIN, b""  # last: the string before; empty after a clear and while the table is full
    while True:
        # the width grows with the table, so up to there the codes have equal widths
        count = 1 if len(table) == _FIRST and not last else _BATCH
        if last:
            count = min(count, (1 << width) - len(table))
        count = min(count, (bit_count - at) // width)
        if count == 0:
            raise WireError("truncated", "compressed data without an end")
        stop = at + count * width
        acc = int.from_bytes(data[at >> 3 : (stop + 7) >> 3], "little") >> (at & 7)
        mask = (1 << width) - 1
        known = len(pieces)
        control = _expand([acc >> shift & mask for shift in range(0, count * width, width)], table, last, pieces)
        fresh = pieces[known:]
        size += sum(map(len, fresh))
        if size > limit:
            raise LimitExceeded("size", f"decompresses to more than {limit} bytes")
        if control == END:
            return b"".join((*done, *pieces))
        if len(pieces) >= _SLICE:
            done.append(b"".join(pieces))
            pieces.clear()
            yield len(done[-1])
        if control == CLEAR:
            at += (len(fresh) + 1) * width
            del table[_FIRST:]
            width, last = WIDTH_MIN, b""
            continue
        at = stop
        if len(table) < CODES_MAX:
            last = fresh[-1]
            width += len(table) == 1 << width
        else:
            last = b""


def _expand(codes: list[int], table: list[bytes], last: bytes, pieces: list[bytes]) -> int:
    """Append the strings of these codes to `pieces` and learn new ones, until CLEAR or END, which is returned.

    Returns 0 when all codes were strings. Nothing is learnt while `last` is empty. Raises WireError.
    """
    learn, put = table.append, pieces.append
    learning = bool(last)
    for code in codes:
        if code < len(table):
            entry = table[code]
            if not entry:
                return code
            if learning:
                learn(last + entry[:1])
        elif code == len(table) and learning:
            entry = last + last[:1]
            learn(entry)
        else:
            raise WireError("malformed", "a compression code before its time")
        put(entry)
        last = entry
    return 0


def compress(data: bytes) -> bytes:
    """Compressed bytes, equal to Go's. Empty data give a clear and an end code."""
    out = bytearray()
    acc, bits, width = CLEAR, WIDTH_MIN, WIDTH_MIN
    if not data:
        return (acc | END << bits).to_bytes(3, "little")
    known, overflow = END, 1 << WIDTH_MIN
    table: dict[int, int] = {}
    find = table.get
    code = data[0]
    for byte in data[1:]:
        key = code << 8 | byte
        longer = find(key)
        if longer is not None:
            code = longer
            continue
        acc |= code << bits
        bits += width
        code = byte
        known += 1
        if known == overflow:
            width += 1
            overflow <<= 1
        if known == CODES_MAX - 1:
            acc |= CLEAR << bits
            bits += width
            width, known, overflow = WIDTH_MIN, END, 1 << WIDTH_MIN
            table.clear()
        else:
            table[key] = known
        if bits >= 256:
            out += (acc & (1 << 256) - 1).to_bytes(32, "little")
            acc >>= 256
            bits -= 256
    acc |= code << bits
    bits += width
    known += 1
    if known == overflow:
        width += 1
    if known == CODES_MAX - 1:
        acc |= CLEAR << bits
        bits += width
        width = WIDTH_MIN
    acc |= END << bits
    bits += width
    out += acc.to_bytes((bits + 7) >> 3, "little")
    return bytes(out)
