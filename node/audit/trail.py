"""The two records of one request: before it is worked on, and before it is answered."""

import asyncio
from typing import Final

from cluster.errors import ClusterError
from cluster.meters import clock
from engines.common.errors import PermissionDenied
from engines.common.frame import Operation
from node.audit.broker import Broker, Device
from node.audit.channel import Record
from node.audit.lines import Exchange, Head
from node.errors import AuditFailed, NotAWrappingToken
from node.identify import Identified
from node.mounts import Mount, Router
from node.policy.names import ROOT_NAME
from node.request import Request
from node.response import Response, of_error, refusal
from node.status import KNOWN

# Their answer is given while the devices close, because the node stops serving (documentation: non-audited paths).
# That they were asked for is recorded. So it is with a restore, which has replaced the table of devices itself.
_UNRECORDED_ANSWERS: Final = frozenset({"sys/seal", "sys/step-down"})
_REQUEST_FAILED: Final = "no audit device could record the request; nothing was done"
_RESPONSE_FAILED: Final = (
    "no audit device could record the response; if the request was a write, read before writing again"
)
_ROOT: Final = (ROOT_NAME,)


class Trail:
    """Made for each request while there is an audit device.

    Invariant: `request` returns only once a device has the request, `answered` and `refused` only once one has the
    answer; else they raise AuditFailed, and the caller must work on nothing and answer nothing. The record of a request
    that can change nothing may wait for its answer's: nobody has heard of either before both are written.
    """

    __slots__ = ("_broker", "_devices", "_exchange", "_heads", "_held_at_ms", "_request", "_router", "who")

    def __init__(self, broker: Broker, router: Router, request: Request) -> None:
        self.who: Identified | None = None  # the sender, once the pipeline knows it
        self._broker = broker
        self._router = router
        self._request = request
        self._exchange: Exchange | None = None
        self._held_at_ms = 0  # since when the request's record waits; 0: it does not
        self._devices: tuple[Device, ...] = ()
        self._heads: list[Head] = []

    async def request(self, mount: Mount, operation: Operation, *, may_wait: bool = False) -> None:
        """Record a request that policy lets pass; a second call, when its plan is made again, records nothing.

        `may_wait`: it only reads what is stored.
        """
        if self._exchange is not None:
            return
        who = self.who
        granting: tuple[str, ...] = ()
        if who is not None and who.token is not None:
            granting = _ROOT if who.acl.is_root else who.acl.granting(operation, self._request.path)
        self._exchange = Exchange(
            request=self._request,
            operation="help" if self._request.help else operation.value,
            who=who,
            mount=mount,
            is_allowed=True,
            granting=granting,
        )
        if may_wait:
            self._held_at_ms = self._broker.sources.now_ms()
            return
        began_s, meters = clock(), self._broker.meters
        record = self._send_request(self._exchange, "")
        is_recorded = await record.wait() if record.outcome is None else record.outcome
        meters.audit_request.add(clock() - began_s)
        if not is_recorded:
            meters.audit_request_failure.value += 1
            raise AuditFailed(_REQUEST_FAILED)

    async def answered(self, response: Response) -> None:
        """Record the answer that is about to be given."""
        if self._request.path in _UNRECORDED_ANSWERS or self._request.upload is not None:
            return
        await self._record_answer(response, "")

    async def refused(self, error: BaseException) -> None:
        """Record that the request ends with an error, which the caller raises again."""
        if isinstance(error, AuditFailed):
            return
        if isinstance(error, ClusterError) and self._exchange is None:
            return  # nothing was done with it here, and whoever leads now records it
        if isinstance(error, asyncio.CancelledError):
            # Nobody can wait for these records: the request has run out of time, or the node stops.
            if self._held_at_ms:
                self._send_both(Response(500), "the request was cut off")
            elif self._exchange is not None:
                self._send_response(Response(500), "the request was cut off")
            return
        await self.request_refused(error)
        text = _text_of(error)
        assert self._exchange is not None
        response = of_error(error) if isinstance(error, KNOWN) else refusal(500, text)
        try:
            await self._record_answer(response, text)
        except AuditFailed:
            # The cluster's own errors tell nothing that is stored here, and are what makes the node ask elsewhere.
            if not isinstance(error, ClusterError):
                raise

    async def request_refused(self, error: BaseException) -> None:
        """Record a request that is to be refused, unless it is recorded already."""
        if self._exchange is not None:
            return
        self._exchange = self._refused_exchange(is_allowed=not isinstance(error, (PermissionDenied, NotAWrappingToken)))
        if not await self._send_request(self._exchange, _text_of(error)).wait():
            self._broker.meters.audit_request_failure.value += 1
            raise AuditFailed(_REQUEST_FAILED)

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

    def _send_request(self, exchange: Exchange, error: str) -> Record:
        at_ms = self._broker.sources.now_ms()
        devices = self._take_devices(exchange)
        record = Record(len(devices))
        for device, head in zip(devices, self._heads, strict=True):
            device.channel.send(device.formatter.request_line(head, at_ms, error), record)
        return record

    async def _record_answer(self, response: Response, error: str) -> None:
        """Record the answer, behind its request if that still waits. Raises AuditFailed."""
        began_s, meters = clock(), self._broker.meters
        if self._held_at_ms:
            asked, answered = self._send_both(response, error)
            is_recorded = await asked.wait() if asked.outcome is None else asked.outcome
            meters.audit_request.add(clock() - began_s)
            if not is_recorded:
                meters.audit_request_failure.value += 1
                raise AuditFailed(_REQUEST_FAILED)
        else:
            answered = self._send_response(response, error)
        is_recorded = await answered.wait() if answered.outcome is None else answered.outcome
        meters.audit_response.add(clock() - began_s)
        if not is_recorded:
            meters.audit_response_failure.value += 1
            raise AuditFailed(_RESPONSE_FAILED)

    def _send_both(self, response: Response, error: str) -> tuple[Record, Record]:
        assert self._exchange is not None
        asked_ms, self._held_at_ms = self._held_at_ms, 0
        answered_ms = self._broker.sources.now_ms()
        devices = self._take_devices(self._exchange)
        records = (Record(len(devices)), Record(len(devices), is_response=True))
        for device, head in zip(devices, self._heads, strict=True):
            form = device.formatter
            lines = (form.request_line(head, asked_ms), form.response_line(head, answered_ms, response, error))
            device.channel.send_both(lines, records)
        return records

    def _send_response(self, response: Response, error: str) -> Record:
        assert self._exchange is not None
        at_ms = self._broker.sources.now_ms()
        devices = self._take_devices(self._exchange)
        record = Record(len(devices), is_response=True)
        for device, head in zip(devices, self._heads, strict=True):
            device.channel.send(device.formatter.response_line(head, at_ms, response, error), record)
        return record

    def _take_devices(self, exchange: Exchange) -> tuple[Device, ...]:
        """The devices as of now, with what both records share encoded once for each."""
        devices = self._broker.devices
        if devices is not self._devices:
            headers = self._broker.headers
            self._heads = [device.formatter.head(exchange, headers) for device in devices]
            self._devices = devices
        return devices


def _text_of(error: BaseException) -> str:
    """What a record says of an error; one that is not known may quote a secret."""
    return str(error) if isinstance(error, KNOWN) else "internal error"
