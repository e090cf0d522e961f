"""A certificate for one machine: signed by an authority of our own, so that clients that insist on https come here too.

Authority and certificate lie under `tls/` of the data folder. Who trusts the authority trusts it for this machine and
for the host names that fal's clients have built in, and for nothing else: it says so itself. Made once, made anew when
the time is nearly over or another host is wanted.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from marketplace.host.places import Places, make_private, say_os_error
from marketplace.host.tunnel import FAL_DOMAINS

NAMES = (
    "localhost",
    *(name for domain in FAL_DOMAINS for name in (domain, f"*.{domain}")),
    "*.alpha.fal.ai",
)
ADDRESSES = ("127.0.0.1", "::1")
AUTHORITY_DAYS, CERTIFICATE_DAYS, RENEW_DAYS = 3650, 397, 30  # browsers take no certificate that lasts longer

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files: the authority's certificate, which clients are told to trust, and the server's own two."""

    authority: Path
    chain: Path
    key: Path


def certificate(places: Places, host: str) -> Certificate:
    """The certificate for this machine and `host`, made where there is none that will do. Raises HostProblem."""
    folder = places.tls
    found = Certificate(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    wanted = _names(host)
    try:
        make_private(folder)
        if not _will_do(found, wanted):
            _make(found, wanted)
    except OSError as error:
        raise say_os_error(error, folder) from None
    return found


def _names(host: str) -> list[x509.GeneralName]:
    """Names and addresses, each once; every interface of the machine is none of either."""
    addresses = [ipaddress.ip_address(one) for one in ADDRESSES]
    names = list(NAMES)
    try:
        other = ipaddress.ip_address(host.strip("[]"))
        if not other.is_unspecified and other not in addresses:
            addresses.append(other)
    except ValueError:
        if host and host not in names and host.isascii():
            names.append(host)
    return [*(x509.DNSName(name) for name in names), *(x509.IPAddress(one) for one in addresses)]


def _will_do(found: Certificate, wanted: Sequence[x509.GeneralName]) -> bool:
    """Whether what is there is whole, lasts for a while and is for these names."""
    with contextlib.suppress(OSError, ValueError, x509.ExtensionNotFound):
        authority = x509.load_pem_x509_certificate(found.authority.read_bytes())
        own = x509.load_pem_x509_certificate(found.chain.read_bytes())
        key = serialization.load_pem_private_key(found.key.read_bytes(), password=None)
        soon = datetime.now(UTC) + timedelta(days=RENEW_DAYS)
        named = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        own.verify_directly_issued_by(authority)
        return (
            key.public_key() == own.public_key()
            and min(own.not_valid_after_utc, authority.not_valid_after_utc) > soon
            and list(named) == list(wanted)
        )
    return False


def _make(found: Certificate, wanted: Sequence[x509.GeneralName]) -> None:
    """The certificate; with its authority, where that is missing, over, or not for these names."""
    kept = _authority(found, wanted)
    if kept is None:
        kept = _new_authority(wanted)
        _write(found.authority.with_suffix(".key"), _pem(kept[1]))
        _write(found.authority, kept[0].public_bytes(serialization.Encoding.PEM))
    authority, signer = kept
    key = ec.generate_private_key(ec.SECP256R1())
    own = (
        _builder(f"Vitrine on {wanted[0].value}", authority.subject, key, CERTIFICATE_DAYS)
        .add_extension(x509.SubjectAlternativeName(list(wanted)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    _write(found.key, _pem(key))
    _write(found.chain, own.public_bytes(serialization.Encoding.PEM))


def _authority(found: Certificate, wanted: Sequence[x509.GeneralName]) -> tuple[x509.Certificate, Key] | None:
    """The authority that is there, if it may sign for all these names for as long as a certificate lasts."""
    with contextlib.suppress(OSError, ValueError, x509.ExtensionNotFound):
        authority = x509.load_pem_x509_certificate(found.authority.read_bytes())
        signer = serialization.load_pem_private_key(
            found.authority.with_suffix(".key").read_bytes(), password=None
        )
        permitted = authority.extensions.get_extension_for_class(
            x509.NameConstraints
        ).value.permitted_subtrees
        lasts = authority.not_valid_after_utc > datetime.now(UTC) + timedelta(days=CERTIFICATE_DAYS)
        is_whole = isinstance(signer, Key) and signer.public_key() == authority.public_key()
        if is_whole and lasts and list(permitted or ()) == _permitted(wanted):
            assert isinstance(signer, Key)
            return authority, signer
    return None


def _new_authority(wanted: Sequence[x509.GeneralName]) -> tuple[x509.Certificate, Key]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Vitrine on this machine")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    made = (
        _builder("Vitrine on this machine", name, key, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        # Names of other kinds are not constrained: nor may it sign for mail, code or clients.
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.NameConstraints(_permitted(wanted), None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made, key


def _permitted(wanted: Sequence[x509.GeneralName]) -> list[x509.GeneralName]:
    """What an authority for these names may sign for at all."""
    names = dict.fromkeys(one.value.removeprefix("*.") for one in wanted if isinstance(one, x509.DNSName))
    below = [name for name in names if not any(name.endswith(f".{domain}") for domain in names)]
    nets = [ipaddress.ip_network(one.value) for one in wanted if isinstance(one, x509.IPAddress)]
    return [*(x509.DNSName(name) for name in below), *(x509.IPAddress(net) for net in nets)]


def _builder(common: str, issuer: x509.Name, key: Key, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    """A file for us alone, whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent)  # 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
