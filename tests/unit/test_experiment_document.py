"""YAML with positions: what is read, and what is refused with its place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.errors import InvalidExperiment
from chaoskit.experiment.document import MAX_BYTES, Place, Scalar, parse, show_path
from chaoskit.experiment.overrides import override
from chaoskit.experiment.variables import substitute

pytestmark = pytest.mark.unit


def values(text: str, given: dict[str, str] | None = None, environment: dict[str, str] | None = None) -> object:
    return substitute(parse(text.encode(), "x.yaml"), given or {}, environment or {})


def refusal(text: str | bytes) -> str:
    with pytest.raises(InvalidExperiment) as caught:
        parse(text if isinstance(text, bytes) else text.encode(), "x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("3", 3), ("-3", -3), ("3.5", 3.5), ("1e3", 1000.0), ("true", True), ("null", None), ("~", None), ("", None),
        ("yes", "yes"), ("on", "on"), ("10s", "10s"), ("3.6.14", "3.6.14"), ("0x10", "0x10"), ("2024-01-01",) * 2,
        ("9" * 19, "9" * 19), (".", "."), ("+", "+"),
    ],
)  # fmt: skip
def test_a_plain_scalar_is_typed_by_the_core_schema_of_yaml_1_2(written: str, value: object) -> None:
    assert Scalar(written).value() == value
    assert type(Scalar(written).value()) is type(value)


def test_a_quoted_scalar_stays_text() -> None:
    assert values("version: '3.6'") == {"version": "3.6"}


def test_everything_knows_where_it_was_written() -> None:
    document = parse(b"# c\nmethod:\n  - wait: 1s\n  - fault: kil\n    for: 2s\n", "x.yaml")
    assert document.place(("method", 1, "fault")) == Place("x.yaml", 4, 5)
    assert document.place(("method", 1, "for")) == Place("x.yaml", 5, 5)
    assert document.place(("method", 1, "target")) == document.place(("method", 1)) == Place("x.yaml", 4, 5)
    assert show_path(("method", 1, "fault")) == "method[1].fault"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("\ta: 1", "not valid YAML"),
        ("a: &x 1\nb: *x", "anchors and aliases are not supported; write the value out (x.yaml:1:4)"),
        ("a: !!python/object:os.system x", "tags such as"),
        ("a: 1\n---\nb: 2", "one file holds one experiment; a second document begins here (x.yaml:2:1)"),
        ("[1]: 2", "a key has to be a plain word"),
        ("a: 1\nb: 2\na: 3", "a: key stands twice, first in line 1 (x.yaml:3:1)"),
        ("[" * 1000, "too deep"),
        ("- " * 1000, "too deep"),
        ("a: " + "{b: " * 1000, "too deep"),
    ],
)
def test_what_an_experiment_has_no_use_for_is_refused_with_its_place(text: str, says: str) -> None:
    assert says in refusal(text)


def test_a_billion_laughs_are_refused_at_the_first_one() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True))
    assert "anchors and aliases are not supported" in refusal(bomb)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x00\x01\x02\xff\xfe" * 50, "not text"),
        (b"\x7fELF\x02\x01\x01\x00", "not text"),
        (b"a" * (MAX_BYTES + 1), "too large"),
        (b"- 1\n" * 50_000, "too large: more than"),
    ],
)
def test_binary_and_huge_files_are_refused(content: bytes, says: str) -> None:
    assert says in refusal(content)


def test_all_doubled_keys_are_told_at_once() -> None:
    assert refusal("a: 1\na: 2\nb: {c: 1, c: 2}").count("stands twice") == 2


# ── variables ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_variable_is_looked_up_on_the_command_line_then_in_the_environment_then_in_its_default() -> None:
    text = "a: ${X:-default}"
    assert values(text) == {"a": "default"}
    assert values(text, {}, {"CHAOSKIT_VAR_X": "environment", "X": "foreign"}) == {"a": "environment"}
    assert values(text, {"X": "given"}, {"CHAOSKIT_VAR_X": "environment"}) == {"a": "given"}


def test_a_variable_becomes_a_number_where_a_number_could_stand_and_never_structure() -> None:
    assert values("a: ${N:-3}\nb: {c: '${N:-3}'}\nd: 'n${N:-3}'\ne: ${S}", {"S": "{x: [1]}"}) == {
        "a": 3,
        "b": {"c": 3},
        "d": "n3",
        "e": "{x: [1]}",
    }


def test_a_variable_may_be_a_part_of_a_value() -> None:
    assert values("a: put.p99 < ${LIMIT:-100ms} in ${PHASE:-baseline}") == {"a": "put.p99 < 100ms in baseline"}


@pytest.mark.parametrize(
    ("text", "given", "says"),
    [
        ("a: ${X}", {}, "a: variable X has no value; give --var X=… or write ${X:-default} (x.yaml:1:1)"),
        ("a: ${X}", {"X": "${Y}", "Y": "${X}"}, "variables refer to each other: X -> Y -> X"),
        ("a: ${X}", {"X": "${X}"}, "variables refer to each other: X -> X"),
        ("a: ${X:-1", {}, "malformed variable"),
        ("a: ${1X}", {}, "malformed variable"),
        ("a: ${RECONNECT:-naive}", {"RECONECT": "x", "RECONNECT": "y"}, "did you mean 'RECONNECT'?"),
        ("a: ${X}", {"X": "${Y}${Y}", "Y": "a" * 9000}, "longer than"),
    ],
)
def test_a_variable_that_cannot_be_filled_in_is_told(text: str, given: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidExperiment) as caught:
        values(text, given)
    assert says in str(caught.value)


# ── --set ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def set_(text: str, **overrides: str) -> object:
    document = parse(text.encode(), "x.yaml")
    override(document, {path.replace("__", "."): value for path, value in overrides.items()})
    return substitute(document, {}, {})


def test_set_replaces_one_value_and_types_it_as_yaml() -> None:
    text = "cluster: {members: 3}\nmethod: [{for: 1s}]"
    assert set_(text, **{"cluster.members": "5", "method[0].for": "3s", "slo": "[a, b]"}) == {
        "cluster": {"members": 5},
        "method": [{"for": "3s"}],
        "slo": ["a", "b"],
    }


def test_set_reaches_a_key_whose_mapping_is_not_there_yet() -> None:
    assert set_("a: 1", **{"cluster.flags.snapshot-count": "100"}) == {
        "a": 1,
        "cluster": {"flags": {"snapshot-count": 100}},
    }


def test_what_is_wrong_with_a_set_value_is_told_with_the_option() -> None:
    document = parse(b"a: {b: 1}", "x.yaml")
    override(document, {"a.b": "x"})
    assert str(document.place(("a", "b")).problem(("a", "b"), "wrong")) == "a.b: wrong (--set a.b)"


@pytest.mark.parametrize("path", ["", ".", "a..b", "a[", "a[x]", "l[5]", "l.x", "a.b.c", "[0]", "a" + ".b" * 50])
def test_a_path_that_leads_nowhere_is_refused_by_its_option(path: str) -> None:
    with pytest.raises(InvalidExperiment) as caught:
        set_("a: {b: 1}\nl: [1]", **{path: "1"})
    assert f"(--set {path})" in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=300) | st.text(alphabet="ab:-[]{}&*!|>'\"%@`#?, \n\t\r\u2028\ud7ff", max_size=60).map(str.encode)
)
def test_no_bytes_make_the_reader_fail_in_another_way(content: bytes) -> None:
    try:
        document = parse(content, "x.yaml")
        substitute(document, {}, {})
    except InvalidExperiment as error:
        assert error.problems
