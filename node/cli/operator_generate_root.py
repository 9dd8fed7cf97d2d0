"""operator generate-root: a root token from a quorum of key shares."""

import base64
import secrets
import string
from typing import Final

from node.cli import flags
from node.cli.command import Call, Command
from node.cli.errors import CliError, UsageError, doing
from node.cli.operator_init import pgp_keys
from node.cli.operator_rekey import key_and_nonce
from node.cli.secret import Data

_ALPHABET: Final = string.ascii_letters + string.digits
_ROOT: Final = "sys/generate-root"
_RECOVERY: Final = "sys/generate-recovery-token"
_DR: Final = "sys/replication/dr/secondary/generate-operation-token"


def _generate_root(call: Call) -> None:
    base = _DR if call.flags.switch("dr-token") else _RECOVERY if call.flags.switch("recovery-token") else _ROOT
    if call.flags.switch("generate-otp"):
        call.printer.value(_new_otp(call, base))
    elif call.flags.given("decode"):
        call.printer.value(_decoded(call))
    elif call.flags.switch("cancel"):
        nonce = call.flags.text("nonce")
        with doing("Error canceling root token generation"):
            call.client.plain("DELETE", f"{base}/attempt", {"nonce": nonce} if nonce else None)
        call.printer.line("Success! Root token generation canceled (if it was started)")
    elif call.flags.switch("status"):
        with doing("Error getting root generation status"):
            _show(call, call.client.plain("GET", f"{base}/attempt"))
    elif call.flags.switch("init"):
        _start(call, base)
    else:
        _give(call, base)


def _new_otp(call: Call, base: str) -> str:
    with doing("Error getting root generation status"):
        length = call.client.plain("GET", f"{base}/attempt").get("otp_length")
    if not isinstance(length, int) or not 0 < length <= 1024:
        raise CliError("the server does not say how long the OTP must be", 2)
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _decoded(call: Call) -> str:
    otp = call.flags.text("otp")
    if not otp:
        raise UsageError("Missing otp: use -otp to supply it")
    encoded = call.flags.text("decode")
    encoded = call.stdin_line() if encoded == "-" else encoded
    try:
        masked = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        if len(masked) != len(otp.encode()):
            raise ValueError
        return bytes(one ^ other for one, other in zip(masked, otp.encode(), strict=True)).decode("ascii")
    except ValueError:
        raise UsageError("the encoded token and the OTP do not belong together") from None


def _start(call: Call, base: str) -> None:
    body: Data = {}
    if call.flags.given("otp"):
        body["otp"] = call.flags.text("otp")
    if keys := pgp_keys(call.flags.text("pgp-key")):
        body["pgp_key"] = keys[0]
    with doing("Error initializing root generation"):
        _show(call, call.client.plain("PUT", f"{base}/attempt", body))


def _give(call: Call, base: str) -> None:
    with doing("Error getting root generation status"):
        status = call.client.plain("GET", f"{base}/attempt")
    if not status.get("started"):
        raise CliError("No root generation is in progress. Start a root generation with -init.")
    key, nonce = key_and_nonce(call, status, "Root generation", "Unseal Key")
    with doing("Error posting unseal key"):
        _show(call, call.client.plain("PUT", f"{base}/update", {"key": key, "nonce": nonce}))


def _show(call: Call, status: Data) -> None:
    if not call.printer.is_table:
        call.printer.encoded(status)
        return
    from node.cli.output import key_values

    rows: list[tuple[str, object]] = [
        ("Nonce", status.get("nonce") or ""),
        ("Started", status.get("started") is True),
        ("Progress", f"{status.get('progress', 0)}/{status.get('required', 0)}"),
        ("Complete", status.get("complete") is True),
    ]
    optional = (
        ("PGP Fingerprint", "pgp_fingerprint"),
        ("OTP", "otp"),
        ("OTP Length", "otp_length"),
        ("Encoded Token", "encoded_token"),
    )
    rows += [(name, status[member]) for name, member in optional if status.get(member)]
    call.printer.line(key_values(rows))


GENERATE_ROOT: Final = Command(
    name="generate-root",
    summary="Make a root token with a quorum of key shares.",
    detail="Start with -init and keep the OTP it prints; give the shares, one call each; then -decode with -otp.",
    takes="[KEY]",
    run=_generate_root,
    flags=(
        flags.switch("init", "Start."),
        flags.switch("cancel", "Give up."),
        flags.switch("status", "Show how far it is."),
        flags.text("decode", "Encoded token to decode with -otp; - is standard input."),
        flags.switch("generate-otp", "Print a fresh OTP."),
        flags.text("otp", "One-time password that masks the token."),
        flags.text("pgp-key", "File of a public PGP key to encrypt the token with instead."),
        flags.text("nonce", "Nonce of the operation."),
        flags.switch("dr-token", "Make a DR operation token."),
        flags.switch("recovery-token", "Make a token of recovery mode."),
    ),
)
