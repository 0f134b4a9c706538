"""One server as a container: a member of the Docker backend, or its Toxiproxy."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any, Literal

from docker.models.containers import Container

from chaoskit.clusters.children import tail
from chaoskit.clusters.docker_daemon import Daemon
from chaoskit.clusters.member import ServerState
from chaoskit.clusters.procfs import disk_use, in_container
from chaoskit.contracts import MemberResources
from chaoskit.errors import InfrastructureError

_TERM_DEADLINE_S = 10
_CHANGE_DEADLINE_S = 15.0

_KILLED = 128 + signal.SIGKILL  # as an exit code
_STATES: dict[str, ServerState] = {"running": "running", "restarting": "running", "paused": "paused"}


class ContainerServer:
    """contracts of `member.Server`; the container is there already, every start is of the same one.

    Its log is asked of the daemon and written to `log` whenever it may be the last chance.
    """

    def __init__(self, daemon: Daemon, container: Container, log: Path) -> None:
        self._daemon = daemon
        self._container = container
        self._log = log

    def start(self) -> None:
        with self._asked("start"):
            self._container.start()

    def stop(self, how: Literal["KILL", "TERM"]) -> str:
        """Paused ones go on first: whether a frozen container can be killed depends on the version."""
        if self.state() == "paused":
            self.resume()
        if self.state() == "down":
            return ""
        began = time.monotonic()
        if how == "TERM":
            with self._asked("stop"):
                self._container.stop(timeout=_TERM_DEADLINE_S)  # and SIGKILL after it
        else:
            self._kill()
        self._wait_for("down")
        if how == "KILL":
            return "SIGKILL"
        if self._inspect()["ExitCode"] == _KILLED:
            return f"SIGKILL, {_TERM_DEADLINE_S} s after SIGTERM"
        return f"SIGTERM, it went after {time.monotonic() - began:.1f} s"

    def pause(self) -> None:
        with self._asked("pause"):
            self._container.pause()
        self._wait_for("paused")

    def resume(self) -> None:
        with self._asked("unpause"):
            self._container.unpause()
        self._wait_for("running")

    def state(self) -> ServerState:
        return _STATES.get(self._inspect()["Status"], "down")

    def pid(self) -> int:
        """As the daemon's machine numbers it, which under Docker Desktop is another one."""
        return int(self._inspect()["Pid"])

    def resources(self) -> MemberResources | None:
        """One look: with two, as the daemon does without being told, it takes a second."""
        with self._asked("measure"):
            stats: dict[str, Any] = self._daemon.client.api.stats(self._container.id, stream=False, one_shot=True)
        memory = stats.get("memory_stats") or {}
        if "usage" not in memory:
            return None  # it does not run
        details = memory.get("stats") or {}
        cache = details.get("total_inactive_file", details.get("inactive_file", 0))  # cgroup v1, v2
        read, written = self._disk_use(stats)
        return MemberResources(
            cpu_s=stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
            memory_bytes=max(0, memory["usage"] - cache),
            read_bytes=read,
            written_bytes=written,
        )

    def _disk_use(self, stats: dict[str, Any]) -> tuple[int | None, int | None]:
        """As its process counts it; else as its cgroup does, which with cgroup v1 says nothing on many kernels."""
        pid = self.pid()
        read, written = disk_use(pid) if in_container(pid, self._container.id) else (None, None)
        counted = (stats.get("blkio_stats") or {}).get("io_service_bytes_recursive")
        if written is None and counted:
            return _bytes(counted, "read"), _bytes(counted, "write")
        return read, written

    def how_it_ended(self) -> str:
        state = self._inspect()
        return "" if state["Running"] else f"exit code {state['ExitCode']}"

    def last_words(self) -> str:
        state = self._inspect()
        killed = "killed for want of memory; " if state.get("OOMKilled") else ""
        how = "" if state["Running"] else f"exit code {state['ExitCode']}; {killed}{_because(state)}"
        self.save_log()
        return f"{how}its log {self._log} ends:\n{tail(self._log)}"

    def save_log(self) -> None:
        with self._asked("give the log of"):
            self._log.write_bytes(self._container.logs())

    def remove(self) -> None:
        with self._asked("remove"):
            self._container.remove(force=True, v=True)

    def _kill(self) -> None:
        try:
            with self._asked("kill"):
                self._container.kill()
        except InfrastructureError:
            if self.state() != "down":  # it may have ended by itself meanwhile
                raise

    def _wait_for(self, state: ServerState) -> None:
        deadline = time.monotonic() + _CHANGE_DEADLINE_S
        while (seen := self.state()) != state:
            if time.monotonic() > deadline:
                raise InfrastructureError(
                    f"{self._container.name} is {seen}, not {state}, after {_CHANGE_DEADLINE_S:g} s"
                )
            time.sleep(0.01)

    def _inspect(self) -> dict[str, Any]:
        with self._asked("inspect"):
            state: dict[str, Any] = self._daemon.client.api.inspect_container(self._container.id)["State"]
        return state

    def _asked(self, verb: str) -> Any:
        return self._daemon.asked(f"{verb} {self._container.name}")


def _bytes(entries: list[dict[str, Any]], operation: str) -> int:
    """Over all disks."""
    return sum(int(entry["value"]) for entry in entries if entry["op"].lower() == operation)


def _because(state: dict[str, Any]) -> str:
    return f"{state['Error']}; " if state.get("Error") else ""
