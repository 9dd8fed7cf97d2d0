"""sys/storage/raft/snapshot-auto: snapshots on a schedule (API documentation of the same name)."""

import re
from dataclasses import dataclass, fields, replace
from typing import Final

from engines.common.context import Context, Seen
from engines.common.errors import InvalidRequest, NotFound
from engines.common.fields import Kind, body_param, path_param
from engines.common.frame import Operation, Route
from engines.common.plan import Answer, Delete, Plan, Put
from node.autosnap.model import CONFIG_PREFIX, STATUS_PREFIX, AutoConfig
from node.autosnap.schedule import AutoSnapshots, status_of

_NAME: Final = re.compile(r"\w(?:[\w.-]{0,126}\w)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigName:
    """A configuration by its name."""

    name: str = path_param("The configuration's name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteConfig:
    """A configuration. What an existing one has and is not named here stays, secrets too."""

    name: str = path_param("The configuration's name.")
    interval: int | None = body_param(Kind.DURATION, "Time between snapshots; required.")
    retain: int | None = body_param(Kind.INT, "How many snapshots to keep; 1 by default.")
    path_prefix: str | None = body_param(Kind.STRING, "The folder, or the prefix in the bucket; required.")
    file_prefix: str | None = body_param(Kind.STRING, 'How file names begin; "vault-snapshot" by default.')
    storage_type: str | None = body_param(Kind.STRING, "local or aws-s3; required.")
    local_max_space: int | None = body_param(Kind.INT, "local: bytes that all its snapshots may take; required.")
    aws_s3_bucket: str | None = body_param(Kind.STRING, "aws-s3: the bucket; required.")
    aws_s3_region: str | None = body_param(Kind.STRING, "aws-s3: the bucket's region; required.")
    aws_access_key_id: str | None = body_param(Kind.STRING, "aws-s3: access key; else what the environment has.")
    aws_secret_access_key: str | None = body_param(Kind.STRING, "aws-s3: its secret; never shown.", secret=True)
    aws_session_token: str | None = body_param(Kind.STRING, "aws-s3: session token; never shown.", secret=True)
    aws_s3_endpoint: str | None = body_param(Kind.STRING, "aws-s3: another endpoint than that of AWS.")
    aws_s3_disable_tls: bool | None = body_param(Kind.BOOL, "aws-s3: plain HTTP, for tests.")
    aws_s3_force_path_style: bool | None = body_param(Kind.BOOL, "aws-s3: endpoint/bucket, not bucket.endpoint.")
    aws_s3_enable_kms: bool | None = body_param(Kind.BOOL, "aws-s3: encrypt by KMS.")
    aws_s3_server_side_encryption: bool | None = body_param(Kind.BOOL, "aws-s3: encrypt by AES256.")
    aws_s3_kms_key: str | None = body_param(Kind.STRING, "aws-s3: the KMS key, with aws_s3_enable_kms.")


@dataclass(frozen=True, slots=True)
class _Handlers:
    automatic: AutoSnapshots | None

    def _required(self) -> AutoSnapshots:
        if self.automatic is None:
            raise InvalidRequest("raft storage is not in use")
        return self.automatic

    async def list(self, request: Nothing, ctx: Context) -> Plan:
        self._required()
        names = await ctx.view.list(CONFIG_PREFIX)
        if not names:
            raise NotFound
        return Plan(Answer(data={"keys": names}))

    async def exists(self, request: WriteConfig, ctx: Context) -> bool:
        return await ctx.view.get(CONFIG_PREFIX + _checked(request.name)) is not None

    async def read(self, request: ConfigName, ctx: Context) -> Plan:
        self._required()
        return Plan(Answer(data=AutoConfig.from_bytes((await _found(request.name, ctx)).value).shown()))

    async def write(self, request: WriteConfig, ctx: Context) -> Plan:
        automatic = self._required()
        key = CONFIG_PREFIX + _checked(request.name)
        seen = await ctx.view.get(key)
        config = AutoConfig() if seen is None else AutoConfig.from_bytes(seen.value)
        if request.storage_type is not None and request.storage_type != config.storage_type:
            config = AutoConfig()
        named = {f.name: getattr(request, f.name) for f in fields(AutoConfig)}
        config = replace(config, **{name: value for name, value in named.items() if value is not None})
        config.require_sound(automatic.own_folders)
        return Plan(writes=(Put(key, config.to_bytes(), 0 if seen is None else seen.index),))

    async def delete(self, request: ConfigName, ctx: Context) -> Plan:
        self._required()
        name = _checked(request.name)
        return Plan(writes=(Delete(CONFIG_PREFIX + name), Delete(STATUS_PREFIX + name)))

    async def status(self, request: ConfigName, ctx: Context) -> Plan:
        self._required()
        seen = await _found(request.name, ctx)
        status = status_of(await ctx.view.get(STATUS_PREFIX + request.name))
        return Plan(Answer(data=status.shown(AutoConfig.from_bytes(seen.value), seen.index, ctx.sources.now_ms())))


async def _found(name: str, ctx: Context) -> Seen:
    seen = await ctx.view.get(CONFIG_PREFIX + _checked(name))
    if seen is None:
        raise NotFound
    return seen


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidRequest("invalid name: use up to 128 letters, digits, hyphens, underscores and periods")
    return name


def routes(automatic: AutoSnapshots | None) -> tuple[Route, ...]:
    """The routes of automatic snapshots. There are none without Raft."""
    own = _Handlers(automatic)
    base = "storage/raft/snapshot-auto"
    one = f"{base}/config/:name"
    return (
        Route(
            pattern=f"{base}/config",
            operation=Operation.LIST,
            request=Nothing,
            handler=own.list,
            summary="List the configurations of automatic snapshots.",
            sudo=True,
        ),
        Route(
            pattern=one,
            operation=Operation.READ,
            request=ConfigName,
            handler=own.read,
            summary="Read a configuration of automatic snapshots, without its secrets.",
            sudo=True,
        ),
        Route(
            pattern=one,
            operation=Operation.UPDATE,
            request=WriteConfig,
            handler=own.write,
            exists=own.exists,
            summary="Create or change a configuration of automatic snapshots.",
            sudo=True,
        ),
        Route(
            pattern=one,
            operation=Operation.DELETE,
            request=ConfigName,
            handler=own.delete,
            summary="Delete a configuration of automatic snapshots; the snapshots stay.",
            sudo=True,
        ),
        Route(
            pattern=f"{base}/status/:name",
            operation=Operation.READ,
            request=ConfigName,
            handler=own.status,
            summary="When the newest snapshot was taken, where it is, and what went wrong.",
        ),
    )
