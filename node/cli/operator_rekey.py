"""operator rekey: new key shares in place of the old ones."""

from typing import Final

from node.cli import flags
from node.cli.command import Call, Command
from node.cli.errors import CliError, UsageError, doing
from node.cli.operator_init import pgp_keys
from node.cli.secret import Data

_BACKUP: Final = {"barrier": "sys/rekey/backup", "recovery": "sys/rekey/recovery-key-backup"}
_BASE: Final = {"barrier": "sys/rekey", "recovery": "sys/rekey-recovery-key"}
_NO_PGP: Final = (
    "WARNING! Without -pgp-keys the new shares come back in plain text, all to the one terminal that\n"
    "gives the last share. Use -pgp-keys to have each encrypted for its owner.\n"
)


def _rekey(call: Call) -> None:
    target = call.flags.text("target")
    base = _BASE[target]
    if call.flags.switch("backup-retrieve"):
        _retrieve(call, _BACKUP[target])
    elif call.flags.switch("backup-delete"):
        with doing("Error deleting backup keys"):
            call.client.plain("DELETE", _BACKUP[target])
        call.printer.line("Success! Delete backup keys (if they existed)")
    elif call.flags.switch("init"):
        _start(call, base)
    elif call.flags.switch("cancel"):
        _cancel(call, base)
    elif call.flags.switch("status"):
        with doing("Error getting rekey status"):
            _show_status(call, call.client.plain("GET", _phase(call, base, "init")))
    else:
        _give(call, base)


def _phase(call: Call, base: str, otherwise: str) -> str:
    return f"{base}/verify" if call.flags.switch("verify") else f"{base}/{otherwise}"


def _start(call: Call, base: str) -> None:
    body: Data = {
        "secret_shares": call.flags.number("key-shares"),
        "secret_threshold": call.flags.number("key-threshold"),
        "backup": call.flags.switch("backup"),
        "require_verification": call.flags.switch("verify"),
    }
    if keys := pgp_keys(call.flags.text("pgp-keys")):
        body["pgp_keys"] = keys
    else:
        call.printer.note(_NO_PGP)
    with doing("Error initializing rekey"):
        _show_status(call, call.client.plain("PUT", f"{base}/init", body))


def _cancel(call: Call, base: str) -> None:
    nonce = call.flags.text("nonce")
    with doing("Error canceling rekey"):
        call.client.plain("DELETE", _phase(call, base, "init"), {"nonce": nonce} if nonce else None)
    call.printer.line("Success! Canceled rekeying (if it was started)")


def _give(call: Call, base: str) -> None:
    with doing("Error getting rekey status"):
        status = call.client.plain("GET", _phase(call, base, "init"))
    # With the nonce it may be the last share again, of a rekey whose answer got lost: the server knows.
    if not status.get("started") and not call.flags.given("nonce"):
        raise CliError("No rekey is in progress. Start a rekey operation with -init.")
    is_recovery = call.flags.text("target") == "recovery"
    key, nonce = key_and_nonce(call, status, "Rekey", "Recovery Key" if is_recovery else "Unseal Key")
    with doing("Error posting unseal key"):
        answer = call.client.plain("PUT", _phase(call, base, "update"), {"key": key, "nonce": nonce})
    if not answer.get("complete"):
        _show_status(call, answer)
    elif call.flags.switch("verify"):
        call.printer.line("Success! Rekey verified: the new key shares are in use")
    else:
        _show_keys(call, answer)


def key_and_nonce(call: Call, status: Data, operation: str, prompt: str) -> tuple[str, str]:
    """A key share and the nonce of the operation it is meant for.

    Where it is typed, the nonce shown is the one that is sent; an argument or a pipe must say with -nonce which
    operation it belongs to. Raises UsageError when it does not.
    """
    given = call.args[0].strip() if call.args else ""
    nonce = call.flags.text("nonce")
    if given:
        if not nonce:
            raise UsageError("Missing nonce: give the operation's nonce with -nonce")
        return (call.stdin_line() if given == "-" else given), nonce
    nonce = nonce or str(status.get("nonce") or "")
    call.printer.note(f"{operation} operation nonce: {nonce}")
    return call.ask_hidden(prompt), nonce


def _show_status(call: Call, status: Data) -> None:
    if not call.printer.is_table:
        call.printer.encoded(status)
        return
    from node.cli.output import key_values

    rows: list[tuple[str, object]] = [
        ("Nonce", status.get("nonce") or ""),
        ("Started", status.get("started") is True),
    ]
    if status.get("started"):
        rows += [
            ("Rekey Progress", f"{status.get('progress', 0)}/{status.get('required', 0)}"),
            ("New Shares", status.get("n")),
            ("New Threshold", status.get("t")),
            ("Verification Required", status.get("verification_required") is True),
        ]
        if "required" not in status:  # the answer of a verification
            rows[2:] = [*rows[3:5], ("Verification Progress", f"{status.get('progress', 0)}/{status.get('t', 0)}")]
        if status.get("verification_nonce"):
            rows.append(("Verification Nonce", status["verification_nonce"]))
    if status.get("pgp_fingerprints"):
        rows += [("PGP Fingerprints", status["pgp_fingerprints"]), ("Backup", status.get("backup") is True)]
    call.printer.line(key_values(rows))


def _show_keys(call: Call, answer: Data) -> None:
    call.printer.warnings(answer.get("warnings") or ())
    if not call.printer.is_table:
        call.printer.encoded(answer)
        return
    fingerprints = answer.get("pgp_fingerprints") or []
    for number, key in enumerate(answer.get("keys_base64") or answer.get("keys") or [], start=1):
        if number <= len(fingerprints):
            call.printer.line(f"Key {number} fingerprint: {fingerprints[number - 1]}; value: {key}")
        else:
            call.printer.line(f"Key {number}: {key}")
    call.printer.line(f"\nOperation nonce: {answer.get('nonce', '')}\n")
    if not answer.get("keys"):
        call.printer.line("The root key was replaced. The seal of this cluster needs no key shares for it.")
    elif answer.get("verification_required"):
        call.printer.line(
            "The old key shares stay in use until the new ones have been verified. Give the new shares with\n"
            f"-verify -nonce={answer.get('verification_nonce', '')}"
        )
    else:
        call.printer.line(
            "The old key shares are void: give each of these to its keeper now, they are shown only once."
        )


def _retrieve(call: Call, path: str) -> None:
    with doing("Error retrieving rekey stored keys"):
        answer = call.client.plain("GET", path)
    stored = answer.get("data") if isinstance(answer.get("data"), dict) else answer
    assert isinstance(stored, dict)
    call.printer.mapping({name: stored.get(name) for name in ("keys", "keys_base64", "nonce") if name in stored})


REKEY: Final = Command(
    name="rekey",
    summary="Make new key shares.",
    detail="Start with -init, then give a quorum of the old shares, one call each.",
    takes="[KEY]",
    run=_rekey,
    flags=(
        flags.switch("init", "Start."),
        flags.switch("cancel", "Give up."),
        flags.switch("status", "Show how far it is."),
        flags.switch("verify", "With -init: ask for verification. Without: act on the verification."),
        flags.text("nonce", "Nonce of the operation."),
        flags.choice("target", "barrier, or recovery for the keys of auto-unseal.", ("barrier", "recovery"), "barrier"),
        flags.number("key-shares", "Shares to make.", 5, aliases=("n",)),
        flags.number("key-threshold", "Shares needed.", 3, aliases=("t",)),
        flags.text("pgp-keys", "Comma-separated files of public PGP keys, one a share."),
        flags.switch("backup", "Keep the PGP-encrypted shares on the server as well."),
        flags.switch("backup-retrieve", "Print what -backup has kept."),
        flags.switch("backup-delete", "Delete what -backup has kept."),
    ),
)
