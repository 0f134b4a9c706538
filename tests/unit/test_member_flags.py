"""etcd's command line, and the flags that an experiment may add."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.contracts import MemberAddresses, System
from chaoskit.systems import SYSTEMS

pytestmark = pytest.mark.unit


def etcd(version: str = "3.6.14") -> System:
    return SYSTEMS["etcd"](version)


def addresses(number: int) -> MemberAddresses:
    return MemberAddresses(
        name=f"n{number}",
        listen_client=f"http://127.1.0.{number}:2379",
        advertise_client=f"http://127.2.0.{number}:2379",
        listen_peer=f"http://127.1.0.{number}:2380",
        advertise_peer=f"http://n{number}.chaoskit:2380",
    )


def argv(version: str = "3.6.14", flags: dict[str, str] | None = None) -> list[str]:
    cluster = [addresses(1), addresses(2)]
    return etcd(version).member_argv(Path("/bin/etcd"), cluster[0], cluster, Path("/run/n1"), "run-7", flags or {})


def refusal(flag: str, value: str = "1", version: str = "3.6.14") -> str:
    return etcd(version).refused_flags({flag: value}).get(flag, "")


def test_a_member_is_told_its_own_addresses_and_everybodys_peer_url() -> None:
    line = argv()
    assert line[0] == "/bin/etcd"
    assert "--name=n1" in line
    assert "--data-dir=/run/n1" in line
    assert "--listen-peer-urls=http://127.1.0.1:2380" in line
    assert "--initial-advertise-peer-urls=http://n1.chaoskit:2380" in line
    assert "--initial-cluster=n1=http://n1.chaoskit:2380,n2=http://n2.chaoskit:2380" in line
    assert "--initial-cluster-token=run-7" in line


@pytest.mark.parametrize(
    ("version", "flag"),
    [
        ("3.4.23", "--experimental-watch-progress-notify-interval=500ms"),
        ("3.5.33", "--experimental-watch-progress-notify-interval=500ms"),
        ("3.6.14", "--watch-progress-notify-interval=500ms"),
        ("3.7.1", "--watch-progress-notify-interval=500ms"),
    ],
)
def test_progress_is_asked_for_in_the_words_of_the_line(version: str, flag: str) -> None:
    assert flag in argv(version)


def test_a_flag_of_the_experiment_becomes_one_argument_with_or_without_dashes() -> None:
    assert argv(flags={"snapshot-count": "100"})[-1] == "--snapshot-count=100"
    assert argv(flags={"--snapshot-count": "100"})[-1] == "--snapshot-count=100"


@pytest.mark.parametrize(
    "flag",
    [
        *("name", "data-dir", "wal-dir", "listen-client-urls", "listen-metrics-urls", "listen-client-http-urls"),
        *("advertise-client-urls", "initial-advertise-peer-urls", "initial-cluster", "initial-cluster-state"),
        *("discovery", "discovery-endpoints", "config-file", "cert-file", "peer-trusted-ca-file", "auto-tls"),
        *("peer-auto-tls", "key-file", "client-cert-auth", "proxy", "force-new-cluster", "log-outputs", "logger"),
        *(
            "watch-progress-notify-interval",
            "experimental-watch-progress-notify-interval",
            "version",
            "--name",
            "-name",
        ),
    ],
)
@pytest.mark.parametrize("version", ["3.5.33", "3.6.14", "3.7.1"])
def test_flags_that_chaoskit_owns_are_refused_with_the_reason(flag: str, version: str) -> None:
    reason = refusal(flag, version=version)
    assert reason
    assert "no such flag" not in reason


@pytest.mark.parametrize("flag", ["heartbeat-interval", "election-timeout", "unsafe-no-fsync", "quota-backend-bytes"])
@pytest.mark.parametrize("version", ["3.5.33", "3.6.14", "3.7.1"])
def test_flags_of_the_experiments_own_are_let_through(flag: str, version: str) -> None:
    assert refusal(flag, version=version) == ""


def test_a_misspelt_flag_is_refused_with_the_nearest_one() -> None:
    assert refusal("snapshot-cuont") == "etcd 3.6 has no such flag; did you mean snapshot-count?"


def test_experimental_flags_are_refused_where_they_were_removed() -> None:
    assert refusal("experimental-compaction-batch-limit", version="3.6.14") == ""
    assert refusal("experimental-compaction-batch-limit", version="3.7.1") == "etcd 3.7 calls it compaction-batch-limit"
    assert "feature-gates" in refusal("experimental-enable-lease-checkpoint", version="3.7.1")


@pytest.mark.parametrize("flag", ["", "--", "Name", "a b", "a=b", "-- x", "snapshot_count", "snapshot-count\n", "ünit"])
def test_what_is_no_name_of_a_flag_is_refused(flag: str) -> None:
    assert refusal(flag)


@pytest.mark.parametrize("value", ["1\0", "a\nb"])
def test_a_value_that_cannot_stand_on_a_command_line_is_refused(value: str) -> None:
    assert "characters" in refusal("log-level", value)


def test_a_flag_given_in_two_spellings_is_refused() -> None:
    assert etcd().refused_flags({"pre-vote": "true", "--pre-vote": "false"}) == {
        "--pre-vote": "--pre-vote is given twice"
    }


def test_flags_of_a_line_that_is_not_known_are_left_to_etcd() -> None:
    assert refusal("some-new-flag", version="3.9.0") == ""


@pytest.mark.parametrize("version", ["3", "3.6", "latest", "v3.6.14", "3.6.14 ", "../3.6.14"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match="not an etcd version"):
        etcd(version)
