"""AWS KMS as moto plays it, in a process of its own, and a relay before it that can be taken away and brought back."""

import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from tests.processes.cluster import free_ports, wait_until

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

REGION: Final = "eu-central-1"
ACCESS_KEY: Final = "AKIACANARYACCESSKEY0"
SECRET_KEY: Final = "canary-secret-access-key"
_ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class AwsKms:
    """A running moto server."""

    address: str

    @cached_property
    def client(self) -> "KMSClient":
        """An administrator's client of KMS."""
        return cast("KMSClient", self.client_of("kms", ACCESS_KEY, SECRET_KEY))

    def client_of(self, service: str, access_key: str, secret_key: str) -> Any:
        """A client with these credentials."""
        import boto3

        return boto3.client(
            service,  # type: ignore[call-overload]
            region_name=REGION,
            endpoint_url=self.address,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
        )

    def new_key(self, alias: str = "") -> str:
        """The id of a new key; with an alias ("alias/x") this now names it."""
        key_id = self.client.create_key()["KeyMetadata"]["KeyId"]
        if alias:
            known = {each.get("AliasName") for each in self.client.list_aliases()["Aliases"]}
            change = self.client.update_alias if alias in known else self.client.create_alias
            change(AliasName=alias, TargetKeyId=key_id)
        return key_id

    def arn(self, key_id: str) -> str:
        """The key's ARN."""
        return self.client.describe_key(KeyId=key_id)["KeyMetadata"]["Arn"]

    @contextmanager
    def asking_iam(self) -> Iterator[None]:
        """While this lasts, moto checks signatures and policies, of every request."""
        self._ask_iam("0")
        try:
            yield
        finally:
            self._ask_iam("inf")

    def _ask_iam(self, after: str) -> None:
        url, headers = f"{self.address}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        request = urllib.request.Request(url, data=after.encode(), headers=headers, method="POST")
        urllib.request.urlopen(request, timeout=30).close()


@contextmanager
def aws_kms() -> Iterator[AwsKms]:
    """A server on a free port."""
    (port,) = free_ports(1)
    environment = {**os.environ, "MOTO_PORT": str(port), "AWS_EC2_METADATA_DISABLED": "true"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.kms.moto_server", str(port)],
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        server = AwsKms(f"http://127.0.0.1:{port}")
        wait_until(lambda: _answers(server.address), "moto answers")
        yield server
    finally:
        process.kill()
        process.wait()


def _answers(address: str) -> bool:
    with suppress(OSError):
        urllib.request.urlopen(f"{address}/moto-api/data.json", timeout=5).close()
        return True
    return False


class Relay:
    """Passes connections on to a port while it is up; while it is down they are refused, at the same address."""

    def __init__(self, to_address: str) -> None:
        self._to = int(to_address.rpartition(":")[2])
        (self.port,) = free_ports(1)
        self.address: Final = f"http://127.0.0.1:{self.port}"
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()

    def up(self) -> None:
        """Accept connections."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self) -> None:
        """Refuse new connections, and end those that are open."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self._listener = None
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            self._open |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while chunk := one.recv(65536):
                other.sendall(chunk)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)
        self._open.discard(one)
