"""Listens to what the Docker daemon tells of a run: members that ran out of memory, and the daemon's own end.

The stream of events ends when the daemon does. With it go the published ports, and usually the containers, so whatever
the clients saw from then on says nothing about the cluster.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import requests
from docker.errors import DockerException

from chaoskit.clusters import docker_labels
from chaoskit.clusters.docker_daemon import Daemon
from chaoskit.contracts import Say

_END_DEADLINE_S = 5.0


class DaemonWatch:
    """`lost` says why the test bed is gone; "" while it is there."""

    def __init__(self, url: str, run_id: str, note: Say, expected: Callable[[str], bool]) -> None:
        """`expected` says of a member whether its death is no accident."""
        self.lost = ""
        self._note = note
        self._expected = expected
        self._closing = False
        self._daemon = Daemon(url, deadline_s=None)  # of a stream, silence is the good case
        with self._daemon.asked("tell of events"):
            self._events: Any = self._daemon.client.events(
                decode=True, filters={"label": f"{docker_labels.RUN}={run_id}", "event": ["oom"]}
            )
        self._thread = threading.Thread(target=self._listen, name="docker-events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing = True
        self._events.close()
        self._thread.join(_END_DEADLINE_S)
        self._daemon.close()

    def _listen(self) -> None:
        why = "it ended or was restarted"
        try:
            for event in self._events:
                name = event["Actor"]["Attributes"].get(docker_labels.MEMBER, "a container")
                if not self._expected(name):
                    self._note(f"{name} ran out of memory: the kernel killed a process of it")
        except (requests.RequestException, DockerException, OSError, ValueError) as error:
            why = str(error) or type(error).__name__
        if not self._closing:
            self.lost = (
                f"the Docker daemon at {self._daemon.url} was lost during the run: {why}; when it is "
                f"back, `chaoskit clean` removes what is left"
            )
