"""Certificates of all manners for the tests of TLS, made when they are needed."""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files in PEM form."""

    cert_file: str
    key_file: str


class Authority:
    """Signs certificates. Its own is in `ca_file`; one made by another authority is signed by that."""

    def __init__(self, folder: Path, name: str = "ca", issuer: "Authority | None" = None) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(name)
        by = issuer or self
        ids = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = _builder(self._subject, by._subject, self._key, (NOW - DAY, NOW + 365 * DAY))
        self.certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(ids, critical=False)
            .sign(by._key, hashes.SHA256())
        )
        path = folder / f"{name}.pem"
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        self.ca_file = str(path)

    def issue(
        self,
        name: str,
        *,
        ips: Sequence[str] = (),
        names: Sequence[str] = (),
        life: tuple[datetime.datetime, datetime.datetime] = (NOW - DAY, NOW + 300 * DAY),
        usages: Sequence[x509.ObjectIdentifier] = BOTH,
        passphrase: bytes = b"",
        chain: Sequence["Authority"] = (),
    ) -> Pair:
        """A certificate made out to the IPs and names; those of `chain` stand behind it in its file.

        Issued again under the same name, it replaces the one before.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        made_out: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
        made_out += [x509.DNSName(dns) for dns in names]
        builder = _builder(_name(name), self._subject, key, life)
        if made_out:
            builder = builder.add_extension(x509.SubjectAlternativeName(made_out), critical=False)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificates = [builder.sign(self._key, hashes.SHA256()), *(link.certificate for link in chain)]
        pem = serialization.Encoding.PEM
        cert_file, key_file = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert_file.write_bytes(b"".join(certificate.public_bytes(pem) for certificate in certificates))
        sealing = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        key_file.touch(mode=0o600)
        key_file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, sealing))
        return Pair(str(cert_file), str(key_file))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    life: tuple[datetime.datetime, datetime.datetime],
) -> x509.CertificateBuilder:
    begins, ends = life
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
