"""Whole runs on a cluster that is somebody else's, with mutual TLS, users and a Toxiproxy of its owner."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.chaoskit_process import broken, chaoskit, conclusive, start
from tests.integration.certificates import Certificates
from tests.integration.etcd_members import Members
from tests.integration.guest_house import PASSWORD, USER, VARIABLE, Owner, Toxiproxy, mutual_tls, tls_flags

pytestmark = pytest.mark.e2e

OWNED = "--yes-i-own-this-cluster"
CUT = "[{wait: 4s}, {fault: partition, links: [client->n1], for: 2s}, {wait: 8s}]"
CUT_LONG = "[{wait: 1s}, {fault: partition, links: [client->n1, client->n2], mode: reject, for: 60s}]"


@dataclass
class House:
    """The owner's cluster, and what he sees in it."""

    members: Members
    certificates: Certificates
    owner: Owner
    toxiproxy: Toxiproxy

    def experiment(self, folder: Path, method: str, *, proxies: bool) -> Path:
        cert, key = self.certificates.client
        endpoints = ", ".join(f"https://{endpoint}" for endpoint in self.members.endpoints)
        toxiproxy = (
            f"toxiproxy: {{url: 'http://{self.toxiproxy.address}', "
            "proxies: {client->n1: etcd1, client->n2: etcd2, client->n3: etcd3}}"
        )
        file = folder / "guest.yaml"
        file.write_text(f"""
title: A guest's run
cluster:
  backend: external
  endpoints: [{endpoints}]
  tls: {{cacert: {self.certificates.ca}, cert: {cert}, key: {key}}}
  auth: {{user: {USER}, password: "${{{VARIABLE}}}"}}
  {toxiproxy if proxies else ""}
load:
  timeout: 5s  # the first calls wait for certificates and passwords to be checked, on a machine that may be busy
  put: {{rate: 60/s, clients: 8}}
  read: {{rate: 30/s}}
  watch: {{watchers: 6, reconnect: resume}}
  lease: {{leases: 6, ttl: 60s}}
warmup: 1s
method: {method}
slo: [watch.lost == 0, lease.early_expiry == 0]
""")
        return file


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    certificates = Certificates(folder / "certificates")
    access = mutual_tls(certificates)
    members = Members("3.6.14", folder / "etcd", 3, tls_flags(certificates, mutual=True), access)
    owner = Owner(members, access)
    owner.plant()
    owner.let_in()
    toxiproxy = Toxiproxy(folder / "toxiproxy", {f"etcd{n}": each for n, each in enumerate(members.endpoints, 1)})
    yield House(members, certificates, owner, toxiproxy)
    toxiproxy.close()
    members.close()


@pytest.fixture(autouse=True)
def with_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, PASSWORD)


@dataclass
class Untouched:
    """How the house was before; `check` says that it is so again."""

    house: House
    keys: list[Any]
    proxies: dict[str, Any]

    @classmethod
    def look(cls, house: House) -> Untouched:
        return cls(house, house.owner.everything(), house.toxiproxy.state())

    def check(self) -> None:
        assert self.house.owner.everything() == self.keys
        assert self.house.owner.leases() == 0
        assert self.house.toxiproxy.state() == self.proxies


def secrets_in(folder: Path) -> list[Path]:
    """Files that hold the password or the client's private key, the experiment's own folder of keys left out."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and PASSWORD.encode() in path.read_bytes()
    ]


def test_load_and_checks_pass_and_the_cluster_is_left_as_it_was(house: House, tmp_path: Path) -> None:
    before = Untouched.look(house)
    file = house.experiment(tmp_path, "[{wait: 4s}]", proxies=False)
    run = conclusive(chaoskit("run", str(file), "--json", "--out", str(tmp_path / "reports"), cwd=tmp_path))
    assert (run.code, broken(run.results)) == (0, []), run.err
    assert run.results["totals"]["put"]["ok"] > 100
    assert run.results["watch"]["delivered"] == run.results["watch"]["expected"] > 0
    assert run.results["environment"]["etcd"] == "3.6.14"
    assert run.results["members"][0]["load"] is not None
    before.check()
    assert secrets_in(tmp_path) == []
    assert PASSWORD not in run.out + run.err
    assert chaoskit("judge", "guest", "--quiet", "--out", str(tmp_path / "reports"), cwd=tmp_path).code == 0
    for verb in (["plan", str(file)], ["plan", "--json", str(file)], ["validate", str(file)], ["doctor"]):
        said = chaoskit(*verb, cwd=tmp_path)
        assert said.code == 0, said.err
        assert PASSWORD not in said.out + said.err


def test_faults_need_the_owners_word_before_anything_starts(house: House, tmp_path: Path) -> None:
    before = Untouched.look(house)
    file = house.experiment(tmp_path, CUT, proxies=True)
    run = chaoskit("run", str(file), "--out", str(tmp_path / "reports"), cwd=tmp_path)
    assert run.code == 2
    assert "method[1].fault: a fault can hurt" in run.err
    assert not (tmp_path / "reports").exists()
    before.check()


def test_a_partition_through_the_owners_toxiproxy_is_proven_and_undone(house: House, tmp_path: Path) -> None:
    before = Untouched.look(house)
    file = house.experiment(tmp_path, CUT, proxies=True)
    steady = ("--set", "load.timeout=1s", "--set", "steady-state=[put.p99 < 1s]")  # recovered is when it is so again
    options = (OWNED, *steady, "--json", "--quiet", "--out", str(tmp_path / "reports"))
    run = conclusive(chaoskit("run", str(file), *options, cwd=tmp_path))
    assert (run.code, broken(run.results)) == (0, []), run.err
    (fault,) = run.results["faults"]
    assert fault["injected_at"] < fault["verified_at"] < fault["heal_began_at"] < fault["healed_at"]
    assert run.results["totals"]["put"]["unknown"] > 0, "calls through the cut link were in the dark"
    before.check()
    assert secrets_in(tmp_path) == []


def bitten(house: House, tmp_path: Path) -> subprocess.Popen[str]:
    """A run in the middle of its fault."""
    file = house.experiment(tmp_path, CUT_LONG, proxies=True)
    process = start("run", str(file), OWNED, "--out", str(tmp_path / "reports"), cwd=tmp_path)
    deadline = time.monotonic() + 60
    assert process.stderr
    for line in process.stderr:
        if "proven after" in line:
            return process
        assert time.monotonic() < deadline
    raise AssertionError("the fault never bit")


def test_ctrl_c_gives_everything_back(house: House, tmp_path: Path) -> None:
    before = Untouched.look(house)
    process = bitten(house, tmp_path)
    assert house.toxiproxy.state()["etcd1"]["enabled"] is False
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    before.check()


def test_after_kill_9_clean_gives_everything_back_once_it_has_the_password(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Untouched.look(house)
    process = bitten(house, tmp_path)
    process.kill()
    process.communicate(timeout=20)
    assert secrets_in(tmp_path) == []
    assert house.owner.everything() != before.keys
    monkeypatch.delenv(VARIABLE)
    refused = chaoskit("clean", cwd=tmp_path)
    assert refused.code == 7
    assert f"the environment variable {VARIABLE} is not set" in refused.err
    assert "left keys below /chaoskit/" in chaoskit("doctor", cwd=tmp_path).err
    monkeypatch.setenv(VARIABLE, PASSWORD)
    cleaned = chaoskit("clean", cwd=tmp_path)
    assert cleaned.code == 0, cleaned.err
    before.check()
    assert list((tmp_path / "state" / "runs").glob("*.json")) == []
    assert "nothing was left behind" in chaoskit("clean", cwd=tmp_path).err
