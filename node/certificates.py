"""Certificates of clients, as far as a node looks into them."""

from functools import lru_cache

from cryptography import x509


def is_certificate(der: bytes) -> bool:
    """Whether these bytes are one X.509 certificate, DER."""
    try:
        x509.load_der_x509_certificate(der)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def serial_number(der: bytes) -> str:
    """The serial number of a certificate, decimal, as audit records show it. Raises ValueError."""
    return str(x509.load_der_x509_certificate(der).serial_number)
