"""server: flags become ServerOptions, and only this command loads the node."""

import subprocess
import sys
from types import ModuleType

import pytest

from node.cli.server_options import ServerOptions
from tests.node.cli.conftest import Terminal


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[ServerOptions]:
    """A node.server that notes what it was asked for."""
    seen: list[ServerOptions] = []
    module = ModuleType("node.server")

    def run(options: ServerOptions) -> int:
        seen.append(options)
        return 0

    vars(module)["run"] = run
    monkeypatch.setitem(sys.modules, "node.server", module)
    return seen


def test_dev(sr: Terminal, started: list[ServerOptions]) -> None:
    """-dev needs no configuration file; its variables stand in for flags."""
    sr.environ["VAULT_DEV_LISTEN_ADDRESS"] = "127.0.0.1:1234"
    assert sr("server", "-dev", "-dev-root-token-id=root").code == 0
    assert started == [
        ServerOptions(dev=True, dev_root_token_id="root", dev_listen_address="127.0.0.1:1234"),
    ]
    assert "root'" not in repr(started[0])


def test_files(sr: Terminal, started: list[ServerOptions]) -> None:
    """-config repeats; what was not given is None, so that the file can decide."""
    assert sr("server", "-config=a.hcl", "-config", "b", "-log-level=debug", "-log-rotate-duration=1h").code == 0
    assert started[0].config_paths == ("a.hcl", "b")
    assert (started[0].log_level, started[0].log_format) == ("debug", None)
    assert started[0].log_rotate_duration_s == 3600
    assert (started[0].log_rotate_bytes, started[0].log_rotate_max_files) == (None, None)


def test_rotation(sr: Terminal, started: list[ServerOptions]) -> None:
    """A flag that repeats its default was given all the same; less than a second is not for ever."""
    words = ("-log-rotate-duration=500ms", "-log-rotate-bytes=0", "-log-rotate-max-files", "-1")
    assert sr("server", "-dev", *words).code == 0
    assert (started[0].log_rotate_duration_s, started[0].log_rotate_bytes) == (1, 0)
    assert started[0].log_rotate_max_files == -1


def test_nothing_to_run(sr: Terminal, started: list[ServerOptions]) -> None:
    """Neither -dev nor a configuration is wrong usage."""
    assert sr("server").code == 1
    assert sr("server", "-dev", "x").code == 1
    assert sr("server", "-dev", "-log-level=loud").code == 1
    assert started == []


@pytest.mark.parametrize("words", [["version"], ["kv", "get", "-address=http://127.0.0.1:1", "a/b"]])
def test_plain_commands_load_no_server_library(words: list[str]) -> None:
    """What costs start-up time is loaded by the commands that need it (budget: 150 and 300 ms)."""
    program = (
        "import sys; from node.cli.main import main; main(sys.argv[1:]); "
        "print(sorted({n.partition('.')[0] for n in sys.modules} "
        "& {'aiohttp', 'asyncio', 'cryptography', 'click', 'rich', 'yaml', 'lmdb', 'uvloop', 'orjson', 'subprocess'}))"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
