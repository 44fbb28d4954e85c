"""Keys by queries between agents: what each member does, and what the one who asked makes of the answers."""

from base64 import b64encode
from random import Random

import pytest

from moot.gossip.config import LAN, SerfConfig
from moot.gossip.record import Address
from moot.gossip.serf.core import Serf
from moot.gossip.serf.events import KeysDone, QueryReceived
from moot.gossip.serf.internal import CHANGES_BURST, CHANGES_RATE
from moot.gossip.serf.keys import KeyReport, KeyStore, fitting
from moot.gossip.serf.messages import KeyRequest, KeyResponse, Query, QueryResponse
from moot.gossip.swim.messages import Suspect, User
from moot.gossip.wire import serf_codec
from moot.gossip.wire.codec import size_of
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.serf_codec import decode_serf, encode_serf
from tests.support.serf import SerfDesk
from tests.support.swim import Recorder, address

ORIGIN = Address(bytes((127, 0, 0, 9)), 7946)
OLD, NEW = bytes(16), bytes(range(16))


def text(key: bytes) -> str:
    return b64encode(key).decode()


def encrypted(*keys: bytes, size_max: int = 1024) -> tuple[Serf, Recorder, Keyring]:
    out = Recorder()
    keyring = Keyring(keys or (OLD,), lambda: bytes(12))
    store: KeyStore = keyring
    serf = Serf(
        name="me",
        address=address(1),
        tags={},
        swim_config=LAN,
        config=SerfConfig(query_response_size_max=size_max),
        effects=out,
        rng=Random(1),
        size_of=size_of,
        codec=serf_codec,
        keyring=store,
    )
    serf.start(0.0)
    return serf, out, keyring


class Member:
    """One that is asked."""

    def __init__(self, *keys: bytes, plain: bool = False, size_max: int = 1024) -> None:
        if plain:
            desk = SerfDesk()
            self.serf, self.out = desk.serf, desk.out
        else:
            self.serf, self.out, self.keyring = encrypted(*keys, size_max=size_max)
        self.now = 0.0
        self._ltime = 1

    def asked(self, name: str, payload: bytes) -> KeyResponse | None:
        self._ltime += 1
        self.out.packets.clear()
        query = Query(self._ltime, 1, ORIGIN, "asker", (), 0, 0, 10**9, f"_serf_{name}", payload)
        self.serf.on_packet(self.now, ORIGIN, [User(query, encode_serf(query))])
        for to, user in self.out.sent(User):
            if to == ORIGIN:
                assert isinstance(user.body, QueryResponse)
                assert len(encode_serf(user.body)) <= 1024
                answer = decode_serf(user.body.payload)
                assert isinstance(answer, KeyResponse)
                return answer
        return None

    def operate(self, name: str, key: bytes = b"") -> KeyResponse | None:
        return self.asked(name, encode_serf(KeyRequest(key)))


def test_a_key_is_installed_used_and_removed() -> None:
    member = Member(OLD)
    assert member.operate("install-key", NEW) == KeyResponse(True, "", [], "")
    assert member.keyring.keys == [OLD, NEW]
    assert member.operate("use-key", NEW) == KeyResponse(True, "", [], "")
    assert member.operate("remove-key", OLD) == KeyResponse(True, "", [], "")
    assert member.keyring.keys == [NEW]
    assert member.out.took(QueryReceived) == []


def test_keys_are_listed_primary_first() -> None:
    assert Member(NEW, OLD).operate("list-keys") == KeyResponse(True, "", [text(NEW), text(OLD)], text(NEW))


@pytest.mark.parametrize(
    ("operation", "key", "why"),
    [
        ("install-key", b"short", "key size must be 16, 24 or 32 bytes"),
        ("use-key", NEW, "Requested key is not in the keyring"),
        ("remove-key", OLD, "Removing the primary key is not allowed"),
    ],
)
def test_what_the_keyring_refuses_is_answered_with_its_reason(operation: str, key: bytes, why: str) -> None:
    member = Member(OLD)
    assert member.operate(operation, key) == KeyResponse(False, why, [], "")
    assert member.keyring.keys == [OLD]


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        ("install-key", "No keyring to modify (encryption not enabled)"),
        ("use-key", "No keyring to modify (encryption not enabled)"),
        ("remove-key", "No keyring to modify (encryption not enabled)"),
        ("list-keys", "Keyring is empty (encryption not enabled)"),
    ],
)
def test_without_encryption_there_is_nothing_to_do(operation: str, why: str) -> None:
    assert Member(plain=True).operate(operation, NEW) == KeyResponse(False, why, [], "")


@pytest.mark.parametrize("payload", [b"", b"\x07\xc1", b"\x00\x80", b"junk"])
def test_a_request_that_cannot_be_read_fails_and_changes_nothing(payload: bytes) -> None:
    member = Member(OLD)
    answer = member.asked("install-key", payload)
    assert answer == KeyResponse(False, "", [], "")
    assert member.keyring.keys == [OLD]


@pytest.mark.parametrize("payload", [b"", b"\x07\xc1", b"junk"])
def test_keys_are_listed_whatever_the_request_holds(payload: bytes) -> None:
    assert Member(OLD).asked("list-keys", payload) == KeyResponse(True, "", [text(OLD)], text(OLD))


def test_a_flood_of_changes_is_refused_and_lists_are_not() -> None:
    member = Member(OLD)
    told = [member.operate("install-key", number.to_bytes(16, "big")) for number in range(1, 51)]
    refused = KeyResponse(False, "too many key changes at once; try again in a moment", [], "")
    assert told == [KeyResponse(True, "", [], "")] * CHANGES_BURST + [refused] * (50 - CHANGES_BURST)
    assert len(member.keyring.keys) == 1 + CHANGES_BURST
    assert member.operate("list-keys") is not None
    member.now = 1 / CHANGES_RATE
    assert member.operate("use-key", OLD) == KeyResponse(True, "", [], "")
    assert member.operate("use-key", OLD) == refused


def test_a_list_too_long_for_one_answer_is_cut_and_says_so() -> None:
    keys = [number.to_bytes(32, "big") for number in range(50)]
    answer = Member(*keys).operate("list-keys")
    assert answer is not None
    assert answer.result
    shown = len(answer.keys)
    assert 10 < shown < 40
    assert answer.keys == [text(key) for key in keys[:shown]]
    assert answer.text == f"truncated key list response, showing first {shown} of 50 keys"


@pytest.mark.parametrize("room", [0, 1, 7, 39, 40])
def test_as_many_keys_are_shown_as_there_is_room_for(room: int) -> None:
    keys = [str(number) for number in range(41)]
    cut = fitting(KeyResponse(True, "", keys, "0"), lambda attempt: len(attempt.keys) <= room)
    text = f"truncated key list response, showing first {room} of 41 keys"
    assert cut == (KeyResponse(True, text, keys[:room], "0") if room else None)


def test_where_not_even_one_key_fits_nothing_is_said() -> None:
    assert Member(OLD, size_max=50).operate("list-keys") is None


# asking


def answer(desk: SerfDesk, sender: str, response: KeyResponse | bytes) -> None:
    asked = [body for body in desk.gossip() if isinstance(body, Query)]
    query = asked[-1] if asked else desk_query(desk)
    payload = response if isinstance(response, bytes) else encode_serf(response)
    desk.told(QueryResponse(query.ltime, query.id, sender, 0, payload))


def desk_query(desk: SerfDesk) -> Query:
    (key,) = desk.serf._asking._open
    return Query(key[0], key[1], ORIGIN, "me", (), 0, 0, 0, "")


def report(desk: SerfDesk) -> KeyReport | None:
    done = desk.out.took(KeysDone)
    assert len(done) <= 1
    return done[0].report if done else None


def test_an_operation_is_over_when_all_have_answered() -> None:
    desk = SerfDesk()
    desk.alive("b")
    ticket = desk.serf.keys(0.0, "install", NEW)
    answer(desk, "me", KeyResponse(True))
    assert report(desk) is None
    answer(desk, "b", KeyResponse(True))
    assert desk.out.took(KeysDone) == [
        KeysDone(
            ticket,
            KeyReport(
                "install", 2, {"me": KeyResponse(True, "", [], ""), "b": KeyResponse(True, "", [], "")}, (), ""
            ),
        )
    ]
    desk.only_serf_timers()
    answer(desk, "late", KeyResponse(False))
    desk.run(10.0)
    assert desk.out.took(KeysDone) == []


def test_a_report_does_not_change_after_it_was_given() -> None:
    desk = SerfDesk()
    desk.serf.keys(0.0, "install", NEW)
    answer(desk, "me", KeyResponse(True))
    told = report(desk)
    assert told is not None
    answer(desk, "late", KeyResponse(False))
    assert set(told.answers) == {"me"}


def test_the_suspected_are_asked_too_and_the_silent_are_named_in_order() -> None:
    desk = SerfDesk()
    desk.alive("c", "b", "d")
    desk.hear(Suspect(1, "d", "b"))
    desk.serf.keys(0.0, "install", NEW)
    desk.only_serf_timers()
    desk.run(10.0)
    told = report(desk)
    assert told is not None
    assert (told.asked, told.silent) == (4, ("b", "c", "d", "me"))


def test_who_says_nothing_until_the_time_is_up_is_named() -> None:
    desk = SerfDesk()
    desk.alive("b", "c")
    desk.dies("c")
    desk.serf.keys(0.0, "use", NEW)
    answer(desk, "me", KeyResponse(True))
    desk.only_serf_timers()
    desk.run(10.0)
    told = report(desk)
    assert told is not None
    assert (told.asked, told.silent, told.error) == (2, ("b",), "1/2 nodes reported success")


def test_somebody_who_has_just_joined_does_not_answer_for_somebody_who_says_nothing() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.serf.keys(0.0, "install", NEW)
    desk.alive("new")
    answer(desk, "me", KeyResponse(True))
    answer(desk, "new", KeyResponse(True))
    assert report(desk) is None
    desk.only_serf_timers()
    desk.run(10.0)
    told = report(desk)
    assert told is not None
    assert (set(told.answers), told.silent, told.error) == ({"me", "new"}, ("b",), "1/2 nodes reported success")


def test_refusals_and_junk_are_failures() -> None:
    desk = SerfDesk()
    desk.alive("b", "c")
    desk.serf.keys(0.0, "remove", OLD)
    answer(desk, "me", KeyResponse(True))
    answer(desk, "b", KeyResponse(False, "Removing the primary key is not allowed"))
    answer(desk, "c", b"junk")
    told = report(desk)
    assert told is not None
    assert told.error == "2/3 nodes reported failure"
    assert told.answers["b"].text == "Removing the primary key is not allowed"
    assert told.answers["c"].text == "its answer cannot be read"
