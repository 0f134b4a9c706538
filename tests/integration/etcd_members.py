"""Real etcd members for tests, started with the command line that chaoskit gives them."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from chaoskit.access import PLAIN, Access
from chaoskit.clusters import binaries
from chaoskit.contracts import MemberAddresses, MemberStatus
from chaoskit.systems.etcd import rpc_pb2 as pb
from chaoskit.systems.etcd.rpc import COMPACT, Rpc
from chaoskit.systems.etcd.system import Etcd
from tests.ports import free_port

VERSIONS = ("3.5.33", "3.6.14", "3.7.1")


class Members:
    """A cluster of real processes, without Toxiproxy. Killed and removed by `close`."""

    def __init__(
        self,
        version: str,
        folder: Path,
        count: int = 1,
        flags: Mapping[str, str] | None = None,
        access: Access = PLAIN,
        host: str = "127.0.0.1",
    ) -> None:
        """`access` is how its clients come: with TLS, for which `flags` have the members' own certificates; to `host`,
        an address of this machine."""
        self.system = Etcd(version, access)
        scheme = "https" if access.tls else "http"
        self._binary = binaries.find("etcd", version).path
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._flags = {"unsafe-no-fsync": "true"} | dict(flags or {})
        self._addresses = [_addresses(f"n{number}", scheme, host) for number in range(1, count + 1)]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for each in self._addresses:
            self.start(each.name)
        try:
            for endpoint in self.endpoints:
                wait_until(lambda endpoint=endpoint: self._led(endpoint), 20, f"a leader at {endpoint}")  # type: ignore[misc]
        except BaseException:
            for each in self._processes.values():  # their logs stay
                each.kill()
                each.wait()
            raise

    @property
    def endpoints(self) -> list[str]:
        return [each.listen_client.partition("://")[2] for each in self._addresses]

    @property
    def endpoint(self) -> str:
        return self.endpoints[0]

    def pid(self, name: str = "n1") -> int:
        return self._processes[name].pid

    def start(self, name: str = "n1") -> None:
        address = next(each for each in self._addresses if each.name == name)
        argv = self.system.member_argv(self._binary, address, self._addresses, self._folder / name, "test", self._flags)
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(argv, stdout=log, stderr=log)

    def restart(self, name: str = "n1") -> None:
        self.kill(name)
        self.start(name)
        endpoint = self.endpoints[[each.name for each in self._addresses].index(name)]
        wait_until(lambda: self._led(endpoint), 20, f"{name} after a restart")

    def kill(self, name: str = "n1") -> None:
        self._processes[name].send_signal(signal.SIGKILL)
        self._processes[name].wait(10)

    def stop(self, name: str = "n1") -> None:
        """In order, as an operator does it."""
        self._processes[name].send_signal(signal.SIGTERM)
        self._processes[name].wait(10)

    def status(self) -> MemberStatus:
        found = self.system.status(self.endpoint, 2)
        assert found
        return found

    def put(self, key: str, value: str) -> int:
        revision = self.system.put(self.endpoint, key, value, 2)
        assert revision
        return revision

    def compact(self, revision: int) -> None:
        rpc = Rpc()
        assert rpc.call(self.endpoint, COMPACT, pb.CompactionRequest(revision=revision, physical=True), 5)
        rpc.close()

    def close(self) -> None:
        self.system.close()
        for name in self._processes:
            self.kill(name)
        shutil.rmtree(self._folder)

    def _led(self, endpoint: str) -> bool:
        found = self.system.status(endpoint, 0.5)
        return bool(found and found.leader)


def wait_until(true: Callable[[], object], deadline_s: float, what: str) -> None:
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        time.sleep(0.02)


def _addresses(name: str, scheme: str, host: str) -> MemberAddresses:
    client, peer = f"{scheme}://{host}:{free_port()}", f"http://127.0.0.1:{free_port()}"
    return MemberAddresses(name, client, client, peer, peer)
