"""TLS contexts for the client (RFC 3207, RFC 8314): which certificates are believed.

    client_context(verify=True, ca_file=Path("ca.pem"))

Never here: when to use TLS; that is decided in `mailpipe.smtp.opening`.
"""

import ssl
from pathlib import Path

from mailpipe.errors import ConfigError


def client_context(*, verify: bool, ca_file: Path | None = None) -> ssl.SSLContext:
    """A context for connections to a peer.

    Args:
        verify: the certificate must be valid and name the host. Without it anybody in the middle can read along; that
            is what opportunistic TLS offers, because the other choice there is no TLS at all.
        ca_file: certificates to believe instead of those of the system, PEM.

    Raises:
        ConfigError: the file cannot be read or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        if ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"tls_ca_file {ca_file}: {error.strerror or error}; it must hold PEM certificates") from error
    return context
