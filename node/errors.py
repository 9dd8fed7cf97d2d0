"""What the node itself can say no with. Only node/status.py knows which HTTP status each one becomes."""


class NodeError(Exception):
    """Anything the node refuses before or after an engine is asked. The message reaches the client: no secret."""


class Sealed(NodeError):
    """The keys are not in memory."""

    def __init__(self) -> None:
        super().__init__("Vault is sealed")


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


class RequestTooLarge(NodeError):
    """The body is over max_request_size."""

    def __init__(self) -> None:
        super().__init__("request body too large")


class NoRoute(NodeError):
    """No mount answers for the path."""

    def __init__(self, path: str) -> None:
        super().__init__(f'no handler for route "{path}". route entry not found.')


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
