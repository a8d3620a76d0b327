"""Where stages that sign have their private key from: a file, or a secret.

    class Options(KeyOptions): ...               # key = "s1.pem", or secret = "dkim-key"
    key = load_key(self.options, services)

Never here: what is signed with it.
"""

from pydantic import model_validator

from mailpipe.auth.keys import PrivateKey, load_private_key, require
from mailpipe.errors import ConfigError
from mailpipe.pipeline.component import LocalPath, Options
from mailpipe.pipeline.services import Services


class KeyOptions(Options):
    """One private key, in a file or in a secret."""

    key: LocalPath | None = None
    """The file of the private key: PEM of an RSA or Ed25519 key without a passphrase, readable for us alone."""
    secret: str | None = None
    """The name of the secret that holds the same."""

    @model_validator(mode="after")
    def _one_place(self) -> "KeyOptions":
        if self.key is not None and self.secret is not None:
            raise ValueError("give key = \"FILE\" or secret = \"NAME\", not both")
        return self

    @property
    def has_key(self) -> bool:
        """Whether one of the two is given."""
        return self.key is not None or self.secret is not None


def load_key(options: KeyOptions, services: Services) -> PrivateKey:
    """The private key.

    Raises:
        ConfigError: it cannot be had or read, or `cryptography` is missing.
    """
    require()
    if options.secret is not None:
        place, octets = f"the secret {options.secret!r}", services.secrets.get(options.secret).encode()
    elif options.key is not None:
        place = f"key {options.key}"
        try:
            octets = options.key.read_bytes()
        except OSError as error:
            raise ConfigError(f"{place}: {error.strerror or error}; name a file that can be read") from error
    else:
        raise ConfigError('no private key is given: key = "FILE" or secret = "NAME"')
    try:
        return load_private_key(octets)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error
