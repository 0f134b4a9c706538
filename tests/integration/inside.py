"""Says over which addresses a TCP connection can be made; run inside a member's network by test_docker_backend.

    python inside.py HOST:PORT…

Standard library only. Prints one JSON object: address → "open", or why not.
"""

from __future__ import annotations

import json
import socket
import sys


def look(address: str) -> str:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), 1):
            return "open"
    except OSError as error:
        return type(error).__name__ if isinstance(error, TimeoutError) else str(error)


if __name__ == "__main__":
    print(json.dumps({address: look(address) for address in sys.argv[1:]}))
