"""Nomad's keyring endpoints: bodies, errors and what silent or refusing members make of an answer."""

from base64 import b64encode

import pytest

from moot.gossip.serf.members import MemberStatus
from moot.http.exchange import HttpError
from moot.http.nomad_keyring import decode_base64, read_key
from tests.api.live import serving_api
from tests.api.scripted import ScriptedBackend
from tests.api.situations import three

KEY = b64encode(bytes(range(16))).decode()
BODY = f'{{"Key": "{KEY}"}}'.encode()


def keyed() -> ScriptedBackend:
    """s1, s2 and s3 with one key."""
    return three(encrypted=True)


@pytest.mark.parametrize("text", ["", "\n", "AA==", "AAA=", "AAAA", "AAA=\n", "AA\r\nAA", "YWJj", "YWJjZA=="])
def test_base64_is_taken_with_line_ends(text: str) -> None:
    assert b64encode(decode_base64(text)).decode() == text.replace("\r", "").replace("\n", "")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        *(("!!!!", 0), ("====", 0), ("x===", 1), ("=AAA", 0), ("A=AA", 1), ("AA=A", 2), ("AA==A", 4)),
        *(("AAA=AAAA", 4), ("AAAAA", 4), ("AAAAAA", 4), ("A=", 1), ("A==", 1), ("AA=", 3), ("AAAAAA=", 7)),
        *(("YWJjZA=====", 8), ("A!\n", 1), ("A=\n", 1), ("abc", 0), ("AAAAA\n", 5), ("AAAé", 3), ("AAA\udcff", 3)),
    ],
)
def test_what_is_no_base64_is_refused_with_the_place(text: str, place: int) -> None:
    with pytest.raises(HttpError) as caught:
        decode_base64(text)
    assert (caught.value.status, caught.value.text) == (500, f"illegal base64 data at input byte {place}")


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"Key": "a"}', "a"),
        (b'{"KEY": "a", "other": [1]}', "a"),
        (b'{"Key": "a", "key": "b"}', "b"),
        (b"{}", ""),
        (b"null", ""),
        (b'{"Key": null}', ""),
    ],
)
def test_the_key_is_found_in_whatever_case(body: bytes, key: str) -> None:
    assert read_key(body) == key


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'{"Key": 1}', b'{"Key": ["a"]}', b"[" * 100_000, b"\xff"])
def test_bodies_without_a_key_are_refused(body: bytes) -> None:
    with pytest.raises(HttpError) as caught:
        read_key(body)
    assert caught.value.status == 400


async def test_a_member_that_says_nothing_makes_it_an_error_after_it_was_asked_again() -> None:
    backend = keyed()
    async with serving_api(backend) as live:
        backend.nomad.keys.lost = {"s2.global": 1}
        assert (await live.ask("GET", "/v1/agent/keyring/list")).status == 200
        backend.nomad.keys.lost = {"s2.global": 99}
        answer = await live.ask("PUT", "/v1/agent/keyring/install", body=BODY)
        assert (answer.status, answer.text) == (500, "2/3 nodes reported success")
        backend.nomad.keys.lost = {}
        again = await live.ask("PUT", "/v1/agent/keyring/install", body=BODY)
        assert (again.status, again.json()) == (200, {"Keys": {}, "Messages": {}, "NumNodes": 3})


async def test_a_member_that_refuses_is_counted() -> None:
    backend = keyed()
    backend.nomad.keys.broken = {"s3.global": "no room"}
    async with serving_api(backend) as live:
        answer = await live.ask("PUT", "/v1/agent/keyring/install", body=BODY)
        assert (answer.status, answer.text) == (500, "1/3 nodes reported failure")
        listed = await live.ask("GET", "/v1/agent/keyring/list")
        assert (listed.status, listed.text) == (500, "1/3 nodes reported failure")


async def test_keys_are_counted_over_those_that_are_alive() -> None:
    backend = three(MemberStatus.FAILED, encrypted=True)
    async with serving_api(backend) as live:
        answer = (await live.ask("DELETE", "/v1/agent/keyring/list?pretty")).json()
    assert answer == {"Keys": {"cg8StVXbQJ0gPvMd9o7yrg==": 2}, "Messages": {}, "NumNodes": 2}


@pytest.mark.parametrize("operation", ["", "zzz", "list/", "list/x", "List"])
async def test_unknown_operations_are_told_apart_from_unknown_paths(operation: str) -> None:
    async with serving_api(keyed()) as live:
        answer = await live.ask("PUT", f"/v1/agent/keyring/{operation}", body=BODY)
        assert (answer.status, answer.text) == (404, "resource not found")


async def test_the_keyring_is_kept_from_pages_of_other_sites() -> None:
    backend = keyed()
    async with serving_api(backend) as live:
        for method, operation in (("GET", "list"), ("PUT", "install")):
            answer = await live.ask(
                method, f"/v1/agent/keyring/{operation}", [("Sec-Fetch-Site", "cross-site")], body=BODY
            )
            assert answer.status == 403
    assert backend.nomad.keys.asked == []
