"""Names of the keys that workloads write, all below the run's prefix."""

from __future__ import annotations

KEYS_LIMIT = 1_000_000  # names have six digits, so that they sort as their numbers do


def put_key(prefix: str, number: int) -> str:
    return f"{prefix}put/{number:06d}"


def padded(prefix: str, key_bytes: int | None) -> str:
    """The prefix made longer, so that the keys of `put` are so many bytes."""
    missing = (key_bytes or 0) - len(put_key(prefix, 0))
    return f"{prefix}{'.' * (missing - 1)}/" if missing > 0 else prefix


def put_range(prefix: str, first: int, behind: int, keys: int) -> tuple[str, str]:
    """Key and range end of the put keys from `first` to before `behind`, of `keys` in all."""
    end = f"{prefix}put0" if behind >= keys else put_key(prefix, behind)  # "0" follows "/"
    return put_key(prefix, first), end
