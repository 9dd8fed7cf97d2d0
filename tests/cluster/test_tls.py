"""Certificates of the cluster: who may talk to whom, and where keys may be."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from cluster.errors import TlsMaterialRefused
from cluster.tls import (
    TlsMaterial,
    client_context,
    cluster_id_of,
    issue,
    new_authority,
    node_id_of,
    peer_node_id,
    server_context,
)

AUTHORITY = new_authority("cluster-1")


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A TLS handshake in memory. Raises what either end refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    for end in ends:  # a TLS 1.3 client learns of a refusal only here
        try:
            end.read(1)
        except ssl.SSLWantReadError:
            continue
    return ends


@pytest.mark.parametrize("node_id", ["n1", "node.with-dots", "a/b?c#d %41", "Knoten-ä", "x" * 255])
def test_each_end_learns_the_node_from_the_certificate(node_id: str) -> None:
    """Any node id survives the way through the certificate's URI, in both directions, over TLS 1.3."""
    there, here = issue(AUTHORITY, node_id), issue(AUTHORITY, "n2")
    client, server = shake_hands(client_context(here), server_context(there))
    assert (peer_node_id(client), peer_node_id(server)) == (node_id, "n2")
    assert client.version() == "TLSv1.3"
    assert node_id_of(there.cert_pem) == node_id


def test_the_authority_names_its_cluster() -> None:
    """A node learns from the authority alone which cluster it is in."""
    assert cluster_id_of(AUTHORITY.cert_pem) == "cluster-1"


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_an_unusable_name_is_refused(name: str) -> None:
    """Neither a cluster nor a node may be nameless, or have a name without bound."""
    with pytest.raises(TlsMaterialRefused):
        new_authority(name)
    with pytest.raises(TlsMaterialRefused):
        issue(AUTHORITY, name)


def test_another_authority_of_the_same_name_is_not_trusted() -> None:
    """Trust hangs on the key of the authority, not on what it calls itself."""
    other = issue(new_authority("cluster-1"), "n1")
    ours = issue(AUTHORITY, "n2")
    with pytest.raises(ssl.SSLError):
        shake_hands(client_context(other), server_context(ours))
    with pytest.raises(ssl.SSLError):
        shake_hands(client_context(ours), server_context(other))


def test_a_certificate_outside_its_time_is_refused() -> None:
    """Expired or not yet valid, at either end."""
    early = new_authority("cluster-1", now=datetime.now(UTC) + timedelta(days=3))
    for stale, ours in (
        (issue(AUTHORITY, "n1", until=datetime.now(UTC) - timedelta(hours=1)), issue(AUTHORITY, "n2")),
        (issue(early, "n1"), issue(early, "n2")),
    ):
        with pytest.raises(ssl.SSLError):
            shake_hands(client_context(stale), server_context(ours))
        with pytest.raises(ssl.SSLError):
            shake_hands(client_context(ours), server_context(stale))


def test_a_certificate_does_not_depend_on_the_clock_it_was_made_by() -> None:
    """It is good for as long as its authority, so that a node whose clock is set right stays a peer."""
    cert = x509.load_pem_x509_certificate(issue(AUTHORITY, "n1").cert_pem)
    ca = x509.load_pem_x509_certificate(AUTHORITY.cert_pem)
    assert cert.not_valid_before_utc == ca.not_valid_before_utc <= datetime.now(UTC) - timedelta(hours=23)
    assert cert.not_valid_after_utc == ca.not_valid_after_utc > datetime.now(UTC) + timedelta(days=29 * 365)


def test_a_node_certificate_cannot_sign_another() -> None:
    """A stolen node key makes no new members: a certificate below it is not accepted."""
    node = issue(AUTHORITY, "n1")
    forged = issue(type(AUTHORITY)(node.cert_pem, node.key_pem), "n9")
    chained = TlsMaterial(AUTHORITY.cert_pem, forged.cert_pem + node.cert_pem, forged.key_pem)
    with pytest.raises(ssl.SSLError):
        shake_hands(client_context(chained), server_context(issue(AUTHORITY, "n2")))


def test_the_authoritys_own_certificate_is_no_node() -> None:
    """Whoever holds the authority's key still has to issue a node certificate to be one."""
    with pytest.raises(TlsMaterialRefused, match="names no"):
        node_id_of(AUTHORITY.cert_pem)


def test_a_client_without_a_certificate_is_refused() -> None:
    """Knowing the authority's certificate, which is public, is not enough."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=AUTHORITY.cert_pem.decode())
    with pytest.raises(ssl.SSLError):
        shake_hands(context, server_context(issue(AUTHORITY, "n1")))


def test_older_tls_is_refused() -> None:
    """TLS 1.2 is not spoken, whatever the client offers."""
    context = client_context(issue(AUTHORITY, "n1"))
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake_hands(context, server_context(issue(AUTHORITY, "n2")))


def test_damaged_material_is_a_clear_error() -> None:
    """Garbage, a key of another certificate, a damaged authority: TlsMaterialRefused that quotes none of it."""
    good, other = issue(AUTHORITY, "n1"), issue(AUTHORITY, "n2")
    damaged = [
        TlsMaterial(b"garbage", good.cert_pem, good.key_pem),
        TlsMaterial(b"\xff\xfe", good.cert_pem, good.key_pem),
        TlsMaterial(good.ca_pem, b"garbage", good.key_pem),
        TlsMaterial(good.ca_pem, good.cert_pem, b"canary-key"),
        TlsMaterial(good.ca_pem, good.cert_pem, other.key_pem),
    ]
    for material in damaged:
        with pytest.raises(TlsMaterialRefused) as refused:
            server_context(material)
        assert "canary" not in str(refused.value)
    with pytest.raises(TlsMaterialRefused):
        issue(type(AUTHORITY)(AUTHORITY.cert_pem, b"garbage"), "n1")


def test_keys_show_in_no_repr() -> None:
    """Neither object tells its private key when it is printed or logged."""
    material = issue(AUTHORITY, "n1")
    assert "PRIVATE" not in repr(AUTHORITY) + repr(material)
    assert b"PRIVATE" in material.key_pem
