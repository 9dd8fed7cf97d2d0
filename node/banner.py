"""What a starting server prints, in the documented form."""

import platform
from collections.abc import Sequence

from node.config.model import Config
from node.core import NodeIdentity


def banner(config: Config, identity: NodeIdentity, more: Sequence[str], *, is_recovery: bool = False) -> str:
    """The configuration block, then the lines of dev mode, if any."""
    rows = {"Api Address": identity.api_address, "Cluster Address": identity.cluster_address}
    for number, listener in enumerate(config.listeners, 1):
        tls = "disabled" if listener.tls_disable or listener.is_unix else "enabled"
        rows[f"Listener {number}"] = f'{listener.type} (addr: "{listener.address}", tls: "{tls}")'
    rows |= {
        "Log Level": config.log_level,
        "Mlock": "supported: false, enabled: false",
        "Python Version": platform.python_version(),
        "Recovery Mode": "true" if is_recovery else "false",
        "Storage": type(config.storage).__name__.removesuffix("Storage").lower(),
        "Version": f"Strongroom v{identity.version}",
    }
    width = max(map(len, rows))
    lines = ["==> Strongroom server configuration:", ""]
    lines += [f"{name:>{width + 8}}: {value}" for name, value in sorted(rows.items()) if value]
    lines += ["", "==> Strongroom server started! Log data will stream in below:", "", *more]
    return "\n".join(lines)
