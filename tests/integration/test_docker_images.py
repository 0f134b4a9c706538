"""Images from a registry, by tag and by digest, from a mirror, and from registries that lie or say nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from docker.errors import ImageNotFound

from chaoskit.clusters import BACKENDS, docker_images
from chaoskit.clusters.docker_daemon import Daemon, endpoint
from chaoskit.clusters.docker_images import Image, image_for
from chaoskit.clusters.official_images import DIGESTS, official_image
from chaoskit.contracts import ClusterWish, ImageSource
from chaoskit.errors import InfrastructureError
from chaoskit.systems import SYSTEMS
from tests.backends import needs_docker
from tests.integration.registry import Registry, serving

pytestmark = [pytest.mark.integration, needs_docker]

VERSION = "3.6.14"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    daemon = Daemon(endpoint().url)
    yield daemon
    daemon.close()


@pytest.fixture(scope="module")
def registry(daemon: Daemon) -> Iterator[Registry]:
    """Gives our own build of etcd, whatever is asked for."""
    built = find(daemon, images="build")
    with serving(daemon.client, built.reference) as registry:
        yield registry
        for image in daemon.client.images.list():
            for reference in (*image.tags, *image.attrs.get("RepoDigests", ())):
                if reference.startswith(registry.address):
                    with suppress(ImageNotFound):
                        daemon.client.images.remove(reference)


@pytest.fixture
def mirror(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("CHAOSKIT_IMAGE_MIRROR", f"{registry.address}/mirror")
    return registry


def find(daemon: Daemon, images: ImageSource = "auto", explicit: str = "", version: str = VERSION) -> Image:
    return image_for(daemon, "etcd", version, images=images, explicit=explicit, binary=None, say=print)


def test_a_cluster_runs_an_image_of_the_user_s_own_registry_and_its_digest_is_recorded(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSKIT_STATE", str(tmp_path / "state"))
    image = f"{registry.address}/me/etcd:mine"
    wish = ClusterWish(f"images-{tmp_path.name}"[:60], ("n1",), VERSION, {}, tmp_path / "run", {}, image=image)
    system = SYSTEMS["etcd"](VERSION)
    cluster = BACKENDS["docker"]().start(wish, system, print)
    try:
        assert cluster.made_of()["etcd image"] == f"{image} ({registry.digest})"
        assert system.put(cluster.client_endpoints()["n1"], "key", "value", 5)
    finally:
        cluster.close()
        system.close()


def test_a_mirror_is_asked_by_digest(daemon: Daemon, mirror: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DIGESTS, ("etcd", VERSION), mirror.digest)
    wanted = f"{mirror.address}/mirror/etcd-development/etcd@{mirror.digest}"
    pulled = find(daemon, images="pull")
    assert pulled == Image(wanted, mirror.digest) and str(pulled) == wanted
    assert find(daemon) == pulled, "what was pulled is preferred to what was built"


def test_without_a_pin_the_tag_is_pulled_and_told_with_its_digest(
    daemon: Daemon, mirror: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(DIGESTS, ("etcd", VERSION))
    pulled = find(daemon, images="pull")
    assert str(pulled) == f"{mirror.address}/mirror/etcd-development/etcd:v{VERSION} ({mirror.digest})"


def test_another_image_than_the_pinned_one_is_refused(daemon: Daemon, mirror: Registry) -> None:
    with pytest.raises(InfrastructureError, match=r"(?s)no image of etcd 3\.6\.14.*cannot be pulled: .*(digest|verif)"):
        find(daemon, images="pull")
    with pytest.raises(InfrastructureError, match="has no"):
        docker_images._here(daemon, official_image("etcd", VERSION))


def test_a_registry_that_says_nothing_is_given_up_and_the_next_way_taken(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a firewall that drops everything. The daemon is well all the time, and nothing says otherwise."""
    monkeypatch.setattr(docker_images, "_PULL_SILENCE_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("CHAOSKIT_IMAGE_MIRROR", f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(InfrastructureError, match=r"nothing of .* came in 1 s"):
            find(daemon, images="pull")
        assert find(daemon).reference == f"chaoskit/etcd:{VERSION}"
