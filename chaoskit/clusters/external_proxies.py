"""Proxies of a Toxiproxy that is somebody else's: only named ones are touched, and only by toxics of our own names.

What was there before stays: a toxic of theirs is never changed or removed, and a proxy that we switched off is switched
on again. Our toxics carry the run's id, so that `chaoskit clean` can tell them from everybody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toxiproxy import Proxy

from chaoskit.clusters.addresses import Address, show
from chaoskit.clusters.toxics import ToxicSpec
from chaoskit.clusters.toxiproxy import Api, ProxyState, set_toxics, toxics_of
from chaoskit.errors import ProxyError, unknown
from chaoskit.topology import Link

_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  what it listens on, not we


@dataclass(frozen=True, slots=True)
class Before:
    """A proxy as it was found."""

    listener: Address
    enabled: bool
    toxics: frozenset[ToxicSpec]


def mark_of(run_id: str) -> str:
    """How the names of a run's toxics begin."""
    return f"chaoskit.{run_id}."


class ExternalProxies:
    """Link → proxy by its name at `address`. Calls are not made side by side: the Keeper sees to that."""

    def __init__(self, address: str, names: Mapping[Link, str], run_id: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._names = {str(link): name for link, name in names.items()}
        self._mark = mark_of(run_id)
        self._api = Api((self._host.strip("[]"), int(port)))
        self._switched_off: set[str] = set()
        self.before: dict[str, Before] = {}
        """By the name of the proxy, once `look` was there."""

    def look(self) -> list[str]:
        """Remember how the proxies are now; what stands in the way of using them. Changes nothing."""
        try:
            with self._api.in_use() as library:
                proxies = library.proxies()
                found = {name: proxies[name] for name in self._names.values() if name in proxies}
                self.before = {name: self._before(proxy) for name, proxy in found.items()}
        except ProxyError as error:
            return [f"cluster.toxiproxy: {error}"]
        problems = [
            f"cluster.toxiproxy.proxies: {unknown('proxy', name, proxies)}"
            for name in self._names.values()
            if name not in proxies
        ]
        problems += [
            f"proxy {name} is switched off; switch it on, or leave it out"
            for name, before in self.before.items()
            if not before.enabled
        ]
        return problems

    def listener(self, link: Link) -> Address:
        """Where clients of this link go."""
        return self.before[self._names[str(link)]].listener

    def name(self, link: Link) -> str:
        return self._names[str(link)]

    def apply(self, wanted: Mapping[str, ProxyState]) -> None:
        """Bring our own part of these links' proxies into these states, and compare. Raises ProxyError."""
        with self._api.in_use() as library:
            proxies = library.proxies()
            for link, state in wanted.items():
                self._change(proxies, self._names[link], state)
            left = {link: self._difference(library.proxies(), self._names[link], wanted[link]) for link in wanted}
        if differing := [f"{self._names[link]}: {what}" for link, what in left.items() if what]:
            raise ProxyError(f"Toxiproxy took the changes and reads back others: {'; '.join(differing)}")

    def restore(self, enabled: Mapping[str, bool]) -> list[str]:
        """Undo what this run did, by proxy name and whether it was on before; a line for each proxy that was changed.

        For runs that died. A proxy that is gone has nothing to undo. Raises ProxyError.
        """
        done = []
        with self._api.in_use() as library:
            proxies = library.proxies()
            for name in (name for name in enabled if name in proxies):
                present = self._ours(proxies[name])
                set_toxics(proxies[name], present, frozenset())
                ours = [toxic.name for toxic in present]
                if enabled[name] and not proxies[name].enabled:
                    proxies[name].enable()
                    ours.append("switched on")
                if ours:
                    done.append(f"restored proxy {name}: {', '.join(ours)}")
        return done

    def changed_by_others(self) -> list[str]:
        """What is not as it was, though nothing of ours is left. Raises ProxyError."""
        with self._api.in_use() as library:
            proxies = library.proxies()
            return [
                f"proxy {name} is not as it was before the run, and not by us"
                for name, before in self.before.items()
                if name not in proxies or self._before(proxies[name]) != before
            ]

    def close(self) -> None:
        self._api.close()

    def _before(self, proxy: Proxy) -> Before:
        host, _, port = proxy.listen.rpartition(":")
        host = host.strip("[]")
        listener = (self._host.strip("[]") if host in _EVERYWHERE else host, int(port))
        return Before(listener, proxy.enabled, frozenset(toxics_of(proxy)))

    def _change(self, proxies: Mapping[str, Proxy], name: str, state: ProxyState) -> None:
        """Off comes first and on comes last, so that nothing slips through."""
        if name not in proxies:
            raise ProxyError(f"proxy {name} has vanished")
        proxy = proxies[name]
        if proxy.enabled and not state.enabled:
            self._switched_off.add(name)
            proxy.disable()
        set_toxics(proxy, self._ours(proxy), self._named(state))
        if state.enabled and name in self._switched_off:
            proxy.enable()
            self._switched_off.discard(name)

    def _difference(self, proxies: Mapping[str, Proxy], name: str, state: ProxyState) -> str:
        if name not in proxies:
            return "missing"
        proxy = proxies[name]
        if proxy.enabled and not state.enabled:
            return "still on"
        ours = self._ours(proxy)
        return "" if set(ours) == self._named(state) else f"toxics {sorted(toxic.name for toxic in ours)}"

    def _named(self, state: ProxyState) -> frozenset[ToxicSpec]:
        """The toxics by names that nobody else has."""
        return frozenset(
            ToxicSpec(self._mark + toxic.name, toxic.type, toxic.stream, toxic.attributes) for toxic in state.toxics
        )

    def _ours(self, proxy: Proxy) -> list[ToxicSpec]:
        return [toxic for toxic in toxics_of(proxy) if toxic.name.startswith(self._mark)]


def where(address: Address) -> str:
    """`host:port`, with brackets around IPv6."""
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else show(address)
