"""node/registration/kubernetes.py, against a stand-in for the API server."""

import datetime
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from node.config.services import KubernetesRegistration
from node.errors import ConfigError
from node.registration.kubernetes import Kubernetes
from node.registration.registry import NodeState, NotTold
from tests.node.registration.agents import PodApi, served

POD = "/api/v1/namespaces/safe/pods/strongroom-0"


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """A service account's folder, and the API server's certificate and key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "token").write_text("of-the-pod\n")
    return tmp_path


def stanza(namespace: str = "safe") -> KubernetesRegistration:
    return KubernetesRegistration(namespace=namespace, pod_name="strongroom-0")


async def test_the_labels_follow_the_node(account: Path) -> None:
    """The five documented labels, at each change and at the end."""
    pod = PodApi(POD, "of-the-pod")
    with served(pod.answer, certificate=(account / "ca.crt", account / "key.pem")) as port:
        env = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
        kubernetes = Kubernetes(stanza(), env, "1.18.0+strongroom.1.0", account)
        await kubernetes.tell(NodeState(is_initialized=True, is_sealed=False, is_active=True))
        assert pod.labels == {
            "vault-active": "true",
            "vault-initialized": "true",
            "vault-perf-standby": "false",
            "vault-sealed": "false",
            "vault-version": "1.18.0_strongroom.1.0",
        }
        await kubernetes.leave()
        assert (pod.labels["vault-active"], pod.labels["vault-initialized"]) == ("false", "false")
        assert pod.labels["vault-sealed"] == "true"
        pod.token = "replaced"
        with pytest.raises(NotTold, match="401"):
            await kubernetes.leave()
        (account / "token").write_text("replaced")
        await kubernetes.leave()


async def test_an_api_server_that_is_away_or_a_stranger_is_said(account: Path) -> None:
    """Without the token in the message."""
    env = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    with pytest.raises(NotTold, match="cannot be reached") as told:
        await Kubernetes(stanza(), env, "1", account).leave()
    assert "of-the-pod" not in str(told.value)


def test_outside_of_a_pod_it_is_refused_at_start(account: Path) -> None:
    """And when the stanza and the environment do not say which pod it is."""
    with pytest.raises(ConfigError, match="not a pod"):
        Kubernetes(stanza(), {}, "1", account)
    with pytest.raises(ConfigError, match="downward API"):
        Kubernetes(stanza(""), {"KUBERNETES_SERVICE_HOST": "127.0.0.1"}, "1", account)
