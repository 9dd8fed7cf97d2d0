"""What a node answers that has no keys: before init, and before it is unsealed."""

from pathlib import Path

import pytest

from tests.processes.cluster import make_cluster
from tests.processes.test_bad_input import PATHS
from tests.processes.wire import ask, head

pytestmark = pytest.mark.processes


def every_kind() -> list[tuple[str, str]]:
    """A request of every kind, but for what a node answers in every state."""
    return [
        ("GET", "secret/data/a"),
        ("LIST", "secret/metadata"),
        ("POST", "secret/data/a"),
        ("DELETE", "secret/data/a"),
        ("GET", "invented/a"),
        ("GET", "sys/mounts"),
        ("POST", "sys/mounts/x"),
        ("PUT", "sys/step-down"),
        ("PUT", "sys/seal"),
        ("GET", "sys/leader"),
        ("GET", "sys/ha-status"),
        ("GET", "sys/storage/raft/configuration"),
        ("POST", "auth/token/create"),
        ("GET", "auth/token/lookup-self"),
        ("GET", "cubbyhole/x"),
        ("GET", "sys/internal/ui/mounts"),
        ("GET", "sys/nothing"),
        ("POST", "sys/wrapping/unwrap"),
        ("POST", "sys/storage/raft/bootstrap/challenge"),
    ]


def test_uninitialised_and_sealed_nodes(tmp_path: Path) -> None:
    """Every path but the documented ones is 503 "Vault is sealed", before init and after; bad paths stay 400."""
    one = make_cluster(tmp_path, 1, seal="")
    node = one[0]
    try:
        node.start()
        for phase, health in (("uninitialised", 501), ("sealed", 503)):
            for method, path in every_kind():
                for token in ("", "hvs.x"):
                    body: object = {} if method in ("POST", "PUT") else None
                    reply = node.call(method, path, body, token=token)
                    assert (reply.status, reply.json) == (503, {"errors": ["Vault is sealed"]}), (phase, path, reply)
            assert node.call("GET", "sys/health").status == health
            assert node.call("GET", "sys/health?sealedcode=299&uninitcode=298").status == {501: 298, 503: 299}[health]
            assert node.call("GET", "sys/seal-status").json["sealed"] is True
            assert node.call("GET", "sys/init").json == {"initialized": health == 503}
            assert node.call("GET", "sys/health?sealedcode=abc&uninitcode=abc").status == 400
            assert node.call("BREW", "sys/init").status in (400, 405)
            assert node.call("DELETE", "sys/init").status == 405
            for path in PATHS:
                raw = ask(node.api_port, head("GET", path))
                assert raw.status in (400, 404, 503), (path[:60], raw)
            if phase == "uninitialised":
                init = {"secret_shares": 1, "secret_threshold": 1}
                assert node.call("PUT", "sys/init", init).status == 200
                assert node.call("PUT", "sys/init", init).status == 400
        assert "Traceback" not in node.log and "failed:" not in node.log, node.log[-2000:]
    finally:
        one.stop()
