"""`service_registration "consul"` of three real nodes, against a stand-in for the agent (tests/node/registration)."""

from pathlib import Path

import pytest

from tests.node.registration.agents import ConsulAgent, served
from tests.processes.cluster import Cluster, free_ports, make_cluster, wait_until

pytestmark = pytest.mark.processes

TOKEN = "canary-of-the-catalogue"


def start(three: Cluster, port: int) -> None:
    """All three, registering with the agent at this port, and initialised."""
    for node in three.nodes:
        node.config += (
            f'service_registration "consul" {{\n  address = "127.0.0.1:{port}"\n  token = "{TOKEN}"\n'
            '  service_tags = "eu"\n  check_timeout = "2s"\n}\n'
        )
        node.launch()
    wait_until(three[0].answers, "n1 answers")


def test_the_agent_knows_who_is_active_sealed_and_gone(tmp_path: Path) -> None:
    """Tags and health follow each change, an agent that forgot or was away is told again, and who stops leaves."""
    agent = ConsulAgent(token=TOKEN)
    three = make_cluster(tmp_path)
    ids = {node.name: f"vault:127.0.0.1:{node.api_port}" for node in three.nodes}
    everyone = set(ids.values())
    (port,) = free_ports(1)
    try:
        with served(agent.answer, port=port):
            start(three, port)
            wait_until(lambda: set(agent.services) == everyone, "all are registered")
            assert not agent.healthy(), "what is sealed is not healthy"
            init = three[0].call("PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1}).json
            three.root_token = init["root_token"]
            wait_until(lambda: agent.healthy() == everyone, "all are unsealed and healthy")
            wait_until(lambda: len(three.peers()) == len(three.nodes), "all have joined")
            three.wait_applied()
            leader = three.wait_leader()
            wait_until(lambda: agent.healthy("active") == {ids[leader.name]}, "the active one is tagged")
            wait_until(lambda: agent.healthy("standby") == everyone - {ids[leader.name]}, "and so are the others")
            assert agent.healthy("initialized") == agent.healthy("eu") == everyone
            leader.kill()
            wait_until(
                lambda: len(agent.healthy("active") - {ids[leader.name]}) == 1, "another one is active and tagged"
            )
            wait_until(lambda: ids[leader.name] not in agent.healthy(), "who died turns critical by itself")
            agent.forget()
            others = everyone - {ids[leader.name]}
            wait_until(lambda: agent.healthy() == others, "an agent that forgot is told again")
        successor = three.wait_leader()
        assert successor.call("GET", "sys/health").status == 200, "an agent that is away costs the node nothing"
        wait_until(lambda: "registration failed" in successor.log, "it is said once")
        agent.forget()
        with served(agent.answer, port=port):
            wait_until(lambda: agent.healthy() == others, "and is told again when it is back")
            assert successor.stop() == 0
            assert ids[successor.name] not in agent.services, "who stops leaves"
    finally:
        three.stop()
    assert all(TOKEN not in node.log for node in three.nodes)


def test_a_wrong_token_is_said_and_harmless(tmp_path: Path) -> None:
    """The node serves; its log names the remedy and never the token."""
    agent = ConsulAgent(token="another")
    one = make_cluster(tmp_path, 1)
    try:
        with served(agent.answer) as port:
            start(one, port)
            wait_until(lambda: "service:write" in one[0].log, "the remedy is named")
            assert one[0].call("PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1}).status == 200
            wait_until(lambda: agent.heard > 3, "it goes on trying")
    finally:
        one.stop()
    assert one[0].log.count("registration failed") == 1 and TOKEN not in one[0].log
