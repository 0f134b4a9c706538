"""What `plan`, `validate` and `doctor` can say of a cluster that is there already, without touching it."""

from __future__ import annotations

from collections.abc import Iterator

from chaoskit.experiment.place import place_of
from chaoskit.experiment.plan import Plan, Wait
from chaoskit.experiment.welcome import OWNER_OPTION


def about(planned: Plan) -> Iterator[str]:
    """Members with their addresses, how to get in, and which links can be harmed; nothing for a cluster of our own."""
    place = place_of(planned.cluster)
    if place is None:
        return
    for member, endpoint in place.endpoints.items():
        yield f"{member} at {endpoint}"
    access = place.access
    if access.tls:
        who = f", we are {access.cert}" if access.cert else ""
        yield f"TLS: trusted is {access.cacert or 'what this machine trusts'}{who}"
    if access.user:
        source = access.password_file or f"environment variable {access.password_variables[-1]}"
        yield f"user {access.user}, password from {source}"
    for link, proxy in place.proxies.items():
        yield f"{link} through proxy {proxy} of the Toxiproxy at {place.toxiproxy}"


def notes(planned: Plan) -> Iterator[str]:
    """What a run from here would lack."""
    place = place_of(planned.cluster)
    if place is None:
        return
    yield from place.access.missing()
    if any(not isinstance(step, Wait) for step in planned.method):
        yield f"faults and bursts on an external cluster are carried out with {OWNER_OPTION} only"
