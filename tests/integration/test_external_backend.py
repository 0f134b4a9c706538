"""Clusters that somebody else runs: what is wrong with them is told at once, and a guest leaves as he came."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest
from msgspec.structs import replace

from chaoskit.access import PLAIN, Access
from chaoskit.clusters import BACKENDS, external_debt, journal
from chaoskit.contracts import Cluster, ClusterWish, Cut, Place, Toxic, key_prefix
from chaoskit.errors import ClusterNotReady, HealFailed
from chaoskit.history import LogEvent, LogGap
from chaoskit.systems import SYSTEMS
from chaoskit.systems.etcd.clients import CLIENTS
from chaoskit.systems.etcd.system import Etcd
from chaoskit.topology import Link, isolate, member_names
from tests.integration.certificates import Certificates
from tests.integration.etcd_members import Members, wait_until
from tests.integration.guest_house import PASSWORD, USER, VARIABLE, Owner, Toxiproxy, mutual_tls, tls_flags
from tests.ports import free_port

pytestmark = pytest.mark.integration

VERSION = "3.6.14"
RUN = "0102030405-abcdef"
PREFIX = key_prefix(RUN)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of the test's own, and the guest's password where he said that it is."""
    monkeypatch.setenv("CHAOSKIT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv(VARIABLE, PASSWORD)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("house")


@pytest.fixture(scope="module")
def certificates(folder: Path) -> Certificates:
    return Certificates(folder / "certificates")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Iterator[Members]:
    running = Members(VERSION, folder / "plain")
    yield running
    running.close()


@pytest.fixture(scope="module")
def guarded(folder: Path, certificates: Certificates) -> Iterator[Members]:
    """Three members that want to see certificates and passwords."""
    access = mutual_tls(certificates)
    running = Members(VERSION, folder / "guarded", 3, tls_flags(certificates, mutual=True), access)
    owner = Owner(running, access)
    owner.plant()
    owner.let_in()
    yield running
    running.close()


def as_guest(certificates: Certificates, **changes: object) -> Access:
    return replace(mutual_tls(certificates, user=USER, password_variables=(VARIABLE,)), **changes)


def place_of(members: Members, access: Access = PLAIN) -> Place:
    return Place(dict(zip(member_names(len(members.endpoints)), members.endpoints, strict=True)), access)


def problems(place: Place, version: str = "") -> str:
    system = SYSTEMS["etcd"](version, place.access)
    try:
        return "\n".join(system.examine(place.endpoints, PREFIX).problems)
    finally:
        system.close()


def start(place: Place, tmp_path: Path, system: Etcd) -> Cluster:
    wish = ClusterWish(RUN, tuple(place.endpoints), "", {}, tmp_path / "run", {}, place=place)
    return BACKENDS["external"]().start(wish, system, print)


# ── what stands in the way ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_cluster_that_lets_us_in_has_no_problems_and_nothing_is_written_to_it(
    guarded: Members, certificates: Certificates
) -> None:
    access = as_guest(certificates)
    system = Etcd("", access)
    before = guarded.status().revision
    found = system.examine(place_of(guarded, access).endpoints, PREFIX)
    assert found.problems == ()
    assert [member.name for member in found.members] == ["n1", "n2", "n3"]
    assert len({member.id for member in found.members}) == 3
    assert {member.version for member in found.members} == {VERSION}
    assert found.revision == before == guarded.status().revision
    system.close()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"cacert": "stranger"}, "unknown CA"),
        ({"server_names": "elsewhere.example"}, "for another name than elsewhere.example"),
        ({"cert": "", "key": ""}, "asks for a client certificate and got none"),
        ({"cert": "stranger", "key": "stranger"}, "does not accept the client certificate"),
        ({"tls": False}, "write https://"),
        ({"user": "", "password_variables": ()}, "user of this certificate may not read and write"),
        ({"password_variables": ("CHAOSKIT_TEST_WRONG",)}, "authentication failed: user guest"),
        ({"password_variables": ("CHAOSKIT_TEST_UNSET",)}, "CHAOSKIT_TEST_UNSET is not set"),
        ({"key": "server key"}, "the key belongs to another certificate"),
        ({"cacert": "/nowhere/ca.pem"}, "cacert /nowhere/ca.pem: No such file"),
    ],
)
def test_each_mistake_in_how_we_come_is_told_apart(
    guarded: Members,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    what: str,
) -> None:
    monkeypatch.setenv("CHAOSKIT_TEST_WRONG", "wrong-4711")
    files = {
        ("cacert", "stranger"): certificates.stranger,
        ("cert", "stranger"): certificates.stranger,
        ("key", "stranger"): certificates.stranger_key,
        ("key", "server key"): certificates.server[1],
    }
    changed = {name: str(files.get((name, str(value)), "")) or value for name, value in changes.items()}
    if "server_names" in changes:
        changed["server_names"] = dict.fromkeys(guarded.endpoints, str(changes["server_names"]))
    said = problems(place_of(guarded, as_guest(certificates, **changed)))
    assert what in said
    assert "4711" not in said, "a password was shown"


def test_a_guest_without_the_right_to_the_prefix_is_told_how_to_get_it(folder: Path) -> None:
    members = Members(VERSION, folder / "elsewhere", flags={"auth-token-ttl": "1"})
    owner = Owner(members)
    owner.let_in("/elsewhere/")
    access = Access(user=USER, password_variables=(VARIABLE,))
    said = problems(place_of(members, access))
    assert "user guest may not read and write below /chaoskit/" in said
    assert "etcdctl role grant-permission ROLE readwrite /chaoskit/ --prefix" in said
    assert "wants to know who we are" in problems(place_of(members))
    system = Etcd("", access)
    assert system.put(members.endpoint, "/elsewhere/a", "1", 2)
    time.sleep(2.5)
    assert system.put(members.endpoint, "/elsewhere/a", "2", 2), "a token that has expired is replaced"
    system.close()
    members.close()


def test_what_is_wrong_with_endpoints_and_data_is_told_all_at_once(plain: Members, guarded: Members) -> None:
    one, other = plain.endpoint, guarded.endpoint
    dead = f"127.0.0.1:{free_port()}"
    plain.put(f"{PREFIX}there", "already")
    try:
        said = problems(Place({"n1": one, "n2": one, "n3": dead, "n4": other}), "3.5.33")
    finally:
        Owner(plain).etcdctl("del", PREFIX, "--prefix")
    assert f"n2 at {one}: it leads to the same member as n1" in said
    assert f"n3 at {dead}: connection refused" in said
    assert f"n4 at {other}: it does not speak gRPC in plaintext; if it wants TLS write https://" in said
    assert f"it runs etcd {VERSION}, the experiment says 3.5.33" in said
    assert f"1 keys are there already below {PREFIX}" in said


def test_tls_to_a_plaintext_member_is_told(plain: Members, certificates: Certificates) -> None:
    said = problems(place_of(plain, mutual_tls(certificates)))
    assert "TLS" in said
    assert "write http://" in said


def test_members_without_an_endpoint_a_lost_majority_and_a_full_disk_are_told(folder: Path) -> None:
    members = Members(VERSION, folder / "three", 3, {"quota-backend-bytes": "300000"})
    two = dict(zip(("n1", "n2"), members.endpoints[:2], strict=True))
    assert "no endpoint leads to member n3" in problems(Place(two))
    for number in range(100):
        if not members.system.put(members.endpoint, f"/full/{number}", "x" * 10_000, 2):
            break
    wait_until(lambda: "NOSPACE is active" in problems(place_of(members)), 10, "the alarm")
    members.kill("n2")
    members.kill("n3")
    wait_until(lambda: "knows no leader" in problems(place_of(members)), 20, "a member without a leader")
    members.close()


def test_two_clusters_are_not_taken_for_one(plain: Members, folder: Path) -> None:
    other = Members(VERSION, folder / "other")
    said = problems(Place({"n1": plain.endpoint, "n2": other.endpoint}))
    assert "different clusters" in said
    other.close()


# ── coming and leaving ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_prefix_and_the_leases_go_and_nothing_else_does(
    guarded: Members, certificates: Certificates, tmp_path: Path
) -> None:
    """Also a lease that nobody recorded, but not one that holds a key of somebody else as well."""
    owner = Owner(guarded, mutual_tls(certificates), guarded=True)
    access = as_guest(certificates)
    system = Etcd("", access)
    cluster = start(place_of(guarded, access), tmp_path, system)
    before = owner.everything()
    ours, shared = (owner.etcdctl("lease", "grant", "600").split()[1] for _ in range(2))
    for number in range(30):
        assert system.put(guarded.endpoint, f"{PREFIX}put/{number}", "x", 2)
    owner.etcdctl("put", f"{PREFIX}leased", "x", f"--lease={ours}")
    owner.etcdctl("put", f"{PREFIX}shared", "x", f"--lease={shared}")
    owner.etcdctl("put", "/theirs/shared", "x", f"--lease={shared}")
    with_shared = [*before, *(kv for kv in owner.everything() if kv[0] == "/theirs/shared")]
    cluster.close()
    assert sorted(owner.everything()) == sorted(with_shared)
    assert owner.leases() == 1
    owner.etcdctl("lease", "revoke", shared)
    assert owner.everything() == before
    assert journal.entries(journal.state_dir()) == []
    system.close()


def test_more_keys_than_are_removed_at_once_all_go(
    plain: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaoskit.systems.etcd.guest._KEYS_AT_ONCE", 7)
    for number in range(50):
        plain.put(f"{PREFIX}{number}", "x")
    plain.put("/chaoskit/0102030405-abcdefg/", "another run's")
    system = Etcd("")
    assert system.tidy([plain.endpoint], PREFIX, (), 5) == (50, 0)
    assert "another run" in Owner(plain).etcdctl("get", "/chaoskit/", "--prefix")
    system.close()


@pytest.mark.parametrize(
    "prefix", ["", "/", "/chaoskit/", "/chaoskit//x/", "/theirs/x/", "/chaoskit/a/b/", "chaoskit/a/"]
)
def test_nothing_but_the_prefix_of_a_run_is_ever_removed(plain: Members, prefix: str) -> None:
    system = Etcd("")
    with pytest.raises(ValueError, match="not the prefix of a run"):
        system.tidy([plain.endpoint], prefix, (), 1)
    system.close()


def test_the_audit_of_a_shared_cluster_begins_behind_what_was_there(
    guarded: Members, certificates: Certificates
) -> None:
    """Over mutual TLS, with a token, and past a compaction that would be a gap for one that began at revision 1."""
    access = as_guest(certificates)
    system, seen, arrived = Etcd("", access), list[LogEvent | LogGap](), threading.Event()
    base = system.examine(place_of(guarded, access).endpoints, PREFIX).revision

    def note(record: LogEvent | LogGap) -> None:
        seen.append(record)
        arrived.set()

    audit = system.audit("n1", guarded.endpoint, PREFIX, note, base)
    revision = system.put(guarded.endpoint, f"{PREFIX}a", "1", 2)
    assert revision and arrived.wait(10)
    assert [(record.revision, record.key) for record in seen if isinstance(record, LogEvent)] == [
        (revision, f"{PREFIX}a")
    ]
    assert audit.revision == revision > base
    assert system.metrics(guarded.endpoint, 2)
    system.tidy(guarded.endpoints, PREFIX, (), 5)
    system.close()


CARRIED = """
from gevent import monkey; monkey.patch_all()
import os, sys
import msgspec
from chaoskit.access import Access
from chaoskit.systems.etcd.clients import CLIENTS
access = msgspec.json.decode(sys.argv[2], type=Access)
client = CLIENTS[sys.argv[1]](access).connect("n1", sys.argv[3])
revision = client.put(sys.argv[4].encode(), b"1", lease=0, timeout_s=10).revision
assert client.get(sys.argv[4].encode(), serializable=False, timeout_s=10).mod_revision == revision
os._exit(0)
"""


@pytest.mark.parametrize("client", ["native", "etcd3"])
def test_both_clients_come_as_an_order_says_through_any_address(
    client: str, certificates: Certificates, folder: Path
) -> None:
    """Over TLS alone, which etcd3 can do, too; a certificate has to say the member's name and not the proxy's."""
    flags = tls_flags(certificates, mutual=False)
    members = Members(VERSION, folder / f"tls-{client}", 1, flags, Access(tls=True, cacert=str(certificates.ca)))
    elsewhere = f"localhost:{members.endpoint.rpartition(':')[2]}"
    access = Access(tls=True, cacert=str(certificates.ca), server_names={elsewhere: "127.0.0.1"})
    order = msgspec.json.encode(access).decode()
    environment = os.environ | CLIENTS[client]().environment
    argv = [sys.executable, "-c", CARRIED, client, order, elsewhere, f"{PREFIX}x"]
    subprocess.run(argv, check=True, timeout=40, env=environment, cwd=Path(__file__).parents[2])
    members.close()


# ── after a crash ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_dead_run_owes_is_settled_only_with_the_password_and_says_so(
    guarded: Members, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = as_guest(certificates)
    system = Etcd("", access)
    before = system.put(guarded.endpoint, f"{PREFIX}x", "1", 2)
    assert before
    debt = external_debt.Debt("etcd", tuple(guarded.endpoints), access)
    _register_dead(tmp_path, debt)
    entry = next((tmp_path / "state" / "runs").glob("*.json"))
    assert PASSWORD not in entry.read_text()
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(HealFailed, match=f"{VARIABLE} is not set"):
        external_debt.settle_all(journal.state_dir(), SYSTEMS, print)
    assert external_debt.owing(journal.state_dir()) == [(RUN, tuple(guarded.endpoints))]
    monkeypatch.setenv(VARIABLE, PASSWORD)
    done = external_debt.settle_all(journal.state_dir(), SYSTEMS, print)
    assert any(f"removed 1 keys below {PREFIX}" in line for line in done)
    assert external_debt.owing(journal.state_dir()) == []
    assert external_debt.settle_all(journal.state_dir(), SYSTEMS, print) == []
    system.close()


def _register_dead(tmp_path: Path, debt: external_debt.Debt) -> None:
    """An entry as a run leaves it that was killed."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    registration = journal.register(journal.state_dir(), RUN, run_dir, "external", debt.encode())
    registration.__exit__(RuntimeError, RuntimeError("killed"), None)
    entry = next((tmp_path / "state" / "runs").glob("*.json"))
    own = str(journal.own_identity())
    entry.write_text(entry.read_text().replace(own, "1:1"))  # of a process that is no more


def test_a_cluster_that_cannot_be_reached_keeps_its_entry(tmp_path: Path) -> None:
    _register_dead(tmp_path, external_debt.Debt("etcd", (f"127.0.0.1:{free_port()}",), PLAIN))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(external_debt, "_TIDY_S", 0.1)
        with pytest.raises(HealFailed, match="could not be cleaned"):
            external_debt.settle_all(journal.state_dir(), SYSTEMS, print)
    assert external_debt.owing(journal.state_dir())


def test_a_toxiproxy_that_is_gone_does_not_keep_the_keys(plain: Members, tmp_path: Path) -> None:
    plain.put(f"{PREFIX}x", "1")
    toxiproxy = f"127.0.0.1:{free_port()}"
    _register_dead(tmp_path, external_debt.Debt("etcd", (plain.endpoint,), PLAIN, toxiproxy, {"etcd1": True}))
    with pytest.raises(HealFailed, match="Toxiproxy could not be asked"):
        external_debt.settle_all(journal.state_dir(), SYSTEMS, print)
    assert Owner(plain).etcdctl("get", PREFIX, "--prefix") == ""
    assert external_debt.owing(journal.state_dir()), "the proxies are still to be restored"


# ── links ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def toxiproxy(folder: Path, guarded: Members) -> Iterator[Toxiproxy]:
    running = Toxiproxy(folder / "toxiproxy", {f"etcd{n}": each for n, each in enumerate(guarded.endpoints, 1)})
    yield running
    running.close()


def proxied(members: Members, access: Access, toxiproxy: Toxiproxy, *names: str) -> Place:
    links = {Link("client", member): name for member, name in zip(member_names(3), names, strict=False)}
    return Place(place_of(members, access).endpoints, access, toxiproxy.address, links)


def test_links_through_the_owners_toxiproxy_are_cut_slowed_and_given_back_as_they_were(
    guarded: Members, certificates: Certificates, toxiproxy: Toxiproxy, tmp_path: Path
) -> None:
    before = toxiproxy.state()
    access = as_guest(certificates)
    system = Etcd("", access)
    cluster = start(proxied(guarded, access, toxiproxy, "etcd1", "etcd2"), tmp_path, system)
    one, two, three = (Link("client", member) for member in cluster.members)
    assert cluster.client_endpoints()["n1"] == before["etcd1"]["listen"]
    assert cluster.client_endpoints()["n3"] == guarded.endpoints[2]
    assert all(cluster.probe(link, 2).answered for link in (one, two, three))
    cluster.inflict("cut", Cut(frozenset({one})))
    cluster.inflict("refuse", Cut(frozenset({two}), "reject"))
    cluster.inflict("slow", Toxic(frozenset({one}), "latency", (("latency", 100), ("jitter", 0))))
    assert not cluster.probe(one, 0.5).answered
    assert not cluster.probe(two, 0.5).answered
    assert cluster.probe(three, 2).answered
    assert system.status(cluster.direct_endpoints()["n1"], 2), "the way of the evidence is not touched"
    assert {toxic["name"] for toxic in toxiproxy.state()["etcd1"]["toxics"]} > {"his"}
    cluster.release("cut")
    assert cluster.probe(one, 3).seconds >= 0.2
    cluster.release("slow")
    cluster.release("refuse")
    assert all(cluster.probe(link, 2).answered for link in (one, two, three))
    cluster.inflict("left", Cut(frozenset({one, two}), "reject"))
    cluster.close()
    assert toxiproxy.state() == before
    system.close()


def test_what_the_owner_changes_meanwhile_is_his_and_is_only_told(
    guarded: Members,
    certificates: Certificates,
    toxiproxy: Toxiproxy,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    access = as_guest(certificates)
    system = Etcd("", access)
    cluster = start(proxied(guarded, access, toxiproxy, "etcd1"), tmp_path, system)
    cluster.inflict("cut", Cut(frozenset({Link("client", "n1")})))
    toxiproxy.post("/proxies/etcd1/toxics", name="new", type="bandwidth", stream="upstream", attributes={"rate": 1000})
    with_new = {toxic["name"] for toxic in toxiproxy.state()["etcd1"]["toxics"] if "chaoskit" not in toxic["name"]}
    cluster.close()
    assert {toxic["name"] for toxic in toxiproxy.state()["etcd1"]["toxics"]} == with_new == {"his", "new"}
    assert "proxy etcd1 is not as it was before the run, and not by us" in capsys.readouterr().out
    toxiproxy.delete("/proxies/etcd1/toxics/new")
    system.close()


def test_proxies_that_are_not_what_they_are_said_to_be_are_found_before_anything_starts(
    guarded: Members, certificates: Certificates, toxiproxy: Toxiproxy, tmp_path: Path
) -> None:
    access = as_guest(certificates)
    system = Etcd("", access)

    def refusal(place: Place) -> str:
        with pytest.raises(ClusterNotReady) as refused:
            start(place, tmp_path, system)
        return str(refused.value)

    assert "unknown proxy 'etcd9'" in refusal(proxied(guarded, access, toxiproxy, "etcd9"))
    assert "leads to n1, not to n2" in refusal(proxied(guarded, access, toxiproxy, "etcd2", "etcd1"))
    toxiproxy.post("/proxies/etcd3", enabled=False)
    assert "proxy etcd3 is switched off" in refusal(proxied(guarded, access, toxiproxy, "etcd3"))
    toxiproxy.post("/proxies/etcd3", enabled=True)
    around = proxied(guarded, access, toxiproxy, "etcd1")
    itself = Place(
        {**around.endpoints, "n1": toxiproxy.state()["etcd1"]["listen"]}, access, around.toxiproxy, around.proxies
    )
    assert "which is an endpoint; endpoints lead around Toxiproxy" in refusal(itself)
    assert "Toxiproxy could not be asked" in refusal(Place(around.endpoints, access, "127.0.0.1:1", around.proxies))
    system.close()


def test_a_dead_run_is_healed_at_the_owners_toxiproxy_too(
    guarded: Members, certificates: Certificates, toxiproxy: Toxiproxy, tmp_path: Path
) -> None:
    before = toxiproxy.state()
    toxics = {"type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}
    toxiproxy.post("/proxies/etcd1/toxics", name=f"chaoskit.{RUN}.blackhole.upstream", **toxics)
    toxiproxy.post("/proxies/etcd2", enabled=False)
    toxiproxy.post("/proxies/etcd3/toxics", name="chaoskit.another-run.blackhole.upstream", **toxics)
    access = as_guest(certificates)
    debt = external_debt.Debt(
        "etcd", tuple(guarded.endpoints), access, toxiproxy.address, {"etcd1": True, "etcd2": True, "gone": True}
    )
    _register_dead(tmp_path, debt)
    external_debt.settle_all(journal.state_dir(), SYSTEMS, print)
    toxiproxy.delete("/proxies/etcd3/toxics/chaoskit.another-run.blackhole.upstream")
    assert toxiproxy.state() == before


def test_links_between_members_can_be_cut_where_each_has_a_proxy(tmp_path: Path) -> None:
    """The owner's cluster is one of chaoskit's own here, which has a proxy on every directed link."""
    members = member_names(3)
    theirs_system, system = SYSTEMS["etcd"](VERSION), Etcd("")
    wish = ClusterWish("0102030405-owner", members, VERSION, {}, tmp_path / "theirs", {})
    theirs = BACKENDS["process"]().start(wish, theirs_system, print)
    try:
        api = theirs.client_endpoints()["n1"].rpartition(".")[0].rpartition(".")[0] + ".2.1"
        port = int(theirs.client_endpoints()["n1"].rpartition(":")[2]) - 2379 + 8474
        place = Place(theirs.direct_endpoints(), PLAIN, f"{api}:{port}", {link: str(link) for link in theirs.links})
        cluster = start(place, tmp_path, system)
        victim = Random(7).choice(members)
        cut = isolate(members, [victim])
        cluster.inflict("isolate", Cut(cut))
        assert not any(cluster.probe(link, 0.3).answered for link in cut)
        endpoint = cluster.direct_endpoints()[victim]
        wait_until(lambda: not system.put(endpoint, f"{PREFIX}x", "1", 0.5), 15, "a member cut off refuses writes")
        cluster.release("isolate")
        wait_until(lambda: system.put(endpoint, f"{PREFIX}x", "1", 0.5), 15, "a member that writes again")
        cluster.close()
        assert all(theirs.probe(link, 2).answered for link in theirs.links)
    finally:
        theirs.close()
        theirs_system.close()
        system.close()
