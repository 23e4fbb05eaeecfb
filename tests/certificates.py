"""Certificates that a test's broker shows, signed by an authority that is made on the spot."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """Signs certificates; `file` is what a client trusts it by."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    file: Path

    def key_store(self, path: Path) -> Path:
        """A key and its certificate for the address 127.0.0.1, and for no name, as one PEM file."""
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = _builder("broker", self.certificate.subject, key).add_extension(
            x509.SubjectAlternativeName([address]), critical=False
        )
        certificate = builder.sign(self.key, hashes.SHA256())
        path.write_bytes(_pem(key) + _pem(certificate) + _pem(self.certificate))
        return path

    def client(self, folder: Path, name: str, password: str | None = None) -> tuple[Path, Path]:
        """The files of a client's certificate and of its key, which a password may encrypt."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _builder(name, self.certificate.subject, key).sign(self.key, hashes.SHA256())
        cert_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
        cert_file.write_bytes(_pem(certificate))
        key_file.write_bytes(_pem(key, password))
        return cert_file, key_file


def authority(path: Path) -> Authority:
    """A new authority, whose certificate lies at `path`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("authority of the tests")
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        **dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        ),
    )
    certificate = (
        _builder("authority of the tests", name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(_pem(certificate))
    return Authority(key, certificate, path)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )


def _pem(item: ec.EllipticCurvePrivateKey | x509.Certificate, password: str | None = None) -> bytes:
    if isinstance(item, x509.Certificate):
        return item.public_bytes(serialization.Encoding.PEM)
    encryption = (
        serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    )
    return item.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
