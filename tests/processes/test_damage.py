"""Damaged files, wrong folders and keys, full disks, taken ports: one clear line each, never a traceback or a loss."""

import contextlib
import os
import random
import resource
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest

from cluster.tls import client_context, issue, new_authority
from tests.processes.cluster import (
    PROGRAM,
    ROOT,
    Cluster,
    Node,
    clean_environment,
    cluster,
    free_ports,
    make_cluster,
    node_config,
    single,
    wait_until,
)
from tests.processes.small_disk import fill, small_disk

pytestmark = pytest.mark.processes

SECRETS = 20


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The data folder of a node that was stopped gracefully, with SECRETS secrets in it, and its root token."""
    folder = tmp_path_factory.mktemp("template")
    with single(folder) as one:
        for i in range(SECRETS):
            reply = one.call("POST", f"secret/data/s{i}", {"data": {"value": f"{i}" * 300}})
            assert reply.status == 200
        node = one[0]
        assert node.stop() == 0
        return node.data, one.root_token


@pytest.fixture
def node(template: tuple[Path, str], tmp_path: Path) -> Iterator[Node]:
    """A node that is not running, with a copy of the template's data."""
    shutil.copytree(template[0], tmp_path / "n1")
    api, cluster_port = free_ports(2)
    made = Node("n1", tmp_path, api, cluster_port, node_config(tmp_path, "n1", api, cluster_port, seal="static"))
    yield made
    made.kill()


def flip(file: Path, offset: int) -> None:
    """Change one bit."""
    data = bytearray(file.read_bytes())
    data[offset] ^= 0x10
    file.write_bytes(data)


def segment(node: Node) -> Path:
    """The newest journal segment."""
    return sorted((node.data / "raft" / "journal").iterdir())[-1]


def require_secrets(node: Node, token: str, count: int = SECRETS) -> None:
    """The node is active and holds every secret."""
    wait_until(lambda: node.call("GET", "sys/health").status == 200, "the node is active")
    for i in range(count):
        reply = node.call("GET", f"secret/data/s{i}", token=token)
        assert reply.json["data"]["data"] == {"value": f"{i}" * 300}, i


def test_whole_template_serves(node: Node, template: tuple[Path, str]) -> None:
    """The undamaged copy serves: what the other tests see is their damage."""
    node.start()
    require_secrets(node, template[1])


@pytest.mark.parametrize("part", [0.1, 0.5, 0.8])
def test_bit_flip_within_the_journal(node: Node, part: float) -> None:
    """A frame that was written whole is not what it was: the node refuses to start and names file and remedy."""
    file = segment(node)
    flip(file, int(file.stat().st_size * part))
    error = node.refuses()
    assert str(file) in error and "damaged at offset" in error and "remove-peer" in error


def test_journal_segment_missing(node: Node) -> None:
    """Without its journal a node has forgotten what it acknowledged beyond its state, and does not take part."""
    segment(node).unlink()
    assert "journal" in (error := node.refuses()) and "is missing" in error


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.99])
def test_truncated_state(node: Node, keep: float) -> None:
    """A cut LMDB file is refused with its name, instead of ending the process by a signal when it is read."""
    file = node.data / "vault.db" / "data.mdb"
    with lmdb.open(str(file.parent), readonly=True, lock=False) as environment:
        used = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    os.truncate(file, int(used * keep))
    error = node.refuses()
    assert str(file) in error and "damaged" in error


def test_bit_flip_within_the_state(node: Node) -> None:
    """A rotten page of the state is found before anything is served from it: one line with file and remedy."""
    file = node.data / "vault.db" / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b"logical/", b"lo\x07ical/"))  # in keys, which would be gone
    error = node.refuses()
    assert str(file) in error and "damaged" in error and "remove-peer" in error


def test_state_is_not_a_database(node: Node) -> None:
    """An LMDB file overwritten by something else is refused."""
    file = node.data / "vault.db" / "data.mdb"
    file.write_bytes(random.Random(1).randbytes(file.stat().st_size))
    assert "damaged" in node.refuses()


def test_vote_damaged_or_missing(node: Node) -> None:
    """A node that may have forgotten its vote does not take part (Raft, 5.2)."""
    file = node.data / "raft" / "vote"
    whole = file.read_bytes()
    flip(file, len(whole) - 1)
    assert "vote is damaged" in node.refuses()
    file.write_bytes(whole[:10])
    assert "vote is truncated" in node.refuses()
    file.unlink()
    assert "vote is missing" in node.refuses()


def test_folder_of_another_node(node: Node) -> None:
    """A data folder names its node, and is not used for another."""
    node.config = node.config.replace('node_id = "n1"', 'node_id = "n2"')
    error = node.refuses()
    assert "belongs to node 'n1'" in error and "'n2'" in error


def test_loose_permissions(node: Node) -> None:
    """A folder that others may enter is refused, with the command that mends it."""
    node.data.chmod(0o755)
    assert f"chmod -R go= {node.data}" in node.refuses()
    node.data.chmod(0o700)
    (node.data / "raft").chmod(0o770)
    assert f"{node.data / 'raft'} is open to other users" in node.refuses()


def test_folder_in_use(node: Node, tmp_path: Path) -> None:
    """A second process on the same folder is refused; the first one goes on."""
    node.start()
    api, cluster_port = free_ports(2)
    other = Node("other", tmp_path, api, cluster_port, node_config(tmp_path, "n1", api, cluster_port, seal="static"))
    assert "in use by another running process" in other.refuses()
    assert node.call("GET", "sys/seal-status").status == 200


def test_api_port_in_use(node: Node) -> None:
    """The listener's port is taken: the message says which and what to do."""
    with socket.create_server(("127.0.0.1", node.api_port)):
        assert f"cannot listen on 127.0.0.1:{node.api_port}" in node.refuses()


def test_cluster_port_in_use(node: Node) -> None:
    """The cluster port is taken on a node that unseals by itself: it ends with that error and does not wait."""
    with socket.create_server(("127.0.0.1", node.cluster_port)):
        assert f"cannot listen on cluster address 127.0.0.1:{node.cluster_port}" in node.refuses()


def test_seal_key_of_another_cluster(node: Node) -> None:
    """With another static key the node stays sealed, says so once, and serves what a sealed node serves."""
    node.config = node.config.replace('current_key = "AAEC', 'current_key = "BBEC')
    node.start()
    wait_until(lambda: "does not open this node's root key" in node.log, "the log says it")
    assert node.call("GET", "sys/health").status == 503
    assert "Traceback" not in node.log


CONFIG_MISTAKES: dict[str, tuple[Callable[[str], str], str]] = {
    "no storage": (lambda c: c.replace('storage "raft"', 'ui_custom "raft"'), "storage block is required"),
    "unknown storage": (lambda c: c.replace('storage "raft"', 'storage "floppy"'), ".hcl:1: "),
    "not HCL": (lambda c: c + "}}}\n", ".hcl:"),
    "wrong type": (lambda c: c.replace("tls_disable = true", 'tls_disable = "perhaps"'), ".hcl:"),
    "bad address": (
        lambda c: c.replace('address = "127.0.0.1:', 'address = "127.0.0.1-', 1),
        "cannot listen on 127.0.0.1-",
    ),
    "bad cluster_addr": (lambda c: c.replace('cluster_addr = "https://127', 'cluster_addr = "no url 127'), ".hcl:"),
    "no certificate": (lambda c: c.replace("tls_disable = true", 'tls_cert_file = "/no/such.pem"'), "tls"),
    "short seal key": (lambda c: c.replace('current_key = "AAEC', 'current_key = "EC'), "key"),
}


@pytest.mark.parametrize("mistake", CONFIG_MISTAKES)
def test_configuration_mistakes(node: Node, mistake: str) -> None:
    """Each is one line that names the file and line, or what is missing."""
    change, expected = CONFIG_MISTAKES[mistake]
    changed = change(node.config)
    assert changed != node.config
    node.config = changed
    assert expected in node.refuses()


def test_configuration_file_missing(tmp_path: Path) -> None:
    """A path that is not there is named."""
    done = subprocess.run(
        [*PROGRAM, "server", f"-config={tmp_path / 'none.hcl'}"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "none.hcl" in done.stderr and "Traceback" not in done.stderr


# -- key shares


def test_wrong_shares(tmp_path: Path) -> None:
    """A wrong share, one twice, one of another cluster: told apart from success, harmless, and nothing is repeated."""
    one = make_cluster(tmp_path, 1, seal="")
    other = make_cluster(tmp_path / "other", 1, seal="")
    (tmp_path / "other").mkdir()
    node, stranger = one[0], other[0]
    try:
        node.start()
        stranger.start()
        assert node.call("PUT", "sys/unseal", {"key": "00" * 33}).status == 400  # not initialised
        init = {"secret_shares": 3, "secret_threshold": 2}
        keys = node.call("PUT", "sys/init", init).json["keys_base64"]
        foreign = stranger.call("PUT", "sys/init", init).json["keys_base64"]

        def unseal(key: object) -> tuple[int, dict[str, object]]:
            reply = node.call("PUT", "sys/unseal", {"key": key})
            assert str(key)[:8] not in reply.body.decode() or not key
            return reply.status, reply.json

        for bad in ("", "!", "AAAA", "é" * 44, keys[0][:-4], keys[0] * 2, "0" * 66, 5, ["x"], {"a": 1}, "x" * 5000):
            status, body = unseal(bad)
            assert status == 400 and body["errors"], bad
        assert unseal(keys[0])[1]["progress"] == 1
        assert unseal(keys[0])[1]["progress"] == 1, "a share given twice does not count"
        status, body = unseal(foreign[1])
        assert (status, node.call("GET", "sys/seal-status").json["progress"]) == (400, 0), body
        assert unseal(foreign[0])[1]["progress"] == 1
        assert unseal(foreign[1])[0] == 400, "all shares of another cluster"
        assert unseal(keys[2])[1]["progress"] == 1
        assert unseal(keys[1])[1]["sealed"] is False
        assert "Traceback" not in node.log
        assert not any(key in node.log for key in (*keys, *foreign))
    finally:
        one.stop()
        other.stop()


def test_init_that_failed_can_be_repeated(tmp_path: Path) -> None:
    """An init that fails on a taken cluster port says so, and succeeds once the port is free, after a restart too."""
    one = make_cluster(tmp_path, 1, seal="")
    node = one[0]
    init = {"secret_shares": 1, "secret_threshold": 1}
    try:
        node.start()
        with socket.create_server(("127.0.0.1", node.cluster_port)):
            reply = node.call("PUT", "sys/init", init)
            assert reply.status == 500 and str(node.cluster_port) in reply.json["errors"][0], reply
            assert node.call("GET", "sys/init").json == {"initialized": False}
        assert node.stop() == 0, node.log
        (other,) = free_ports(1)
        node.config = node.config.replace(str(node.cluster_port), str(other))
        node.start()
        keys = node.call("PUT", "sys/init", init).json["keys_base64"]
        with socket.create_server(("127.0.0.1", other)):
            reply = node.call("PUT", "sys/unseal", {"key": keys[0]})
            assert reply.status == 500 and str(other) in reply.json["errors"][0], reply
        assert node.call("PUT", "sys/unseal", {"key": keys[0]}).json["sealed"] is False
        wait_until(lambda: node.call("GET", "sys/health").status == 200, "it is active")
        assert "Traceback" not in node.log
    finally:
        one.stop()


# -- the cluster


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes with SECRETS secrets."""
    with cluster(tmp_path_factory.mktemp("damage")) as three:
        for i in range(SECRETS):
            three.call("POST", f"secret/data/s{i}", {"data": {"value": f"{i}" * 300}})
        yield three


@pytest.mark.parametrize("damage", ["cut 1", "cut 40", "flip", "garbage behind"])
def test_torn_tail_is_fetched_again(shared: Cluster, damage: str) -> None:
    """What a crash tore off a follower's journal comes from its peers, and the log says that it was cut."""
    follower = next(node for node in shared.nodes if node is not shared.wait_leader())
    follower.kill()
    file = segment(follower)
    size = file.stat().st_size
    if damage.startswith("cut"):
        os.truncate(file, size - int(damage.split()[1]))
    elif damage == "flip":
        flip(file, size - 3)
    else:
        with file.open("ab") as opened:
            opened.write(b"SRJ1" + b"\x7f" * 60)
    said = len(follower.log)
    follower.start()
    wait_until(lambda: follower.call("GET", "sys/health").status in (200, 429), "it is back")
    shared.wait_applied()
    assert "cut a torn write off the journal" in follower.log[said:]
    assert "Traceback" not in follower.log
    require_secrets(shared.wait_leader(), shared.root_token)


def test_strangers_at_the_cluster_port(shared: Cluster, tmp_path: Path) -> None:
    """Garbage, silence and another cluster's certificate change nothing and end no listener."""
    leader = shared.wait_leader()
    material = issue(new_authority("another-cluster"), "n2")
    rng = random.Random(7)
    for node in shared.nodes:
        idle = [socket.create_connection(("127.0.0.1", node.cluster_port)) for _ in range(5)]
        for size in (0, 1, 5, 100, 100_000):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", node.cluster_port)) as knock:
                knock.sendall(rng.randbytes(size))
                knock.settimeout(2)
                knock.shutdown(socket.SHUT_WR)
                while knock.recv(4096):
                    pass
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", node.cluster_port)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            plain.settimeout(2)
            plain.recv(4096)
        with (
            pytest.raises(OSError),
            socket.create_connection(("127.0.0.1", node.cluster_port)) as raw,
            client_context(material).wrap_socket(raw, server_hostname=None) as stranger,
        ):
            stranger.settimeout(5)
            stranger.sendall(b"\x00" * 100)
            if not stranger.recv(1):
                raise ConnectionResetError
        for each in idle:
            each.close()
    for node in shared.nodes:
        reply = node.call("POST", "secret/data/after", {"data": {"from": node.name}}, token=shared.root_token)
        assert reply.status == 200
        assert "Traceback" not in node.log
    assert shared.wait_leader() is leader, "nobody was elected for it"


# -- disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB."""
    yield from small_disk(tmp_path / "disk", 16)


def write_until_refused(node: Node, token: str) -> dict[str, str]:
    """Write secrets until one is not acknowledged; those that were."""
    acknowledged: dict[str, str] = {}
    for i in range(5000):
        value = f"{i:05d}" * 4000
        try:
            reply = node.call("POST", f"secret/data/f{i}", {"data": {"value": value}}, token=token)
        except OSError:
            return acknowledged
        if reply.status != 200:
            assert reply.status in (500, 503) and reply.json["errors"], reply.body
            return acknowledged
        acknowledged[f"f{i}"] = value
    raise AssertionError("the disk never became full")


def require_written(node: Node, token: str, written: dict[str, str]) -> None:
    """Every one of them is there."""
    wait_until(lambda: node.call("GET", "sys/health").status == 200, "the node is active")
    for name, value in written.items():
        reply = node.call("GET", f"secret/data/{name}", token=token)
        assert reply.status == 200 and reply.json["data"]["data"] == {"value": value}, name


def ended_with_one_error(node: Node, said: int) -> None:
    """The process has ended with exit code 1, having told the operator why in one line."""
    assert node.process is not None
    code = node.process.wait(30)
    text = node.log[said:]
    assert code == 1 and "Traceback" not in text, f"{code} {text}"
    errors = [line for line in text.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and "space" in errors[0], text


def test_full_disk_of_a_single_node(node: Node, template: tuple[Path, str], disk: Path) -> None:
    """Nothing is acknowledged that is not on disk: the node stops with one line, and with room again all is there."""
    shutil.move(node.data, disk / "n1")
    node.config = node.config.replace(f'path = "{node.data}"', f'path = "{disk / "n1"}"')
    node.start()
    wait_until(lambda: node.call("GET", "sys/health").status == 200, "the node is active")
    ballast = fill(disk, leave=1_000_000)
    said = len(node.log)
    written = write_until_refused(node, template[1])
    ended_with_one_error(node, said)
    ballast.unlink()
    node.start()
    require_written(node, template[1], written)
    require_secrets(node, template[1])
    assert len(written) > 5


def test_start_on_a_full_disk(node: Node, disk: Path) -> None:
    """A node that cannot even start says so in one line."""
    shutil.move(node.data, disk / "n1")
    node.config = node.config.replace(f'path = "{node.data}"', f'path = "{disk / "n1"}"')
    fill(disk)
    assert "space" in node.refuses()


def test_file_size_limit(node: Node, template: tuple[Path, str]) -> None:
    """A write that the system cuts short (RLIMIT_FSIZE) is a failed one: as with a full disk."""
    limit = 1_500_000

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    node.launch(limited)
    wait_until(node.answers, "the node answers")
    wait_until(lambda: node.call("GET", "sys/health").status == 200, "the node is active")
    said = len(node.log)
    written = write_until_refused(node, template[1])
    ended_with_one_error(node, said)
    node.start()
    require_written(node, template[1], written)
    require_secrets(node, template[1])


def test_full_disk_of_the_leader(tmp_path: Path, disk: Path) -> None:
    """The leader whose disk is full makes way: the others go on, and it comes back when there is room."""
    three = make_cluster(tmp_path, 3, seal="static")
    first = three[0]
    first.config = first.config.replace(f'path = "{first.data}"', f'path = "{disk / "n1"}"')
    try:
        for node in three.nodes:
            node.launch()
        wait_until(first.answers, "n1 answers")
        init = first.call("PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1}).json
        three.root_token = init["root_token"]
        wait_until(lambda: len(three.peers()) == 3, "all have joined")
        three.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        assert three.wait_leader() is first
        fill(disk, leave=500_000)
        said = len(first.log)
        written = write_until_refused(first, three.root_token)
        ended_with_one_error(first, said)
        first.kill()
        require_written(three.wait_leader(10), three.root_token, written)
        (disk / "ballast").unlink()
        first.start()
        three.wait_applied()
    finally:
        three.stop()


def test_certificate_check_is_not_weakened() -> None:
    """The stranger's context of the test above is one that a node would use: only its authority is another."""
    context = client_context(issue(new_authority("another-cluster"), "n2"))
    assert context.verify_mode is ssl.CERT_REQUIRED
