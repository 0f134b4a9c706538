"""chaoskit's own locustfile with the bench's workloads in the table. Locust comes first, because it patches sockets."""

import locust  # noqa: F401  isort: split

from chaoskit.workloads import WORKLOADS
from tests.bench.workloads import BENCH_WORKLOADS

WORKLOADS.update(BENCH_WORKLOADS)

from chaoskit import locustfile  # noqa: E402  it reads the table when it is imported

globals().update(vars(locustfile))  # Locust runs the User classes that it finds in this module
