"""Values of a `listener` block that cannot be used: an error with file, line and key, and without the value."""

from pathlib import Path

import pytest

from node.config.load import load
from node.errors import ConfigError

TLS = 'tls_cert_file = "a"\n tls_key_file = "b"'


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('tls_min_version = "ssl3"', "tls_min_version"),
        ('tls_max_version = "tls11"', "tls_min_version"),
        ('tls_cipher_suites = "TLS_RSA_WITH_RC4_128_SHA"', "tls_cipher_suites"),
        ('tls_cipher_suites = ["TLS_AES_128_GCM_SHA256"]', "tls_cipher_suites"),
        ('tls_require_and_verify_client_cert = "maybe"', "tls_require_and_verify_client_cert"),
        ("tls_require_and_verify_client_cert = true\n tls_disable_client_certs = true", "tls_disable_client_certs"),
        ('http_read_timeout = "soon"', "http_read_timeout"),
        ('http_write_timeout = "-1s"', "http_write_timeout"),
        ('max_request_size = "big"', "max_request_size"),
        ('x_forwarded_for_authorized_addrs = "proxy"', "x_forwarded_for_authorized_addrs"),
        ("x_forwarded_for_hop_skips = -1", "x_forwarded_for_hop_skips"),
        ('x_forwarded_for_client_cert_header = "a b"', "x_forwarded_for_client_cert_header"),
        ('x_forwarded_for_client_cert_header_decoders = "HEX"', "x_forwarded_for_client_cert_header_decoders"),
        ('proxy_protocol_behavior = "maybe"', "proxy_protocol_behavior"),
        ('proxy_protocol_behavior = "deny_unauthorized"', "proxy_protocol_authorized_addrs"),
        ('custom_response_headers { "6xx" = { "A" = ["b"] } }', "custom_response_headers"),
        ('custom_response_headers { "200" = { "X-Vault-A" = ["b"] } }', "custom_response_headers"),
        ('custom_response_headers { "200" = { "Content-Length" = ["1"] } }', "custom_response_headers"),
        ('custom_response_headers { "200" = { "A: b" = ["c"] } }', "custom_response_headers"),
        ('custom_response_headers { "200" = { "A" = ["b\\r\\nC: d"] } }', "custom_response_headers"),
        ('socket_mode = "rw"', "socket_mode"),
    ],
)
def test_a_wrong_value(tmp_path: Path, line: str, key: str) -> None:
    """It ends the start where the value is, or where the block begins when it is one that is missing."""
    file = tmp_path / "a.hcl"
    file.write_text(f'storage "inmem" {{}}\nlistener "tcp" {{\n {TLS}\n {line}\n}}\n')
    with pytest.raises(ConfigError) as refusal:
        load([file], {})
    assert str(refusal.value).startswith(f"{file}:")
    assert int(str(refusal.value).removeprefix(f"{file}:").partition(":")[0]) in (2, 5, 6)
    assert f": {key}: " in str(refusal.value)
