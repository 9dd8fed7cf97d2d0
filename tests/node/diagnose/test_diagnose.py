"""node/diagnose/: what each check finds in what a tired operator has left there."""

import datetime
import json
import os
import resource
import socket
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from node.diagnose.machine import check_clock, check_open_files, check_randomness
from node.diagnose.report import Finding, Status
from node.diagnose.run import NAME, diagnose, exit_code
from tests.processes.cluster import STATIC_KEY, free_ports

KEY_CANARY = STATIC_KEY


def text(finding: Finding) -> str:
    """The report as a person reads it."""
    return "\n".join(finding.lines())


def found(finding: Finding, name: str) -> Finding:
    """The check of this name."""
    every = [finding]
    for each in every:
        every += each.children
    return next(each for each in every if each.name == name)


def configuration(folder: Path, **changes: str) -> Path:
    """A sound configuration of one node, but for the changes."""
    (port,) = free_ports(1)
    parts = {
        "storage": f'storage "raft" {{ path = "{folder / "data"}" }}',
        "listener": f'listener "tcp" {{ address = "127.0.0.1:{port}"\n tls_disable = true }}',
        "seal": f'seal "static" {{ current_key_id = "a"\n current_key = "{KEY_CANARY}" }}',
        "api": f'api_addr = "http://127.0.0.1:{port}"',
        "cluster": 'cluster_addr = "https://127.0.0.1:8201"',
    } | changes
    file = folder / "node.hcl"
    file.write_text("\n".join(parts.values()))
    return file


def certificate(folder: Path, begins_days: int, ends_days: int) -> str:
    """The listener keys of a certificate that is valid between these days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=begins_days))
        .not_valid_after(now + datetime.timedelta(days=ends_days))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    encryption = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    return f'tls_cert_file = "{folder / "cert.pem"}"\n tls_key_file = "{folder / "key.pem"}"'


def test_a_sound_node_is_found_sound(tmp_path: Path) -> None:
    """Beside what this machine itself lacks; nothing stays behind, no secret is shown, and JSON says the same."""
    (tmp_path / "data").mkdir(mode=0o700)
    report = diagnose([configuration(tmp_path)], {})
    assert report.name == NAME and report.status < Status.FAILURE, text(report)
    for name in ("Parse Configuration", "Check Storage Access", "Check Disk Speed", "Check Autounseal Encryption"):
        assert found(report, name).status is Status.OK, text(report)
    assert "not there yet" not in text(report)
    assert list((tmp_path / "data").iterdir()) == []
    assert KEY_CANARY not in text(report)
    encoded = json.loads(json.dumps(report.encoded()))
    assert encoded["name"] == NAME and encoded["status"] in ("ok", "warn")
    assert {"name", "status"} <= set(encoded["children"][0])


def test_a_configuration_that_cannot_be_read_names_file_and_line(tmp_path: Path) -> None:
    """It ends there; the machine is looked at nevertheless."""
    report = diagnose([configuration(tmp_path, api="api_addr = ")], {})
    assert report.status is Status.FAILURE and exit_code(report) == 1
    assert "node.hcl:" in found(report, "Parse Configuration").message
    assert found(report, "Check Disk Usage")


def test_an_unknown_setting_is_a_warning(tmp_path: Path) -> None:
    """Exit code 2."""
    report = diagnose([configuration(tmp_path, more='colour = "blue"')], {}, ["Check Open File Limit", "check clock"])
    assert "colour" in text(found(report, "Parse Configuration"))
    assert found(report, "Parse Configuration").status is Status.WARNING
    assert exit_code(report) == 2
    with pytest.raises(StopIteration):
        found(report, "Check Open File Limit")


def test_a_folder_that_others_may_read_fails(tmp_path: Path) -> None:
    """With the command that mends it."""
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    report = diagnose([configuration(tmp_path)], {})
    assert found(report, "Check Raft Folder Permissions").status is Status.FAILURE
    assert "chmod" in text(report)


@pytest.mark.parametrize(
    ("begins", "ends", "status", "said"),
    [
        (-40, -1, Status.FAILURE, "has expired"),
        (-1, 10, Status.WARNING, "expires in"),
        (1, 90, Status.FAILURE, "not valid yet"),
        (-1, 90, Status.OK, "another 89 days"),
    ],
)
def test_the_certificates_of_the_listener(tmp_path: Path, begins: int, ends: int, status: Status, said: str) -> None:
    """Expired, soon to be, not yet, and sound."""
    keys = certificate(tmp_path, begins, ends)
    (port,) = free_ports(1)
    listener = f'listener "tcp" {{ address = "127.0.0.1:{port}"\n {keys} }}'
    finding = found(diagnose([configuration(tmp_path, listener=listener)], {}), "Check Listener TLS")
    assert (finding.status, said in finding.message) == (status, True), finding


def test_a_key_of_another_certificate_fails(tmp_path: Path) -> None:
    """As the server would refuse it."""
    keys = certificate(tmp_path, -1, 90)
    own = (tmp_path / "cert.pem").read_bytes()
    certificate(tmp_path, -1, 90)
    (tmp_path / "cert.pem").write_bytes(own)
    report = diagnose([configuration(tmp_path, listener=f'listener "tcp" {{ {keys} }}')], {})
    assert found(report, "Check Listener TLS").status is Status.FAILURE


def test_a_taken_port_fails(tmp_path: Path) -> None:
    """And says that a running server explains it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listener = f'listener "tcp" {{ address = "127.0.0.1:{taken.getsockname()[1]}"\n tls_disable = true }}'
        report = diagnose([configuration(tmp_path, listener=listener)], {})
    assert found(report, "Create Listeners").status is Status.FAILURE


def test_addresses_that_nobody_could_reach(tmp_path: Path) -> None:
    """No api_addr is a warning, a cluster address of all interfaces a failure."""
    report = diagnose([configuration(tmp_path, api="", cluster='cluster_addr = "https://0.0.0.0:8201"')], {})
    assert found(report, "Determine Redirect Address").status is Status.WARNING
    assert found(report, "Check Cluster Address").status is Status.FAILURE


def test_a_seal_that_cannot_be_made_fails_without_its_key(tmp_path: Path) -> None:
    """A key of the wrong length."""
    seal = 'seal "static" { current_key_id = "a"\n current_key = "c2hvcnQ=" }'
    report = diagnose([configuration(tmp_path, seal=seal)], {})
    assert found(report, "Create Vault Server Configuration Seals").status is Status.FAILURE
    assert "c2hvcnQ=" not in text(report)


@pytest.mark.parametrize(("address", "status"), [("127.0.0.1:8500", Status.OK), ("10.0.0.9:8500", Status.WARNING)])
def test_consul_is_reached_through_a_local_agent(tmp_path: Path, address: str, status: Status) -> None:
    """A server's address is a warning."""
    stanza = f'service_registration "consul" {{ address = "{address}" }}'
    report = diagnose([configuration(tmp_path, consul=stanza)], {})
    assert found(report, "Check Consul Direct Service Discovery").status is status


def test_the_machine() -> None:
    """Few open files, a clock of yesteryear or on its own, and random bytes that repeat."""
    assert check_open_files(lambda _: (1024, 4096)).status is Status.WARNING
    assert check_open_files(lambda _: (resource.RLIM_INFINITY, 0)).status is Status.OK
    assert check_clock(lambda: 0.0).status is Status.FAILURE
    assert check_clock(time.time, lambda: 5).status is Status.WARNING
    assert check_clock(time.time, lambda: 0).status is Status.OK
    assert check_clock(time.time, lambda: None).status is Status.SKIPPED
    assert check_randomness(os.urandom).status is Status.OK
    assert check_randomness(bytes).status is Status.FAILURE
