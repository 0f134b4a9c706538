"""The secret that a run shares with its workers on other machines, and the keys that both sides derive from it.

Everything between them is encrypted and authenticated by CurveZMQ. A stranger cannot even begin: a handshake needs the
server's key, which is never sent and follows from the token alone. The token itself goes over no wire.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from chaoskit.errors import InvalidExperiment, Problem

VARIABLE = "CHAOSKIT_TOKEN"
_LEAST_LENGTH = 16  # an eavesdropper can try tokens at home, so a word will not do
_OTHERS = 0o077


class Keys(NamedTuple):
    """The master's pair, in ZeroMQ's own spelling (Z85). Workers need the public half only."""

    public: bytes
    secret: bytes


def given_token(file: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """From a file that only its owner can read, or from $CHAOSKIT_TOKEN; None when neither was given.

    Raises InvalidExperiment for a token that is too short, or a file that others can read.
    """
    if file is not None:
        return _checked(_read(file), str(file))
    if VARIABLE in environment:
        return _checked(environment[VARIABLE].strip(), VARIABLE)
    return None


def kept_token(file: Path) -> str:
    """The one of this user, made at first use."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as kept:  # noqa: PTH123  a descriptor
            kept.write(f"{secrets.token_urlsafe(32)}\n")
    return _checked(_read(file), str(file))


def keys(token: str) -> Keys:
    """Both sides get the same ones of the same token. Slow on purpose: some 50 ms."""
    import zmq  # noqa: PLC0415  only runs with remote workers pay for it
    from zmq.utils import z85  # noqa: PLC0415

    secret = z85.encode(hashlib.scrypt(token.encode(), salt=b"chaoskit worker", n=1 << 14, r=8, p=1, dklen=32))
    return Keys(zmq.curve_public(secret), secret)


def _read(file: Path) -> str:
    try:
        if file.stat().st_mode & _OTHERS:
            raise _refused(f"others can read it; `chmod 600 {file}`", str(file))
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(f"the token cannot be read: {getattr(error, 'strerror', None) or error}", str(file)) from error


def _checked(token: str, source: str) -> str:
    if len(token) < _LEAST_LENGTH:
        raise _refused(f"a token has at least {_LEAST_LENGTH} characters, this one has {len(token)}", source)
    return token


def _refused(what: str, source: str) -> InvalidExperiment:
    return InvalidExperiment([Problem("", what, source)])
