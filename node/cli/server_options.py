"""What `server` was asked for on the command line: the one type the command line hands to the node."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Every flag of `server`. An empty text or None means that the flag was not given.

    What a flag and the configuration file both say, the flag decides.
    """

    config_paths: tuple[str, ...] = ()
    log_level: str | None = None
    log_format: str | None = None
    log_file: str = ""
    log_rotate_bytes: int | None = None
    log_rotate_duration_s: int | None = None
    log_rotate_max_files: int | None = None
    experiments: tuple[str, ...] = ()
    pprof_dump_dir: str = ""
    exit_on_core_shutdown: bool = False
    recovery: bool = False
    dev: bool = False
    dev_tls: bool = False
    dev_tls_cert_dir: str = ""
    dev_listen_address: str = "127.0.0.1:8200"
    dev_root_token_id: str = field(default="", repr=False)
    dev_no_store_token: bool = False
    dev_plugin_dir: str = ""
