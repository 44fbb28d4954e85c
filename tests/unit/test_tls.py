"""The `tls` block: what it may say, what its files must hold, and what is told before it hurts."""

import datetime
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from moot.agent.tls import TlsContexts, TlsSettings, build_contexts
from moot.gossip.errors import ConfigError
from tests.support.certificates import DAY, NOW, Authority, Pair


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def both(authority: Authority, pair: Pair) -> TlsSettings:
    """TLS on HTTP and RPC."""
    return TlsSettings(
        http=True, rpc=True, ca_file=authority.ca_file, cert_file=pair.cert_file, key_file=pair.key_file
    )


def only_http(pair: Pair) -> TlsSettings:
    return TlsSettings(http=True, cert_file=pair.cert_file, key_file=pair.key_file)


def test_nothing_is_read_and_nothing_made_while_tls_is_off() -> None:
    assert build_contexts(TlsSettings(cert_file="nowhere", key_file="nowhere")) == TlsContexts()


def test_http_verifies_its_clients_only_when_told_and_rpc_always(authority: Authority) -> None:
    pair = authority.issue("one")
    open_to_all = build_contexts(both(authority, pair))
    assert open_to_all.http is not None
    assert open_to_all.http.verify_mode is ssl.CERT_NONE
    assert open_to_all.rpc_server is not None
    assert open_to_all.rpc_server.verify_mode is ssl.CERT_REQUIRED
    closed = build_contexts(replace(both(authority, pair), verify_https_client=True))
    assert closed.http is not None
    assert closed.http.verify_mode is ssl.CERT_REQUIRED


def test_a_dialer_verifies_the_signature_always_and_the_name_when_told(authority: Authority) -> None:
    pair = authority.issue("one", names=["server.global.nomad"])
    loose, strict = (
        build_contexts(replace(both(authority, pair), verify_server_hostname=verify)).rpc_client
        for verify in (False, True)
    )
    assert loose is not None
    assert strict is not None
    assert (loose.verify_mode, loose.check_hostname) == (ssl.CERT_REQUIRED, False)
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_old_tls_is_not_spoken_and_nothing_is_renegotiated_or_resumed(authority: Authority) -> None:
    context = build_contexts(only_http(authority.issue("one"))).http
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_TICKET
    assert context.num_tickets == 0
    newest = build_contexts(replace(only_http(authority.issue("one")), tls_min_version="tls13")).http
    assert newest is not None
    assert newest.minimum_version is ssl.TLSVersion.TLSv1_3


def test_cipher_suites_go_by_the_names_that_go_has_for_them(authority: Authority) -> None:
    suites = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"
    context = build_contexts(replace(only_http(authority.issue("one")), tls_cipher_suites=suites)).http
    assert context is not None
    offered = [it["name"] for it in context.get_ciphers() if not it["name"].startswith("TLS_")]
    assert offered == ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tls_min_version": "tls10"}, "tls.tls_min_version: 'tls10' is not tls12 or tls13; older TLS is not spoken"),
        (
            {"tls_cipher_suites": "TLS_FAST"},
            "tls.tls_cipher_suites: 'TLS_FAST' is no cipher suite that is known here",
        ),
        ({"cert_file": "a"}, "tls.cert_file is given without tls.key_file"),
        ({"key_file": "a"}, "tls.key_file is given without tls.cert_file"),
        ({"http": True}, "tls.http needs tls.cert_file and tls.key_file"),
        ({"rpc": True, "cert_file": "a", "key_file": "b"}, "tls.rpc needs tls.ca_file"),
        ({"verify_https_client": True}, "tls.verify_https_client needs tls.ca_file"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TlsSettings(**wrong)
    assert str(caught.value) == words


def refused(settings: TlsSettings) -> str:
    with pytest.raises(ConfigError) as caught:
        build_contexts(settings)
    return str(caught.value)


def test_errors_name_the_key_and_the_file(authority: Authority, tmp_path: Path) -> None:
    one, two = authority.issue("one"), authority.issue("two")
    sealed = authority.issue("sealed", passphrase=b"open sesame")
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")

    def with_files(cert_file: str, key_file: str) -> TlsSettings:
        return only_http(Pair(cert_file, key_file))

    gone = str(tmp_path / "gone.pem")
    assert refused(with_files(gone, one.key_file)) == f"tls.cert_file: {gone}: no such file or directory"
    assert refused(with_files(one.cert_file, gone)) == f"tls.key_file: {gone}: no such file or directory"
    assert refused(with_files(one.cert_file, str(tmp_path))) == f"tls.key_file: {tmp_path}: is a directory"
    assert refused(with_files(str(junk), one.key_file)) == f"tls.cert_file: {junk} holds no certificate in PEM form"
    assert refused(with_files(one.cert_file, str(junk))) == f"tls.key_file: {junk} holds no private key in PEM form"
    assert refused(with_files(one.cert_file, two.key_file)) == (
        f"tls.key_file: {two.key_file} is not the key of the certificate in {one.cert_file}"
    )
    assert refused(with_files(sealed.cert_file, sealed.key_file)) == (
        f"tls.key_file: {sealed.key_file} is protected by a passphrase, which an agent has nobody to ask for"
    )
    without_ca = TlsSettings(rpc=True, ca_file=gone, cert_file=one.cert_file, key_file=one.key_file)
    assert refused(without_ca) == f"tls.ca_file: {gone}: no such file or directory"


def test_a_good_pair_gives_no_warning_and_tells_when_it_ends(authority: Authority) -> None:
    made = build_contexts(both(authority, authority.issue("one")), now=NOW)
    assert made.warnings == ()
    assert made.expires == NOW + 300 * DAY


@pytest.mark.parametrize(
    ("life", "words"),
    [
        ((NOW - 9 * DAY, NOW - DAY), "expired on"),
        ((NOW + DAY, NOW + 99 * DAY), "is not valid before"),
        ((NOW - 300 * DAY, NOW + 29 * DAY), "expires on"),
        ((NOW - 4 * DAY, NOW + 0.9 * DAY), "expires on"),
    ],
)
def test_a_certificate_at_the_wrong_time_is_told(
    authority: Authority, life: tuple[datetime.datetime, datetime.datetime], words: str
) -> None:
    pair = authority.issue("one", life=life)
    (warning,) = build_contexts(only_http(pair), now=NOW).warnings
    assert warning.startswith(f"tls: the certificate in {pair.cert_file} {words} 20")


def test_a_certificate_that_lives_shortly_is_not_always_about_to_expire(authority: Authority) -> None:
    pair = authority.issue("one", life=(NOW - DAY, NOW + 2 * DAY))
    assert build_contexts(only_http(pair), now=NOW).warnings == ()


def test_a_key_that_others_can_read_is_told(authority: Authority) -> None:
    pair = authority.issue("one")
    Path(pair.key_file).chmod(0o640)
    (warning,) = build_contexts(only_http(pair), now=NOW).warnings
    assert warning == f"tls.key_file: {pair.key_file} can be read by others than its owner"


def test_what_other_agents_would_refuse_is_told(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger").issue("one")
    (warning,) = build_contexts(both(authority, stranger), now=NOW).warnings
    assert warning == f"tls: the certificate in {stranger.cert_file} is not signed by any in {authority.ca_file}"
    server_only = authority.issue("two", usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    (warning,) = build_contexts(both(authority, server_only), now=NOW).warnings
    assert warning == f"tls: the certificate in {server_only.cert_file} is not for clients, and RPC needs it for both"


def test_a_name_that_the_region_does_not_have_is_told_to_servers(authority: Authority) -> None:
    pair = authority.issue("one", names=["server.europe.nomad"])
    settings = replace(both(authority, pair), verify_server_hostname=True)
    assert build_contexts(settings, region="europe", now=NOW).warnings == ()
    assert build_contexts(settings, region="asia", is_server=False, now=NOW).warnings == ()
    (warning,) = build_contexts(settings, region="asia", now=NOW).warnings
    assert "is not made out to server.asia.nomad" in warning


@pytest.mark.parametrize("whole", [True, False])
def test_certificates_between_ours_and_the_trusted_one_count(
    authority: Authority, tmp_path: Path, whole: bool
) -> None:
    between = Authority(tmp_path, "between", issuer=authority)
    pair = between.issue("one", chain=[between] if whole else [])
    warnings = build_contexts(both(authority, pair), now=NOW).warnings
    assert (warnings == ()) is whole
    assert build_contexts(both(between, pair), now=NOW).warnings == ()
