"""A cluster that is somebody else's, for tests: TLS and users as its owner set them, and keys that must not change."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from chaoskit.access import PLAIN, Access
from chaoskit.clusters import binaries
from chaoskit.clusters.toxiproxy import VERSION as TOXIPROXY_VERSION
from tests.integration.certificates import Certificates
from tests.integration.etcd_members import Members, wait_until
from tests.ports import free_port

PASSWORD = "swordfish-4711"
OWNER_PASSWORD = "owner-4711"
VARIABLE = "CHAOSKIT_TEST_GUEST_PASSWORD"
USER = "guest"
_ROOT = f"--user=root:{OWNER_PASSWORD}"


class Owner:
    """What the owner does with etcdctl, and sees in his cluster."""

    def __init__(self, members: Members, access: Access = PLAIN, *, guarded: bool = False) -> None:
        """`guarded`: somebody has `let_in` guests before."""
        self._members = members
        self._access = access
        self._user = (_ROOT,) if guarded else ()

    def etcdctl(self, *arguments: str, stdin: str = "") -> str:
        access, scheme = self._access, "https" if self._access.tls else "http"
        endpoints = ",".join(f"{scheme}://{endpoint}" for endpoint in self._members.endpoints)
        tls = [f"--cacert={access.cacert}"] if access.tls else []
        tls += [f"--cert={access.cert}", f"--key={access.key}"] if access.cert else []
        control = binaries.find("etcd", self._members.system.version).path.parent / "etcdctl"
        argv = [str(control), f"--endpoints={endpoints}", *tls, *self._user, *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, input=stdin, check=False)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def plant(self, count: int = 20) -> None:
        """Keys around those of any run, also right before and behind them."""
        for key in ("/chaoskit", "/chaoskit0", "/chaoskis/x", *(f"/theirs/{number}" for number in range(count))):
            self.etcdctl("put", key, "theirs")

    def everything(self) -> list[tuple[str, int, int]]:
        """Key, version and modification revision of all that is there."""
        found = json.loads(self.etcdctl("get", "", "--from-key", "-w", "json"))
        return [(b64decode(kv["key"]).decode(), kv["version"], kv["mod_revision"]) for kv in found.get("kvs", [])]

    def leases(self) -> int:
        return int(self.etcdctl("lease", "list").split()[1])

    def let_in(self, prefix: str = "/chaoskit/") -> None:
        """Users: root, and a guest who may touch the prefix only."""
        self.etcdctl("user", "add", f"root:{OWNER_PASSWORD}")
        self.etcdctl("user", "grant-role", "root", "root")
        self.etcdctl("role", "add", "guests")
        self.etcdctl("role", "grant-permission", "guests", "readwrite", prefix, "--prefix")
        self.etcdctl("user", "add", f"{USER}:{PASSWORD}")
        self.etcdctl("user", "grant-role", USER, "guests")
        self.etcdctl("auth", "enable")
        self._user = (_ROOT,)


def mutual_tls(certificates: Certificates, **changes: Any) -> Access:
    cert, key = certificates.client
    return Access(**{"tls": True, "cacert": str(certificates.ca), "cert": str(cert), "key": str(key)} | changes)


def tls_flags(certificates: Certificates, *, mutual: bool) -> dict[str, str]:
    cert, key = certificates.server
    flags = {"cert-file": str(cert), "key-file": str(key)}
    return flags | ({"client-cert-auth": "true", "trusted-ca-file": str(certificates.ca)} if mutual else {})


class Toxiproxy:
    """The owner's own, with one proxy in front of each member and toxics that he has put there."""

    def __init__(self, folder: Path, upstreams: Mapping[str, str]) -> None:
        folder.mkdir(exist_ok=True)
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        program = binaries.find("toxiproxy-server", TOXIPROXY_VERSION).path
        with (folder / "toxiproxy.log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(program), "-host", "127.0.0.1", "-port", str(port)],
                stdout=log, stderr=log, env={"LOG_LEVEL": "error", "PATH": os.defpath},
            )  # fmt: skip
        wait_until(self._answers, 10, "Toxiproxy")
        for name, upstream in upstreams.items():
            self.post("/proxies", name=name, listen="127.0.0.1:0", upstream=upstream, enabled=True)
        for name in upstreams:
            self.post(
                f"/proxies/{name}/toxics", name="his", type="latency", stream="downstream", toxicity=0.5,
                attributes={"latency": 1, "jitter": 0},
            )  # fmt: skip

    def state(self) -> dict[str, Any]:
        return dict(requests.get(f"http://{self.address}/proxies", timeout=5).json())

    def post(self, path: str, **content: Any) -> None:
        requests.post(f"http://{self.address}{path}", json=content, timeout=5).raise_for_status()

    def delete(self, path: str) -> None:
        requests.delete(f"http://{self.address}{path}", timeout=5).raise_for_status()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return requests.get(f"http://{self.address}/version", timeout=1).ok
        except requests.RequestException:
            return False
