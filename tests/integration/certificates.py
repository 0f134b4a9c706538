"""Certificates for tests, made by the openssl command."""

from __future__ import annotations

import subprocess
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Certificates:
    """A certificate authority, a server at `host`, a client, and a stranger to them."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self._folder = folder
        self._host = host
        folder.mkdir(exist_ok=True)
        self.ca, ca_key = self._self_signed("ca")
        self.stranger, self.stranger_key = self._self_signed("stranger")
        self.server = self._signed("server", ca_key)
        self.client = self._signed("client", ca_key)

    def _self_signed(self, name: str) -> tuple[Path, Path]:
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        _openssl("req", "-x509", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", cert, "-days", "2")
        return cert, key

    def _signed(self, name: str, ca_key: Path) -> tuple[Path, Path]:
        cert, key, request = (self._folder / f"{name}.{kind}" for kind in ("pem", "key", "csr"))
        _openssl("req", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        names = self._folder / "names"
        names.write_text(f"subjectAltName=IP:{self._host}\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
            "-extfile", names, "-out", cert,
        )  # fmt: skip
        return cert, key


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)
