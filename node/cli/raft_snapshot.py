"""operator raft snapshot: save, restore and inspect."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from node.cli import flags
from node.cli.command import Call, Command, Group
from node.cli.errors import CliError, UsageError, doing
from node.cli.snapshot_file import Summary, check_complete, count_keys, read_summary
from node.cli.transport import CHUNK_BYTES, Upload


def _save(call: Call) -> None:
    target = Path(call.args[0])
    # Written beside the target and renamed: a broken download never takes the place of an older, whole snapshot.
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with doing("Error taking the snapshot"):
            _download(call, partial)
            check_complete(partial)
        partial.replace(target)
    except OSError as error:
        raise CliError(f"cannot write {target}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _download(call: Call, partial: Path) -> None:
    with call.client.stream("GET", "sys/storage/raft/snapshot") as stream:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            while chunk := stream.read(CHUNK_BYTES):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())


def _restore(call: Call) -> None:
    source = Path(call.args[0])
    endpoint = "snapshot-force" if call.flags.switch("force") else "snapshot"
    try:
        upload = Upload(source.stat().st_size, lambda: source.open("rb"))
        with doing("Error installing the snapshot"):
            check_complete(source)
            with call.client.stream("POST", f"sys/storage/raft/{endpoint}", upload=upload) as stream:
                while stream.read(CHUNK_BYTES):
                    pass
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from None


def _inspect(call: Call) -> None:
    source = Path(call.args[0])
    prefix, depth = call.flags.text("filter"), call.flags.number("depth")
    if (call.flags.given("depth") or prefix) and not call.flags.switch("details"):
        raise UsageError("-depth and -filter need -details")
    try:
        summary = read_summary(source)
        keys = count_keys(source, prefix, depth) if call.flags.switch("details") else None
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from None
    if call.printer.is_table:
        _print(call, summary, keys)
    else:
        call.printer.encoded(_encoded(summary, keys))


def _print(call: Call, summary: Summary, keys: dict[str, tuple[int, int]] | None) -> None:
    from node.cli.output import key_values, table

    rows: list[tuple[str, object]] = [
        ("ID", summary.id),
        ("Size", summary.size_bytes),
        ("Index", summary.index),
        ("Term", summary.raft_term),
        ("Version", summary.version),
    ]
    call.printer.line(key_values(rows))
    if keys is None:
        return
    total = (sum(count for count, _ in keys.values()), sum(size for _, size in keys.values()))
    lines = [(name, str(count), _size(size)) for name, (count, size) in keys.items()]
    call.printer.line("\n" + table(("Key Name", "Count", "Size"), [*lines, ("Total", str(total[0]), _size(total[1]))]))


def _encoded(summary: Summary, keys: dict[str, tuple[int, int]] | None) -> dict[str, object]:
    shown: dict[str, object] = {
        "ID": summary.id,
        "Size": summary.size_bytes,
        "Index": summary.index,
        "Term": summary.raft_term,
        "Version": summary.version,
    }
    if keys is not None:
        shown["KeyStats"] = [{"Name": name, "Count": count, "Size": size} for name, (count, size) in keys.items()]
        shown["TotalCountKV"] = sum(count for count, _ in keys.values())
        shown["TotalSizeKV"] = sum(size for _, size in keys.values())
    return shown


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.0f}{unit}" if unit == "B" else f"{size:.1f}{unit}"
        size /= 1024
    return f"{size:.1f}GB"


SNAPSHOT: Final = Group(
    name="snapshot",
    summary="Save, restore and inspect snapshots of the store.",
    commands=(
        Command(name="save", summary="Save a snapshot to a file.", takes="FILE", run=_save),
        Command(
            name="restore",
            summary="Replace everything in the cluster by a snapshot.",
            takes="FILE",
            run=_restore,
            flags=(flags.switch("force", "Restore even if the snapshot belongs to other seal keys."),),
        ),
        Command(
            name="inspect",
            summary="Show what a snapshot file holds, without a server.",
            takes="FILE",
            run=_inspect,
            local=True,
            flags=(
                flags.switch("details", "Count the keys.", True),
                flags.number("depth", "Path segments to count by; 0 is all.", 2),
                flags.text("filter", "Only keys that start with this."),
            ),
        ),
    ),
)
