"""A real broker that asks who is there: TLS, SASL/SCRAM and rights, with certificates made on the spot.

with SecuredBroker.start(folder, {"sekisho": "a password"}) as secured:
    secured.broker                # its plain listener, whose clients may do everything
    secured.client("sekisho")     # [kafka.client] for the other one, whose users may do nothing
    secured.allow("sekisho", "topic", "payments", "read", "describe")
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
)

from sekisho.testing.kafka import KafkaBroker, free_ports

_DAY = timedelta(days=1)
_SETTINGS = {
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
    "inter.broker.listener.name": "PLAINTEXT",
    "sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
    "ssl.keystore.type": "PEM",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}


@dataclass(frozen=True)
class SecuredBroker:
    """See the module. users: name and password.   ca: certificate of who signed the broker's."""

    broker: KafkaBroker
    bootstrap: str
    users: Mapping[str, str]
    ca: Path

    @classmethod
    @contextmanager
    def start(cls, folder: Path, users: Mapping[str, str]) -> Iterator[SecuredBroker]:
        """Start one in `folder`; it ends with the block."""
        folder.mkdir(parents=True, exist_ok=True)
        bootstrap, ca = f"127.0.0.1:{free_ports(1)[0]}", folder / "ca.pem"
        make_certificates(ca, folder / "broker.pem")
        words = [f"SCRAM-SHA-512=[name={name},password={password}]" for name, password in users.items()]
        with KafkaBroker.start(
            folder,
            settings={**_SETTINGS, "ssl.keystore.location": str(folder / "broker.pem")},
            listeners=(f"SASL_SSL://{bootstrap}",),
            format_options=tuple(part for word in words for part in ("--add-scram", word)),
        ) as broker:
            yield cls(broker, bootstrap, users, ca)

    def client(self, user: str) -> dict[str, str]:
        """[kafka.client] of a user, the password in plain text."""
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.ca),
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": self.users[user],
        }

    def allow(self, user: str, kind: str, name: str, *operations: str) -> None:
        """Give rights. kind: topic, group, transactional_id or cluster; a name that ends with * is a prefix."""
        self._admin("create_acls", [self._acl(user, kind, name, operation) for operation in operations])

    def forbid(self, user: str, kind: str, name: str, *operations: str) -> None:
        """Take rights away."""
        self._admin("delete_acls", [self._acl(user, kind, name, operation) for operation in operations])

    def _acl(self, user: str, kind: str, name: str, operation: str) -> ACL:
        prefix = name.endswith("*")
        how = ACLResourcePatternType.PREFIXED if prefix else ACLResourcePatternType.LITERAL
        pattern = ResourcePattern(ResourceType[kind.upper()], name.removesuffix("*"), how)
        return ACL(f"User:{user}", "*", ACLOperation[operation.upper()], ACLPermissionType.ALLOW, pattern)

    def _admin(self, call: str, acls: list[ACL]) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        try:
            getattr(admin, call)(acls)
        finally:
            admin.close()


def make_certificates(ca: Path, server: Path) -> None:
    """An authority's certificate, and the broker's key with a certificate of 127.0.0.1 that it has signed."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority, name = _name("sekisho-tests authority"), _name("127.0.0.1")
    own = _builder(authority, authority, authority_key).add_extension(x509.BasicConstraints(True, None), critical=True)
    ca.write_bytes(own.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = _builder(name, authority, key).add_extension(address, critical=False).sign(authority_key, hashes.SHA256())
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    server.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM) + ca.read_bytes())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - _DAY).not_valid_after(now + _DAY)
