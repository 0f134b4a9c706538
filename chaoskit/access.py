"""How to reach members that want TLS or a user, by reference.

A password or a private key stays where it is, in a file or an environment variable, until the process that needs it
looks it up. So an Access may be written into plans, orders and registries; what it refers to never is.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

import msgspec

from chaoskit.errors import InfrastructureError

_LONGEST_PASSWORD = 4096


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Plaintext and nobody, unless it says otherwise. Files are absolute paths to PEM."""

    tls: bool = False
    cacert: str = ""  # "": the authorities that this machine trusts
    cert: str = ""  # who we are, where the server asks
    key: str = ""
    server_names: Mapping[str, str] = {}  # host:port → name in the server's certificate, where it is not the host
    user: str = ""
    password_variables: tuple[str, ...] = ()  # names of environment variables; the first that is set counts
    password_file: str = ""

    def server_name(self, endpoint: str) -> str:
        """What the certificate of the server at `host:port` has to say."""
        return self.server_names.get(endpoint) or endpoint.rpartition(":")[0].strip("[]")

    def password(self) -> str:
        """Looked up now; "" without a user. Raises InfrastructureError that says where it should have been."""
        if not self.user:
            return ""
        if self.password_file:
            return _first_line(Path(self.password_file))
        for name in self.password_variables:
            if value := os.environ.get(name):
                return value
        raise InfrastructureError(
            f"no password for user {self.user}: the environment variable {self.password_variables[-1]} is not set"
        )

    def context(self) -> ssl.SSLContext:
        """For a client's end of TLS. Raises InfrastructureError that names the file at fault."""
        context = ssl.create_default_context()
        try:
            if self.cacert:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.load_verify_locations(self.cacert)
        except (OSError, ssl.SSLError) as error:
            raise InfrastructureError(f"cacert {self.cacert}: {_why(error)}") from error
        try:
            if self.cert:
                # without a passphrase a terminal would be asked for one
                context.load_cert_chain(self.cert, self.key, password=lambda: b"")
        except (OSError, ssl.SSLError) as error:
            raise InfrastructureError(f"cert {self.cert} with key {self.key}: {_why(error)}") from error
        return context

    def missing(self) -> list[str]:
        """What it refers to and is not here, each in one line. Reads local files and variables, and nothing else."""
        found = []
        if self.tls:
            try:
                self.context()
            except InfrastructureError as error:
                found.append(str(error))
        try:
            self.password()
        except InfrastructureError as error:
            found.append(str(error))
        return found


PLAIN = Access()


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            password = file.readline(_LONGEST_PASSWORD).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InfrastructureError(f"password-file {path}: {_why(error)}") from error
    if not password:
        raise InfrastructureError(f"password-file {path}: its first line is empty")
    return password


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").replace("_", " ").lower()
        return {
            "key values mismatch": "the key belongs to another certificate",
            "no certificate or crl found": "it holds no certificate in PEM",
            "bad decrypt": "the key has a passphrase; etcd's clients take keys without",
        }.get(reason, reason or "not readable as PEM")
    return getattr(error, "strerror", None) or str(error)
