"""The Kubernetes manifest: what can be checked without a cluster."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.errors import DataFolderRefused
from cluster.folder import open_folder
from node.config.load import load
from node.config.services import KubernetesRegistration
from node.config.storage import RaftStorage
from tests.deploy.test_compose import COMPOSE

MANIFEST = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes" / "strongroom.yaml"


def documents() -> list[dict[str, Any]]:
    """All objects of the manifest."""
    return [each for each in yaml.safe_load_all(MANIFEST.read_text()) if each]


def of_kind(kind: str) -> list[dict[str, Any]]:
    """The objects of this kind."""
    return [each for each in documents() if each["kind"] == kind]


def pod() -> dict[str, Any]:
    """The pod of the StatefulSet."""
    spec: dict[str, Any] = of_kind("StatefulSet")[0]["spec"]["template"]["spec"]
    return spec


def environment(pod_name: str) -> dict[str, str]:
    """What the kubelet makes of the container's variables."""
    fields = {"metadata.name": pod_name, "metadata.namespace": "strongroom"}
    found: dict[str, str] = {}
    for each in pod()["containers"][0]["env"]:
        value = each.get("value") or fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
        found[each["name"]] = re.sub(r"\$\((\w+)\)", lambda name: found[name[1]], value)
    return found


@pytest.mark.parametrize("name", ["strongroom-0", "strongroom-1", "strongroom-2"])
def test_a_pod_has_all_it_needs(tmp_path: Path, name: str) -> None:
    """The ConfigMap with a pod's environment is a whole configuration that joins all three under names that resolve."""
    file = tmp_path / "node.hcl"
    file.write_text(of_kind("ConfigMap")[0]["data"]["node.hcl"])
    config = load([file], environment(name))
    assert not config.warnings
    assert isinstance(config.storage, RaftStorage) and config.storage.node_id == name
    headless = next(each for each in of_kind("Service") if each["spec"].get("clusterIP") == "None")
    stateful = of_kind("StatefulSet")[0]
    assert stateful["spec"]["serviceName"] == headless["metadata"]["name"]
    everyone = [f"strongroom-{i}.{headless['metadata']['name']}" for i in range(stateful["spec"]["replicas"])]
    assert [join.leader_api_addr for join in config.storage.retry_join] == [f"http://{each}:8200" for each in everyone]
    assert config.api_addr in [join.leader_api_addr for join in config.storage.retry_join]
    assert isinstance(config.service_registration, KubernetesRegistration)
    assert config.service_registration.pod_name == name
    mounts = {mount["mountPath"] for mount in pod()["containers"][0]["volumeMounts"]}
    assert {"/data", "/etc/strongroom", "/run/secrets/seal", "/tmp"} == mounts


def test_a_volume_that_its_group_may_read_is_made_private(tmp_path: Path) -> None:
    """The init container's own command, on a folder as the kubelet leaves it; it creates a missing one, too."""
    command = pod()["initContainers"][0]["command"]
    command = [part.replace("/data", str(tmp_path)) for part in command]
    raft = tmp_path / "raft"
    subprocess.run(command, check=True)
    open_folder(raft, "strongroom-0").close()
    for each in (raft, raft / "node-id", raft / "raft"):
        each.chmod(0o770)
    with pytest.raises(DataFolderRefused):
        open_folder(raft, "strongroom-0")
    subprocess.run(command, check=True)
    open_folder(raft, "strongroom-0").close()


def test_the_pod_asks_for_no_rights() -> None:
    """CVE-2020-35192, in a pod: the user is the image's, without capabilities, on a file system it cannot write."""
    assert of_kind("Namespace")[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    context = pod()["securityContext"]
    assert context["runAsNonRoot"] is True and context["seccompProfile"]["type"] == "RuntimeDefault"
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}" in (COMPOSE / "Dockerfile").read_text()
    for container in (*pod()["containers"], *pod()["initContainers"]):
        locked = container["securityContext"]
        assert locked["allowPrivilegeEscalation"] is False and locked["readOnlyRootFilesystem"] is True
        assert locked["capabilities"] == {"drop": ["ALL"]}
    (role,) = of_kind("Role")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "update", "patch"]}]


def test_services_select_what_the_nodes_label() -> None:
    """node/registration/kubernetes.py sets these labels."""
    selectors = {each["metadata"]["name"]: each["spec"]["selector"] for each in of_kind("Service")}
    assert selectors["strongroom-active"]["vault-active"] == "true"
    assert selectors["strongroom"]["vault-sealed"] == "false"
    labels = of_kind("StatefulSet")[0]["spec"]["template"]["metadata"]["labels"]
    assert all(selector["app"] == labels["app"] for selector in selectors.values())
