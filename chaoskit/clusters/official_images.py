"""What images are called: the projects' own at their registries, and ours. Names only; nobody is asked."""

from __future__ import annotations

import os

OFFICIAL = {
    "etcd": "gcr.io/etcd-development/etcd:v{version}",
    "toxiproxy": "ghcr.io/shopify/toxiproxy:{version}",
}
DIGESTS = {
    ("etcd", "3.6.14"): "sha256:a491baeaa0cb0c9cd89c0062ac44ece53886e3e5bddad18d2daf36678ce665b6",
    ("etcd", "3.7.1"): "sha256:a9983dd6d9283138ab926daa307c6c25623636703ecf5645d5df4d666ce9eba2",
    ("toxiproxy", "2.12.0"): "sha256:9378ed52a28bc50edc1350f936f518f31fa95f0d15917d6eb40b8e376d1a214e",
}
"""Of the index over all architectures. Each was found alike in at least two public projects that pin it; etcd 3.5.33 in
none. A wrong one could not pass unseen: members whose status RPC tells another version end the run before it begins."""

_MIRROR = "CHAOSKIT_IMAGE_MIRROR"


def official_image(server: str, version: str) -> str:
    """The project's own, by digest where one is known; from the mirror if there is one."""
    repository, _, tag = OFFICIAL[server].format(version=version).rpartition(":")
    if mirror := os.environ.get(_MIRROR, "").strip("/"):
        repository = f"{mirror}/{repository.partition('/')[2]}"
    digest = DIGESTS.get((server, version))
    return f"{repository}@{digest}" if digest else f"{repository}:{tag}"


def built_image(server: str, version: str) -> str:
    """Of our own binaries; no registry has it."""
    return f"chaoskit/{server}:{version}"
