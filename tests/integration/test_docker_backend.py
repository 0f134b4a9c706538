"""What only the Docker backend has: networks that lead nowhere else, labels, images, a daemon that can go away."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from docker.types import Mount

from chaoskit.clusters import BACKENDS
from chaoskit.clusters.docker import DockerCluster
from chaoskit.clusters.docker_daemon import Daemon, endpoint
from chaoskit.clusters.docker_images import image_for
from chaoskit.clusters.docker_layout import API_PORT, EDGE
from chaoskit.contracts import ClusterWish, Down, System
from chaoskit.errors import ClusterNotReady, InfrastructureError
from chaoskit.systems import SYSTEMS
from chaoskit.topology import Link, member_names
from tests.backends import DockerHands, needs_docker

pytestmark = [pytest.mark.integration, needs_docker]

VERSION = "3.6.14"
IMAGE = f"chaoskit/etcd:{VERSION}"
FOREIGN = "chaoskit-test-foreign"
KILLS = int(os.environ.get("CHAOSKIT_TEST_KILLS", "5"))
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHAOSKIT_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def system() -> Iterator[System]:
    system = SYSTEMS["etcd"](VERSION)
    yield system
    system.close()


@pytest.fixture
def hands() -> DockerHands:
    return DockerHands()


@pytest.fixture
def run_id(tmp_path: Path) -> str:
    return f"docker-{os.getpid()}-{tmp_path.name}"[:60]


@pytest.fixture
def cluster(system: System, tmp_path: Path, run_id: str) -> Iterator[DockerCluster]:
    cluster = start(system, tmp_path / "run", run_id)
    yield cluster
    cluster.close()


@pytest.fixture
def built(tmp_path: Path) -> None:
    """Makes sure that there is an image to make foreign containers of."""
    with closing(Daemon(endpoint().url)) as daemon:
        image_for(daemon, "etcd", VERSION, images="build", explicit="", binary=None, say=print)


def start(system: System, run_dir: Path, run_id: str, **wishes: Any) -> DockerCluster:
    wish = ClusterWish(run_id, member_names(3), VERSION, {}, run_dir, {}, **wishes)
    cluster = BACKENDS["docker"]().start(wish, system, print)
    assert isinstance(cluster, DockerCluster)
    return cluster


def seen_from(hands: DockerHands, neighbour: str, addresses: list[str]) -> dict[str, str]:
    """Which of these can be connected to from inside a container's network, by a Python of this machine in it."""
    folders = {"/usr", "/lib", "/lib64", str(Path(sys.base_prefix)), str(Path(__file__).parent)}
    output = hands.client.containers.run(
        IMAGE,
        [str(Path(__file__).with_name("inside.py")), *addresses],
        entrypoint=[str(Path(sys.executable).resolve()), "-I", "-S"],
        network_mode=f"container:{neighbour}",
        mounts=[Mount(folder, folder, type="bind", read_only=True) for folder in folders if Path(folder).exists()],
        remove=True,
    )
    found: dict[str, str] = json.loads(output)
    return found


def test_a_member_reaches_its_proxies_to_its_peers_and_nothing_else(
    cluster: DockerCluster, hands: DockerHands, run_id: str
) -> None:
    layout = cluster._layout
    toxiproxy, edge = layout.toxiproxy("n1"), layout.toxiproxy(EDGE)
    doors = layout.doors()
    with socket.create_server(("0.0.0.0", 0)) as host:  # whoever can reach this machine can reach this
        port = host.getsockname()[1]
        gateways = [str(subnet[1]) for subnet in layout.networks().values()]
        own = [ip for ip in host_addresses() if ip != "127.0.0.1"]
        allowed = [f"{toxiproxy}:2382", f"{toxiproxy}:2383"]
        forbidden = [
            *(f"{toxiproxy}:{inside}" for inside in doors.values()),
            *(f"{edge}:{inside}" for inside in doors.values()),
            f"{toxiproxy}:{API_PORT}",
            f"{layout.member('n2')}:2379",
            f"{layout.member('n2')}:2382",
            f"{layout.toxiproxy('n2')}:2381",
            *(f"{address}:{port}" for address in (*gateways, *own)),
        ]
        seen = seen_from(hands, f"chaoskit-{run_id}-n1", allowed + forbidden)
        host.settimeout(0)
        with pytest.raises(BlockingIOError):
            host.accept()
    assert [address for address, how in seen.items() if how == "open"] == allowed


def host_addresses() -> list[str]:
    """This machine's own, bridges included."""
    listed = subprocess.run(["ip", "-4", "-o", "addr"], capture_output=True, text=True, check=True).stdout
    return [line.split()[3].split("/")[0] for line in listed.splitlines()]


def test_every_port_is_published_on_the_loopback_address_only(
    cluster: DockerCluster, hands: DockerHands, run_id: str
) -> None:
    published = hands.container(run_id, "toxiproxy").attrs["NetworkSettings"]["Ports"]
    assert {binding["HostIp"] for bindings in published.values() for binding in bindings or ()} == {"127.0.0.1"}
    for member in cluster.members:
        ports = hands.container(run_id, member).attrs["NetworkSettings"]["Ports"]
        assert not any(ports.values()), "only Toxiproxy may be entered"


def test_addresses_and_ports_are_the_same_after_everything_was_restarted(
    cluster: DockerCluster, system: System, hands: DockerHands, run_id: str
) -> None:
    before = {name: where(hands, run_id, name) for name in ("n3", "n1", "toxiproxy", "n2")}
    for name in before:
        hands.container(run_id, name).restart(timeout=0)
    deadline = time.monotonic() + 20  # the watchdog of Toxiproxy makes the proxies anew
    while not all(system.put(each, "key", "value", 0.5) for each in cluster.client_endpoints().values()):
        assert time.monotonic() < deadline
    cluster.heal()
    assert {name: where(hands, run_id, name) for name in before} == before
    assert cluster.probe(Link("n1", "n2"), 1).answered


def where(hands: DockerHands, run_id: str, name: str) -> tuple[object, object]:
    settings = hands.container(run_id, name).attrs["NetworkSettings"]
    return {name: each["IPAddress"] for name, each in settings["Networks"].items()}, settings["Ports"]


def test_a_member_that_was_away_for_long_is_reached_soon_after_its_return(cluster: DockerCluster) -> None:
    """Its peers have tried in vain all the time, and Toxiproxy with them: one that waits must not keep others off."""
    cluster.inflict("down", Down(("n2",)))
    time.sleep(12)  # an attempt at 8 s of it would be repeated 15 s later
    cluster.release("down")
    returned = time.monotonic()
    for link in (Link("n1", "n2"), Link("n3", "n2"), Link("client", "n2")):
        while not cluster.probe(link, 0.5).answered:
            assert time.monotonic() < returned + 4, f"{link} is still silent"


def test_a_sweep_takes_what_a_dead_owner_left_and_nothing_else(
    hands: DockerHands, run_id: str, cluster: DockerCluster, built: None
) -> None:
    """The live cluster of this test, foreign things, and things with labels like ours stay."""
    live = set(hands.left(run_id))
    assert len(live) == 4 + 4 + 3
    ours = hands.container(run_id, "n1").labels
    dead = {**ours, "chaoskit.run": "dead", "chaoskit.owner": "4194000:1"}
    elsewhere = {**dead, "chaoskit.run": "elsewhere", "chaoskit.where": "another boot"}
    foreign = [{}, {"chaoskit.run": "x"}, {**dead, "chaoskit.expires": "soon"}, elsewhere]
    expired = {**elsewhere, "chaoskit.run": "expired", "chaoskit.expires": str(int(time.time()) - 1)}
    with ExitStack() as undo:
        for number, labels in enumerate([*foreign, dead, expired]):
            for thing in make(hands, f"{FOREIGN}-{number}", labels):
                undo.callback(remove, thing)
        done = BACKENDS["docker"]().sweep(print)
        assert sorted(done) == sorted(
            f"removed {kind} {FOREIGN}-{number}" for number in (4, 5) for kind in ("container", "network", "volume")
        )
        assert set(hands.left(run_id)) == live
        for number in range(4):
            hands.client.containers.get(f"{FOREIGN}-{number}")
            hands.client.volumes.get(f"{FOREIGN}-{number}")
        assert BACKENDS["docker"]().sweep(print) == []


def make(hands: DockerHands, name: str, labels: dict[str, str]) -> list[Any]:
    client = hands.client
    network = client.networks.create(name, labels=labels, internal=True)
    volume = client.volumes.create(name, labels=labels)
    container = client.containers.create(IMAGE, name=name, labels=labels, network=name, mounts=[Mount("/data", name)])
    return [network, volume, container]


def remove(thing: Any) -> None:
    try:
        thing.remove(**({"force": True} if "Container" in type(thing).__name__ else {}))
    except Exception as error:
        assert "404" in str(error) or "No such" in str(error) or "not found" in str(error), error


def test_an_image_of_another_version_is_told(system: System, tmp_path: Path, run_id: str, hands: DockerHands) -> None:
    with closing(Daemon(endpoint().url)) as daemon:
        image_for(daemon, "etcd", "3.5.33", images="build", explicit="", binary=None, say=print)
    with pytest.raises(ClusterNotReady, match=r"says that it is version 3\.5\.33, 3\.6\.14 was asked for|ended while"):
        start(system, tmp_path / "run", run_id, image="chaoskit/etcd:3.5.33")
    assert hands.left(run_id) == []


def test_an_image_that_nobody_has_is_told_with_every_way_tried(
    system: System, tmp_path: Path, run_id: str, hands: DockerHands
) -> None:
    with pytest.raises(InfrastructureError, match=r"(?s)no image of etcd 3\.6\.14:.*here: .*pull: "):
        start(system, tmp_path / "run", run_id, image="127.0.0.1:9/nobody/etcd:1")
    assert hands.left(run_id) == []


def test_a_member_s_log_is_kept_when_its_container_is_gone(
    cluster: DockerCluster, tmp_path: Path, hands: DockerHands, run_id: str
) -> None:
    cluster.close()
    assert hands.left(run_id) == []
    assert "ready to serve client requests" in (tmp_path / "run" / "logs" / "n1.log").read_text()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"journal.jsonl", "logs"}


def test_after_a_kill_at_any_moment_a_sweep_leaves_nothing(
    tmp_path: Path, hands: DockerHands, run_id: str, state: Path
) -> None:
    """CHAOSKIT_TEST_KILLS=30 for the long form."""
    rng = Random(5)
    for number in range(KILLS):
        run = f"{run_id}-{number}"
        command = [sys.executable, "-m", "tests.integration.controller", "docker", run, str(tmp_path / run), "3"]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log)
        time.sleep(rng.uniform(0.4, 6))
        process.kill()
        process.communicate(timeout=10)
        print(len(BACKENDS["docker"]().sweep(print)), "things swept")
        assert hands.left(run) == []
        assert list(state.rglob("*.json")) == []
    time.sleep(1)  # what the daemon had still been asked for
    assert [thing for thing in hands.left() if run_id in thing] == []
