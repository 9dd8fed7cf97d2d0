"""TLS contexts of the API side: OpenSSL's binding reads keys from files only, so PEM texts go through memory files."""

import os
import ssl


def load_certificate(context: ssl.SSLContext, cert_pem: str, key_pem: str, passphrase: str = "") -> None:
    """Use this certificate and key, PEM, without either touching a disk.

    Raises:
        ssl.SSLError: They cannot be used, or the passphrase of the key is wrong. Nobody is ever asked for it.
    """
    memory = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(f"{cert_pem}\n{key_pem}".encode())
        context.load_cert_chain(f"/proc/self/fd/{memory}", password=passphrase)
    finally:
        os.close(memory)
