"""The cluster's own routes: seal, step-down, ha-status, storage/raft/* (API documentation of the same names)."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cluster.errors import MembershipRefused, NoLeader
from engines.common.context import Context
from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan
from node.core import Core
from node.join import answered, challenge
from node.storage import RaftStorage

logger = logging.getLogger(__name__)

_PROTOCOL_VERSION: Final = "3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovePeer:
    """A peer to remove."""

    server_id: str = body_param(Kind.STRING, "The node id of the peer.", required=True)
    dr_operation_token: str | None = body_param(Kind.STRING, "Accepted for compatibility.", secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A node that wants to join."""

    server_id: str = body_param(Kind.STRING, "Its node id.", required=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeAnswer:
    """What a node answers to its challenge."""

    server_id: str = body_param(Kind.STRING, "Its node id.", required=True)
    cluster_addr: str = body_param(Kind.STRING, "Its cluster address.", required=True)
    answer: str = body_param(Kind.STRING, "The opened challenge, base64.", required=True, secret=True)
    empty: bool = body_param(Kind.BOOL, "It has no log yet.", default=False)


@dataclass(frozen=True, slots=True)
class _Cluster:
    core: Core
    # Known to this process only, and never stored: a challenge outlives neither it nor a minute.
    challenge_secret: bytes = field(repr=False)

    async def seal(self, request: Nothing, ctx: Context) -> Plan:
        # The answer must leave through the node that is still unsealed.
        self.core.spawn_detached(self._seal())
        return Plan()

    async def _seal(self) -> None:
        with self.core.meters.seal_with_request.timing():
            await self.core.seal_now()

    async def step_down(self, request: Nothing, ctx: Context) -> Plan:
        if isinstance(self.core.storage, RaftStorage):
            # The answer must leave through the node that still leads: one that no longer does may not answer, and
            # the request would go on to the next leader, to make that one step down too.
            self.core.spawn_detached(self._hand_over(self.core.storage))
        return Plan()

    async def _hand_over(self, storage: RaftStorage) -> None:
        try:
            with self.core.meters.step_down.timing():
                await storage.raft.transfer_leadership()
        except (MembershipRefused, NoLeader) as error:
            # Alone, or nobody has caught up: as documented, the node may win again at once.
            logger.info("leadership was not handed over: %s", error)

    async def ha_status(self, request: Nothing, ctx: Context) -> Plan:
        core, own = self.core, self.core.identity
        nodes: list[dict[str, object]] = [_node(own.hostname, own.api_address, own.cluster_address, own.version, None)]
        for echo in core.echoes.values():
            nodes.append(_node(echo.hostname, echo.api_address, echo.cluster_address, echo.version, echo.at_ms))
        return Plan(Answer(data={"nodes": nodes, "Nodes": nodes}, repeat_data=True))

    def _raft(self) -> RaftStorage:
        if not isinstance(self.core.storage, RaftStorage):
            raise InvalidRequest("raft storage is not in use")
        return self.core.storage

    async def configuration(self, request: Nothing, ctx: Context) -> Plan:
        storage = self._raft()
        servers = [
            {
                "address": peer.address,
                "leader": peer.node_id == storage.leader_id,
                "node_id": peer.node_id,
                "protocol_version": _PROTOCOL_VERSION,
                "voter": peer.voter,
            }
            for peer in sorted(storage.peers(), key=lambda peer: peer.node_id)
        ]
        return Plan(Answer(data={"config": {"index": storage.raft.applied_index, "servers": servers}}))

    async def remove_peer(self, request: RemovePeer, ctx: Context) -> Plan:
        await self._raft().remove_peer(request.server_id)
        return Plan(is_committed=True)

    async def challenge(self, request: Challenge, ctx: Context) -> Plan:
        self._raft()
        return Plan(Answer(data=challenge(self.core, self.challenge_secret, request.server_id)))

    async def answer(self, request: ChallengeAnswer, ctx: Context) -> Plan:
        self._raft()
        data = answered(
            self.core,
            self.challenge_secret,
            request.server_id,
            request.answer,
            request.cluster_addr,
            empty=request.empty,
        )
        return Plan(Answer(data=data))


def _node(hostname: str, api: str, cluster: str, version: str, echo_ms: int | None) -> dict[str, object]:
    last = None if echo_ms is None else rfc3339(echo_ms)
    return {
        "hostname": hostname,
        "api_address": api,
        "cluster_address": cluster,
        "active_node": echo_ms is None,
        "last_echo": last,
        "version": version,
        "upgrade_version": version.partition("+")[0],
        "redundancy_zone": "",
    }


def rfc3339(at_ms: int) -> str:
    """A moment as the API writes it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of sealing, leadership and Raft."""
    own = _Cluster(core, core.sources.random(32))
    raft = "storage/raft"
    return (
        Route(
            pattern="seal",
            operation=Operation.UPDATE,
            request=Nothing,
            handler=own.seal,
            sudo=True,
            summary="Seal the active node.",
        ),
        Route(
            pattern="step-down",
            operation=Operation.UPDATE,
            request=Nothing,
            handler=own.step_down,
            sudo=True,
            summary="Make the active node give up leadership.",
        ),
        Route(
            pattern="ha-status",
            operation=Operation.READ,
            request=Nothing,
            handler=own.ha_status,
            summary="The nodes of the cluster.",
        ),
        Route(
            pattern=f"{raft}/configuration",
            operation=Operation.READ,
            request=Nothing,
            handler=own.configuration,
            summary="The Raft peers.",
        ),
        Route(
            pattern=f"{raft}/remove-peer",
            operation=Operation.UPDATE,
            request=RemovePeer,
            handler=own.remove_peer,
            summary="Remove a Raft peer.",
        ),
        Route(
            pattern=f"{raft}/bootstrap/challenge",
            operation=Operation.UPDATE,
            request=Challenge,
            handler=own.challenge,
            summary="Ask to join.",
            unauthenticated=True,
        ),
        Route(
            pattern=f"{raft}/bootstrap/answer",
            operation=Operation.UPDATE,
            request=ChallengeAnswer,
            handler=own.answer,
            summary="Answer a challenge.",
            unauthenticated=True,
        ),
    )
