"""Toxiproxy, brought into the state that is wanted and read back from it.

Calls go through toxiproxy-python, whose flaws are mended here: it has one server for the whole process, no deadlines,
and takes an HTTP 500 for success. Toxiproxy itself crashes on some numbers, ignores attributes that it does not know,
and can hang while it changes a proxy; hence strict checks before (toxics.py), a comparison after each change, a
watchdog, and harder and harder ways to get there. Its own randomness is never used: toxicity is always 1.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any

import requests
import toxiproxy.proxy
import toxiproxy.server
from toxiproxy import Proxy

from chaoskit.clusters.addresses import Address, show
from chaoskit.clusters.member import Server
from chaoskit.clusters.toxics import STREAMS, ToxicSpec
from chaoskit.contracts import Say
from chaoskit.errors import BedLost, InfrastructureError, ProxyError

VERSION = "2.12.0"
ENVIRONMENT = {"LOG_LEVEL": "fatal"}
"""At `error` it writes a line for each connection that finds nobody, without end while a member is down."""

_CALL_DEADLINE_S = 2.0  # 1–2 ms on an idle machine
_START_DEADLINE_S = 10.0
_WATCH_EVERY_S = 1.0
_WATCH_DEADLINE_S = 1.0
_WATCH_FAILURES = 3


@dataclass(frozen=True, slots=True)
class ProxySpec:
    """Where a proxy listens and what is behind it."""

    name: str
    listen: Address
    upstream: Address


@dataclass(frozen=True, slots=True)
class ProxyState:
    """What a proxy does with what comes in."""

    enabled: bool = True
    toxics: frozenset[ToxicSpec] = frozenset()


PASSING = ProxyState()


class Api:
    """HTTP calls to one server, each with a deadline. In the place of the library's class-global consumer."""

    def __init__(self, address: Address, deadline_s: float = _CALL_DEADLINE_S) -> None:
        self._url = f"http://{show(address)}"
        self._deadline_s = deadline_s
        self._session = requests.Session()
        self._session.trust_env = False  # http_proxy is not for us, nor is ~/.netrc

    def call(self, method: str, path: str, **content: Any) -> requests.Response:
        try:
            response = self._session.request(method, self._url + path, timeout=self._deadline_s, **content)
        except requests.Timeout as error:
            raise ProxyError(f"Toxiproxy did not answer {method} {path} in {self._deadline_s:g} s") from error
        except requests.RequestException as error:  # its own text is three lines of internals
            raise ProxyError(f"Toxiproxy could not be asked {method} {path}: {type(error).__name__}") from error
        if not response.ok:
            raise ProxyError(f"Toxiproxy refused {method} {path}: {response.status_code} {response.text.strip()[:300]}")
        return response

    @contextmanager
    def in_use(self) -> Iterator[toxiproxy.Toxiproxy]:
        """The library, talking to this server in this thread."""
        token = _current.set(self)
        try:
            yield toxiproxy.Toxiproxy()
        except (requests.RequestException, LookupError, ValueError) as error:  # the library reads answers unchecked
            raise ProxyError(f"Toxiproxy gave an answer that makes no sense: {error!r}") from error
        finally:
            _current.reset(token)

    def close(self) -> None:
        self._session.close()


_current: ContextVar[Api] = ContextVar("the Toxiproxy that the library talks to")


class _Consumer:
    """What the library calls; it knows one server for the whole process, here it is one for each context."""

    @staticmethod
    def get(url: str, **content: Any) -> requests.Response:
        return _current.get().call("GET", url, **content)

    @staticmethod
    def post(url: str, **content: Any) -> requests.Response:
        return _current.get().call("POST", url, **content)

    @staticmethod
    def delete(url: str, **content: Any) -> requests.Response:
        return _current.get().call("DELETE", url, **content)


toxiproxy.proxy.APIConsumer = toxiproxy.server.APIConsumer = _Consumer


class Proxies:
    """One Toxiproxy server with a fixed set of proxies. Thread-safe.

    `server` answers at `api` once it was started; it is stopped and started again when it has to be. `note` hears of
    all that should not have happened.
    """

    def __init__(self, api: Address, server: Server, specs: Sequence[ProxySpec], note: Say) -> None:
        self._address = api
        self._server = server
        self._specs = {spec.name: spec for spec in specs}
        self._wanted = dict.fromkeys(self._specs, PASSING)
        self._note = note
        self._api = Api(api)
        self._lock = threading.RLock()
        self._starts = 0
        self._closing = threading.Event()
        self._watchdog = threading.Thread(target=self._watch, name="toxiproxy-watchdog", daemon=True)

    def start(self) -> None:
        """Server, proxies, watchdog. Raises ProxyError, or InfrastructureError when it cannot be started at all."""
        with self._lock:
            self._start_server()
            self._populate(self._specs)
            left = self._differing(self._specs)
        if left:
            raise ProxyError(_difference(left))
        self._watchdog.start()

    def apply(self, wanted: Mapping[str, ProxyState]) -> None:
        """Bring these proxies into these states, and compare. Raises ProxyError when no way led there."""
        with self._lock:
            self._wanted.update(wanted)
            failures = []
            for describe, way in self._ways():
                try:
                    way(wanted)
                    left = self._differing(wanted)
                except BedLost:
                    raise  # the harder ways need it too
                except InfrastructureError as error:
                    failures.append(f"{describe}: {error}")
                    continue
                if not left:
                    if failures:
                        self._note(f"Toxiproxy needed more than one try; {'; '.join(failures)}; then {describe} worked")
                    return
                failures.append(f"{describe}: {_difference(left)}")
        raise ProxyError("Toxiproxy could not be brought into the wanted state: " + "; ".join(failures))

    def close(self) -> None:
        """Stop watchdog and server. Idempotent."""
        self._closing.set()
        if self._watchdog.is_alive():
            self._watchdog.join()
        with self._lock:
            self._stop_server()
            self._api.close()

    # ── ways, from gentle to hard ──

    def _ways(self) -> Iterator[tuple[str, Callable[[Mapping[str, ProxyState]], None]]]:
        yield "setting it", self._set
        yield "setting it again", self._set  # a timeout once is no reason for more
        yield "switching off and on", self._bounce
        yield "making the proxy anew", self._recreate
        yield "restarting Toxiproxy", lambda _: self._restart()

    def _set(self, wanted: Mapping[str, ProxyState]) -> None:
        with self._api.in_use() as library:
            proxies = library.proxies()
            for name, state in wanted.items():
                if name not in proxies:
                    raise ProxyError(f"proxy {name} has vanished")
                _change(proxies[name], state)

    def _bounce(self, wanted: Mapping[str, ProxyState]) -> None:
        with self._api.in_use() as library:
            proxies = library.proxies()
            for name in wanted:
                proxies[name].disable()
                proxies[name].enable()
        self._set(wanted)

    def _recreate(self, wanted: Mapping[str, ProxyState]) -> None:
        with self._api.in_use() as library:
            proxies = library.proxies()
            for name in wanted:
                if name in proxies:
                    library.destroy(proxies[name])
        self._populate(wanted)

    def _restart(self) -> None:
        """All proxies come back, with the harm that is still wanted on the others."""
        self._stop_server()
        self._start_server()
        self._populate(self._specs)

    # ── steps ──

    def _start_server(self) -> None:
        self._server.start()
        self._starts += 1
        deadline = time.monotonic() + _START_DEADLINE_S
        while True:
            try:
                with self._api.in_use() as library:
                    library.proxies()
                return
            except ProxyError as error:
                if time.monotonic() > deadline or self._server.state() == "down":
                    raise ProxyError(f"Toxiproxy did not start: {error}; {self._server.last_words()}") from error
                time.sleep(0.01)

    def _stop_server(self) -> None:
        self._server.stop("KILL")

    def _populate(self, names: Collection[str]) -> None:
        """In one call, because a cluster that boots with half of its links loses what it sends on the others. Harmed
        ones are switched off until they are as wanted."""
        proxies = [
            {
                "name": spec.name,
                "listen": show(spec.listen),
                "upstream": show(spec.upstream),
                "enabled": self._wanted[spec.name] == PASSING,
            }
            for spec in (self._specs[name] for name in names)
        ]
        self._api.call("POST", "/populate", json=proxies)
        self._set({name: self._wanted[name] for name in names if self._wanted[name] != PASSING})

    def _differing(self, names: Iterable[str]) -> dict[str, str]:
        """Proxies that are not as wanted, with what they are instead."""
        with self._api.in_use() as library:
            proxies = library.proxies()
            return {name: found for name in names if (found := self._difference(name, proxies.get(name)))}

    def _difference(self, name: str, proxy: Proxy | None) -> str:
        if proxy is None:
            return "missing"
        spec = self._specs[name]
        if (proxy.listen, proxy.upstream) != (show(spec.listen), show(spec.upstream)):
            return f"from {proxy.listen} to {proxy.upstream}"
        found, wanted = ProxyState(proxy.enabled, frozenset(toxics_of(proxy))), self._wanted[name]
        return "" if found == wanted else f"{_show(found)} instead of {_show(wanted)}"

    # ── watchdog ──

    def _watch(self) -> None:
        api = Api(self._address, _WATCH_DEADLINE_S)  # a session of its own: the other may be waiting for a hung server
        failures = 0
        while not self._closing.wait(_WATCH_EVERY_S):
            starts = self._starts
            try:
                with api.in_use() as library:
                    there = library.proxies()
                failures = 0
                if self._specs.keys() - there.keys():
                    self._restore()
            except ProxyError as error:
                failures += 1
                if failures >= _WATCH_FAILURES or self._died():
                    self._replace(starts, error)
                    failures = 0
        api.close()

    def _restore(self) -> None:
        """Somebody else removed proxies, or restarted the server between two looks; unless they are just being made."""
        with self._lock:
            if self._closing.is_set():
                return
            try:
                with self._api.in_use() as library:
                    missing = self._specs.keys() - library.proxies().keys()
                self.apply({name: self._wanted[name] for name in missing})
            except InfrastructureError as error:
                self._note(f"Toxiproxy lost proxies, and they could not be made anew: {error}")

    def _died(self) -> bool:
        return self._server.state() == "down"

    def _replace(self, starts: int, reason: ProxyError) -> None:
        """Restart, unless somebody has just done it."""
        with self._lock:
            if self._starts != starts or self._closing.is_set():
                return
            how = self._server.last_words() if self._died() else str(reason)
            try:
                self._restart()
            except InfrastructureError as error:
                self._note(f"Toxiproxy stopped working and could not be restarted: {error}")
            else:
                self._note(f"Toxiproxy stopped working and was restarted, every connection was lost: {how}")


def _change(proxy: Proxy, wanted: ProxyState) -> None:
    """Move one proxy to the wanted state. Off comes first and on comes last, so that nothing slips through."""
    if proxy.enabled and not wanted.enabled:
        proxy.disable()
    set_toxics(proxy, list(toxics_of(proxy)), wanted.toxics)
    if wanted.enabled and not proxy.enabled:
        proxy.enable()


def set_toxics(proxy: Proxy, present: Sequence[ToxicSpec], wanted: Set[ToxicSpec]) -> None:
    """Replace toxics of a proxy, `present` in its order: they go from the last on, and with one go those behind it.

    A connection that ends closes its toxics from the first on, while a later one may still hold data. Toxiproxy forgets
    to take a closed one out of that connection, so that the next removal misses the one behind it, and the whole server
    crashes when another is added (link.go, AddToxic: index out of range).
    """
    stale = [toxic for stream in STREAMS for toxic in dropwhile(wanted.__contains__, _of_stream(present, stream))]
    for toxic in reversed(stale):
        proxy.destroy_toxic(toxic.name)
    for toxic in sorted(wanted - (set(present) - set(stale)), key=lambda toxic: toxic.name):
        proxy.add_toxic(
            name=toxic.name, type=toxic.type, stream=toxic.stream, toxicity=1.0, attributes=dict(toxic.attributes)
        )


def _of_stream(toxics: Iterable[ToxicSpec], stream: str) -> list[ToxicSpec]:
    return [toxic for toxic in toxics if toxic.stream == stream]


def toxics_of(proxy: Proxy) -> Iterator[ToxicSpec]:
    """In the order in which data passes them."""
    for toxic in proxy.toxics().values():
        kind = toxic.type if toxic.toxicity == 1 else f"{toxic.type} with toxicity {toxic.toxicity}"
        yield ToxicSpec(toxic.name, kind, toxic.stream, tuple(sorted(toxic.attributes.items())))


def _difference(left: Mapping[str, str]) -> str:
    return ", ".join(f"{name} is {found}" for name, found in left.items())


def _show(state: ProxyState) -> str:
    toxics = ", ".join(f"{toxic.name} {dict(toxic.attributes)}" for toxic in sorted(state.toxics, key=str))
    return f"{'on' if state.enabled else 'off'} with {toxics or 'no toxics'}"
