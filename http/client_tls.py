"""How a client of the API meets an agent by TLS, and what it says when they do not agree."""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from moot.gossip.errors import ConfigError

WRONG_CLIENT = ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_UNKNOWN", "DECRYPT_ERROR")
WANTS_CLIENT = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE")
"""Ends of OpenSSL's names for what an agent's alert says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """The flags of Nomad's command line. Paths are text, empty when not given.

    Without `ca_file` and `ca_path` (a folder of such files) the system's authorities are trusted. `server_name` is
    the name that the agent's certificate must have instead of the host's; `server.REGION.nomad` is what agents have
    among themselves.
    """

    ca_file: str = ""
    ca_path: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    skip_verify: bool = False

    def context(self) -> ssl.SSLContext:
        """Raises ConfigError for files that cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not (self.ca_file or self.ca_path):
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        for flag, path in self._authorities():
            try:
                context.load_verify_locations(path)
            except OSError as error:
                raise ConfigError(f"{flag}: {path}: {_words(error)}") from None
        if self.skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert_file or self.key_file:
            self._load_certificate(context)
        return context

    def _authorities(self) -> list[tuple[str, str]]:
        """Flag and path of each file to trust. Raises ConfigError."""
        if self.ca_file or not self.ca_path:
            return [("--ca-cert", self.ca_file)] if self.ca_file else []
        try:
            return [("--ca-path", str(path)) for path in sorted(Path(self.ca_path).iterdir()) if path.is_file()]
        except OSError as error:
            raise ConfigError(f"--ca-path: {self.ca_path}: {_words(error)}") from None

    def _load_certificate(self, context: ssl.SSLContext) -> None:
        for flag, path, other in (
            ("--client-cert", self.cert_file, "--client-key"),
            ("--client-key", self.key_file, "--client-cert"),
        ):
            if not path:
                raise ConfigError(f"{other} is given without {flag}")
            if not os.access(path, os.R_OK):
                raise ConfigError(f"{flag}: {path} cannot be read")
        try:
            context.load_cert_chain(self.cert_file, self.key_file)
        except ssl.SSLError as error:
            both = f"{self.cert_file} and {self.key_file}"
            raise ConfigError(f"--client-cert and --client-key: {both}: {_words(error)}") from None


def why_no_tls(error: ssl.SSLError) -> str:
    """A few words on a handshake that failed, and what may help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        names_differ = "mismatch" in error.verify_message
        hint = "--tls-server-name names another" if names_differ else "--ca-cert names the file of its authority"
        return f"its certificate is not trusted: {error.verify_message.rstrip('.')}; {hint}"
    reason = error.reason or ""
    if reason.endswith(WANTS_CLIENT):
        return "it wants a certificate of ours: --client-cert and --client-key"
    if reason.endswith(WRONG_CLIENT):
        return f"it does not take our certificate ({_words(error)})"
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return "it does not speak TLS: name it as http://"
    return f"TLS failed: {_words(error)}"


def _words(error: OSError) -> str:
    """Without the names of the library's own parts."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return (error.strerror or str(error)).lower()
