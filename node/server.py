"""`strongroom server`: one process from its configuration to its end."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

from cluster.errors import ClusterError
from cluster.folder import open_folder
from cluster.raft_settings import RaftSettings
from cluster.raft_store import RaftStore
from node import dev, logs, recovery_api
from node.banner import banner
from node.cli.server_options import ServerOptions
from node.config.addresses import HostPort
from node.config.listeners import Listener
from node.config.load import load
from node.config.model import Config
from node.config.storage import RaftStorage as RaftConfig
from node.core import Core, NodeIdentity
from node.dispatch import RateGate, dispatch
from node.edge import Edge
from node.errors import ConfigError, NodeError
from node.listener_tls import ask_at_terminal, listener_tls
from node.log_file import FileLines, log_file_of
from node.recovery_mode import RecoveryNode
from node.registration.catalogues import catalogue_of
from node.registration.registry import keep_told
from node.reload import Listening, own_headers, reload
from node.request_log import RequestLog
from node.response_headers import ListenerHeaders
from node.retry_join import retry_join
from node.seal.registry import seal_from_stanza
from node.seal_upkeep import watch_seal
from node.sources import SystemSources
from node.status import KNOWN
from node.storage import AutopilotPeriods, InmemStorage, RaftStorage, Storage, split_address
from node.system.engine import node_engines
from node.unseal import unseal_by_itself
from node.version import VERSION

logger = logging.getLogger(__name__)

# The journal's worker thread must get the interpreter soon after its fdatasync returns (docs/performance.md).
SWITCH_INTERVAL_S: Final = 0.0005
# A request makes a few hundred objects, nearly all freed by reference count; the default of 700 would run the
# collector several times a request at full load.
GC_THRESHOLDS: Final = (50_000, 20, 50)


def run(options: ServerOptions) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. Errors are one line each on standard error."""
    os.umask(0o077)
    try:
        config = load([Path(path) for path in options.config_paths], os.environ, dev=options.dev)
        config = dev.configured(config, options) if options.dev else config
        file = log_file_of(config, options)
        logs.set_up(
            options.log_level or config.log_level,
            options.log_format or config.log_format,
            None if file is None else FileLines(file),
        )
        for warning in config.warnings:
            logger.warning("%s", warning)
        return uvloop.run(_serve(config, options))
    except (ConfigError, NodeError, ClusterError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Error: {error.strerror or type(error).__name__}: {error.filename or ''}", file=sys.stderr)
        return 1


async def _serve(config: Config, options: ServerOptions) -> int:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    sources = SystemSources()
    storage, cluster_address = _storage(config)
    stop = asyncio.Event()
    failures: list[str] = []

    def failed(reason: str) -> None:
        failures.append(reason)
        stop.set()

    def ended(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, KNOWN):
            failed(str(error))
        elif error is not None:
            logs.log_unforeseen("a task of the server failed", error)
            failed("an internal error; see the log")

    core = Core(
        config=config,
        storage=storage,
        seal=seal_from_stanza(config.seal, os.environ, sources.random),
        sources=sources,
        identity=NodeIdentity(
            hostname=socket.gethostname(),
            api_address=config.api_addr or _own_api_address(config.listeners),
            cluster_address=f"https://{cluster_address}" if cluster_address else "",
            version=VERSION,
            started_at_ms=sources.now_ms(),
        ),
        node_engine=node_engines,
        on_failed=lambda reason: failed(f"the storage failed, stopping: {reason}"),
        old_seal=seal_from_stanza(config.old_seal, os.environ, sources.random) if config.old_seal else None,
    )
    if core.seal.is_auto:
        core.after_restore = partial(unseal_by_itself, core)
    recovery = RecoveryNode(core) if options.recovery else None
    catalogue = None if recovery is not None else catalogue_of(config, core.identity, os.environ)
    listening: list[Listening] = []
    has_pid_file = False
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload, core, options, os.environ, listening)
    loop.add_signal_handler(signal.SIGUSR1, core.telemetry.dump)
    core.telemetry.start()
    try:
        for listener in config.listeners:
            handle = partial(dispatch, core, listener) if recovery is None else partial(recovery_api.dispatch, recovery)
            requests = RequestLog(handle, sources, config.log_requests_level)
            edge = Edge(listener, requests, RateGate(core, requests))
            edge.headers = ListenerHeaders(listener.custom_response_headers, own_headers(config, core))
            tls = listener_tls(listener, ask_at_terminal)
            await _listen(edge, None if tls is None else tls.context)
            listening.append(Listening(edge, tls, requests))
            core.telemetry.edges.append(edge)
        dev_lines = await dev.start(core, options) if options.dev else []
        print(banner(config, core.identity, dev_lines, is_recovery=options.recovery), flush=True)
        has_pid_file = _write_pid(config)
        work: list[Coroutine[None, None, None]] = []
        if recovery is None:
            work += [unseal_by_itself(core), retry_join(core)]
        if recovery is None and core.seal.is_auto:
            # While it is sealed, whoever unseals it asks the seal anyway.
            work.append(
                watch_seal(core.seal, core.seal_health, sources, lambda: core.holds_keys() or not core.is_initialized)
            )
        if catalogue is not None:
            work.append(keep_told(core, catalogue))
        background = [asyncio.create_task(each) for each in work]
        for task in background:
            task.add_done_callback(ended)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        await stop.wait()
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)  # a catalogue is told that the node goes, first
    finally:
        if recovery is not None:
            recovery.close()
        await _stop(core, [one.edge for one in listening], has_failed=bool(failures))
        if has_pid_file:  # and not that of the server whose port this one wanted
            Path(config.pid_file).unlink(missing_ok=True)
    if failures:
        print(f"Error: {failures[0]}", file=sys.stderr)
        return 1
    return 0


async def _listen(edge: Edge, tls: ssl.SSLContext | None) -> None:
    try:
        await edge.start(tls)
    except OSError as error:
        at = edge.listener.address
        reason = error.strerror or error
        raise ConfigError(
            f"cannot listen on {at}: {reason}. Is another process using it? "
            "Change the listener's address or stop that process"
        ) from None


async def _stop(core: Core, edges: Sequence[Edge], *, has_failed: bool) -> None:
    """Hand over leadership, let requests end, leave the cluster, close the files."""
    storage = core.storage
    if has_failed:
        # Requests that wait for a leader would wait for one that this node will not hear of; their clients have others.
        await core.seal_now()
    if isinstance(storage, RaftStorage) and core.is_active:
        with contextlib.suppress(ClusterError, TimeoutError):
            async with asyncio.timeout(3):
                await storage.raft.transfer_leadership()
    core.telemetry.stop()
    await asyncio.gather(*(edge.stop() for edge in edges))
    await core.seal_now()
    storage.close()


def _storage(config: Config) -> tuple[Storage, str]:
    """The storage, and the host:port at which other nodes reach this one ("" without a cluster)."""
    stanza = config.storage
    if not isinstance(stanza, RaftConfig):
        return InmemStorage(), ""
    folder = open_folder(Path(stanza.path), stanza.node_id or None)
    settings = RaftSettings(max_entry_size=stanza.entry_bytes_max, trailing_logs=stanza.trailing_logs)
    if stanza.performance_multiplier:
        settings = replace(settings, performance_multiplier=stanza.performance_multiplier)
    host, port = split_address(config.cluster_addr)
    bind = next((each.cluster_host_port for each in config.listeners if not each.is_unix), HostPort(host, port))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    raft = RaftStore(folder, settings)
    periods = AutopilotPeriods(
        update_s=max(1, stanza.autopilot_update_interval_s), reconcile_s=stanza.autopilot_reconcile_interval_s
    )
    storage = RaftStorage(
        raft, bind_host=bind.host, bind_port=bind.port, cluster_address=address, autopilot_periods=periods
    )
    return storage, address


def _own_api_address(listeners: Sequence[Listener]) -> str:
    for listener in listeners:
        if not listener.is_unix:
            at = listener.host_port
            shown = f"[{at.host}]" if ":" in at.host else at.host
            return f"{'http' if listener.tls_disable else 'https'}://{shown}:{at.port}"
    return ""


def _write_pid(config: Config) -> bool:
    if config.pid_file:
        Path(config.pid_file).write_text(f"{os.getpid()}\n")
    return bool(config.pid_file)
