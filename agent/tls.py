"""TLS of the agent: what a `tls` block may say, and the contexts that it comes to.

`build_contexts` reads all files anew, so a reload is to build again and to hand the new contexts to who uses them:
`HttpServer.tls`, the RPC server and its dialer take another one at any time. Connections that are there keep the
context they began with; nothing is dropped. When building fails, the old contexts stay as they are.

Who verifies whom is as in Nomad: by HTTP the client verifies us, and we verify it when `verify_https_client` is set;
by RPC both sides always verify each other against `ca_file`, and whoever dials also the name `server.REGION.nomad`
when `verify_server_hostname` is set. What is refused is in the `ConfigError`s, each beginning with its key; what
will fail later is in `TlsContexts.warnings`.
"""

import datetime
import ssl
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from moot.gossip.errors import ConfigError

VERSIONS: Final = {"tls12": ssl.TLSVersion.TLSv1_2, "tls13": ssl.TLSVersion.TLSv1_3}
EXCHANGES: Final = {"ECDHE_RSA": "ECDHE-RSA-", "ECDHE_ECDSA": "ECDHE-ECDSA-", "RSA": ""}
SEALS: Final = {
    "CHACHA20_POLY1305": "CHACHA20-POLY1305",
    "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
    "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "AES_128_CBC_SHA256": "AES128-SHA256",
    "AES_128_CBC_SHA": "AES128-SHA",
    "AES_256_CBC_SHA": "AES256-SHA",
}
"""The two halves of a cipher suite's name: Go's to OpenSSL's."""
SOON: Final = datetime.timedelta(days=30)
"""A certificate that ends so soon is told, or, if it lives shortly anyway, in the last fifth of its life."""
PEM_MAX: Final = 1024 * 1024
"""Bytes of one file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """The `tls` block; fields are named as its keys. Raises ConfigError for what cannot be meant.

    Files are paths as text, empty when not given. `tls_cipher_suites` is Go's names joined by commas; those of
    TLS 1.3 are always on. With `rpc_upgrade_mode` the RPC port also takes connections without TLS.
    """

    http: bool = False
    rpc: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    verify_https_client: bool = False
    verify_server_hostname: bool = False
    rpc_upgrade_mode: bool = False
    tls_min_version: str = "tls12"
    tls_cipher_suites: str = ""
    tls_prefer_server_cipher_suites: bool = False

    def __post_init__(self) -> None:
        if self.tls_min_version not in VERSIONS:
            known = " or ".join(VERSIONS)
            raise ConfigError(
                f"tls.tls_min_version: {self.tls_min_version!r} is not {known}; older TLS is not spoken"
            )
        self.ciphers()
        for here, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
            if getattr(self, here) and not getattr(self, other):
                raise ConfigError(f"tls.{here} is given without tls.{other}")
        for switch, needed in (
            ("http", ("cert_file", "key_file")),
            ("rpc", ("ca_file", "cert_file", "key_file")),
            ("verify_https_client", ("ca_file",)),
        ):
            missing = [f"tls.{name}" for name in needed if not getattr(self, name)]
            if getattr(self, switch) and missing:
                raise ConfigError(f"tls.{switch} needs {' and '.join(missing)}")

    def ciphers(self) -> str:
        """The cipher suites as OpenSSL lists them, empty for its defaults. Raises ConfigError."""
        return ":".join(_cipher(name.strip()) for name in self.tls_cipher_suites.split(",") if name.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsContexts:
    """What the settings come to. None where TLS is off."""

    http: ssl.SSLContext | None = None
    rpc_server: ssl.SSLContext | None = None
    rpc_client: ssl.SSLContext | None = None
    expires: datetime.datetime | None = None
    """When our certificate ends, UTC."""
    warnings: tuple[str, ...] = ()
    """For the log: what others will refuse, now or soon."""


def build_contexts(
    settings: TlsSettings, *, region: str = "global", is_server: bool = True, now: datetime.datetime | None = None
) -> TlsContexts:
    """Read the files. Raises ConfigError that names key and file.

    `region` is that of an agent with `is_server`, whose certificate should be in that region's name. `now` is in UTC.
    """
    if not (settings.http or settings.rpc):
        return TlsContexts()
    _certificates("cert_file", settings.cert_file)  # a clearer word on a broken file than OpenSSL's
    http = _server_context(settings, verify=settings.verify_https_client) if settings.http else None
    if http is not None:
        http.set_alpn_protocols(["http/1.1"])
    rpc_server = _server_context(settings, verify=True) if settings.rpc else None
    rpc_client = _client_context(settings) if settings.rpc else None
    return TlsContexts(
        http=http,
        rpc_server=rpc_server,
        rpc_client=rpc_client,
        expires=_certificates("cert_file", settings.cert_file)[0].not_valid_after_utc,
        warnings=tuple(_warnings(settings, region, is_server, now or datetime.datetime.now(datetime.UTC))),
    )


def _server_context(settings: TlsSettings, *, verify: bool) -> ssl.SSLContext:
    """For those who connect to us. Nothing is resumed: a certificate that was taken away is so at once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _configure(context, settings)
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    if settings.tls_prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    if verify:
        _trust(context, settings.ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _client_context(settings: TlsSettings) -> ssl.SSLContext:
    """For connections to servers of the pool."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _configure(context, settings)
    _trust(context, settings.ca_file)
    context.check_hostname = settings.verify_server_hostname
    context.hostname_checks_common_name = False  # as in Go
    return context


def _configure(context: ssl.SSLContext, settings: TlsSettings) -> None:
    context.minimum_version = VERSIONS[settings.tls_min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if settings.tls_cipher_suites:
        context.set_ciphers(settings.ciphers())
    cert_file, key_file = settings.cert_file, settings.key_file
    _read("key_file", key_file)

    def no_passphrase() -> str:
        raise ConfigError(
            f"tls.key_file: {key_file} is protected by a passphrase, which an agent has nobody to ask for"
        )

    try:
        context.load_cert_chain(cert_file, key_file, password=no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"tls.key_file: {key_file} is not the key of the certificate in {cert_file}") from None
        if error.reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"):
            raise ConfigError(f"tls.cert_file: the certificate in {cert_file} is too weak ({error.reason})") from None
        raise ConfigError(f"tls.key_file: {key_file} holds no private key in PEM form") from None


def _trust(context: ssl.SSLContext, ca_file: str) -> None:
    """Trust every certificate of the file, also those that others have signed, as Go does."""
    _certificates("ca_file", ca_file)
    context.load_verify_locations(ca_file)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _read(key: str, path: str) -> bytes:
    """Raises ConfigError."""
    try:
        with Path(path).open("rb") as file:
            return file.read(PEM_MAX)
    except OSError as error:
        raise ConfigError(f"tls.{key}: {path}: {(error.strerror or str(error)).lower()}") from None


def _certificates(key: str, path: str) -> list[x509.Certificate]:
    """Those of a file, our own first. Raises ConfigError."""
    try:
        return x509.load_pem_x509_certificates(_read(key, path))
    except ValueError:
        raise ConfigError(f"tls.{key}: {path} holds no certificate in PEM form") from None


def _cipher(name: str) -> str:
    """A cipher suite by Go's name. Raises ConfigError."""
    exchange, found, seal = name.removeprefix("TLS_").partition("_WITH_")
    if not found or exchange not in EXCHANGES or seal not in SEALS:
        raise ConfigError(f"tls.tls_cipher_suites: {name!r} is no cipher suite that is known here")
    return EXCHANGES[exchange] + SEALS[seal]


# what others will refuse


def _warnings(settings: TlsSettings, region: str, is_server: bool, now: datetime.datetime) -> list[str]:
    own, *between = _certificates("cert_file", settings.cert_file)
    told = _of_time(f"the certificate in {settings.cert_file}", own, now)
    if stat.S_IMODE(Path(settings.key_file).stat().st_mode) & (stat.S_IRGRP | stat.S_IROTH):
        told.append(f"tls.key_file: {settings.key_file} can be read by others than its owner")
    trusted = _certificates("ca_file", settings.ca_file) if settings.ca_file else []
    for anchor in trusted:
        told += _of_time(f"a certificate in {settings.ca_file}", anchor, now)
    if settings.rpc:
        told += _of_rpc(settings, own, between, trusted)
        if is_server and settings.verify_server_hostname and f"server.{region}.nomad" not in _names(own):
            told.append(
                f"tls.verify_server_hostname: the certificate in {settings.cert_file} is not made out to "
                f"server.{region}.nomad, so others will refuse it"
            )
    return told


def _of_time(what: str, certificate: x509.Certificate, now: datetime.datetime) -> list[str]:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > ends:
        return [f"tls: {what} expired on {ends:%Y-%m-%d %H:%M} UTC"]
    if now < begins:
        return [f"tls: {what} is not valid before {begins:%Y-%m-%d %H:%M} UTC"]
    if ends - now < min(SOON, (ends - begins) / 5):
        return [f"tls: {what} expires on {ends:%Y-%m-%d %H:%M} UTC"]
    return []


def _of_rpc(
    settings: TlsSettings,
    own: x509.Certificate,
    between: Sequence[x509.Certificate],
    trusted: Sequence[x509.Certificate],
) -> list[str]:
    """On RPC every agent shows its certificate as a server and as a client."""
    told = []
    if not _leads_to(own, between, trusted):
        told.append(f"tls: the certificate in {settings.cert_file} is not signed by any in {settings.ca_file}")
    try:
        usages = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return told
    for usage, word in (
        (ExtendedKeyUsageOID.SERVER_AUTH, "servers"),
        (ExtendedKeyUsageOID.CLIENT_AUTH, "clients"),
    ):
        if usage not in usages and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in usages:
            told.append(f"tls: the certificate in {settings.cert_file} is not for {word}, and RPC needs it for both")
    return told


def _leads_to(
    own: x509.Certificate, between: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate]
) -> bool:
    """Whether signatures lead from our certificate, by way of those that come along with it, to a trusted one."""
    at = own
    for _ in range(len(between) + 1):
        if at in trusted or any(_issued(at, anchor) for anchor in trusted):
            return True
        onward = next((one for one in between if one != at and _issued(at, one)), None)
        if onward is None:
            return False
        at = onward
    return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def _names(certificate: x509.Certificate) -> list[str]:
    """The DNS names that it is made out to."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return names.get_values_for_type(x509.DNSName)
