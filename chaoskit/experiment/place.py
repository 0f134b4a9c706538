"""Where the cluster of a plan is, when it is there already, and how to get in."""

from __future__ import annotations

from chaoskit.access import PLAIN, Access
from chaoskit.clusters import EXTERNAL
from chaoskit.contracts import Place
from chaoskit.experiment.external import address_of
from chaoskit.experiment.model import ClusterSpec
from chaoskit.topology import member_names


def place_of(cluster: ClusterSpec) -> Place | None:
    """Where a ClusterSpec's cluster is; None when it has to be built."""
    if cluster.backend != EXTERNAL:
        return None
    addresses = dict(zip(member_names(len(cluster.endpoints)), map(address_of, cluster.endpoints), strict=True))
    toxiproxy = cluster.toxiproxy
    return Place(
        addresses,
        access_of(cluster),
        address_of(toxiproxy.url) if toxiproxy else "",
        toxiproxy.by_link() if toxiproxy else {},
    )


def access_of(cluster: ClusterSpec) -> Access:
    """How a ClusterSpec's members are reached, by reference."""
    if cluster.backend != EXTERNAL:
        return PLAIN
    tls, auth = cluster.tls, cluster.auth
    name = tls.server_name if tls else ""
    return Access(
        tls=bool(tls) or any(endpoint.startswith("https://") for endpoint in cluster.endpoints),
        cacert=(tls.cacert if tls else "") or "",
        cert=(tls.cert if tls else "") or "",
        key=(tls.key if tls else "") or "",
        server_names={address_of(endpoint): name for endpoint in cluster.endpoints} if name else {},
        user=auth.user if auth else "",
        password_variables=auth.variables if auth else (),
        password_file=(auth.password_file if auth else "") or "",
    )
