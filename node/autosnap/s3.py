"""Automatic snapshots in an S3 bucket, by boto3.

An object appears in the bucket only with the last call of its upload, whole; one part of it is in memory at a time.
Everything here blocks; run it in a thread. Nothing that AWS or boto3 says reaches a log or a status but codes: their
texts may quote keys.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from node.autosnap.errors import AutoSnapshotFailed
from node.autosnap.model import AutoConfig

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, CreateMultipartUploadRequestTypeDef

PART_BYTES: Final = 8 << 20  # 10,000 parts are allowed, which is far more than the largest snapshot has
_CONNECT_S: Final = 10
_READ_S: Final = 60
_ATTEMPTS: Final = 3

_at_work: set[tuple[str, str, str]] = set()  # endpoint, bucket and key of what this process is uploading
_at_work_lock: Final = threading.Lock()


class S3Bucket:
    """The bucket of one configuration."""

    def __init__(self, config: AutoConfig) -> None:
        self._config = config

    def keep(self, name: str, chunks: Iterator[bytes]) -> str:
        """Upload a snapshot, then remove the oldest beyond `retain`; why that could not be done, or "".

        Raises:
            AutoSnapshotFailed: There is no object of this name, and the older ones are all there.
        """
        key = self._config.key_prefix + name
        own = (self._config.endpoint_url, self._config.aws_s3_bucket, key)
        with _at_work_lock:
            _at_work.add(own)
        try:
            with _told():
                client = _client(self._config)
                self._upload(client, key, chunks)
        finally:
            with _at_work_lock:
                _at_work.discard(own)
        try:
            with _told():
                self._abort_leftovers(client)
                self._prune(client)
        except AutoSnapshotFailed as error:
            return f"the snapshot is complete, but older ones could not be removed: {error}"
        return ""

    def _upload(self, client: "S3Client", key: str, chunks: Iterator[bytes]) -> None:
        bucket = self._config.aws_s3_bucket
        upload_id = client.create_multipart_upload(**self._create_options(key))["UploadId"]
        try:
            parts: list[CompletedPartTypeDef] = []
            for number, part in enumerate(_parts(chunks), 1):
                sent = client.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=part)
                parts.append({"PartNumber": number, "ETag": sent["ETag"]})
            client.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            # Parts that nobody completes are paid for and shown nowhere. The next attempt looks for them again.
            with suppress(Exception):
                client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
            raise

    def _create_options(self, key: str) -> "CreateMultipartUploadRequestTypeDef":
        config = self._config
        options: CreateMultipartUploadRequestTypeDef = {
            "Bucket": config.aws_s3_bucket,
            "Key": key,
            "ContentType": "application/gzip",
        }
        if config.aws_s3_enable_kms:
            options["ServerSideEncryption"] = "aws:kms"
            if config.aws_s3_kms_key:
                options["SSEKMSKeyId"] = config.aws_s3_kms_key
        elif config.aws_s3_server_side_encryption:
            options["ServerSideEncryption"] = "AES256"
        return options

    def _abort_leftovers(self, client: "S3Client") -> None:
        """Of a node that died or lost leadership in the middle: only the active node uploads."""
        prefix = self._config.key_prefix + self._config.file_prefix
        bucket = self._config.aws_s3_bucket
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
            for upload in page.get("Uploads", ()):
                key = upload["Key"]
                with _at_work_lock:
                    is_at_work = (self._config.endpoint_url, bucket, key) in _at_work
                if not is_at_work and self._config.numbered([key.removeprefix(self._config.key_prefix)]):
                    client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload["UploadId"])

    def _prune(self, client: "S3Client") -> None:
        bucket, prefix = self._config.aws_s3_bucket, self._config.key_prefix
        names: list[str] = []
        for page in client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix + self._config.file_prefix
        ):
            names.extend(found["Key"].removeprefix(prefix) for found in page.get("Contents", ()))
        for name in self._config.numbered(names)[: -self._config.retain]:
            client.delete_object(Bucket=bucket, Key=prefix + name)


def _parts(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in parts of PART_BYTES, but for the last."""
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        while len(gathered) >= PART_BYTES:
            yield bytes(gathered[:PART_BYTES])
            del gathered[:PART_BYTES]
    if gathered:
        yield bytes(gathered)


def _client(config: AutoConfig) -> "S3Client":
    from boto3.session import Session
    from botocore.config import Config

    for noisy in ("boto3", "botocore", "s3transfer", "urllib3"):
        # At debug level they print headers, a session token among them.
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Without keys of its own, what the environment of the process offers, as documented.
    session = Session(
        aws_access_key_id=config.aws_access_key_id or None,
        aws_secret_access_key=config.aws_secret_access_key or None,
        aws_session_token=config.aws_session_token or None,
        region_name=config.aws_s3_region,
    )
    return session.client(
        "s3",
        endpoint_url=config.endpoint_url or None,
        use_ssl=not config.aws_s3_disable_tls,
        config=Config(
            s3={"addressing_style": "path" if config.aws_s3_force_path_style else "auto"},
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            # Stores that only resemble S3 do not know the checksums that newer clients add by themselves.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong with S3, in words that quote nothing. Raises AutoSnapshotFailed."""
    from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "?"))[:64]
        raise AutoSnapshotFailed(f"S3 answered {code} to {error.operation_name}") from None
    except NoCredentialsError:
        raise AutoSnapshotFailed("no AWS credentials: neither configured nor in the server's environment") from None
    except EndpointConnectionError:
        raise AutoSnapshotFailed("the S3 endpoint cannot be reached") from None
    except BotoCoreError as error:
        raise AutoSnapshotFailed(f"the request to S3 failed: {type(error).__name__}") from None
