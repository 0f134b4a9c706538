"""`${NAME}` and `${NAME:-default}` in values, resolved after YAML is parsed: a value can never become structure.

A name is looked up in `--var NAME=value`, then in the environment as CHAOSKIT_VAR_NAME, then the default holds. The
prefix is there because NAME, VERSION and the like are set on many machines for other purposes.

A secret is not filled in: it stays a reference, and whoever needs it looks it up (`access.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from chaoskit.errors import InvalidExperiment, Problem, unknown
from chaoskit.experiment.document import Document, Path, Plain, Scalar, Tree

ENVIRONMENT_PREFIX = "CHAOSKIT_VAR_"
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^${}]*))?\}")
_MAX_LENGTH = 10_000

SECRETS: frozenset[Path] = frozenset({("cluster", "auth", "password")})
"""Values that stay references: what is filled in here is saved, shown and compared."""


def substitute(document: Document, given: Mapping[str, str], environment: Mapping[str, str]) -> Plain:
    """The document's plain values. Raises InvalidExperiment with every unset, malformed, cyclic or unused variable."""
    filling = _Filling(document, given, environment)
    plain = filling.plain((), document.root)
    problems = filling.problems + [
        Problem("", unknown("variable", name, filling.seen), f"--var {name}") for name in given.keys() - filling.seen
    ]
    if problems:
        raise InvalidExperiment(problems)
    return plain


class _Filling:
    def __init__(self, document: Document, given: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self.seen: set[str] = set()
        self.problems: list[Problem] = []
        self._document = document
        self._given = given
        self._environment = environment

    def plain(self, path: Path, tree: Tree) -> Plain:
        if isinstance(tree, dict):
            return {key: self.plain((*path, key), value) for key, value in tree.items()}
        if isinstance(tree, list):
            return [self.plain((*path, number), value) for number, value in enumerate(tree)]
        if path in SECRETS:
            return self._secret(path, tree)
        if "${" not in tree.text:
            return tree.value()
        try:
            whole = bool(_REFERENCE.fullmatch(tree.text))  # in {…} a variable has to be quoted, even for a number
            return Scalar(self._expand(tree.text, ()), tree.quoted and not whole).value()
        except ValueError as error:
            self.problems.append(self._document.place(path).problem(path, str(error)))
            return tree.text

    def _secret(self, path: Path, tree: Scalar) -> Plain:
        for name in (match[1] for match in _REFERENCE.finditer(tree.text)):
            self.seen.add(name)
            if name in self._given:
                what = (
                    f"a secret is not taken from --var, which everybody can read; set the environment variable {name}"
                )
                self.problems.append(self._document.place(path).problem(path, what))
        return tree.text

    def _expand(self, text: str, within: tuple[str, ...]) -> str:
        if "${" in _REFERENCE.sub("", text):
            raise ValueError(f"malformed variable in {text[:80]!r}; write ${{NAME}} or ${{NAME:-default}}")
        expanded = _REFERENCE.sub(lambda match: self._look_up(match[1], match[2], within), text)
        if len(expanded) > _MAX_LENGTH:
            raise ValueError(f"longer than {_MAX_LENGTH} characters after variables are filled in")
        return expanded

    def _look_up(self, name: str, default: str | None, within: tuple[str, ...]) -> str:
        if name in within:
            raise ValueError(f"variables refer to each other: {' -> '.join((*within, name))}")
        self.seen.add(name)
        value = self._given.get(name, self._environment.get(ENVIRONMENT_PREFIX + name, default))
        if value is None:
            raise ValueError(f"variable {name} has no value; give --var {name}=… or write ${{{name}:-default}}")
        return self._expand(value, (*within, name))
