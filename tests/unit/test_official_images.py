"""What images are called: by digest where one is pinned, from a mirror where one is named."""

from __future__ import annotations

import re

import pytest

from chaoskit.clusters.binaries import KNOWN_VERSIONS
from chaoskit.clusters.official_images import DIGESTS, OFFICIAL, built_image, official_image

pytestmark = pytest.mark.unit


def test_a_pinned_version_is_named_by_its_digest_and_another_by_its_tag() -> None:
    assert official_image("etcd", "3.6.14") == f"gcr.io/etcd-development/etcd@{DIGESTS['etcd', '3.6.14']}"
    assert official_image("etcd", "3.4.23") == "gcr.io/etcd-development/etcd:v3.4.23"
    assert official_image("toxiproxy", "2.12.0").startswith("ghcr.io/shopify/toxiproxy@sha256:")


@pytest.mark.parametrize("given", ["registry.example:5000/all/", "registry.example:5000/all"])
def test_a_mirror_stands_for_the_registry_and_the_digest_stays(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("CHAOSKIT_IMAGE_MIRROR", given)
    digest = DIGESTS["etcd", "3.7.1"]
    assert official_image("etcd", "3.7.1") == f"registry.example:5000/all/etcd-development/etcd@{digest}"
    assert official_image("etcd", "3.4.23") == "registry.example:5000/all/etcd-development/etcd:v3.4.23"
    assert built_image("etcd", "3.7.1") == "chaoskit/etcd:3.7.1"


def test_pins_are_whole_and_of_versions_that_we_know() -> None:
    assert OFFICIAL.keys() == KNOWN_VERSIONS.keys()
    for (server, version), digest in DIGESTS.items():
        assert version in KNOWN_VERSIONS[server]
        assert re.fullmatch("sha256:[0-9a-f]{64}", digest)
    assert len(set(DIGESTS.values())) == len(DIGESTS)
