"""Ports for servers that tests start."""

from __future__ import annotations

import os
import socket
from itertools import cycle, islice

_BELOW_THE_KERNELS = range(10_000, 20_000)  # which takes from 32,768 on whatever it needs for connections
_next = islice(cycle(_BELOW_THE_KERNELS), os.getpid() * 97 % len(_BELOW_THE_KERNELS), None)


def free_port() -> int:
    """Nobody listens there, and nobody else in this process was told it lately."""
    for port in _next:
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise AssertionError("unreachable: the ports go round")
