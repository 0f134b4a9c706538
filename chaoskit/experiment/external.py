"""The keys of a cluster that somebody else runs: where it is, how to get in, and which proxies are on which links.

The names are etcdctl's where it has one. Secrets are references: what a person writes here may be saved and shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from chaoskit.clusters import EXTERNAL
from chaoskit.experiment.variables import ENVIRONMENT_PREFIX
from chaoskit.faults.targets import read_link
from chaoskit.spec import Spec
from chaoskit.topology import CLIENT, Link, member_names

MAX_ENDPOINTS = 9
OF_EXTERNAL = ("endpoints", "tls", "auth", "toxiproxy")
OF_BUILT = ("flags", "image")
_DEFAULT_PORT = 2379
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _absolute(path: str) -> str:
    """The load worker has a folder of its own."""
    return str(Path(path).expanduser().absolute())


File = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_absolute)]


class TlsSpec(Spec):
    """TLS to the members. Relative paths count from where chaoskit is started. Keys have no passphrase."""

    cacert: File | None = None
    """PEM file of the authority that signed the members' certificates; the machine's own authorities unless said."""
    cert: File | None = None
    """PEM file of a client certificate, where the members ask for one."""
    key: File | None = None
    """PEM file of its private key."""
    server_name: str = Field("", alias="server-name", max_length=253)
    """The name in the members' certificates, where it is not the host of the endpoint."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key are given together or not at all")
        return self


def _reference(value: Any) -> str:
    """Never shows what was written: it may be the password itself."""
    if isinstance(value, str) and (value == "" or _REFERENCE.fullmatch(value)):
        return value
    raise ValueError(
        "a password does not stand in a file that is saved and shown; write ${NAME} and set the environment variable "
        "NAME, or give password-file"
    )


def _user(name: str) -> str:
    if ":" in name:
        raise ValueError("only the name of the user; the password is a key of its own")
    return name


class AuthSpec(Spec):
    """Who we are, where the cluster has authentication switched on."""

    user: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_user)]
    """Name of the user, who may read and write below /chaoskit/."""
    password: Annotated[
        str, BeforeValidator(_reference), WithJsonSchema({"type": "string", "pattern": _REFERENCE.pattern})
    ] = ""
    """${NAME} of an environment variable that holds the password; looked up when it is needed, and never saved."""
    password_file: File | None = Field(None, alias="password-file")
    """File with the password in its first line, instead."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.password) == bool(self.password_file):
            raise ValueError("give either password or password-file")
        return self

    @property
    def variables(self) -> tuple[str, ...]:
        name = self.password[2:-1]
        return (ENVIRONMENT_PREFIX + name, name) if name else ()


def _api(url: str) -> str:
    parts = _split(url, "http")
    if parts.scheme != "http":
        raise ValueError(f"{url!r} is no URL of Toxiproxy's control API, such as http://localhost:8474")
    return f"http://{parts.netloc}" if parts.port else f"http://{parts.netloc}:8474"


def _links(proxies: Any) -> Any:
    return {str(read_link(link)): name for link, name in proxies.items()} if isinstance(proxies, dict) else proxies


class ToxiproxySpec(Spec):
    """A Toxiproxy of yours, for faults on links. Nothing but the proxies that are named here is touched."""

    url: Annotated[str, Field(max_length=300), AfterValidator(_api)]
    """Its control API, such as http://localhost:8474."""
    proxies: Annotated[dict[str, Annotated[str, Field(min_length=1, max_length=200)]], BeforeValidator(_links)] = Field(
        min_length=1, max_length=100
    )
    """Link → the name of the proxy on it: {client->n1: etcd1, client->n2: etcd2}."""

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        names = list(self.proxies.values())
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"proxy {twice} stands on two links; a fault on one of them would hit the other")
        return self

    def by_link(self) -> dict[Link, str]:
        return {read_link(link): name for link, name in self.proxies.items()}


def _split(text: str, scheme: str) -> Any:
    try:
        parts = urlsplit(text if "://" in text else f"{scheme}://{text}")
        parts.port  # noqa: B018  raises for what is no port
    except ValueError as error:
        raise ValueError(f"{text[:80]!r} is no URL: {error}") from None
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{text[:80]!r} is no URL of a server such as https://10.0.0.1:2379")
    return parts


def read_endpoints(value: Any) -> Any:
    """A list, or text with commas as etcdctl takes it; each as a URL if it can be."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    return value


def _endpoint(text: str) -> str:
    parts = _split(text, "http")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{text[:80]!r}: an endpoint is http:// or https://")
    netloc = parts.netloc if parts.port else f"{parts.netloc}:{_DEFAULT_PORT}"
    return f"{parts.scheme}://{netloc}" if "://" in text else netloc


Endpoint = Annotated[str, Field(max_length=300), AfterValidator(_endpoint)]


def misplaced(key: str, value: object, backend: str) -> str | None:
    """Why a key of the cluster has no place beside this backend; None when it has."""
    if key in OF_EXTERNAL and value and backend != EXTERNAL:
        return f"only a cluster of backend external has {key}; {backend} builds its own"
    if key in OF_BUILT and value and backend == EXTERNAL:
        return "the cluster is there already; only one that chaoskit builds has it"
    return None


def wrong_endpoints(endpoints: Sequence[str], backend: str) -> str | None:
    """What is wrong with all of them together; None when nothing is."""
    if backend != EXTERNAL:
        return None
    if not endpoints:
        return "backend external needs the members' endpoints, such as [https://10.0.0.1:2379]"
    schemes = {endpoint.partition("://")[0] for endpoint in endpoints if "://" in endpoint}
    if len(schemes) > 1:
        return "some are http and some https; chaoskit speaks to all members in one way"
    addresses = [address_of(endpoint) for endpoint in endpoints]
    twice = next((address for address in addresses if addresses.count(address) > 1), None)
    return f"{twice} stands twice" if twice else None


def strange_link(toxiproxy: ToxiproxySpec, endpoints: Sequence[str]) -> str | None:
    """A link of a member that there is not; None when all are known."""
    members = member_names(len(endpoints))
    for link in toxiproxy.by_link():
        if strangers := {link.source, link.target} - {CLIENT, *members}:
            return f"{link}: there is no {', '.join(sorted(strangers))}; members are {', '.join(members)}"
    return None


def address_of(endpoint: str) -> str:
    """`host:port`."""
    return endpoint.rpartition("://")[2]
