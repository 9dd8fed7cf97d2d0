"""server: start a node. The only command that loads the node."""

import importlib
from typing import Final

from node.cli import flags
from node.cli.command import Call, Command
from node.cli.durations import NANOS
from node.cli.errors import UsageError
from node.cli.monitor import LEVELS, LOG_FORMATS
from node.cli.server_options import ServerOptions

DAY_S: Final = 86_400


def _server(call: Call) -> int:
    options = _options(call)
    # By name, because the command line must not pull the node in when it is only imported.
    code = importlib.import_module("node.server").run(options)
    assert isinstance(code, int)
    return code


def _options(call: Call) -> ServerOptions:
    text, on = call.flags.text, call.flags.switch

    def given(name: str) -> int | None:
        return call.flags.number(name) if call.flags.given(name) else None

    age_ns = given("log-rotate-duration")
    dev = on("dev") or on("dev-tls")
    if not dev and not call.flags.items("config"):
        raise UsageError("Must specify at least one config path using -config")
    return ServerOptions(
        config_paths=call.flags.items("config"),
        log_level=text("log-level") or None,
        log_format=text("log-format") or None,
        log_file=text("log-file"),
        log_rotate_bytes=given("log-rotate-bytes"),
        # Rounded up, because none at all would mean for ever.
        log_rotate_duration_s=None if age_ns is None else -(-age_ns // NANOS["s"]),
        log_rotate_max_files=given("log-rotate-max-files"),
        experiments=call.flags.items("experiment"),
        pprof_dump_dir=text("pprof-dump-dir"),
        exit_on_core_shutdown=on("exit-on-core-shutdown"),
        recovery=on("recovery"),
        dev=dev,
        dev_tls=on("dev-tls"),
        dev_tls_cert_dir=text("dev-tls-cert-dir"),
        dev_listen_address=text("dev-listen-address"),
        dev_root_token_id=text("dev-root-token-id"),
        dev_no_store_token=on("dev-no-store-token"),
        dev_plugin_dir=text("dev-plugin-dir"),
    )


COMMANDS: Final = (
    Command(
        name="server",
        summary="Start a server.",
        detail="With -dev it keeps everything in memory, is unsealed at once, and is for development only.",
        run=_server,
        local=True,
        formats=False,
        flags=(
            flags.items("config", "Configuration file, or folder of them; may be repeated."),
            flags.choice("log-level", "Least important level to log.", ("", *LEVELS), "", env="VAULT_LOG_LEVEL"),
            flags.choice("log-format", "standard or json.", ("", *LOG_FORMATS), "", env="VAULT_LOG_FORMAT"),
            flags.text("log-file", "File to log to besides standard error."),
            flags.number("log-rotate-bytes", "Start a new log file after so many bytes; 0 is without limit.", 0),
            flags.duration("log-rotate-duration", "Start a new log file after this time.", DAY_S * NANOS["s"]),
            flags.number("log-rotate-max-files", "Old log files to keep; 0 keeps all, -1 none.", 0),
            flags.items("experiment", "Experiment to switch on; may be repeated."),
            flags.text("pprof-dump-dir", "Folder for profiles."),
            flags.switch("exit-on-core-shutdown", "End the process when the node shuts down."),
            flags.switch("recovery", "Start in recovery mode."),
            flags.switch("dev", "Development mode."),
            flags.switch("dev-tls", "Development mode with TLS."),
            flags.text("dev-tls-cert-dir", "Folder for the certificates of -dev-tls."),
            flags.text(
                "dev-listen-address",
                "Address to listen on in development mode.",
                "127.0.0.1:8200",
                env="VAULT_DEV_LISTEN_ADDRESS",
            ),
            flags.text("dev-root-token-id", "First token of development mode.", env="VAULT_DEV_ROOT_TOKEN_ID"),
            flags.switch("dev-no-store-token", "Leave the token helper alone in development mode."),
            flags.text("dev-plugin-dir", "Folder of plugins in development mode."),
        ),
    ),
)
