"""What the node can say no with. Only node/status.py knows which HTTP status each one becomes."""


class NodeError(Exception):
    """Anything the node refuses. The message is for a person and holds no secret."""


class Sealed(NodeError):
    """The node has no keys: it was never unsealed, or was sealed again."""

    def __init__(self) -> None:
        super().__init__("Vault is sealed")


class BarrierDamaged(NodeError):
    """A stored entry does not open: it was changed, moved or cut. Names its key path and nothing of its content."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the stored entry at {key!r} is damaged or does not belong there")
        self.key = key


class KeyTermUnknown(BarrierDamaged):
    """A stored entry names a key term that this keyring lacks: the keyring was rotated since, so read it again."""


class WrongKey(NodeError):
    """A key does not open what it should open. Says what was to be opened, never a byte of either."""


class InvalidShares(NodeError):
    """Key shares that cannot be used. Says which fault, never the bytes."""


class SealUnavailable(NodeError):
    """The seal (a KMS, another cluster) cannot be reached now: try again later."""


class SealDenied(SealUnavailable):
    """The seal answers and says no until somebody changes that there: a key that is disabled, an access denied."""


class SealRefused(NodeError):
    """What the seal was given was wrapped elsewhere, or is damaged: trying again will not help."""


class ConfigError(NodeError):
    """The configuration cannot be used. Names file and line, or the environment variable; never a value."""


class NotInitialized(NodeError):
    """There is no root key yet."""

    def __init__(self) -> None:
        super().__init__("Vault is not initialized")


class AlreadyInitialized(NodeError):
    """A second `sys/init`."""

    def __init__(self) -> None:
        super().__init__("Vault is already initialized")


class BadRequest(NodeError):
    """The HTTP request itself is malformed: path, method, JSON, header."""


class UploadInterrupted(NodeError):
    """The client stopped sending a body in the middle; nothing was done with it."""

    def __init__(self) -> None:
        super().__init__("the request body did not arrive completely")


class RequestTooLarge(NodeError):
    """The body is over max_request_size."""

    def __init__(self) -> None:
        super().__init__("request body too large")


class RateLimited(NodeError):
    """A rate limit leaves no room for the request; nothing was done."""

    def __init__(self, path: str) -> None:
        super().__init__(f'request path "{path}": rate limit quota exceeded')


class NoRoute(NodeError):
    """No mount answers for the path."""

    def __init__(self, path: str) -> None:
        super().__init__(f'no handler for route "{path}". route entry not found.')


class NotAWrappingToken(NodeError):
    """The token of a request that is to be unwrapped was used already, or never wrapped anything."""

    def __init__(self) -> None:
        super().__init__("wrapping token is not valid or does not exist")


class MethodNotAllowed(NodeError):
    """A method that HTTP knows and this API does not."""

    def __init__(self) -> None:
        super().__init__("unsupported method")


class NoActiveNode(NodeError):
    """This node cannot serve and knows nobody who can."""

    def __init__(self) -> None:
        super().__init__("local node not active but active cluster node not found")


class RequestTimedOut(NodeError):
    """The request ran past max_request_duration; a write in it may still take effect."""

    def __init__(self) -> None:
        super().__init__("request timed out; if it was a write, read before writing again")


class JoinRefused(NodeError):
    """The cluster cannot be joined as things are. The message says what to do."""


class AuditFailed(NodeError):
    """No audit device has recorded the request, or its answer, which is then not given."""
