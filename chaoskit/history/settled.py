"""From what workers wrote to what figures, checkers and exports see: one record for each thing that happened.

What a flush said of an operation in flight gives way to how it ended; one that never did stays, as unknown. A response
of a watch becomes its events. Streaming: what is held at a time are operations in flight, names of keys, recent values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chaoskit.history.records import Operation, Outcome, Record, WatchDelivery, WatchEvent, value_id

RECENT = 100_000  # values that are remembered at a time


def settled(records: Iterable[Record]) -> Iterator[Record]:
    """In the order of writing; operations that never ended come last."""
    in_flight: dict[tuple[int, int], Operation] = {}
    names: dict[bytes, str] = {}
    values: dict[bytes, str] = {}
    for record in records:
        if isinstance(record, WatchDelivery):
            if len(values) > RECENT:
                values.clear()
            yield from _events(record, names, values)
        elif not isinstance(record, Operation):
            yield record
        elif not record.done_ns:
            in_flight[record.worker, record.number] = record
        else:
            if in_flight:
                in_flight.pop((record.worker, record.number), None)
            yield record
    assert all(op.outcome is Outcome.UNKNOWN for op in in_flight.values())
    yield from in_flight.values()


def _events(one: WatchDelivery, names: dict[bytes, str], values: dict[bytes, str]) -> Iterator[WatchEvent]:
    """The same as if each had been recorded by itself. Names of keys are shared, because there are few of them, and
    recent values, because every watch of a key receives them."""
    worker, watch, attempt, response, received_ns = one.worker, one.watch, one.attempt, one.response, one.received_ns
    for revision, kind, key, value in one.events:
        name = names.get(key)
        if name is None:
            name = names[key] = key.decode("ascii", "replace")
        text = values.get(value)
        if text is None:
            text = values[value] = value_id(value)
        yield WatchEvent(worker, watch, attempt, response, revision, kind, name, text, received_ns)
