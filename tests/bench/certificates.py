"""A chain as sites have it: a root, an authority below it, and one certificate for every site."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.bench.mix import HOSTS, NETWORK, ZONE

DAYS = 60  # far from the end, so that nothing warns of it


def make(folder: Path) -> None:
    """Write `site.pem` (leaf, authority, key) and `trusted.pem` (the system's roots and ours)."""
    root_key, authority_key = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    root = _signed("Bench Root", root_key.public_key(), "Bench Root", root_key, 1)
    authority = _signed("Bench Authority", authority_key.public_key(), "Bench Root", root_key, 0)
    leaf = _signed(f"*.{ZONE}", leaf_key.public_key(), "Bench Authority", authority_key, None)
    pem = serialization.Encoding.PEM
    key = leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "site.pem").write_bytes(leaf.public_bytes(pem) + authority.public_bytes(pem) + key)
    system = ssl.get_default_verify_paths().cafile
    roots = Path(system).read_bytes() if system else b""
    (folder / "trusted.pem").write_bytes(roots + b"\n" + root.public_bytes(pem))


def _signed(
    name: str,
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    issuer: str,
    issuer_key: rsa.RSAPrivateKey,
    below: int | None,
) -> x509.Certificate:
    """`below` is how many authorities may follow; None for a site's own."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=below is not None, path_length=below), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if below is None:
        addresses = [ipaddress.ip_address(f"{NETWORK}.0.{host}") for host in range(1, HOSTS + 1)]
        names = [x509.DNSName(f"*.{ZONE}"), *map(x509.IPAddress, addresses)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
