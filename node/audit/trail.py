"""The two records of one request: before it is worked on, and before it is answered."""

import asyncio
from typing import Final

from cluster.errors import ClusterError
from engines.common.errors import PermissionDenied
from engines.common.frame import Operation
from node.audit.broker import Broker, Device, recorded
from node.audit.lines import Exchange, Head
from node.errors import AuditFailed
from node.identify import Identified
from node.mounts import Mount, Router
from node.policy.names import ROOT_NAME
from node.request import Request
from node.response import Response, of_error, refusal
from node.status import KNOWN

# Their answer is given while the devices close, because the node stops serving (documentation: non-audited paths).
# That they were asked for is recorded. So it is with a restore, which has replaced the table of devices itself.
_UNRECORDED_ANSWERS: Final = frozenset({"sys/seal", "sys/step-down"})


class Trail:
    """Made for each request while there is an audit device.

    Invariant: `request` returns only once a device has the request, `answered` and `refused` only once one has the
    answer; else they raise AuditFailed, and the caller must work on nothing and answer nothing.
    """

    __slots__ = ("_broker", "_exchange", "_heads", "_request", "_router", "who")

    def __init__(self, broker: Broker, router: Router, request: Request) -> None:
        self.who: Identified | None = None  # the sender, once the pipeline knows it
        self._broker = broker
        self._router = router
        self._request = request
        self._exchange: Exchange | None = None
        self._heads: dict[str, Head] = {}

    async def request(self, mount: Mount, operation: Operation) -> None:
        """Record a request that policy lets pass; a second call, when its plan is made again, records nothing."""
        if self._exchange is not None:
            return
        who = self.who
        granting: tuple[str, ...] = ()
        if who is not None and who.token is not None:
            granting = (ROOT_NAME,) if who.acl.is_root else who.acl.granting(operation, self._request.path)
        exchange = Exchange(
            request=self._request,
            operation="help" if self._request.help else operation.value,
            who=who,
            mount=mount,
            is_allowed=True,
            granting=granting,
        )
        await self._record_request(exchange, "")

    async def answered(self, response: Response) -> None:
        """Record the answer that is about to be given."""
        if self._request.path in _UNRECORDED_ANSWERS or self._request.upload is not None:
            return
        if not await self._record_response(response, ""):
            raise AuditFailed(
                "no audit device could record the response; if the request was a write, read before writing again"
            )

    async def refused(self, error: BaseException) -> None:
        """Record that the request ends with an error, which the caller raises again."""
        if isinstance(error, AuditFailed):
            return
        if isinstance(error, ClusterError) and self._exchange is None:
            return  # nothing was done with it here, and whoever leads now records it
        if isinstance(error, asyncio.CancelledError):
            self._note_cancelled()
            return
        text = str(error) if isinstance(error, KNOWN) else "internal error"
        if self._exchange is None:
            exchange = self._refused_exchange(is_allowed=not isinstance(error, PermissionDenied))
            await self._record_request(exchange, text)
        response = of_error(error, self._request.id) if isinstance(error, KNOWN) else refusal(500, text)
        done = await self._record_response(response, text)
        if not done and not isinstance(error, ClusterError):
            # The cluster's own errors tell nothing that is stored here, and are what makes the node ask elsewhere.
            raise AuditFailed("no audit device could record the response")

    def _refused_exchange(self, *, is_allowed: bool) -> Exchange:
        """What is known of a request that was refused before it was recorded."""
        request = self._request
        found = self._router.match(request.path)
        return Exchange(
            request=request,
            operation=request.operation.value,
            who=self.who,
            mount=None if found is None else found[0].mount,
            is_allowed=is_allowed,
        )

    async def _record_request(self, exchange: Exchange, error: str) -> None:
        self._exchange = exchange
        at_ms = self._broker.sources.now_ms()

        def line(device: Device) -> bytes:
            return device.formatter.request_line(self._head(device, exchange), at_ms, error)

        if not await recorded(self._broker.devices, line):
            raise AuditFailed("no audit device could record the request; nothing was done")

    async def _record_response(self, response: Response, error: str) -> bool:
        exchange = self._exchange
        assert exchange is not None
        at_ms = self._broker.sources.now_ms()

        def line(device: Device) -> bytes:
            return device.formatter.response_line(self._head(device, exchange), at_ms, response, error)

        return await recorded(self._broker.devices, line)

    def _note_cancelled(self) -> None:
        """Nobody can wait for this record: the request has run out of time, or the node stops."""
        exchange = self._exchange
        if exchange is None:
            return
        at_ms, response, text = self._broker.sources.now_ms(), Response(500), "the request was cut off"
        for device in self._broker.devices:
            device.channel.send(
                device.formatter.response_line(self._head(device, exchange), at_ms, response, text), None
            )

    def _head(self, device: Device, exchange: Exchange) -> Head:
        """Encoded once for both records. A device that was enabled in between begins with the response."""
        head = self._heads.get(device.entry.uuid)
        if head is None:
            head = device.formatter.head(exchange, self._broker.headers)
            self._heads[device.entry.uuid] = head
        return head
