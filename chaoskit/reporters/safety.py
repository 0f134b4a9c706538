"""Results that may be shown to anybody: secrets masked, unprintable characters made visible."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import msgspec

from chaoskit.reporters.words import printable
from chaoskit.results import Results

MASK = "[hidden]"

_SECRET_NAME = re.compile(r"pass(word|wd|phrase)|secret|token|credential|(^|[^a-z])auth($|[^a-z])|key$", re.IGNORECASE)
_SECRET_IN_TEXT = re.compile(
    r"(?P<name>[\w-]*(?:password|passwd|passphrase|secret|token|credential|api[_-]?key|private[_-]?key)[\w-]*)"
    r"(?P<is>[\"']?\s*[=:]\s*[\"']?)(?P<value>[^\s\"',;&]+)",
    re.IGNORECASE,
)
_TELLING_LENGTH = 6  # shorter values, such as "true", are words that stand elsewhere by chance


def safe(results: Results) -> Results:
    """The same results; applying it twice changes nothing."""
    hidden = [value for name, value in results.environment.items() if _SECRET_NAME.search(name) and value != MASK]
    telling = sorted((value for value in hidden if len(value) >= _TELLING_LENGTH), key=len, reverse=True)

    def text(value: str) -> str:
        for secret in telling:
            value = value.replace(secret, MASK)
        return printable(_SECRET_IN_TEXT.sub(rf"\g<name>\g<is>{MASK}", value))

    environment = {name: MASK if _SECRET_NAME.search(name) else value for name, value in results.environment.items()}
    findings = tuple(
        msgspec.structs.replace(finding, numbers={name: n for name, n in finding.numbers.items() if math.isfinite(n)})
        for finding in results.findings
    )
    return _with_texts(msgspec.structs.replace(results, environment=environment, findings=findings), text)


def _with_texts(results: Results, change: Callable[[str], str]) -> Results:
    return msgspec.convert(_changed(msgspec.to_builtins(results), change), Results)


def _changed(value: object, change: Callable[[str], str]) -> object:
    """Every text of a tree of plain values, keys included."""
    match value:
        case str():
            return change(value)
        case dict():
            return {change(key): _changed(item, change) for key, item in value.items()}
        case list() | tuple():
            return [_changed(item, change) for item in value]
        case _:
            return value
