"""What the commits of a node say about tokens, policies, identity and the barrier: read off the keys they write.

A record is written by committing it, so this one place sees every token made and every policy changed, whichever route
asked for it. What a key or a value holds never becomes part of a metric, but for the labels the documentation lists.
"""

from collections.abc import Callable, Sequence
from typing import Final

from cluster.meters import Counter, Labelled, Registry
from engines.common.plan import Delete, Put, Write
from node.identity import store as identity
from node.leases import timeline
from node.tokens import store as tokens
from node.tokens.model import SPENT

_POLICIES: Final = "sys/policy/"  # of node/policies.py, which rests on what uses this
_AREAS: Final = (tokens.RECORDS, tokens.ACCESSORS, _POLICIES, identity.ENTITIES, identity.GROUPS)


class CommitMeters:
    """Timers and counters by the key of a write. `entity_made` is told of each new entity, with its record."""

    def __init__(self, registry: Registry) -> None:
        spread = registry.spread
        self.barrier_put = spread("barrier.put", "Writing an entry through the barrier.")
        self.barrier_delete = spread("barrier.delete", "Deleting an entry through the barrier.")
        self._token_create = spread("token.create", "Making a token.")
        self._token_accessor = spread("token.createAccessor", "Making a token's accessor.")
        self._token_store = spread("token.store", "Writing a token that is there already.")
        self._token_revoke = spread("token.revoke", "Revoking a token.")
        self._register_auth = spread("expire.register-auth", "Registering the end of a token.")
        self._renew_token = spread("expire.renew-token", "Renewing a token.")
        self._policy_set = spread("policy.set_policy", "Writing a policy.")
        self._policy_delete = spread("policy.delete_policy", "Deleting a policy.")
        self._entity = spread("identity.upsert_entity_txn", "Writing an entity.")
        self._group = spread("identity.upsert_group_txn", "Writing a group.")
        self._item = spread("storage.packer.put_item", "Writing an identity record.")
        self._bucket = spread("storage.packer.put_bucket", "Writing the identity records of one request.")
        self.entities: Labelled[Counter] = registry.counters(
            "identity.entity.creation", "Entities made.", "cluster", "namespace", "auth_method", "mount_point"
        )
        self.entity_made: Callable[[bytes], None] = lambda record: None

    def committed(self, prefix: str, writes: Sequence[Write], more: Sequence[Write], took_s: float) -> None:
        """The writes of one request were committed: `writes` below prefix, `more` at absolute keys."""
        absolute = more if prefix else (*writes, *more)
        for write in (*writes, *more):
            self._of_barrier(write, took_s)
        for write in absolute:
            self._of_key(write, took_s)
        if any(isinstance(write, Put) and write.key.startswith(timeline.PREFIX) for write in absolute):
            self._of_ends(absolute, took_s)

    def _of_barrier(self, write: Write, took_s: float) -> None:
        if isinstance(write, Put):
            self.barrier_put.add(took_s)
        elif isinstance(write, Delete):
            self.barrier_delete.add(took_s)

    def _of_key(self, write: Write, took_s: float) -> None:
        key = write.key
        if not key.startswith(_AREAS):
            return
        if key.startswith(_POLICIES):
            (self._policy_set if isinstance(write, Put) else self._policy_delete).add(took_s)
        elif key.startswith(tokens.RECORDS):
            self._of_token(write, took_s)
        elif isinstance(write, Put):
            if key.startswith(tokens.ACCESSORS):
                self._token_accessor.add(took_s)
            else:
                self._of_identity(write, took_s)

    def _of_token(self, write: Write, took_s: float) -> None:
        if isinstance(write, Delete):
            self._token_revoke.add(took_s)
        elif isinstance(write, Put):
            (self._token_store if write.seen_index else self._token_create).add(took_s)

    def _of_identity(self, write: Put, took_s: float) -> None:
        self._item.add(took_s)
        self._bucket.add(took_s)
        if write.key.startswith(identity.GROUPS):
            self._group.add(took_s)
            return
        self._entity.add(took_s)
        if write.seen_index == 0:
            self.entity_made(write.value)

    def _of_ends(self, writes: Sequence[Write], took_s: float) -> None:
        """A token that is made or renewed moves its end; one whose last use is taken does, too."""
        for write in writes:
            if isinstance(write, Put) and write.key.startswith(tokens.RECORDS):
                if write.seen_index == 0:
                    self._register_auth.add(took_s)
                elif tokens.decode_token(write.value).num_uses != SPENT:
                    self._renew_token.add(took_s)
