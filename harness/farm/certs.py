"""A farm's own certificate authority, and the certificates of its members. Keys are for their owner alone (0600).

    FOLDER/ca.pem   FOLDER/ca.key     the CA: where certificates are made, and nowhere else
    DIR/ca.pem  cert.pem  key.pem     of a member: hub, host or person

Nothing is ever overwritten. May know files; no connection is made here, and Dask is not imported.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.core.errors import HarnessError, UsageError
from harness.farm.address import CA_NAME, CERTIFICATE_NAME, KEY_NAME, Certificates

CA_KEY_NAME = "ca.key"
CA_DAYS = 10 * 365
MEMBER_DAYS = 2 * 365
EPHEMERAL_DAYS = 30
"""Of a farm within one command; nothing runs longer."""
WARN_DAYS = 60
CLOCKS_APART = timedelta(hours=1)
"""Hosts' clocks differ: a certificate is good since a little before it was made."""
MAX_FILE_BYTES = 64 * 1024
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z.:_-]{0,62}\Z")


@dataclass(frozen=True)
class Shown:
    """A certificate, for people."""

    name: str
    file: Path
    until: datetime
    is_ca: bool
    fingerprint: str
    """SHA-256, hex."""
    problem: str | None
    """Why it will be refused, or soon."""


def make_ca(folder: Path, name: str = "iPhone load farm") -> Path:
    """A CA in `folder`, which is made; its certificate. Raises UsageError where there is one."""
    _refuse_existing(folder, (CA_NAME, CA_KEY_NAME))
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _builder(subject, subject, key.public_key(), _ends(CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _make_folder(folder)
    _write(folder / CA_KEY_NAME, _key_bytes(key), 0o600)
    _write(folder / CA_NAME, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return folder / CA_NAME


def issue(folder: Path, name: str, out: Path | None = None, *, days: int = MEMBER_DAYS) -> Certificates:
    """A member's three files in `out` (None: a folder with its name beside the CA), which is made.

    Raises UsageError for a name that is none, a CA that is not there or at its end, and files that are there.
    """
    if not _NAME.match(name):
        raise UsageError(f"--name={name[:100]}: a name of a machine or a person: letters, digits, dots and dashes")
    ca, ca_key = _ca_of(folder)
    out = folder / name if out is None else out
    _refuse_existing(out, (CA_NAME, CERTIFICATE_NAME, KEY_NAME))
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    until = min(_ends(days), ca.not_valid_after_utc)
    certificate = (
        _builder(subject, ca.subject, key.public_key(), until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _make_folder(out)
    _write(out / KEY_NAME, _key_bytes(key), 0o600)
    _write(out / CERTIFICATE_NAME, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(out / CA_NAME, ca.public_bytes(serialization.Encoding.PEM), 0o644)
    return Certificates(out / CA_NAME, out / CERTIFICATE_NAME, out / KEY_NAME)


def ephemeral(folder: Path) -> Certificates:
    """Of a farm within one command; `folder` is a new one of its own, and goes with it. The CA's key is not kept."""
    make_ca(folder / "ca", "harness, one command")
    made = issue(folder / "ca", "localhost", folder / "member", days=EPHEMERAL_DAYS)
    (folder / "ca" / CA_KEY_NAME).unlink()
    return made


def show(folder: Path, now: datetime | None = None) -> list[Shown]:
    """The certificates of a CA's or a member's folder. Raises UsageError where there are none, or no readable ones."""
    now = now or datetime.now(UTC)
    paths = [folder / name for name in (CA_NAME, CERTIFICATE_NAME) if (folder / name).is_file()]
    if not paths:
        raise UsageError(f"{folder}: no {CA_NAME} and no {CERTIFICATE_NAME}; `harness farm certs` makes them")
    found = {path: _read(path) for path in paths}
    ca = found.get(folder / CA_NAME)
    shown = []
    for path, certificate in found.items():
        is_ca = path.name == CA_NAME
        problem = _problem(certificate, None if is_ca else ca, now)
        key = folder / (CA_KEY_NAME if is_ca else KEY_NAME)
        if problem is None and key.is_file() and key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            problem = f"others can read its key; chmod 600 {key}"
        name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        shown.append(
            Shown(
                str(name[0].value) if name else "",
                path,
                certificate.not_valid_after_utc,
                is_ca,
                certificate.fingerprint(hashes.SHA256()).hex(),
                problem,
            )
        )
    return shown


def _problem(certificate: x509.Certificate, ca: x509.Certificate | None, now: datetime) -> str | None:
    left = certificate.not_valid_after_utc - now
    if left <= timedelta(0):
        return "is over: nobody in the farm takes it any more; issue a new one"
    if now < certificate.not_valid_before_utc:
        return (
            f"is not good before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; is this machine's clock right?"
        )
    if ca is not None:
        try:
            certificate.verify_directly_issued_by(ca)
        except (ValueError, TypeError, InvalidSignature):
            return f"was not made by the {CA_NAME} beside it: the farm will refuse it"
    if left < timedelta(days=WARN_DAYS):
        return f"ends in {left.days} days: issue a new one in time"
    return None


def _ca_of(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    missing = [name for name in (CA_NAME, CA_KEY_NAME) if not (folder / name).is_file()]
    if missing:
        raise UsageError(
            f"{folder}: no CA there (no {', '.join(missing)}); `harness farm certs init {folder}` makes one"
        )
    ca = _read(folder / CA_NAME)
    if ca.not_valid_after_utc <= datetime.now(UTC):
        raise UsageError(f"{folder}: this CA was good until {ca.not_valid_after_utc:%Y-%m-%d}; make a new one")
    try:
        key = serialization.load_pem_private_key(_bytes(folder / CA_KEY_NAME), password=None)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{folder / CA_KEY_NAME}: not a readable key: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != ca.public_key():
        raise UsageError(f"{folder / CA_KEY_NAME}: is not the key of the {CA_NAME} beside it")
    return ca, key


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - CLOCKS_APART)
        .not_valid_after(until)
    )


def _ends(days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_bytes(path))
    except ValueError as error:
        raise UsageError(f"{path}: not a readable certificate: {error}") from None


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _refuse_existing(folder: Path, names: tuple[str, ...]) -> None:
    there = [name for name in names if os.path.lexists(folder / name)]
    if there:
        raise UsageError(f"{folder}: {', '.join(there)} is there, and is never overwritten; name another folder")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(f"{folder}: cannot be made: {error.strerror}") from error


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except OSError as error:
        raise HarnessError(f"{path}: cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
