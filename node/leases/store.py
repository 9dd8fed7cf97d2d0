"""Key names and record bytes of leases, all below a View of the whole storage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgpack

from engines.common.crypto import sha256
from engines.common.plan import Delete, Put, Write
from node.leases.model import Lease, LeaseState
from node.leases.timeline import LEASE, due_key, due_put

LEASES: Final = "sys/lease/id/"
IRREVOCABLE: Final = "sys/lease/irrevocable/"
PREFIX_TASKS: Final = "sys/lease/revoke-prefix/"
_VERSION: Final = b"\x01"


def lease_key(lease_id: str) -> str:
    """Where a lease is stored."""
    return LEASES + lease_id


def _digest(lease_id: str) -> str:
    return sha256(lease_id.encode())[:16].hex()


def of_token_prefix(token_key: str) -> str:
    """Below it, one name for each lease of a token; the value is the lease id."""
    return f"sys/lease/by-token/{token_key}/"


def of_token_key(token_key: str, lease_id: str) -> str:
    """The index entry of one lease of a token."""
    return of_token_prefix(token_key) + _digest(lease_id)


def irrevocable_key(lease_id: str) -> str:
    """The index entry of a lease that could not be revoked; the value is the lease id."""
    return IRREVOCABLE + _digest(lease_id)


def encode_lease(lease: Lease) -> bytes:
    """The record: a format-version byte, then msgpack of the fields in a fixed order."""
    fields = (
        lease.path,
        lease.mount_uuid,
        lease.token_key,
        lease.issued_at_ms,
        lease.expire_at_ms,
        lease.ttl_s,
        lease.max_ttl_s,
        lease.renewable,
        lease.renewed_at_ms,
        lease.end_at_ms,
        lease.state.value,
        lease.attempts,
        lease.error,
        lease.forced,
        lease.due_at_ms,
        lease.internal,
    )
    return _VERSION + bytes(msgpack.packb(fields))


def decode_lease(lease_id: str, value: bytes) -> Lease:
    """The lease of a record written by `encode_lease`. Raises ValueError for another format version."""
    if value[:1] != _VERSION:
        raise ValueError("a lease record of an unknown format version")
    f: list[Any] = msgpack.unpackb(memoryview(value)[1:])
    return Lease(
        lease_id=lease_id,
        path=f[0],
        mount_uuid=f[1],
        token_key=f[2],
        issued_at_ms=f[3],
        expire_at_ms=f[4],
        ttl_s=f[5],
        max_ttl_s=f[6],
        renewable=f[7],
        renewed_at_ms=f[8],
        end_at_ms=f[9],
        state=LeaseState(f[10]),
        attempts=f[11],
        error=f[12],
        forced=f[13],
        due_at_ms=f[14],
        internal=f[15],
    )


def stored(lease: Lease, due_at_ms: int, seen_index: int, was_due_ms: int = 0) -> tuple[Write, ...]:
    """Store the lease with its place in the time index; was_due_ms is the place it had (0: none)."""
    record = Put(lease_key(lease.lease_id), encode_lease(replace(lease, due_at_ms=due_at_ms)), seen_index)
    if was_due_ms == due_at_ms:
        return (record,)
    put = due_put(due_at_ms, LEASE, lease.lease_id)
    return (record, Delete(due_key(was_due_ms, LEASE, lease.lease_id)), put) if was_due_ms else (record, put)


def removed(lease: Lease, seen_index: int | None) -> tuple[Write, ...]:
    """Forget the lease in every index."""
    writes: list[Write] = [Delete(lease_key(lease.lease_id), seen_index)]
    if lease.due_at_ms:
        writes.append(Delete(due_key(lease.due_at_ms, LEASE, lease.lease_id)))
    if lease.token_key:
        writes.append(Delete(of_token_key(lease.token_key, lease.lease_id)))
    if lease.state is LeaseState.IRREVOCABLE:
        writes.append(Delete(irrevocable_key(lease.lease_id)))
    return tuple(writes)


def encode_prefix_task(prefix: str, is_forced: bool, cutoff_ms: int) -> bytes:
    """A prefix that is being revoked: what was issued up to the cut-off (Unix ms) ends."""
    return _VERSION + bytes(msgpack.packb((prefix, is_forced, cutoff_ms)))


def decode_prefix_task(value: bytes) -> tuple[str, bool, int]:
    """The prefix, whether it is forced, and the cut-off."""
    prefix, is_forced, cutoff_ms = msgpack.unpackb(memoryview(value)[1:])
    return prefix, is_forced, cutoff_ms
