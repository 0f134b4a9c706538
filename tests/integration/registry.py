"""A registry on 127.0.0.1 that gives one image of this machine's daemon under any name, tag and digest.

As much of the distribution protocol as a pull needs. Docker speaks plain HTTP to a registry at a loopback address.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Registry:
    address: str  # "127.0.0.1:40001"
    digest: str  # of the image's manifest


@contextmanager
def serving(client: Any, image: str) -> Iterator[Registry]:
    """While the block runs."""
    manifest, blobs = _packed(client, image)
    digest = _digest(manifest)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            kind, _, name = self.path.rpartition("/")
            content, type_ = b"{}", "application/json"
            if kind.endswith("/manifests"):
                content, type_ = manifest, _MANIFEST
            elif kind.endswith("/blobs"):
                content, type_ = blobs[name], "application/octet-stream"
            self.send_response(200)
            for header, value in (
                ("Docker-Distribution-Api-Version", "registry/2.0"),
                ("Content-Type", type_),
                ("Content-Length", str(len(content))),
                ("Docker-Content-Digest", _digest(content)),
            ):
                self.send_header(header, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Registry(f"127.0.0.1:{server.server_port}", digest)
        finally:
            server.shutdown()
            thread.join()


def _packed(client: Any, image: str) -> tuple[bytes, dict[str, bytes]]:
    """The image's manifest, and by digest what it names."""
    with tempfile.TemporaryFile() as file:
        for chunk in client.images.get(image).save():
            file.write(chunk)
        file.seek(0)
        with tarfile.open(fileobj=file) as tar:
            (saved,) = json.loads(_read(tar, "manifest.json"))
            config = _read(tar, saved["Config"])
            layers = [gzip.compress(_read(tar, layer), 1, mtime=0) for layer in saved["Layers"]]
    blobs = {_digest(blob): blob for blob in (config, *layers)}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _entry("application/vnd.docker.container.image.v1+json", config),
        "layers": [_entry("application/vnd.docker.image.rootfs.diff.tar.gzip", layer) for layer in layers],
    }
    return json.dumps(manifest).encode(), blobs


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def _entry(type_: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": type_, "size": len(blob), "digest": _digest(blob)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
