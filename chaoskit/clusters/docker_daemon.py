"""One Docker daemon: which one, what it is, and its failures as ours.

Only a daemon whose published ports are this machine's own 127.0.0.1 is any use: a local socket, Docker Desktop's
included. Its address comes from `DOCKER_HOST`, else from the active Docker context, as with the `docker` command.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from docker.client import DockerClient
from docker.context import ContextAPI
from docker.errors import APIError, DockerException

from chaoskit.errors import BedLost, ChaoskitError, InfrastructureError

CALL_DEADLINE_S = 30.0  # a start on a busy machine takes 2 s; a daemon that is silent for so long is none
_ASK_DEADLINE_S = 3.0
_OLDEST_API = (1, 41)  # Docker 20.10

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a daemon is asked, and who said so."""

    url: str
    source: str  # "DOCKER_HOST", "context desktop-linux"

    def __str__(self) -> str:
        return f"{self.url} ({self.source})"


def endpoint() -> Endpoint:
    """The daemon that the `docker` command would talk to. Raises InfrastructureError for a broken context."""
    if host := os.environ.get("DOCKER_HOST"):
        return Endpoint(host, "DOCKER_HOST")
    try:
        context = ContextAPI.get_context(os.environ.get("DOCKER_CONTEXT"))
    except Exception as error:  # a damaged file is told by a plain one
        raise InfrastructureError(f"the Docker context cannot be read: {error}") from error
    if context is None:
        raise InfrastructureError("the Docker context that is in use does not exist; `docker context ls` shows them")
    return Endpoint(str(context.Host or "unix:///var/run/docker.sock"), f"context {context.name}")


class Daemon:
    """A client of one daemon. Speaks the newest API that both know."""

    def __init__(self, url: str, deadline_s: float | None = CALL_DEADLINE_S) -> None:
        """Raises BedLost when nobody answers."""
        self.url = url
        with self.asked("version"):
            self.client = DockerClient(base_url=url, version="auto", timeout=deadline_s)

    @contextmanager
    def asked(self, what: str) -> Iterator[None]:
        """Failures inside become ours: BedLost without an answer, InfrastructureError for a refusal."""
        try:
            yield
        except APIError as error:
            raise InfrastructureError(f"Docker refused to {what}: {error.explanation or error}") from error
        except (requests.RequestException, OSError, DockerException) as error:
            raise BedLost(
                f"the Docker daemon at {self.url} does not answer ({what}): {_reason(error)}; when it is back, "
                f"`chaoskit clean` removes what is left"
            ) from error

    def about(self) -> str:
        """One line for people: which Docker, and what of it matters here."""
        with self.asked("describe itself"):
            info: dict[str, Any] = self.client.info()
            api = self.client.api.api_version
        rootless = ", rootless" if any("rootless" in option for option in info.get("SecurityOptions") or ()) else ""
        return (
            f"Docker {info.get('ServerVersion')}, API {api}, cgroup v{info.get('CgroupVersion', '1')}, "
            f"{info.get('Driver')}{rootless}"
        )

    def close(self) -> None:
        self.client.close()


def problem() -> str | None:
    """Why no daemon here can be used, with what helps; None when one can."""
    try:
        where = endpoint()
        if not _is_local(where.url):
            return f"{where} is another machine, and ports are needed on this one; unset it, or use --backend process"
        daemon = Daemon(where.url, _ASK_DEADLINE_S)
    except InfrastructureError as error:
        why = str(error).split(";", maxsplit=1)[0]
        return f"{why}; start Docker (`sudo systemctl start docker`, or Docker Desktop), or set DOCKER_HOST"
    try:
        api = tuple(int(part) for part in str(daemon.client.api.api_version).split("."))
        if _cut_off_from_its_ports(daemon):
            return (
                f"the Docker daemon at {where} publishes ports where this container cannot reach them; start the "
                f"container with `--network host`, or use --backend process"
            )
    finally:
        daemon.close()
    if api < _OLDEST_API:
        return f"the Docker daemon at {where} speaks API {'.'.join(map(str, api))}; Docker 20.10 or newer is needed"
    return None


def _cut_off_from_its_ports(daemon: Daemon) -> bool:
    """Whether we run in a container of this daemon, with its socket but without the host's network."""
    name = socket.gethostname()
    if not re.fullmatch("[0-9a-f]{12}", name):  # a container is called by its own id, unless somebody named it
        return False
    try:
        own = daemon.client.containers.get(name)
    except (DockerException, requests.RequestException):
        return False
    return bool(own.id.startswith(name) and own.attrs["HostConfig"]["NetworkMode"] != "host")


def _is_local(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("unix", "http+unix", "npipe", "") or (
        parts.scheme in ("tcp", "http", "https") and parts.hostname in _LOCAL_HOSTS
    )


def _reason(error: Exception) -> str:
    """The innermost cause, because the outer ones are internals of HTTP."""
    cause: BaseException = error
    for _ in range(10):
        inner = cause.__cause__ or cause.__context__
        if inner is None or isinstance(inner, ChaoskitError):  # what we were doing when this came on top
            break
        cause = inner
    return str(cause) or type(cause).__name__
