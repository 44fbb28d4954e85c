"""What readers of fields accept and refuse, and how a cursor reads big structures."""

import math
from collections.abc import Callable
from contextlib import suppress

import pytest

from moot.gossip.errors import LimitExceeded, WireError
from moot.gossip.pack import (
    ARRAY_MAX,
    SLICE,
    Cursor,
    Fields,
    Incomplete,
    as_fields,
    flag,
    i64,
    list_of,
    octets,
    pack,
    real,
    text,
    text_of,
    u8,
    u16,
    u32,
    u64,
    unpack,
    unpack_first,
)
from moot.gossip.serf.messages import ConflictResponse, EventSlot, SerfPushPull
from moot.gossip.wire.limits import EVENT_SLOT_MAX
from moot.gossip.wire.serf_codec import decode_serf

Reader = Callable[[Fields, bytes], object]

SEVENS = [
    *(b"\x07", b"\xcc\x07", b"\xcd\x00\x07", b"\xce\x00\x00\x00\x07", b"\xcf" + b"\0" * 7 + b"\x07"),
    *(b"\xd0\x07", b"\xd1\x00\x07", b"\xd2\x00\x00\x00\x07", b"\xd3" + b"\0" * 7 + b"\x07"),
]
TAKEN: list[tuple[Reader, bytes, object]] = [
    *[(u32, form, 7) for form in SEVENS],
    (u8, b"\xcc\xff", 255),
    (u16, b"\xcd\xff\xff", 65_535),
    (u64, b"\xcf" + b"\xff" * 8, (1 << 64) - 1),
    (i64, b"\xd3\x80" + b"\0" * 7, -(1 << 63)),
    (flag, b"\x00", False),
    (flag, b"\x01", True),
    (flag, b"\xc3", True),
    (real, b"\x03", 3.0),
    (real, b"\xca\x3f\x80\x00\x00", 1.0),
    *[(octets, form, b"ab") for form in (b"\xa2ab", b"\xd9\x02ab", b"\xda\x00\x02ab", b"\xdb\0\0\0\x02ab")],
    *[(octets, form, b"ab") for form in (b"\xc4\x02ab", b"\xc5\x00\x02ab", b"\xc6\0\0\0\x02ab", b"\x92\x61\x62")],
    *[(text, form, "ab") for form in (b"\xa2ab", b"\xd9\x02ab", b"\xc4\x02ab")],
    (text, b"\xa1\xff", "\udcff"),
]

REFUSED: list[tuple[Reader, bytes]] = [
    (u8, b"\xcd\x01\x00"),
    (u16, b"\xce\x00\x01\x00\x00"),
    (u32, b"\xff"),
    (u32, b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
    (u32, b"\xc3"),
    (u32, b"\xcb" + b"\0" * 8),
    (i64, b"\xcf" + b"\xff" * 8),
    (i64, b"\xa1x"),
    (flag, b"\x02"),
    (flag, b"\xa1x"),
    (real, b"\xcb\x7f\xf8" + b"\0" * 6),
    (real, b"\xcb\xff\xf0" + b"\0" * 6),
    (real, b"\xc3"),
    (octets, b"\x91\xcd\x01\x00"),
    (octets, b"\x91\xc3"),
    (octets, b"\x05"),
    (text, b"\x05"),
    (text, b"\x91\x61"),
]


@pytest.mark.parametrize(("read", "encoded", "value"), TAKEN)
def test_every_form_of_a_value_is_taken(read: Reader, encoded: bytes, value: object) -> None:
    found = read({b"K": unpack(encoded)}, b"K")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("read", "encoded"), REFUSED)
def test_what_does_not_fit_a_field_is_refused(read: Reader, encoded: bytes) -> None:
    with pytest.raises(WireError, match="field"):
        read({b"K": unpack(encoded)}, b"K")


@pytest.mark.parametrize(
    ("read", "zero"), [(u32, 0), (i64, 0), (flag, False), (real, 0.0), (octets, b""), (text, "")]
)
def test_nil_and_absence_are_zero(read: Reader, zero: object) -> None:
    assert read({}, b"K") == zero
    assert read({b"K": None}, b"K") == zero


def test_a_structure_is_a_map_or_an_array_or_nil() -> None:
    assert as_fields({b"A": 1}, (b"A",)) == {b"A": 1}
    assert as_fields([1], (b"A", b"B")) == {b"A": 1}
    assert as_fields(None, (b"A",)) == {}
    with pytest.raises(WireError, match="structure"):
        as_fields(5, (b"A",))


def test_lists_are_read_element_by_element() -> None:
    assert list_of([b"a", None], text_of) == ["a", ""]
    assert list_of(None, text_of) == []
    for wrong in (b"a", [5]):
        with pytest.raises(WireError, match="field"):
            list_of(wrong, text_of)


def test_the_first_object_is_told_from_what_follows() -> None:
    assert unpack(b"\x01\x02") == 1
    assert unpack_first(b"\x01\x02") == (1, b"\x02")
    assert unpack_first(b"\x01") == (1, b"")
    for broken in (b"", b"\xc1", b"\x92\x01", b"\x81\x01\x01", b"\xd4\xff\x00"):
        with pytest.raises(WireError, match="malformed"):
            unpack(broken)
        with pytest.raises(WireError, match="malformed"):
            unpack_first(broken)


def test_a_cursor_goes_on_where_it_stopped_for_want_of_bytes() -> None:
    cursor = Cursor(b"\x92\x01\xa3a")
    with pytest.raises(Incomplete):
        cursor.value()
    cursor.feed(b"bc\x07rest")
    assert cursor.value() == [1, b"abc"]
    assert cursor.value() == 7
    assert cursor.available() == 4
    assert cursor.take(4) == b"rest"


@pytest.mark.parametrize("cut", [1, 500, 999, 1000])
def test_an_object_above_its_limit_is_refused_however_its_bytes_are_cut(cut: int) -> None:
    data = pack("x" * 997)

    def read(limit: int) -> object:
        cursor = Cursor()
        for piece in (data[:cut], data[cut:]):
            cursor.feed(piece)
            with suppress(Incomplete):
                return cursor.value(limit)
        raise AssertionError("all bytes were there")

    assert read(1000) == b"x" * 997
    with pytest.raises(LimitExceeded, match="above 999 bytes"):
        read(999)


def test_a_cursor_takes_bytes_across_slices() -> None:
    data = bytes(range(256)) * (SLICE // 64)
    cursor = Cursor(b"\x01" + data)
    assert cursor.value() == 1
    assert cursor.take(len(data)) == data
    with pytest.raises(Incomplete):
        cursor.take(1)


def test_a_cursor_checks_counts_against_what_remains() -> None:
    with pytest.raises(LimitExceeded, match="announced in fewer bytes"):
        Cursor(b"\xdc\x00\x05\x01\x01\x01\x01", closed=True).entries(10, pairs=False)
    with pytest.raises(LimitExceeded, match="more than 3"):
        Cursor(b"\x94\x01\x01\x01\x01", closed=True).entries(3, pairs=False)
    assert Cursor(b"\xc0", closed=True).entries(3, pairs=True) == 0
    for data, pairs in ((b"\x91\x01", True), (b"\x81\xa1a\x01", False), (b"\x05", False)):
        with pytest.raises(WireError, match="field"):
            Cursor(data, closed=True).entries(3, pairs=pairs)


def test_the_state_of_serf_may_come_as_an_array_and_with_unheard_fields() -> None:
    slot = {"LTime": 2, "Events": [{"Name": "deploy", "Payload": b"v1"}]}
    wanted = SerfPushPull(7, {"a": 6}, ["b"], 3, [None, EventSlot(2, [("deploy", b"v1")])], 4)
    as_array = pack([7, {"a": 6}, ["b"], 3, [None, slot], 4, {"surplus": [1]}])
    assert decode_serf(b"\x02" + as_array) == wanted
    names = ("LTime", "StatusLTimes", "LeftMembers", "EventLTime", "Events", "QueryLTime", "Unheard")
    unheard: list[object] = [7, {"a": 6}, ["b"], 3, [None, [2, [["deploy", b"v1"]]]], 4, {"x": [1] * 5000}]
    assert decode_serf(b"\x02" + pack(dict(zip(names, unheard, strict=True)))) == wanted
    assert decode_serf(b"\x02\xc0") == SerfPushPull(0, {}, [], 0, [], 0)


@pytest.mark.parametrize(
    "body",
    [
        {"LTime": "x"},
        {"StatusLTimes": [1]},
        {"StatusLTimes": {"a": -1}},
        {"StatusLTimes": {"n" * 1025: 1}},
        {"LeftMembers": [5]},
        {"LeftMembers": {"a": 1}},
        {"Events": {"a": 1}},
        {"Events": 5},
        [1, 2],
        "text",
    ],
)
def test_a_state_with_a_wrong_field_is_refused_whole(body: object) -> None:
    with pytest.raises(WireError):
        decode_serf(b"\x02" + pack(body))


@pytest.mark.parametrize(
    "bad",
    [
        5,
        {"LTime": -1},
        {"Events": [{"Payload": 5}]},
        {"LTime": 3, "Events": [{"Name": str(number)} for number in range(ARRAY_MAX + 1)]},
        {"LTime": 3, "Events": [{"Name": "x", "Payload": bytes(EVENT_SLOT_MAX)}]},
    ],
)
def test_an_event_slot_that_cannot_be_read_is_left_out_and_told_once(bad: object) -> None:
    good = {"LTime": 2, "Events": [{"Name": "deploy", "Payload": b"v1"}]}
    faults: list[WireError] = []
    body = {"EventLTime": 9, "Events": [bad, good, bad, None], "LTime": 7, "StatusLTimes": {"a": 6}}
    state = decode_serf(b"\x02" + pack(body), faults)
    assert state == SerfPushPull(7, {"a": 6}, [], 9, [EventSlot(2, [("deploy", b"v1")]), None], 0)
    assert len(faults) == 1


def test_a_conflict_member_with_tags_that_are_none_is_refused() -> None:
    with pytest.raises(WireError, match="tags"):
        decode_serf(b"\x06" + pack({"Name": "a", "Tags": [1]}))
    found = decode_serf(b"\x06" + pack({"Name": "a", "Tags": None}))
    assert isinstance(found, ConflictResponse)
    assert found.member is not None
    assert found.member.tags == {}


def test_not_a_number_is_never_read() -> None:
    with pytest.raises(WireError, match="not finite"):
        real({b"K": math.nan}, b"K")
