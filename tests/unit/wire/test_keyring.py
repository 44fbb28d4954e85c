"""Keyring: operations in the reference's words, sealing, opening, padding."""

import pytest

from moot.gossip.errors import CryptoError, KeyringError
from moot.gossip.wire.keyring import Keyring

A, B, C = b"a" * 16, b"b" * 24, b"c" * 32
NONCE = bytes(range(12))


def ring(*keys: bytes) -> Keyring:
    return Keyring(keys, lambda: NONCE)


def test_the_first_key_is_primary_and_repeated_keys_count_once() -> None:
    keys = ring(A, B, A)
    assert keys.keys == [A, B]
    assert keys.primary == A


def test_adding_keeps_the_primary_and_adding_again_changes_nothing() -> None:
    keys = ring(A)
    keys.add(B)
    keys.add(A)
    assert keys.keys == [A, B]


def test_using_a_key_makes_it_the_first() -> None:
    keys = ring(A, B, C)
    keys.use(C)
    assert keys.keys == [C, A, B]


def test_removing_a_key_forgets_it_and_one_that_is_not_there_is_no_error() -> None:
    keys = ring(A, B)
    keys.remove(B)
    keys.remove(C)
    assert keys.keys == [A]
    with pytest.raises(CryptoError):
        keys.open(ring(B).seal(b"text"))


@pytest.mark.parametrize("size", [0, 1, 15, 17, 33])
def test_a_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(KeyringError, match="key size must be 16, 24 or 32 bytes"):
        ring(A).add(bytes(size))


def test_using_a_missing_key_and_removing_the_primary_one_are_refused() -> None:
    with pytest.raises(KeyringError, match="Requested key is not in the keyring"):
        ring(A).use(B)
    with pytest.raises(KeyringError, match="Removing the primary key is not allowed"):
        ring(A, B).remove(A)
    with pytest.raises(KeyringError, match="at least one key"):
        ring()


def test_members_that_change_keys_one_after_the_other_understand_each_other() -> None:
    old, new = ring(A, B), ring(B, A)
    assert old.open(new.seal(b"from new")) == b"from new"
    assert new.open(old.seal(b"from old")) == b"from old"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17])
def test_version_0_pads_to_whole_blocks_and_back(size: int) -> None:
    sealed = ring(A).seal(b"x" * size, b"aad", version=0)
    assert (len(sealed) - 29) % 16 == 0
    assert len(sealed) <= 45 + size
    assert ring(A).open(sealed, b"aad") == b"x" * size


@pytest.mark.parametrize("plain", [b"", b"\x00" * 16, b"\x11" * 32, b"x" * 15 + b"\x02", b"\x10" * 15])
def test_wrong_padding_under_the_right_key_is_a_crypto_error(plain: bytes) -> None:
    sealed = b"\x00" + ring(A).seal(plain)[1:]
    with pytest.raises(CryptoError):
        ring(A).open(sealed)


def test_what_cannot_be_sealed_bytes_is_refused_before_any_key_is_tried() -> None:
    sealed = ring(A).seal(b"")
    assert ring(A).open(sealed) == b""
    for junk in (b"", b"\x02" + sealed[1:], sealed[:-1], b"\x00" + sealed[1:] + bytes(15)):
        with pytest.raises(CryptoError, match=r"unknown encryption version|too few"):
            ring(A).open(junk)


def test_other_authenticated_data_do_not_open() -> None:
    with pytest.raises(CryptoError, match="no installed key"):
        ring(A).open(ring(A).seal(b"text", b"blue"), b"red")
