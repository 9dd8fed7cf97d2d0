"""operator init: makes the root key, the key shares and the first token."""

import base64
from collections.abc import Sequence
from typing import Final

from node.cli import flags
from node.cli.command import Call, Command
from node.cli.errors import UsageError, doing
from node.cli.secret import Data
from node.cli.values import read_file


def _init(call: Call) -> int:
    if call.flags.switch("status"):
        return _show_status(call)
    with doing("Error initializing"):
        auto_unseal = bool(call.client.plain("GET", "sys/seal-status", dry=False).get("recovery_seal"))
        answer = call.client.plain("PUT", "sys/init", _request(call, auto_unseal))
    call.printer.warnings(answer.get("warnings") or ())
    if call.printer.is_table:
        call.printer.line("\n".join(_lines(answer, _split(call, auto_unseal))))
    else:
        call.printer.encoded(_encoded(answer, _split(call, auto_unseal), auto_unseal))
    return 0


def _show_status(call: Call) -> int:
    with doing("Error checking init status"):
        initialized = call.client.plain("GET", "sys/init").get("initialized") is True
    if call.printer.is_table:
        call.printer.line(f"Vault is {'' if initialized else 'not '}initialized")
    else:
        call.printer.encoded({"initialized": initialized})
    return 0 if initialized else 2


def _split(call: Call, auto_unseal: bool) -> tuple[int, int]:
    kind = "recovery" if auto_unseal else "key"
    return call.flags.number(f"{kind}-shares"), call.flags.number(f"{kind}-threshold")


def _request(call: Call, auto_unseal: bool) -> Data:
    """What to ask for: a node that unseals itself splits a recovery key instead of the unseal key.

    What was named on the command line is always sent, so that the server refuses what its seal cannot do.
    """
    given = call.flags.given
    body: Data = {"secret_shares": 0, "secret_threshold": 0}
    if not auto_unseal or given("key-shares") or given("key-threshold"):
        body["secret_shares"], body["secret_threshold"] = _split(call, False)
    if auto_unseal or given("recovery-shares") or given("recovery-threshold"):
        body["recovery_shares"], body["recovery_threshold"] = _split(call, True)
    if given("stored-shares"):
        body["stored_shares"] = call.flags.number("stored-shares")
    for name, member in (("pgp-keys", "pgp_keys"), ("recovery-pgp-keys", "recovery_pgp_keys")):
        if keys := pgp_keys(call.flags.text(name)):
            body[member] = keys
    if root := pgp_keys(call.flags.text("root-token-pgp-key")):
        body["root_token_pgp_key"] = root[0]
    return body


def pgp_keys(text: str) -> list[str]:
    """Public keys from a comma-separated list of files, as base64. Raises UsageError for what is no file."""
    keys = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name.startswith("keybase:"):
            raise UsageError("keybase names are not supported; export the public key to a file")
        content = read_file(name.removeprefix("@"))
        try:
            keys.append(base64.b64encode(base64.b64decode(content.strip(), validate=True)).decode())
        except ValueError:
            keys.append(base64.b64encode(content).decode())
    return keys


def _lines(answer: Data, split: tuple[int, int]) -> list[str]:
    unseal, recovery = _keys(answer, "keys_base64"), _keys(answer, "recovery_keys_base64")
    shares, threshold = split
    lines = [f"Unseal Key {number}: {key}" for number, key in enumerate(unseal, start=1)]
    lines += [f"Recovery Key {number}: {key}" for number, key in enumerate(recovery, start=1)]
    lines += ["", f"Initial Root Token: {answer.get('root_token', '')}", ""]
    if unseal:
        return [
            *lines,
            f"Vault initialized with {shares} key shares and a key threshold of {threshold}. Give each share",
            f"to another person now: they are shown only once. After every restart, {threshold} of them",
            "are needed to unseal the node.",
            "",
            "The root key itself is stored nowhere in the clear. If fewer than",
            f"{threshold} shares are left, the data is lost for good.",
            "",
            'New shares can be made from a quorum of these: see "strongroom operator rekey".',
        ]
    return [
        *lines,
        "Success! Vault is initialized",
        "",
        f"Recovery key initialized with {shares} key shares and a key threshold of {threshold}. Give each",
        "share to another person now: they are shown only once. Recovery keys authorize",
        "operations such as generate-root; they cannot unseal a node.",
    ]


def _encoded(answer: Data, split: tuple[int, int], auto_unseal: bool) -> Data:
    return {
        "unseal_keys_b64": _keys(answer, "keys_base64"),
        "unseal_keys_hex": _keys(answer, "keys"),
        "unseal_shares": 0 if auto_unseal else split[0],
        "unseal_threshold": 0 if auto_unseal else split[1],
        "recovery_keys_b64": _keys(answer, "recovery_keys_base64"),
        "recovery_keys_hex": _keys(answer, "recovery_keys"),
        "recovery_keys_shares": split[0] if auto_unseal else 0,
        "recovery_keys_threshold": split[1] if auto_unseal else 0,
        "root_token": answer.get("root_token", ""),
    }


def _keys(answer: Data, member: str) -> Sequence[str]:
    return answer.get(member) or []


INIT: Final = Command(
    name="init",
    summary="Initialize a server.",
    detail="Makes the root key, splits it into key shares, and prints the shares and the first token. Once a cluster.",
    run=_init,
    flags=(
        flags.number("key-shares", "Shares to split the unseal key into.", 5, aliases=("n",)),
        flags.number("key-threshold", "Shares needed to unseal.", 3, aliases=("t",)),
        flags.text("pgp-keys", "Comma-separated files of public PGP keys, one a share, to encrypt the shares with."),
        flags.text("root-token-pgp-key", "File of a public PGP key to encrypt the first token with."),
        flags.switch("status", "Only say whether the server is initialized: exit code 0 if it is, 2 if not."),
        flags.number("recovery-shares", "Shares to split the recovery key into (auto-unseal only).", 5),
        flags.number("recovery-threshold", "Recovery shares needed (auto-unseal only).", 3),
        flags.text("recovery-pgp-keys", "Like -pgp-keys, for the recovery shares."),
        flags.number("stored-shares", "Ignored by servers of today.", 0),
    ),
)
