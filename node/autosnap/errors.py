"""What an automatic snapshot can fail with."""

from node.errors import NodeError


class AutoSnapshotFailed(NodeError):
    """An attempt that came to nothing. The message is shown by `status`, and holds no secret."""
