"""What certificates tell: their end, their strength; certificates are real ones, weak ones made by openssl."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from gevent import ssl as gevent_ssl

from cloudeye.services.findings import Look, certificate, inspect
from cloudeye.services.probe import Limits, probe
from cloudeye.services.probe_wire import make_tls_context
from cloudeye.services.resolver import Resolver
from tests.unit.cloudeye.findings.website import Reply, Website
from tests.unit.cloudeye.playback import Certificates, NameServer

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


def make(folder: Path, key: str, *, digest: str = "sha256", days: int = 90, signed: tuple[str, ...] = ()) -> bytes:
    """Make key.pem and c.der, a certificate whose key is described as openssl-genpkey(1) does; return it in DER."""
    (folder / "openssl.cnf").write_text("[req]\ndistinguished_name=name\n[name]\n")
    openssl = ["openssl"]
    run = {"cwd": folder, "check": True, "capture_output": True}
    algorithm, *options = key.split()
    words = [word for option in options for word in ("-pkeyopt", option)]
    subprocess.run([*openssl, "genpkey", "-algorithm", algorithm, *words, "-out", "key.pem"], **run)  # type: ignore[call-overload]
    request = ["req", "-x509", "-new", "-key", "key.pem", "-subj", "/CN=site.test", "-days", str(days)]
    request += ["-addext", "subjectAltName=DNS:site.test", *signed]
    if digest:
        request.append(f"-{digest}")
    subprocess.run([*openssl, *request, "-config", "openssl.cnf", "-outform", "DER", "-out", "c.der"], **run)  # type: ignore[call-overload]
    return (folder / "c.der").read_bytes()


@pytest.mark.parametrize(
    ("key", "digest", "expected"),
    [
        ("RSA rsa_keygen_bits:2048", "sha256", {}),
        ("EC ec_paramgen_curve:P-256", "sha384", {}),
        ("ED25519", "", {}),
        ("EC ec_paramgen_curve:P-224", "sha256", {}),
        ("RSA rsa_keygen_bits:1024", "sha256", {"certificate_weak_key": "RSA key of 1024 bits"}),
        ("EC ec_paramgen_curve:P-192", "sha256", {"certificate_weak_key": "key on the curve secp192r1"}),
        ("RSA rsa_keygen_bits:2048", "sha1", {"certificate_weak_signature": "signed with SHA1"}),
        ("RSA rsa_keygen_bits:2048", "md5", {"certificate_weak_signature": "signed with MD5"}),
        (
            "RSA rsa_keygen_bits:1024",
            "md5",
            {"certificate_weak_key": "RSA key of 1024 bits", "certificate_weak_signature": "signed with MD5"},
        ),
    ],
)
def test_a_weak_key_and_a_weak_signature_are_found(
    tmp_path: Path, key: str, digest: str, expected: dict[str, str]
) -> None:
    found, looked = certificate.inspect(make(tmp_path, key, digest=digest), NOW)
    assert {one.code: one.evidence for one in found} == expected
    assert {one.code for one in found} <= looked


def test_the_end_of_a_certificate_is_read_from_it(tmp_path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)  # certificates know whole seconds
    der = make(tmp_path, "ED25519", digest="", days=30)
    end = certificate.expires_at(der)
    assert end is not None
    assert before <= end - 30 * DAY <= datetime.now(UTC)
    assert certificate.expires_at(b"not a certificate") is None
    assert certificate.inspect(b"not a certificate", NOW) == ((), frozenset())


@pytest.mark.parametrize(
    ("left", "level"),
    [
        (22 * DAY, None),
        (21 * DAY + timedelta(seconds=1), None),
        (21 * DAY, 21),
        (7 * DAY + timedelta(seconds=1), 21),
        (7 * DAY, 7),
        (DAY + timedelta(seconds=1), 7),
        (DAY, 1),
        (timedelta(0), 1),
        (-5 * DAY, 1),
    ],
)
def test_warnings_come_21_7_and_1_days_before_the_end(left: timedelta, level: int | None) -> None:
    assert certificate.warn_level(NOW + left, NOW) == level
    assert certificate.warn_level(NOW + left, NOW, 90 * DAY) == level


@pytest.mark.parametrize(
    ("lifetime", "left", "level"),
    [
        (6 * DAY, 6 * DAY, None),
        (6 * DAY, 3 * DAY, None),  # when a certificate of six days is renewed
        (6 * DAY, 1.4 * DAY, 21),
        (6 * DAY, 0.7 * DAY, 7),
        (6 * DAY, 0.2 * DAY, 1),
        (47 * DAY, 15.6 * DAY, None),  # a third is left: it is renewed now
        (47 * DAY, 11 * DAY, 21),
        (47 * DAY, DAY, 1),
        (398 * DAY, 21 * DAY, 21),
    ],
)
def test_a_short_lived_certificate_is_warned_of_later(lifetime: timedelta, left: timedelta, level: int | None) -> None:
    assert certificate.warn_level(NOW + left, NOW, lifetime) == level


@pytest.mark.parametrize(("days", "severity"), [(20, "low"), (6, "medium"), (0, "high")])
def test_the_nearer_the_end_the_worse_the_finding(tmp_path: Path, days: int, severity: str) -> None:
    der = make(tmp_path, "ED25519", digest="", days=90)
    end = certificate.expires_at(der)
    assert end is not None
    (found,), _ = certificate.inspect(der, end - days * DAY - timedelta(hours=12))
    assert (found.code, found.severity) == ("certificate_ends_soon", severity)
    assert f"{days} day" in found.evidence
    assert f"{end:%Y-%m-%d}" in found.evidence


# -- as a visit meets them -------------------------------------------------------------------------------------


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer({(name, "A"): [["127.0.0.1"]] for name in ("site.test", "other.test")})
    yield server
    server.close()


def visited(context: ssl.SSLContext, names: NameServer, ca_file: str, host: str = "site.test") -> Look:
    limits = Limits(True, connect_timeout=2, read_timeout=1, total_timeout=3, max_bytes=1000, max_redirects=0)
    resolver = Resolver(nameservers=(names.address,), hosts_path="/nowhere")
    with Website({"/": Reply(b"hello")}).served(context) as port:
        result = probe(f"https://{host}:{port}/", limits, resolver, make_tls_context(ca_file))
    return inspect(result, NOW)


def of_certificate(look: Look) -> set[str]:
    return {found.code for found in look.found if found.code.startswith("certificate_")}


def test_what_is_wrong_with_a_certificate_is_found_by_a_visit(tmp_path: Path, names: NameServer) -> None:
    known, foreign = tmp_path / "known", tmp_path / "foreign"
    known.mkdir()
    foreign.mkdir()
    ca, other = Certificates.make(known), Certificates.make(foreign)
    late = {"not_before": NOW - 90 * DAY, "not_after": NOW - DAY}
    early = {"not_before": NOW + DAY, "not_after": NOW + 90 * DAY}
    ending = {"not_before": NOW - 90 * DAY, "not_after": NOW + 3 * DAY}
    good = {"not_before": NOW - DAY, "not_after": NOW + 90 * DAY}
    for expected, context, host in (
        (set(), ca.server("site.test", **good), "site.test"),
        ({"certificate_expired"}, ca.server("site.test", **late), "site.test"),
        ({"certificate_not_yet_valid"}, ca.server("site.test", **early), "site.test"),
        ({"certificate_ends_soon"}, ca.server("site.test", **ending), "site.test"),
        ({"certificate_self_signed"}, ca.server("site.test", self_signed=True, **good), "site.test"),
        ({"certificate_untrusted"}, other.server("site.test", **good), "site.test"),
        ({"certificate_wrong_name"}, ca.server("site.test", **good), "other.test"),
    ):
        look = visited(context, names, ca.ca_file, host)
        assert of_certificate(look) == expected
        assert expected <= look.looked


@pytest.mark.parametrize(
    ("key", "digest", "expected"),
    [
        ("RSA rsa_keygen_bits:2048", "sha256", set()),
        ("RSA rsa_keygen_bits:1024", "sha256", {"certificate_weak_key"}),
        ("RSA rsa_keygen_bits:2048", "sha1", {"certificate_weak_signature"}),
    ],
)
def test_a_certificate_that_is_too_weak_is_found_by_a_visit(
    tmp_path: Path, names: NameServer, key: str, digest: str, expected: set[str]
) -> None:
    """This machine's OpenSSL refuses it, or it does not and the certificate is looked at; it is found either way."""
    ca = Certificates.make(tmp_path)
    pem = ca.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "ca.key").write_bytes(pem)
    der = make(tmp_path, key, digest=digest, signed=("-CA", ca.ca_file, "-CAkey", "ca.key"))
    (tmp_path / "c.pem").write_text(ssl.DER_cert_to_PEM_cert(der))
    context = gevent_ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "key.pem")
    look = visited(context, names, ca.ca_file)
    assert of_certificate(look) == expected
    assert expected <= look.looked
