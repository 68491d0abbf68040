"""The phone's key, the hosts that paired with it, and the TLS that follows from both."""

from __future__ import annotations

import hashlib
import os
import plistlib
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from harness.virtual.wire.plist import Plist, PlistFrameError, parse_dictionary

KEY_BITS = 2048
RECORD_LIMIT_BYTES = 64 * 1024
_CERTIFICATES = ("DeviceCertificate", "HostCertificate", "RootCertificate")


class BadPairRecord(ValueError):
    """A Pair request whose record this phone cannot use; the message names the field."""


class PairedHosts:
    """Who may open a session. Survives in the home directory, as trust does in a phone."""

    def __init__(self, home: Path, udid: str) -> None:
        self._key_file = home / "device_key.pem"
        # by UDID: a home that is used with another seed is another phone's for that time
        self._hosts = home / "PairedHosts" / udid
        self._hosts.mkdir(parents=True, exist_ok=True)
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._key = self._load_key()
        # what usbmuxd shows as the host's own identity is a property of the computer; here it goes with the phone
        digest = hashlib.sha256(udid.encode()).hexdigest()
        self.system_buid = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}".upper()

    @property
    def public_key_pem(self) -> bytes:
        """PKCS#1 PEM with a trailing newline, as lockdownd gives it (tidevice relies on the newline)."""
        return self._key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1)

    def is_paired(self, host_id: object) -> bool:
        """Whether `host_id` has paired."""
        return isinstance(host_id, str) and self._file(host_id).exists()

    def pair(self, record: object) -> None:
        """Keeps a Pair request's record; BadPairRecord when it lacks something or is not for this phone."""
        kept = self._checked(record)
        target = self._file(kept["HostID"])
        self._contexts.pop(kept["HostID"], None)
        temporary = target.with_suffix(".new")
        temporary.write_bytes(plistlib.dumps(kept))
        temporary.replace(target)

    def unpair(self, host_id: object) -> None:
        """Forgets a host; nothing happens when it never paired."""
        if isinstance(host_id, str):
            self._contexts.pop(host_id, None)
            self._file(host_id).unlink(missing_ok=True)

    def unpair_all(self) -> None:
        """Forgets every host, as "Reset Location & Privacy" does."""
        self._contexts.clear()
        for file in self._hosts.glob("*.plist"):
            file.unlink()

    def tls_context(self, host_id: str) -> ssl.SSLContext:
        """The phone's end of TLS with that host, which must prove to be the one that paired. KeyError if unknown."""
        if host_id not in self._contexts:
            try:
                record = parse_dictionary(self._file(host_id).read_bytes())
            except (FileNotFoundError, PlistFrameError) as error:
                raise KeyError(host_id) from error
            self._contexts[host_id] = self._make_context(record)
        return self._contexts[host_id]

    def _make_context(self, record: Plist) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # clients differ in what they offer; lockdown's certificates are not of this decade
        context.set_ciphers("ALL:!aNULL:!eNULL:@SECLEVEL=0")
        with tempfile.NamedTemporaryFile(suffix=".pem") as chain:
            chain.write(record["DeviceCertificate"] + b"\n" + self._private_pem())
            chain.flush()
            context.load_cert_chain(chain.name)
        context.verify_mode = ssl.CERT_REQUIRED
        # Host and root certificates have empty subject names, so OpenSSL takes the leaf for self-signed and finds no
        # path; and libimobiledevice presents the root itself. Both are therefore anchors of their own.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=(record["HostCertificate"] + b"\n" + record["RootCertificate"]).decode())
        return context

    def _checked(self, record: object) -> Plist:
        if not isinstance(record, dict):
            raise BadPairRecord("PairRecord is no dictionary")
        host_id = record.get("HostID")
        if not isinstance(host_id, str) or not 0 < len(host_id) <= 128:
            raise BadPairRecord("HostID is no string of 1…128 characters")
        kept: Plist = {"HostID": host_id}
        for name in _CERTIFICATES:
            pem = record.get(name)
            if not isinstance(pem, bytes) or len(pem) > RECORD_LIMIT_BYTES:
                raise BadPairRecord(f"{name} is no data of at most {RECORD_LIMIT_BYTES} bytes")
            try:
                certificate = x509.load_pem_x509_certificate(pem.rstrip(b"\0"))
            except ValueError as error:
                raise BadPairRecord(f"{name} is no PEM certificate: {error}") from error
            if name == "DeviceCertificate" and certificate.public_key() != self._key.public_key():
                raise BadPairRecord("DeviceCertificate is not for this phone's key")
            kept[name] = certificate.public_bytes(serialization.Encoding.PEM)
        return kept

    def _file(self, host_id: str) -> Path:
        return self._hosts / f"{hashlib.sha256(host_id.encode()).hexdigest()[:32]}.plist"

    def _private_pem(self) -> bytes:
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )

    def _load_key(self) -> rsa.RSAPrivateKey:
        if self._key_file.exists():
            key = serialization.load_pem_private_key(self._key_file.read_bytes(), password=None)
            if not isinstance(key, rsa.RSAPrivateKey):
                raise ValueError(f"{self._key_file} holds no RSA key: remove it, and pair again")
            return key
        key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        temporary = self._key_file.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
        temporary.replace(self._key_file)
        return key
