"""A cluster that is there already, as people write it down: what is taken, what is refused, and what is never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaoskit.clusters import EXTERNAL, PREFERRED
from chaoskit.errors import InvalidExperiment
from chaoskit.experiment import Plan, make_plan
from chaoskit.experiment.place import access_of, place_of
from chaoskit.topology import Link

pytestmark = pytest.mark.unit

SECRET = "swordfish-4711"
THREE = "[https://10.0.0.1:2379, https://10.0.0.2:2379, https://10.0.0.3:2379]"


def plan(folder: Path, cluster: str, *, method: str = "[{wait: 5s}]", load: str = "", **options: Any) -> Plan:
    file = folder / "guest.yaml"
    file.write_text(
        f"title: t\ncluster: {{backend: external, {cluster}}}\n"
        f"load: {{put: {{rate: 10/s}}{load}}}\nmethod: {method}\nslo: [put.errors < 1%]\n"
    )
    return make_plan(str(file), **options)


def problems(folder: Path, cluster: str, **options: Any) -> str:
    with pytest.raises(InvalidExperiment) as refused:
        plan(folder, cluster, **options)
    return str(refused.value)


def test_members_are_named_in_the_order_of_the_endpoints(tmp_path: Path) -> None:
    place = place_of(plan(tmp_path, "endpoints: [http://a:2379, 'http://b', 'http://[::1]:4']").cluster)
    assert place and place.endpoints == {"n1": "a:2379", "n2": "b:2379", "n3": "[::1]:4"}
    assert not place.access.tls


def test_endpoints_come_from_a_variable_as_etcdctl_takes_them(tmp_path: Path) -> None:
    given = plan(tmp_path, 'endpoints: "${ENDPOINTS}"', variables={"ENDPOINTS": "https://a:1,https://b:2"})
    assert given.cluster.endpoints == ("https://a:1", "https://b:2")
    assert given.cluster.members == 2
    assert access_of(given.cluster).tls


def test_a_plan_of_an_external_cluster_survives_the_disk(tmp_path: Path) -> None:
    tls = "tls: {cacert: ca.pem, cert: c.pem, key: k.pem, server-name: etcd.example}"
    proxies = "toxiproxy: {url: 'http://localhost', proxies: {client->n1: one}}"
    written = plan(tmp_path, f"endpoints: {THREE}, {tls}, auth: {{user: u, password: '${{P}}'}}, {proxies}")
    read = Plan.model_validate_json(written.model_dump_json(indent=2, by_alias=True))
    assert read == written
    place = place_of(read.cluster)
    assert place and place.toxiproxy == "localhost:8474"
    assert place.proxies == {Link("client", "n1"): "one"}
    assert place.access.server_name("10.0.0.2:2379") == "etcd.example"


def test_files_are_absolute_because_a_worker_has_a_folder_of_its_own(tmp_path: Path) -> None:
    access = access_of(plan(tmp_path, f"endpoints: {THREE}, tls: {{cacert: pki/ca.pem}}").cluster)
    assert access.cacert == str(Path.cwd() / "pki/ca.pem")


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_password_stays_a_reference_even_when_the_variable_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCD_PASSWORD", SECRET)
    given = plan(tmp_path, f"endpoints: {THREE}, auth: {{user: root, password: '${{ETCD_PASSWORD}}'}}")
    access = access_of(given.cluster)
    assert SECRET not in given.model_dump_json()
    assert SECRET not in repr(given)
    assert SECRET not in repr(access)
    assert access.password() == SECRET
    monkeypatch.setenv("CHAOSKIT_VAR_ETCD_PASSWORD", "nearer")
    assert access.password() == "nearer"


@pytest.mark.parametrize("written", [SECRET, f"'${{A}}{SECRET}'", "'${A:-swordfish-4711}'", "4711", f"[{SECRET}]"])
def test_a_password_in_the_file_is_refused_and_not_repeated(tmp_path: Path, written: str) -> None:
    said = problems(tmp_path, f"endpoints: {THREE}, auth: {{user: root, password: {written}}}")
    assert "cluster.auth.password" in said
    assert "set the environment variable" in said
    assert "4711" not in said


def test_a_password_on_the_command_line_is_refused_and_not_repeated(tmp_path: Path) -> None:
    auth = "auth: {user: root, password: '${P}'}"
    said = problems(tmp_path, f"endpoints: {THREE}, {auth}", variables={"P": SECRET})
    assert "not taken from --var" in said
    assert SECRET not in said
    said = problems(tmp_path, f"endpoints: {THREE}, {auth}", overrides={"cluster.auth.password": SECRET})
    assert "environment variable" in said
    assert SECRET not in said


def test_a_missing_password_is_missed_by_the_name_of_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    access = access_of(plan(tmp_path, f"endpoints: {THREE}, auth: {{user: root, password: '${{NOWHERE}}'}}").cluster)
    assert any("NOWHERE is not set" in line for line in access.missing())


def test_a_password_file_is_read_to_the_end_of_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(f"{SECRET}\nmore\n")
    auth = f"auth: {{user: root, password-file: {tmp_path}/pw}}"
    access = access_of(plan(tmp_path, f"endpoints: [http://a], {auth}").cluster)
    assert access.password() == SECRET
    (tmp_path / "pw").write_text("")
    assert access.missing()


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("cluster", "where", "what"),
    [
        ("members: 3", "cluster.endpoints", "needs the members' endpoints"),
        ("endpoints: []", "cluster.endpoints", "needs the members' endpoints"),
        ("endpoints: [http://a, https://b]", "cluster.endpoints", "some are http and some https"),
        ("endpoints: [http://a, http://a:2379]", "cluster.endpoints", "a:2379 stands twice"),
        ("endpoints: [ftp://a]", "cluster.endpoints", "http:// or https://"),
        ("endpoints: ['http://a:99999']", "cluster.endpoints", "no URL"),
        ("endpoints: ['http://root:pw@a']", "cluster.endpoints", "no URL of a server"),
        ("endpoints: [http://a], members: 3", "cluster.endpoints", "members needs not be given"),
        ("endpoints: [http://a], tls: {cacert: x}", "cluster.tls", "write https://"),
        (f"endpoints: {THREE}, tls: {{cert: x}}", "cluster.tls", "together"),
        (f"endpoints: {THREE}, flags: {{snapshot-count: 1}}", "cluster.flags", "there already"),
        (f"endpoints: {THREE}, image: mine/etcd", "cluster.image", "there already"),
        (f"endpoints: {THREE}, auth: {{user: 'root:pw', password: '${{P}}'}}", "cluster.auth.user", "only the name"),
        (f"endpoints: {THREE}, auth: {{user: root}}", "cluster.auth", "either password or password-file"),
        (
            f"endpoints: {THREE}, toxiproxy: {{url: 'http://t', proxies: {{client->n4: x}}}}",
            "cluster.toxiproxy",
            "no n4",
        ),
        (
            f"endpoints: {THREE}, toxiproxy: {{url: 'http://t', proxies: {{client->n1: x, client->n2: x}}}}",
            "cluster.toxiproxy",
            "two links",
        ),
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused_with_its_place(
    tmp_path: Path, cluster: str, where: str, what: str
) -> None:
    said = problems(tmp_path, cluster)
    assert f"{where}" in said
    assert what in said
    assert "guest.yaml:2:" in said


def test_keys_of_a_guest_are_refused_beside_a_cluster_that_is_built(tmp_path: Path) -> None:
    auth = "auth: {user: root, password: '${P}'}"
    said = problems(tmp_path, f"endpoints: {THREE}, {auth}", backend="process")
    assert "cluster.endpoints: only a cluster of backend external has endpoints" in said
    assert "cluster.auth: only a cluster of backend external" in said
    assert "cluster.version: missing" in said


def test_auto_never_means_somebody_elses_cluster() -> None:
    assert EXTERNAL not in PREFERRED


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────

PROXIED = (
    f"endpoints: {THREE}, toxiproxy: {{url: 'http://t:8474', proxies: {{client->n1: a, client->n2: b, client->n3: c}}}}"
)
CUT = "[{wait: 3s}, {fault: partition, links: [client->n1], for: 2s}]"
BURST = "[{wait: 3s}, {burst: lease_storm, leases: 10, for: 5s}]"


PARALLEL = (
    "[{wait: 3s}, {parallel: [{fault: partition, links: [client->n1], for: 2s}, "
    "{fault: latency, delay: 50ms, on: client, for: 2s}]}]"
)


@pytest.mark.parametrize("method", [CUT, BURST, PARALLEL])
def test_what_hurts_others_needs_the_owners_word(tmp_path: Path, method: str) -> None:
    said = problems(tmp_path, PROXIED, method=method, owned=False)
    assert "method[1]." in said
    assert "--yes-i-own-this-cluster" in said
    assert plan(tmp_path, PROXIED, method=method, owned=True)
    assert plan(tmp_path, PROXIED, method=method), "validate and plan only look"


def test_steady_load_needs_no_word(tmp_path: Path) -> None:
    assert plan(tmp_path, f"endpoints: {THREE}", owned=False)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("fault: kill, target: n1, for: 2s", "backend external cannot do kill here: the cluster is somebody else's"),
        ("fault: partition, isolate: leader, for: 2s", "no proxy on n1->n2"),
        ("fault: latency, delay: 50ms, for: 2s", "no proxy on n1->n2"),
        ("fault: partition, links: [client->n1, n1->n2], for: 2s", "no proxy on n1->n2, which"),
    ],
)
def test_faults_that_cannot_be_done_there_are_refused_before_the_start(tmp_path: Path, fault: str, why: str) -> None:
    said = problems(tmp_path, PROXIED, method=f"[{{wait: 3s}}, {{{fault}}}]")
    assert why in said
    assert "method[1]" in said


@pytest.mark.parametrize(
    "fault",
    [
        "fault: partition, links: [client->n1], for: 2s",
        "fault: latency, delay: 50ms, on: client, target: leader, for: 2s",
        "fault: bandwidth, rate: 64KiB/s, on: client, for: 2s",
    ],
)
def test_faults_on_proxied_links_are_taken(tmp_path: Path, fault: str) -> None:
    assert plan(tmp_path, PROXIED, method=f"[{{wait: 3s}}, {{{fault}}}]")


def test_without_a_toxiproxy_no_link_can_be_harmed(tmp_path: Path) -> None:
    said = problems(tmp_path, f"endpoints: {THREE}", method=CUT)
    assert "no proxy on client->n1" in said


def test_the_etcd3_package_is_refused_what_it_cannot_do(tmp_path: Path) -> None:
    said = problems(
        tmp_path,
        f"endpoints: {THREE}, auth: {{user: u, password: '${{P}}'}}",
        load=", client: etcd3, watch: {watchers: 2}",
    )
    assert "cannot ask for progress" in said
    assert "never renews a token" in said
    assert "TLS with a cacert only" in said
    assert plan(tmp_path, f"endpoints: {THREE}, tls: {{cacert: x}}", load=", client: etcd3")
