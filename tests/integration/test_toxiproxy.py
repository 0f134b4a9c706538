"""The adapter against a real Toxiproxy, and against one whose control API is ill."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Literal

import pytest

from chaoskit.clusters import toxiproxy
from chaoskit.clusters.addresses import Address, reserve, show
from chaoskit.clusters.binaries import find
from chaoskit.clusters.children import Spawner
from chaoskit.clusters.local_server import LocalServer
from chaoskit.clusters.toxics import toxic_on_both_streams
from chaoskit.clusters.toxiproxy import PASSING, Proxies, ProxySpec, ProxyState
from chaoskit.errors import ProxyError
from tests.integration.sick_api import SickApi

pytestmark = pytest.mark.integration

BLACKHOLE = ProxyState(toxics=toxic_on_both_streams("blackhole", "timeout", {}))
SLOW = ProxyState(toxics=toxic_on_both_streams("slow", "latency", {"latency": 30}))
OFF = ProxyState(enabled=False)


class Bench:
    """One Toxiproxy with two proxies, a and b, and a control API that can be made ill."""

    def __init__(self, undo: ExitStack, log: Path) -> None:
        reservation = reserve(("n1",))
        undo.callback(reservation.close)
        self.real = reservation.block.api
        self.api = SickApi(self.real)
        undo.callback(self.api.close)
        self._spawner = Spawner("toxiproxy-test", lambda program, identity: None)
        undo.callback(self._spawner.close)
        self.pids: list[int] = []
        self.cured_by_restart = False
        self.notes: list[str] = []
        host, port = self.real
        program = find("toxiproxy-server", toxiproxy.VERSION).path
        self._server = LocalServer([str(program), "-host", host, "-port", str(port)], self._spawner, log)
        block = reservation.block
        self.listens = block.peer("n1")
        target = undo.enter_context(socket.create_server(("127.0.0.1", 0)))
        specs = [
            ProxySpec("a", self.listens, target.getsockname()),
            ProxySpec("b", block.client("n1"), ("127.0.0.1", 9)),
        ]
        self.proxies = Proxies(self.api.address, self, specs, self.notes.append)
        undo.callback(self.proxies.close)
        self.proxies.start()

    # what Proxies sees of the server

    def start(self) -> None:
        if self.cured_by_restart:
            self.api.cure()
        self._server.start()
        self.pids.append(self._server.pid())

    def stop(self, how: Literal["KILL", "TERM"]) -> None:
        self._server.stop(how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def seen(self, proxy: str) -> Any:
        """What another client is told by the server itself."""
        return json.loads(direct(self.real, f"/proxies/{proxy}"))


def direct(address: Address, path: str, method: str = "GET") -> bytes:
    """Behind the adapter's back."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(f"http://{show(address)}{path}", method=method), timeout=5) as answer:
        return bytes(answer.read())


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[], Bench]]:
    with ExitStack() as undo:
        yield lambda: Bench(undo, tmp_path / "toxiproxy.log")


@pytest.fixture
def bench(make: Callable[[], Bench], monkeypatch: pytest.MonkeyPatch) -> Bench:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # must not be asked
    monkeypatch.setattr(toxiproxy, "_CALL_DEADLINE_S", 0.3)
    return make()


def struck(method: str, part: str) -> Callable[[str, str], bool]:
    return lambda called, path: called == method and part in path


def test_what_is_wanted_is_what_another_client_sees(bench: Bench) -> None:
    bench.proxies.apply({"a": SLOW, "b": OFF})
    assert bench.seen("b")["enabled"] is False
    toxics = bench.seen("a")["toxics"]
    assert {(toxic["type"], toxic["stream"], toxic["toxicity"]) for toxic in toxics} == {
        ("latency", "upstream", 1),
        ("latency", "downstream", 1),
    }
    assert [toxic["attributes"] for toxic in toxics] == [{"latency": 30, "jitter": 0}] * 2


def test_only_what_differs_is_changed(bench: Bench) -> None:
    bench.proxies.apply({"a": SLOW})
    bench.proxies.apply({"a": BLACKHOLE, "b": PASSING})
    assert {toxic["type"] for toxic in bench.seen("a")["toxics"]} == {"timeout"}
    bench.api.calls.clear()
    bench.proxies.apply({"a": BLACKHOLE, "b": PASSING})
    assert [call for call in bench.api.calls if not call.startswith("GET")] == []
    bench.proxies.apply({"a": PASSING})
    assert bench.seen("a")["toxics"] == []
    assert bench.notes == []


def test_two_servers_in_one_process_are_not_mixed_up(make: Callable[[], Bench]) -> None:
    one, two = make(), make()
    one.proxies.apply({"a": OFF})
    assert one.seen("a")["enabled"] is False
    assert two.seen("a")["enabled"] is True


@pytest.mark.parametrize("first", ["bandwidth", "timeout"])
def test_a_connection_that_ends_under_several_toxics_does_not_crash_the_server(bench: Bench, first: str) -> None:
    """Its latency still holds a chunk when what was before it has ended. Toxics that are removed from the front leave
    that chunk's place in the chain behind, and adding another one then is an index out of range."""
    front = toxic_on_both_streams("front", first, {"rate": 10_000} if first == "bandwidth" else {})
    held = toxic_on_both_streams("held", "latency", {"latency": 1500})
    bench.proxies.apply({"a": ProxyState(toxics=front)})
    bench.proxies.apply({"a": ProxyState(toxics=front | held)})
    with closing(socket.create_connection(bench.listens, 5)) as client:
        client.sendall(b"one chunk")
    time.sleep(0.2)
    bench.proxies.apply({"a": ProxyState(toxics=held)})
    assert {toxic["type"] for toxic in bench.seen("a")["toxics"]} == {"latency"}
    bench.proxies.apply({"a": PASSING})
    bench.proxies.apply({"a": SLOW})
    time.sleep(0.2)
    assert len(bench.seen("a")["toxics"]) == 2
    assert (bench.notes, len(bench.pids)) == ([], 1)


def test_a_toxic_that_does_not_go_away_is_healed_by_making_the_proxy_anew(bench: Bench) -> None:
    bench.proxies.apply({"a": BLACKHOLE})
    bench.api.deaf = struck("DELETE", "/toxics/")
    bench.proxies.apply({"a": PASSING})
    assert (bench.seen("a")["toxics"], bench.seen("a")["enabled"]) == ([], True)
    assert len(bench.pids) == 1
    assert "making the proxy anew worked" in bench.notes[0]


def test_a_hanging_control_api_is_healed_by_a_restart_that_keeps_other_harm(bench: Bench) -> None:
    bench.proxies.apply({"a": BLACKHOLE, "b": OFF})
    bench.api.mute = struck("DELETE", "")
    bench.cured_by_restart = True
    bench.proxies.apply({"a": PASSING})
    assert (bench.seen("a")["toxics"], bench.seen("b")["enabled"]) == ([], False)
    assert len(bench.pids) == 2
    assert "restarting Toxiproxy worked" in bench.notes[0]


def test_a_vanished_proxy_is_made_again(bench: Bench) -> None:
    direct(bench.real, "/proxies/a", "DELETE")
    bench.proxies.apply({"a": SLOW})
    assert len(bench.seen("a")["toxics"]) == 2


def test_an_attribute_that_is_not_what_was_sent_is_found_out(bench: Bench) -> None:
    bench.api.forgetful = struck("POST", "/toxics")
    with pytest.raises(ProxyError, match=r"latency', 0|'latency': 0.*instead of.*'latency': 30"):
        bench.proxies.apply({"a": SLOW})


def test_a_server_error_is_an_error_and_names_every_way_that_was_tried(bench: Bench) -> None:
    bench.api.failing = struck("POST", "/toxics")
    with pytest.raises(ProxyError, match="500 out of order") as failure:
        bench.proxies.apply({"a": SLOW})
    for way in ("setting it", "setting it again", "switching off and on", "making the proxy anew", "restarting"):
        assert way in str(failure.value)


def test_the_watchdog_restarts_a_hung_server_without_being_asked(
    make: Callable[[], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toxiproxy, "_WATCH_EVERY_S", 0.05)
    monkeypatch.setattr(toxiproxy, "_WATCH_DEADLINE_S", 0.2)
    bench = make()
    bench.proxies.apply({"b": OFF})
    os.kill(bench.pids[0], signal.SIGSTOP)
    deadline = time.monotonic() + 20
    while not bench.notes:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "was restarted" in bench.notes[0]
    assert (bench.seen("a")["enabled"], bench.seen("b")["enabled"]) == (True, False)
    assert bench.pids[0] != bench.pids[1]


def test_the_watchdog_makes_proxies_anew_that_the_server_no_longer_has(
    make: Callable[[], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart between two looks: it was never seen down, and answers."""
    monkeypatch.setattr(toxiproxy, "_WATCH_EVERY_S", 0.05)
    bench = make()
    bench.proxies.apply({"b": OFF})
    direct(bench.real, "/proxies/a", "DELETE")
    direct(bench.real, "/proxies/b", "DELETE")
    deadline = time.monotonic() + 20
    while json.loads(direct(bench.real, "/proxies")).keys() != {"a", "b"} or not bench.notes:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with bench.proxies._lock:  # not before it is done
        assert (bench.seen("a")["enabled"], bench.seen("b")["enabled"]) == (True, False)
    assert "has vanished" in bench.notes[0]


def test_a_server_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    spawner = Spawner("toxiproxy-test", lambda program, identity: None)
    program = str(find("toxiproxy-server", toxiproxy.VERSION).path)
    try:
        proxies = Proxies(
            ("127.0.0.1", 9),
            LocalServer([program, "-nonsense"], spawner, tmp_path / "log"),
            [],
            lambda note: None,
        )
        with pytest.raises(ProxyError, match=r"did not start.*; exit code 2; its log"):
            proxies.start()
        proxies.close()
    finally:
        spawner.close()
