"""Joining a cluster: both sides of `sys/storage/raft/join` (design.md, section 5).

The joiner asks the leader's API for a challenge sealed under the root key and for what it needs to unseal by itself.
Once it has the root key it answers, and gets the cluster's authority (sealed under the root key, so the API port may be
plain HTTP) and the peer list. The leader adds it as a peer when its cluster port answers. The leader keeps nothing
about challenges: each one proves itself, so any number of them costs no memory (CVE-2024-8185).
"""

import asyncio
import logging
import ssl
from base64 import b64decode, b64encode
from typing import Any, Final

import aiohttp
import msgpack
import orjson

from cluster.errors import ClusterError
from cluster.peers import Peer, decode_peers, encode_peers
from engines.common.crypto import equal, hmac_sha256
from engines.common.errors import InvalidRequest
from node.core import Core
from node.errors import InvalidShares, JoinRefused, Sealed, WrongKey
from node.join_target import JoinTarget, PendingJoin
from node.seal_state import (
    ANSWER_PURPOSE,
    AUTHORITY_KEY,
    CHALLENGE_PURPOSE,
    JOIN_PURPOSE,
    JoinRecord,
    SealConfig,
    SealedKeys,
    open_under_root_key,
    seal_under_root_key,
)
from node.shamir import check_numbers
from node.storage import RaftStorage, split_address
from node.tls_files import load_certificate

logger = logging.getLogger(__name__)

CHALLENGE_TTL_MS: Final = 60_000  # the answer follows at once: the joiner asks anew when it has the root key
NODE_ID_CHARS_MAX: Final = 128
JOIN_TIMEOUT_S: Final = 30.0
REPLY_BYTES_MAX: Final = 1024 * 1024  # a peer list and a certificate; who is asked is not known to be honest
ASK_AGAIN_S: Final = 15.0  # well beyond the time that an admission takes


# -- the leader's side


def challenge(core: Core, secret: bytes, node_id: str) -> dict[str, object]:
    """What a node that wants to join is given. Everything in it is sealed or public."""
    keys = core.sealed_keys()
    if core.root_key is None or keys is None:
        raise Sealed
    _require_node_id(node_id)
    issued = core.sources.now_ms().to_bytes(8, "big")
    plaintext = issued + _proof(secret, issued, node_id)
    sealed = seal_under_root_key(core.root_key, CHALLENGE_PURPOSE, plaintext, core.sources.random)
    return {
        "challenge": b64encode(sealed).decode(),
        "seal_config": {
            "type": keys.config.type,
            "secret_shares": keys.config.shares,
            "secret_threshold": keys.config.threshold,
        },
        "sealed_root_key": b64encode(keys.sealed_root_key).decode(),
    }


def answered(core: Core, secret: bytes, node_id: str, answer: str, address: str, *, empty: bool) -> dict[str, object]:
    """Check a joining node's answer; give it the authority and the peers, and start admitting it.

    Args:
        empty: The node has no log yet. One that was admitted before must have it: what it acknowledged is in it.

    Raises:
        InvalidRequest: The answer is wrong or too late, the address is none, or a member has lost its data.
    """
    if core.root_key is None or core.unsealed is None or not isinstance(core.storage, RaftStorage):
        raise Sealed
    _require_node_id(node_id)
    try:
        split_address(address)
        plaintext = b64decode(answer, validate=True)
    except ValueError:
        raise InvalidRequest("the answer or the cluster address is malformed") from None
    issued, proof = plaintext[:8], plaintext[8:]
    age_ms = core.sources.now_ms() - int.from_bytes(issued, "big")
    if not equal(proof, _proof(secret, issued, node_id)) or not 0 <= age_ms <= CHALLENGE_TTL_MS:
        raise InvalidRequest("the answer does not fit the challenge, or came too late")
    storage = core.storage
    for peer in storage.peers():
        if peer.node_id != node_id and peer.address == address:
            raise InvalidRequest(f"the cluster address {address} belongs to the peer {peer.node_id!r} already")
        if peer.node_id == node_id and empty:
            raise InvalidRequest(
                f"node {node_id!r} is a peer already and its data folder is empty: it has lost what it acknowledged. "
                f"Remove it first (operator raft remove-peer {node_id}), then let it join again"
            )
    peers = [p for p in storage.peers() if p.node_id != node_id] + [Peer(node_id, address)]
    authority = core.unsealed.opened.get(AUTHORITY_KEY)
    assert authority is not None, "the authority is written at init"
    body = msgpack.packb([encode_peers(peers), authority.value])
    sealed = seal_under_root_key(core.root_key, ANSWER_PURPOSE, body, core.sources.random)
    core.spawn(_admit(storage, node_id, address))
    return {"material": b64encode(sealed).decode()}


async def _admit(storage: RaftStorage, node_id: str, address: str) -> None:
    try:
        await storage.admit(node_id, address)
        logger.info("node %r joined at %s", node_id, address)
    except ClusterError as error:
        logger.warning("node %r did not join: %s", node_id, error)


def _proof(secret: bytes, issued: bytes, node_id: str) -> bytes:
    return hmac_sha256(secret, issued + node_id.encode())


def _require_node_id(node_id: str) -> None:
    if not node_id or len(node_id) > NODE_ID_CHARS_MAX or not node_id.isprintable():
        raise InvalidRequest("server_id is missing or malformed")


# -- the joiner's side


async def begin_join(core: Core, target: JoinTarget) -> None:
    """Ask a cluster for what unsealing takes. With auto-unseal the caller then unseals, which finishes the join.

    Raises:
        JoinRefused: The other side cannot be reached, is not ready, or this node belongs to a cluster already.
    """
    if not isinstance(core.storage, RaftStorage):
        raise JoinRefused("joining needs raft storage")
    if core.is_initialized:
        raise JoinRefused("this node is a member of a cluster already; to move it, stop it and empty its data folder")
    keys = await ask_keys(target, core.storage.node_id)
    if keys.config.type != core.seal.type:
        raise JoinRefused(
            f"the cluster uses the seal {keys.config.type!r} and this node {core.seal.type!r}: "
            "give this node the same seal stanza"
        )
    core.pending_join = PendingJoin(target=target, keys=keys)
    core.progress = None  # shares that were given for another cluster


async def ask_keys(target: JoinTarget, node_id: str) -> SealedKeys:
    """How the root key of the target's cluster is sealed now. Not authentic: what opens it must open a keyring as well.

    Raises:
        JoinRefused: The other side cannot be reached or is not ready.
    """
    reply = await _post(target, "challenge", {"server_id": node_id})
    try:
        config = reply["seal_config"]
        keys = SealedKeys(
            config=SealConfig(
                type=str(config["type"]),
                shares=int(config["secret_shares"]),
                threshold=int(config["secret_threshold"]),
            ),
            sealed_root_key=b64decode(reply["sealed_root_key"], validate=True),
        )
        check_numbers(keys.config.shares, keys.config.threshold)
        return keys
    except (KeyError, TypeError, ValueError, InvalidShares):
        raise JoinRefused(f"{target.api_address} did not answer like a server of this kind") from None


def interrupted_join(core: Core) -> PendingJoin | None:
    """A join that was cut off when the node had kept its record and not yet taken the peer list."""
    record = core.storage.local_get(JoinRecord.NAME)
    if record is None or not isinstance(core.storage, RaftStorage) or core.storage.raft.is_bootstrapped:
        return None
    begun = JoinRecord.from_bytes(record)
    return PendingJoin(target=target_of(begun), keys=begun.keys)


async def finish_join(core: Core, root_key: bytes) -> None:
    """With the root key: answer a fresh challenge, keep what comes back, take part in the cluster.

    Raises:
        WrongKey: The root key is not that of the cluster.
        JoinRefused: The leader cannot be reached or says no.
    """
    pending, storage = core.pending_join, core.storage
    assert pending is not None and isinstance(storage, RaftStorage), "begin_join comes first"
    material = await _answer_challenge(core, pending.target, storage, root_key)
    peers, authority = msgpack.unpackb(open_under_root_key(root_key, ANSWER_PURPOSE, material))
    sealed = seal_under_root_key(root_key, JOIN_PURPOSE, authority, core.sources.random)
    record = JoinRecord(
        keys=pending.keys,
        sealed_authority=sealed,
        api_address=pending.target.api_address,
        ca_pem=pending.target.ca_pem,
        tls_server_name=pending.target.tls_server_name,
    )
    storage.local_put(JoinRecord.NAME, record.to_bytes())
    if not storage.raft.is_bootstrapped:
        storage.raft.adopt(decode_peers(peers))
    core.pending_join = None
    await core.unseal_with(root_key)
    core.spawn(stay_until_admitted(core, pending.target))


def target_of(record: JoinRecord) -> JoinTarget:
    """Whom a node was joining when it stopped. The client's key is not kept on disk, so it is not there."""
    return JoinTarget(api_address=record.api_address, ca_pem=record.ca_pem, tls_server_name=record.tls_server_name)


async def _answer_challenge(core: Core, target: JoinTarget, storage: RaftStorage, root_key: bytes) -> bytes:
    reply = await _post(target, "challenge", {"server_id": storage.node_id})
    try:
        plaintext = open_under_root_key(root_key, CHALLENGE_PURPOSE, b64decode(reply["challenge"], validate=True))
        answer = {
            "answer": b64encode(plaintext).decode(),
            "server_id": storage.node_id,
            "cluster_addr": storage.cluster_address,
            "empty": not storage.raft.is_bootstrapped,
        }
        reply = await _post(target, "answer", answer)
        return b64decode(reply["material"], validate=True)
    except (KeyError, TypeError, ValueError):
        raise JoinRefused(f"{target.api_address} did not answer like a server of this kind") from None


async def stay_until_admitted(core: Core, target: JoinTarget) -> None:
    """Should the leader have died between its answer and the admission, ask the next one: the answer is idempotent."""
    storage = core.storage
    assert isinstance(storage, RaftStorage)
    asked_s = core.sources.monotonic_s()
    while (root_key := core.root_key) is not None and core.barrier.is_sealed:
        await asyncio.sleep(0.5)
        if core.sources.monotonic_s() - asked_s < ASK_AGAIN_S:
            continue
        asked_s = core.sources.monotonic_s()
        try:
            await _answer_challenge(core, target, storage, root_key)
        except (JoinRefused, WrongKey) as error:
            logger.warning("still waiting to be admitted to the cluster: %s", error)


async def _post(target: JoinTarget, step: str, body: dict[str, Any]) -> dict[str, Any]:
    url = f"{target.api_address.rstrip('/')}/v1/sys/storage/raft/bootstrap/{step}"
    try:
        timeout = aiohttp.ClientTimeout(total=JOIN_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, json=body, ssl=_tls(target), server_hostname=target.tls_server_name or None) as response,
        ):
            reply = orjson.loads(await _bounded(response))
            if response.status == 200:
                return dict(reply["data"])
            said = "; ".join(str(error) for error in reply.get("errors", ()))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError) as error:
        raise JoinRefused(f"{target.api_address} cannot be reached: {type(error).__name__}") from None
    raise JoinRefused(f"{target.api_address} refused: {said}")


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > REPLY_BYTES_MAX:
            raise ValueError("the reply is too long")
    return body


def _tls(target: JoinTarget) -> ssl.SSLContext | bool:
    if not target.api_address.startswith("https"):
        return True
    context = ssl.create_default_context(cadata=target.ca_pem or None)
    if target.client_cert_pem:
        load_certificate(context, target.client_cert_pem, target.client_key_pem)
    return context
