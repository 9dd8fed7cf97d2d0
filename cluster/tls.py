"""The cluster's own certificate authority, and TLS 1.3 in which both ends prove which node they are.

A node's identity is the URI `strongroom://node/<node id>` in its certificate, signed by the one authority of the
cluster, which is `strongroom://cluster/<cluster id>`. No other authority is ever trusted, and no private key ever
touches a disk.
"""

import os
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.errors import TlsMaterialRefused

_NODE_URI: Final = "strongroom://node/"
_CLUSTER_URI: Final = "strongroom://cluster/"
_NAME_BYTES_MAX: Final = 255

# A peer whose clock is behind must accept a certificate that was made a moment ago.
_BACKDATED: Final = timedelta(days=1)
# Bounded, but beyond the life of an installation: an expiry nobody expects would stop the whole cluster at once.
_AUTHORITY_VALID: Final = timedelta(days=30 * 365)


@dataclass(frozen=True, slots=True)
class Authority:
    """The cluster's certificate authority, PEM. It lives behind the barrier."""

    cert_pem: bytes
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What one node needs to be a peer, PEM: the authority's certificate, its own, and its private key."""

    ca_pem: bytes
    cert_pem: bytes
    key_pem: bytes = field(repr=False)


def new_authority(cluster_id: str, *, now: datetime | None = None) -> Authority:
    """A new authority for a new cluster: ECDSA P-256, may sign node certificates and nothing below them.

    Raises:
        TlsMaterialRefused: The cluster id is empty or too long.
    """
    start = (now or datetime.now(UTC)) - _BACKDATED
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Strongroom cluster authority")])
    public = key.public_key()
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + _AUTHORITY_VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_uri_name(_CLUSTER_URI, cluster_id), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(cert.public_bytes(serialization.Encoding.PEM), _private_pem(key))


def issue(authority: Authority, node_id: str, *, until: datetime | None = None) -> TlsMaterial:
    """A new key and certificate for one node, good for both ends of a connection.

    Args:
        until: When it ends; without it, with the authority. It begins with the authority in any case: a node that
            starts while its clock is wrong must not have to start again once the clock is right.

    Raises:
        TlsMaterialRefused: The node id is empty or too long, or the authority cannot be read.
    """
    ca_cert = _load_cert(authority.cert_pem)
    try:
        ca_key = serialization.load_pem_private_key(authority.key_pem, password=None)
    except (ValueError, TypeError):
        raise TlsMaterialRefused("the private key of the cluster's authority cannot be read") from None
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TlsMaterialRefused("the private key of the cluster's authority is of another kind")
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    cert = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Strongroom node")]))
        .issuer_name(ca_cert.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(ca_cert.not_valid_before_utc)
        .not_valid_after(until or ca_cert.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .add_extension(_uri_name(_NODE_URI, node_id), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return TlsMaterial(authority.cert_pem, cert.public_bytes(serialization.Encoding.PEM), _private_pem(key))


def cluster_id_of(ca_pem: bytes) -> str:
    """The cluster that an authority's certificate names. Raises TlsMaterialRefused."""
    return _only_name(_uris(_load_cert(ca_pem)), _CLUSTER_URI)


def node_id_of(cert_pem: bytes) -> str:
    """The node that a certificate names; says nothing about who signed it. Raises TlsMaterialRefused."""
    return _only_name(_uris(_load_cert(cert_pem)), _NODE_URI)


def peer_node_id(tls: ssl.SSLObject) -> str:
    """The node at the other end, from the certificate that the finished handshake has verified.

    Raises:
        TlsMaterialRefused: The certificate names no node, or more than one.
    """
    names = (tls.getpeercert() or {}).get("subjectAltName", ())
    return _only_name([str(value[1]) for value in names if value[0] == "URI"], _NODE_URI)


def server_context(material: TlsMaterial) -> ssl.SSLContext:
    """For accepting: a client must have a certificate of this cluster. Raises TlsMaterialRefused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0  # a resumed session would skip the check of the certificate
    _load(context, material)
    return context


def client_context(material: TlsMaterial) -> ssl.SSLContext:
    """For dialling. The caller must compare `peer_node_id` with the node it meant. Raises TlsMaterialRefused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # a node is named by its URI, wherever it runs
    _load(context, material)
    return context


def _load(context: ssl.SSLContext, material: TlsMaterial) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(cadata=material.ca_pem.decode("ascii"))
        # OpenSSL's binding reads keys from files only; an anonymous memory file never reaches a disk.
        memory = os.memfd_create("tls", os.MFD_CLOEXEC)
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(material.cert_pem + b"\n" + material.key_pem)
            context.load_cert_chain(f"/proc/self/fd/{memory}")
        finally:
            os.close(memory)
    except (ssl.SSLError, ValueError):
        raise TlsMaterialRefused("this node's TLS certificate and key cannot be read or do not fit together") from None


def _load_cert(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise TlsMaterialRefused("a TLS certificate of the cluster cannot be read") from None


def _uris(cert: x509.Certificate) -> list[str]:
    try:
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _only_name(uris: list[str], prefix: str) -> str:
    named = [uri.removeprefix(prefix) for uri in uris if uri.startswith(prefix)]
    if len(named) != 1 or not named[0]:
        raise TlsMaterialRefused(f"a TLS certificate that names no {prefix}")
    return unquote(named[0])


def _uri_name(prefix: str, name: str) -> x509.SubjectAlternativeName:
    if not name or len(name.encode()) > _NAME_BYTES_MAX:
        raise TlsMaterialRefused(f"the name in {prefix} must have 1 to {_NAME_BYTES_MAX} bytes")
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(prefix + quote(name, safe=""))])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
