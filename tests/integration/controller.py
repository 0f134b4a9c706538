"""A controller in a process of its own, to be killed: starts a cluster, harms it without end.

    python -m tests.integration.controller BACKEND RUN_ID RUN_DIR MEMBERS [CAPABILITY…]

With capabilities it does instead what needs them, once each, and holds it. Prints the endpoint of n1 when it is ready.
With a line on stdin it closes the cluster and ends.
"""

from __future__ import annotations

import select
import sys
from itertools import cycle
from pathlib import Path
from typing import Any

from chaoskit.clusters import BACKENDS
from chaoskit.contracts import ClusterWish, Cut, Down, Filled, Harm, Limited, Paused
from chaoskit.systems import SYSTEMS
from chaoskit.topology import isolate, member_names


def main(backend: str, run_id: str, run_dir: Path, count: int, *needs: Any) -> None:
    members = member_names(count)
    wish = ClusterWish(run_id, members, "3.6.14", {}, run_dir, {}, needs=frozenset(needs))
    cluster = BACKENDS[backend]().start(wish, SYSTEMS["etcd"]("3.6.14"), lambda line: None)
    harms: list[Harm] = [Paused(members[-1:]), Cut(isolate(members, members[:1])), Down(members[-1:], "KILL")]
    held: dict[str, Harm] = {
        "cpu": Limited(members[:1], "cpu", 100_000),
        "memory": Limited(members[-1:], "memory", 64_000_000),
        "disk_io": Limited(members[:1], "disk_write", 100_000),
        "disk": Filled(members[:1], 0),
    }
    for need in needs:
        cluster.inflict(need, held[need])
    print(cluster.client_endpoints()["n1"], flush=True)
    if needs:
        sys.stdin.readline()
        harms = []
    for harm in cycle(harms):
        if select.select([sys.stdin], [], [], 0.02)[0]:
            break
        cluster.inflict("harm", harm)
        cluster.release("harm")
    cluster.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
