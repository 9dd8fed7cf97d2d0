"""An S3 server for tests: moto, as a process of its own, asked by boto3 as the real one is."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.processes.cluster import clean_environment, free_ports, wait_until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY_ID: Final = "AKIDOFTHISTEST"
SECRET: Final = "secret-access-key-of-this-test"
REGION: Final = "eu-central-1"


@dataclass(frozen=True)
class ObjectStore:
    """A running server."""

    endpoint: str

    @property
    def client(self) -> "S3Client":
        """Whoever looks into the buckets."""
        import boto3

        return boto3.session.Session().client(
            "s3",
            endpoint_url=f"http://{self.endpoint}",
            region_name=REGION,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
        )

    def bucket(self, name: str) -> str:
        """A new bucket."""
        self.client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return name

    def keys(self, bucket: str) -> list[str]:
        """The objects in a bucket."""
        return [found["Key"] for found in self.client.list_objects_v2(Bucket=bucket).get("Contents", ())]

    def read(self, bucket: str, key: str) -> bytes:
        """An object."""
        content: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def uploads(self, bucket: str) -> list[str]:
        """The keys of uploads that nobody has completed."""
        return [found["Key"] for found in self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A server until the end of the block."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=clean_environment(),
    )

    def answers() -> bool:
        assert process.poll() is None, "the object store has ended"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/data.json", timeout=5).close()
        except OSError:
            return False
        return True

    try:
        wait_until(answers, "the object store answers")
        yield ObjectStore(f"127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
