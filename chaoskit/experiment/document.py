"""YAML as a tree that still knows where each value stands, and nothing that an experiment has no use for.

An experiment is a page of text: one document of mappings, lists and scalars. Anchors, aliases and tags are refused, and
so is what is too large or too deep, before anything is built from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from chaoskit.errors import InvalidExperiment, Problem

MAX_BYTES = 256 * 1024
MAX_DEPTH = 12
MAX_VALUES = 20_000

Path = tuple[str | int, ...]
Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as written. Without quotes it may turn out to be a number, true, false or null."""

    text: str
    quoted: bool = False

    def value(self) -> str | int | float | bool | None:
        """By the core schema of YAML 1.2: `yes` and `on` are strings."""
        if self.quoted:
            return self.text
        if self.text in _WORDS:
            return _WORDS[self.text]
        if re.fullmatch(r"[-+]?[0-9]{1,18}", self.text):
            return int(self.text)
        if re.fullmatch(r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,2})?", self.text):
            return float(self.text)
        return self.text


_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}

Tree = Scalar | list["Tree"] | dict[str, "Tree"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written; line 0 when it came from the command line."""

    source: str
    line: int = 0
    column: int = 0

    def problem(self, where: Path, what: str) -> Problem:
        return Problem(show_path(where), what, self.source, self.line, self.column)


@dataclass(slots=True)
class Document:
    """A tree and the place of everything in it; a mapping's entry stands where its key stands."""

    source: str
    root: Tree
    places: dict[Path, Place] = field(default_factory=dict)

    def place(self, path: Path) -> Place:
        """Of this value, or of the innermost thing around it that is there."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path) or Place(self.source, 1, 1)


def show_path(path: Path) -> str:
    """`method[2].fault`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_printable(part)}" for part in path)
    return text.removeprefix(".")


def parse(content: bytes, source: str) -> Document:
    """Raises InvalidExperiment: for broken YAML the first mistake, for doubled keys and the like all of them."""
    document = Document(source, Scalar(""))
    try:
        _Builder(document, _events(_text(content, source), source)).build()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _refused(source, f"not valid YAML: {_reason(error)}", mark) from None
    except InvalidExperiment:
        raise
    except Exception as error:  # the library raises whatever comes on garbage; none of it is our defect
        raise _refused(source, f"not valid YAML: {str(error)[:200] or type(error).__name__}") from None
    return document


def _text(content: bytes, source: str) -> str:
    if len(content) > MAX_BYTES:
        raise _refused(source, f"too large: an experiment has at most {MAX_BYTES // 1024} KiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(source, f"not text: byte {error.start} is not UTF-8") from None
    odd = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text)
    if odd:
        raise _refused(source, f"not text: character {odd.start()} is a control character")
    return text


def _events(text: str, source: str) -> Iterator[Event]:
    for count, event in enumerate(YAML(typ="safe", pure=True).parse(text)):
        if count > 2 * MAX_VALUES:
            raise _refused(source, f"too large: more than {MAX_VALUES} values", event.start_mark)
        yield event


def _refused(source: str, what: str, mark: StringMark | None = None) -> InvalidExperiment:
    place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source)
    return InvalidExperiment([place.problem((), what)])


def _reason(error: MarkedYAMLError) -> str:
    return ", ".join(str(part).strip() for part in (error.context, error.problem) if part)[:300]


class _Builder:
    """Events in, tree and places out."""

    def __init__(self, document: Document, events: Iterator[Event]) -> None:
        self._document = document
        self._events = events
        self._problems: list[Problem] = []

    def build(self) -> None:
        documents = 0
        for event in self._events:
            match event:
                case StreamStartEvent() | StreamEndEvent() | DocumentEndEvent():
                    continue
                case DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        raise self._refused(event, "one file holds one experiment; a second document begins here")
                case _:
                    self._document.root = self._value((), event)
        if self._problems:
            raise InvalidExperiment(self._problems)

    def _value(self, path: Path, event: Event) -> Tree:
        self._check(path, event)
        match event:
            case ScalarEvent():
                return Scalar(event.value, quoted=bool(event.style))
            case SequenceStartEvent():
                return self._list(path)
            case _:
                return self._mapping(path)

    def _list(self, path: Path) -> Tree:
        items: list[Tree] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            here = (*path, len(items))
            self._document.places[here] = self._place(event)
            items.append(self._value(here, event))
        return items

    def _mapping(self, path: Path) -> Tree:
        entries: dict[str, Tree] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                raise self._refused(event, "a key has to be a plain word")
            self._check(path, event)
            key, here = event.value, (*path, event.value)
            if key in entries:
                first = self._document.places[here].line
                self._problems.append(self._place(event).problem(here, f"key stands twice, first in line {first}"))
            self._document.places[here] = self._place(event)
            entries[key] = self._value(here, next(self._events))
        return entries

    def _check(self, path: Path, event: Event) -> None:
        if len(path) > MAX_DEPTH:
            raise self._refused(event, f"too deep: more than {MAX_DEPTH} levels")
        if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor):
            raise self._refused(event, "anchors and aliases are not supported; write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None and str(tag) != "!":
            raise self._refused(event, f"tags such as {_printable(str(tag))} are not supported")
        assert isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent)

    def _place(self, event: Event) -> Place:
        return Place(self._document.source, event.start_mark.line + 1, event.start_mark.column + 1)

    def _refused(self, event: Event, what: str) -> InvalidExperiment:
        return _refused(self._document.source, what, event.start_mark)


def _printable(text: str) -> str:
    return text[:80] if text.isprintable() else repr(text[:80])
