"""node/config/: what files and environment become, and how exactly faults are named."""

import json
from ipaddress import ip_network
from pathlib import Path

import pytest

from node.config import Config, HostPort, InmemStorage, RaftStorage, load
from node.errors import ConfigError

BASE = """\
storage "raft" {
  path = "/opt/data"
  node_id = "n1"
}
listener "tcp" {
  address = "127.0.0.1:8200"
  tls_disable = true
}
cluster_addr = "https://127.0.0.1:8201"
"""
HCL_JOINS = 'node_id = "n1" retry_join { leader_api_addr = "http://a:1" } retry_join { leader_api_addr = "http://b:1" }'
MINIMAL = 'storage "inmem" {}\nlistener "tcp" { tls_disable = true }\n'


def read(text: str, env: dict[str, str] | None = None) -> Config:
    return load([], {"STRONGROOM_LOCAL_CONFIG": text, **(env or {})})


def refused(text: str, env: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        read(text, env)
    return str(error.value).removeprefix("STRONGROOM_LOCAL_CONFIG")


def test_the_walkthrough_file(tmp_path: Path) -> None:
    """Everything that walkthrough I names in one file, with the values it has."""
    file = tmp_path / "node.hcl"
    file.write_text("""
storage "raft" {
  path    = "/opt/strongroom/data"
  node_id = "node-1"
  retry_join { leader_api_addr = "https://node-2:8200" }
  retry_join {
    leader_api_addr     = "https://node-3:8200"
    leader_ca_cert_file = "/tls/ca.pem"
  }
}
listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/tls/cert.pem"
  tls_key_file  = "/tls/key.pem"
  telemetry { unauthenticated_metrics_access = true }
  custom_response_headers {
    "default" = { "Strict-Transport-Security" = ["max-age=1,x"] }
    "2xx" = { X-One = "a, b" }
  }
}
api_addr     = "https://node-1:8200/"
cluster_addr = "https://node-1:8201"
ui           = true
seal "awskms" { region = "eu-west-1" kms_key_id = "alias/x" }
service_registration "consul" { address = "consul:8500" }
telemetry { prometheus_retention_time = "30s" disable_hostname = true usage_gauge_period = "none" }
user_lockout "all" { lockout_threshold = "7" lockout_duration = "10m" }
user_lockout "userpass" { lockout_threshold = 3 }
""")
    config = load([file], {})
    assert config.warnings == ()
    assert isinstance(config.storage, RaftStorage)
    assert [join.leader_api_addr for join in config.storage.retry_join] == [
        "https://node-2:8200",
        "https://node-3:8200",
    ]
    (listener,) = config.listeners
    assert listener.telemetry.unauthenticated_metrics_access
    assert listener.host_port == HostPort("0.0.0.0", 8200)
    assert listener.cluster_host_port == HostPort("0.0.0.0", 8201)
    assert [(each.status, dict(each.headers)) for each in listener.custom_response_headers] == [
        ("default", {"Strict-Transport-Security": ("max-age=1,x",)}),
        ("2xx", {"X-One": ("a, b",)}),
    ]
    assert (config.api_addr, config.ui) == ("https://node-1:8200", True)
    assert (config.seal.type, config.seal.text("kms_key_id")) == ("awskms", "alias/x")
    assert config.service_registration is not None
    assert (config.telemetry.prometheus_retention_time_s, config.telemetry.usage_gauge_period_s) == (30, 0)
    userpass, ldap = config.lockout_of("userpass"), config.lockout_of("ldap")
    assert (userpass.lockout_threshold, userpass.lockout_duration_s) == (3, 600)
    assert (ldap.lockout_threshold, ldap.lockout_counter_reset_s) == (7, 900)


def test_json_says_the_same_as_hcl() -> None:
    """The JSON spelling of a file gives an equal configuration."""
    joins = [{"leader_api_addr": "http://a:1"}, {"leader_api_addr": "http://b:1"}]
    text = json.dumps({
        "storage": {"raft": {"path": "/opt/data", "node_id": "n1", "retry_join": joins}},
        "listener": [{"tcp": {"address": "127.0.0.1:8200", "tls_disable": "true"}}],
        "cluster_addr": "https://127.0.0.1:8201",
    }, indent=1)  # fmt: skip
    from_json, from_hcl = read(text), read(BASE.replace('node_id = "n1"', HCL_JOINS))
    assert (from_json.storage, from_json.cluster_addr) == (from_hcl.storage, from_hcl.cluster_addr)
    assert from_json.listeners[0].address == from_hcl.listeners[0].address
    assert from_json.listeners[0].tls_disable is True


def test_a_folder_and_later_files_win(tmp_path: Path) -> None:
    """A folder's files are read by name, others in it are not; a later setting wins, listeners add up."""
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "20.json").write_text('{"log_level": "warn", "listener": {"unix": {"address": "/run/s.sock"}}}')
    (folder / "10.hcl").write_text(BASE + 'log_level = "debug"')
    (folder / "notes.txt").write_text("not = [ a config")
    last = tmp_path / "last.hcl"
    last.write_text('storage "inmem" {}')
    config = load([folder, last], {"VAULT_LOCAL_CONFIG": 'cluster_name = "local"'})
    assert (config.log_level, config.cluster_name) == ("warn", "local")
    assert [each.type for each in config.listeners] == ["tcp", "unix"]
    assert isinstance(config.storage, InmemStorage)


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("VAULT_API_ADDR", "https://env:8200", "api_addr", "https://env:8200"),
        ("VAULT_CLUSTER_ADDR", "https://env:8201", "cluster_addr", "https://env:8201"),
        ("VAULT_LOG_LEVEL", "TRACE", "log_level", "trace"),
        ("VAULT_LOG_FORMAT", "json", "log_format", "json"),
        ("VAULT_UI", "true", "ui", True),
        ("VAULT_DISABLE_MLOCK", "1", "disable_mlock", True),
        ("VAULT_EXPERIMENTS", "a, b", "experiments", ("a", "b")),
        ("VAULT_PLUGIN_TMPDIR", "/t", "plugin_tmpdir", "/t"),
    ],
)
def test_environment_beats_the_file(variable: str, value: str, field: str, expected: object) -> None:
    """A variable wins over the file, STRONGROOM_X over VAULT_X, and an empty one counts as not set."""
    file = BASE + 'api_addr = "http://file:8200"\nlog_level = "error"\nui = false\n'
    assert getattr(read(file, {variable: value}), field) == expected
    own = variable.replace("VAULT_", "STRONGROOM_")
    assert getattr(read(file, {own: value, variable: "?"}), field) == expected
    assert getattr(read(file, {variable: ""}), field) == getattr(read(file), field)


def test_raft_variables() -> None:
    """Path and node id come from the environment too, and the path may come from there alone."""
    text = BASE.replace('  path = "/opt/data"\n', "")
    storage = read(text, {"VAULT_RAFT_PATH": "/e", "STRONGROOM_RAFT_NODE_ID": "n9"}).storage
    assert isinstance(storage, RaftStorage)
    assert (storage.path, storage.node_id) == ("/e", "n9")
    assert refused(text).startswith(":1: path: required")


def test_seal_variables() -> None:
    """VAULT_SEAL_TYPE chooses the seal, and the variables of a seal beat its block."""
    block = 'seal "awskms" { region = "eu" access_key = "canary-a" }\n'
    env = {"AWS_REGION": "us", "AWS_SECRET_ACCESS_KEY": "canary-b", "VAULT_AWSKMS_SEAL_KEY_ID": "k"}
    seal = read(BASE + block, env).seal
    assert [seal.text(key) for key in ("region", "access_key", "secret_key", "kms_key_id")] == [
        "us", "canary-a", "canary-b", "k"
    ]  # fmt: skip
    assert "canary" not in repr(seal)
    by_type = read(BASE, {**env, "VAULT_SEAL_TYPE": "awskms"})
    assert (by_type.seal.type, by_type.seal.text("region")) == ("awskms", "us")
    replaced = read(BASE + 'seal "shamir" {}', {"VAULT_SEAL_TYPE": "transit"})
    assert replaced.seal.type == "transit"
    assert len(replaced.warnings) == 1


def test_seals_of_a_migration() -> None:
    """One seal is in use and others are disabled; two in use are an error; none is shamir."""
    both = 'seal "shamir" { disabled = "true" }\nseal "aesgcm" { keys = ["x"] }\n'
    config = read(BASE + both)
    assert [(seal.type, seal.disabled) for seal in config.seals] == [("shamir", True), ("aesgcm", False)]
    assert config.seal.type == "aesgcm"
    assert config.old_seal is not None and config.old_seal.type == "shamir"
    assert read(BASE).seal.type == "shamir" and read(BASE).old_seal is None
    assert refused(BASE + both.replace("true", "false")).startswith(":11: only one seal may be in use")
    three = both + 'seal "static" { disabled = true }\n'
    assert refused(BASE + three).startswith(":12: only one seal may be disabled")


def test_the_environment_is_that_of_the_seal_in_use() -> None:
    """Of two seals of one type, variables beat the one in use, and only fill what the disabled one leaves out."""
    both = 'seal "awskms" {\n disabled = true\n kms_key_id = "old"\n}\nseal "awskms" { kms_key_id = "new" }\n'
    config = read(BASE + both, {"VAULT_AWSKMS_SEAL_KEY_ID": "env", "AWS_REGION": "eu"})
    assert config.old_seal is not None
    for seal, key_id in ((config.seal, "env"), (config.old_seal, "old")):
        assert (seal.text("kms_key_id"), seal.text("region")) == (key_id, "eu")


def test_lenient_types() -> None:
    """Numbers and booleans as strings, durations as numbers, lists with commas, IPv6 literals, unix sockets."""
    config = read("""
default_lease_ttl = 3600
max_lease_ttl = "7d"
cache_size = "8192"
storage "inmem" {}
listener "tcp" {
  address = "[::1]:8300"
  tls_disable = "TRUE"
  http_read_timeout = 5
  max_request_size = 0
  x_forwarded_for_authorized_addrs = "10.0.0.0/8, ::1"
  x_forwarded_for_hop_skips = "1"
}
listener "unix" { address = "/run/s.sock" socket_mode = "0660" }
""")
    assert (config.default_lease_ttl_s, config.max_lease_ttl_s, config.cache_size) == (3600, 604_800, 8192)
    tcp, unix = config.listeners
    assert (tcp.host_port, str(tcp.cluster_host_port)) == (HostPort("::1", 8300), "[::1]:8301")
    assert (tcp.http_read_timeout_s, tcp.request_bytes_max, tcp.x_forwarded_for_hop_skips) == (5, 33_554_432, 1)
    assert tcp.x_forwarded_for_authorized_addrs == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert tcp.request_duration_s_max == 90
    assert (unix.is_unix, unix.address, unix.socket_mode) == (True, "/run/s.sock", 0o660)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ('ui = "canary"', ":10: ui: expected true or false"),
        ("cache_size = [1]", ":10: cache_size: expected a whole number"),
        ('\n\nlog_level = "canary"', ":12: log_level: expected one of: trace"),
        ('max_lease_ttl = "canary"', ":10: max_lease_ttl: expected a duration"),
        ('default_lease_ttl = "800h"', ":10: default_lease_ttl: is above max_lease_ttl"),
        ('api_addr = "canary:8200"', ":10: api_addr: expected a full URL"),
        ('api_addr = "http://u:canary@h:1"', ":10: api_addr: expected a full URL"),
        ('api_addr = "http://{{ GetPrivateIP }}:8200"', ":10: api_addr: address templates are not supported"),
        ("disable_clustering = true", ":10: disable_clustering: must be false with raft storage"),
        ('telemetry {\n  prefix_filter = ["canary"] }', ":11: prefix_filter: each rule"),
        ('listener "tcp" { }', ":10: tls_cert_file: required unless"),
        ('listener "tcp" {\n address = "a b"\n tls_disable = 1 }', ":11: address: expected an address"),
        ('listener "tcp" {\n address = "[::1"\n tls_disable = 1 }', ":11: address: expected an address"),
        ('listener "tcp" {\n address = "h:70000"\n tls_disable = 1 }', ":11: address: expected an address"),
        ('listener "udp" { }', ":10: listener 'udp' is not available; available: tcp, unix"),
        ('listener { address = "a" }', ":10: listener: expected a block"),
        ('listener "tcp" { tls_disable = 1 tls_min_version = "tls13"\n tls_max_version = "tls12" }', ":10: tls_min"),
        ('listener "unix" {\n socket_mode = 660 }', ":11: socket_mode: expected an octal string"),
        ('listener "unix" {\n custom_response_headers { "2xx" = { X-Vault-A = ["b"] } } }', ":11: custom_response"),
        ('listener "unix" {\n custom_response_headers { "9xx" = { A = ["b"] } } }', ":11: custom_response_headers"),
        ('storage "raft" { path = "x" }', ":10: only one storage block is allowed"),
        ('ha_storage "consul" { }', ":10: ha_storage: not available"),
        ('service_registration "etcd" { }', ":10: service_registration 'etcd' is not available"),
        ('user_lockout "nobody" { }', ":10: user_lockout 'nobody' is not available"),
        ('user_lockout "all" { lockout_threshold = "canary" }', ":10: lockout_threshold: expected a whole number"),
        ('ui "label" { }', ":10: ui: takes a value, not a block"),
        ('seal "aesgcm" { keys = { canary = 1 } }', ":10: keys: expected a string"),
        ("pid_file = canary", ":10: column 12: expected a value"),
        ('cluster_name = "canary', ":10: column 16: the string is never closed"),
    ],
)
def test_a_wrong_value_names_file_and_line(lines: str, fault: str) -> None:
    """A fault names the source, the line and the key, says what was expected, and never shows the value."""
    text = refused(BASE + lines)
    assert text.startswith(fault)
    assert "canary" not in text


def test_retry_join_is_consistent() -> None:
    """One way to find the leader, and certificates from one place."""
    for inside, key in (
        ("", "leader_api_addr"),
        ('leader_api_addr = "http://a:1" auto_join = "provider=x"', "leader_api_addr"),
        ('leader_api_addr = "http://a:1" leader_ca_cert = "x" leader_ca_cert_file = "y"', "leader_ca_cert"),
        ('leader_api_addr = "http://a:1" leader_client_key = "canary"', "leader_client_cert"),
    ):
        text = refused(BASE.replace('node_id = "n1"', f"retry_join {{ {inside} }}"))
        assert text.startswith(f":3: {key}: ")
        assert "canary" not in text


def test_what_must_be_there() -> None:
    """Storage, a listener and, with raft, the cluster address; dev mode stands in for the first two."""
    assert refused('ui = true\nlistener "tcp" { tls_disable = 1 }') == "configuration: a storage block is required"
    assert refused('storage "inmem" {}') == "configuration: at least one listener block is required"
    assert "cluster_addr: required with raft storage" in refused(BASE.replace("cluster_addr", "cluster_name"))
    assert "storage 'consul' is not available; available: raft, inmem" in refused('storage "consul" {}')
    dev = load([], {}, dev=True)
    assert isinstance(dev.storage, InmemStorage)
    assert (dev.listeners[0].address, dev.listeners[0].tls_disable) == ("127.0.0.1:8200", True)


def test_an_unknown_key_is_a_warning() -> None:
    """At every level, with source and line and without its value; Enterprise keys are passed over in silence."""
    config = read(
        MINIMAL
        + 'frob = "canary"\ntelemetry {\n  frob = "canary" }\nseal "aesgcm" { key = "canary" }\n'
        + 'license_path = "x"\nui = true\nui = false\nlistener "unix" { frob { a = 1 } }\n'
    )
    assert sorted(config.warnings) == [
        "STRONGROOM_LOCAL_CONFIG:10: frob: unknown setting, ignored",
        "STRONGROOM_LOCAL_CONFIG:3: frob: unknown setting, ignored",
        "STRONGROOM_LOCAL_CONFIG:5: frob: unknown setting, ignored",
        "STRONGROOM_LOCAL_CONFIG:6: key: unknown setting, ignored",
        "STRONGROOM_LOCAL_CONFIG:9: ui: set more than once, the last one counts",
    ]
    assert config.ui is False


def test_wrong_variables_are_named() -> None:
    """A variable that cannot be used is named as it was spelled, without its value."""
    assert refused(MINIMAL, {"VAULT_UI": "canary"}) == "environment variable VAULT_UI: expected true or false"
    assert "variable STRONGROOM_API_ADDR: expected a full URL" in refused(MINIMAL, {"STRONGROOM_API_ADDR": "canary"})


def test_unreadable_files(tmp_path: Path) -> None:
    """A file that is missing, not text, or far too large is an error that names it."""
    binary, large = tmp_path / "b.hcl", tmp_path / "l.hcl"
    binary.write_bytes(b"a = 1\nb = \xff")
    large.write_bytes(b"#" * 5_000_000)
    for path, text in (
        (tmp_path / "none.hcl", "none.hcl: cannot be read: No such file or directory"),
        (binary, "b.hcl:2: is not UTF-8 text"),
        (large, "l.hcl: larger than"),
    ):
        with pytest.raises(ConfigError, match=text):
            load([path], {})


def test_cve_2020_13223_secrets_stay_out_of_repr() -> None:
    """Nothing secret that files or environment hold is in the configuration's repr or its warnings."""
    config = read(
        BASE.replace(
            'node_id = "n1"',
            """retry_join { leader_api_addr = "http://a:1"
            leader_client_cert = "pem" leader_client_key = "canary" }
        retry_join { auto_join = "provider=aws secret=canary" }""",
        )
        + 'seal "transit" { token = "canary" other = "canary" }\n'
        + 'service_registration "consul" { token = "canary" }\n',
        {"VAULT_TOKEN": "canary", "HTTPS_PROXY": "http://user:canary@proxy"},
    )
    assert config.seal.text("token") == "canary"
    assert "canary" not in repr(config)
