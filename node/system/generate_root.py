"""sys/generate-root and sys/decode-token (API documentation of the same names)."""

from base64 import b64decode
from dataclasses import dataclass, field

from engines.common.context import Context
from engines.common.errors import InvalidRequest
from engines.common.fields import Kind, body_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Plan
from node.ceremonies import Generation, generating
from node.ceremonies.authority import seal_config
from node.ceremonies.desk import at_the_desk, may
from node.ceremonies.generating import OTP_CHARS
from node.core import Core
from node.pgp import read_key
from node.system.rekey import End, Nothing, Share

_ATTEMPT = "sys/generate-root/attempt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """How the token is to be handed out."""

    pgp_key: str = body_param(Kind.STRING, "A public PGP key to encrypt the token to, base64.", default="")
    otp: str = body_param(Kind.STRING, "A one-time password of one's own.", default="", secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """A token as generate-root gave it, and its one-time password."""

    encoded_token: str = body_param(Kind.STRING, "The masked token, base64.", required=True, secret=True)
    otp: str = body_param(Kind.STRING, "Its one-time password.", required=True, secret=True)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is told of a generation. `otp` is told once."""

    generation: Generation | None
    required: int
    otp: str = field(default="", repr=False)
    encoded_token: str = field(default="", repr=False)

    def answer(self) -> dict[str, object]:
        """The body of the documented response."""
        generation, is_complete = self.generation, bool(self.encoded_token)
        progress = 0 if generation is None else generation.quorum.progress
        return {
            "nonce": "" if generation is None else generation.nonce,
            "started": generation is not None,
            "progress": self.required if is_complete else progress,
            "required": self.required,
            "complete": is_complete,
            "encoded_token": self.encoded_token,
            "encoded_root_token": self.encoded_token,
            "pgp_fingerprint": "" if generation is None else generation.fingerprint,
            "otp": self.otp,
            "otp_length": OTP_CHARS,
        }


@dataclass(frozen=True, slots=True)
class _Generations:
    core: Core

    def _shown(self, generation: Generation | None, otp: str = "", encoded_token: str = "") -> Answer:
        required = seal_config(self.core).threshold if generation is None else generation.quorum.required
        return Answer(bare=Shown(generation, required, otp, encoded_token).answer())

    async def status(self, request: Nothing, ctx: Context) -> Plan:
        async with at_the_desk(self.core) as ceremonies:
            return Plan(self._shown(ceremonies.generation))

    async def begin(self, request: Begin, ctx: Context) -> Plan:
        is_authorised = may(self.core, ctx.caller, Operation.UPDATE, _ATTEMPT)
        async with at_the_desk(self.core):
            generating.require_free(self.core, may=is_authorised)
            key = read_key(request.pgp_key, ctx.sources.now_ms() / 1000) if request.pgp_key else None
            generation = generating.begin(self.core, key, request.otp, may=is_authorised)
            return Plan(self._shown(generation, otp=generation.otp))

    async def cancel(self, request: End, ctx: Context) -> Plan:
        is_authorised = may(self.core, ctx.caller, Operation.DELETE, _ATTEMPT)
        async with at_the_desk(self.core):
            generating.cancel(self.core, request.nonce, may=is_authorised)
        return Plan()

    async def give(self, request: Share, ctx: Context) -> Plan:
        async with at_the_desk(self.core):
            result = await generating.give(self.core, request.key, request.nonce)
            if isinstance(result, Generation):
                return Plan(self._shown(result))
        return Plan(self._shown(result.generation, encoded_token=result.encoded_token), is_committed=True)


async def _decode(request: Masked, ctx: Context) -> Plan:
    text = request.encoded_token
    try:
        masked, otp = b64decode(text + "=" * (-len(text) % 4), validate=True), request.otp.encode()
        token = bytes(one ^ other for one, other in zip(masked, otp, strict=True)).decode("ascii")
    except ValueError:
        raise InvalidRequest("the encoded token and the OTP do not belong together") from None
    return Plan(Answer(data={"token": token}))


def routes(core: Core) -> tuple[Route, ...]:
    """The routes of generate-root."""
    own = _Generations(core)
    return (
        Route(
            pattern="generate-root/attempt",
            operation=Operation.READ,
            request=Nothing,
            handler=own.status,
            unauthenticated=True,
            summary="How far the generation of a root token is.",
        ),
        Route(
            pattern="generate-root/attempt",
            operation=Operation.UPDATE,
            request=Begin,
            handler=own.begin,
            unauthenticated=True,
            summary="Begin to generate a root token.",
        ),
        Route(
            pattern="generate-root/attempt",
            operation=Operation.DELETE,
            request=End,
            handler=own.cancel,
            unauthenticated=True,
            summary="Cancel it.",
        ),
        Route(
            pattern="generate-root/update",
            operation=Operation.UPDATE,
            request=Share,
            handler=own.give,
            unauthenticated=True,
            summary="Give one key share; the last one needed gets the token, masked or encrypted.",
        ),
        Route(
            pattern="decode-token",
            operation=Operation.UPDATE,
            request=Masked,
            handler=_decode,
            summary="Unmask a token with its one-time password.",
        ),
    )
