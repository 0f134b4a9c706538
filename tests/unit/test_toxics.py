"""What may be sent to Toxiproxy; everything else crashes it or is ignored by it."""

from __future__ import annotations

from typing import Any

import pytest

from chaoskit.clusters.toxics import toxic_on_both_streams
from chaoskit.errors import ProxyError

pytestmark = pytest.mark.unit


def test_a_toxic_is_set_on_both_streams_with_every_attribute() -> None:
    toxics = toxic_on_both_streams("slow.1", "latency", {"latency": 20})
    assert {(toxic.name, toxic.stream) for toxic in toxics} == {
        ("slow.1.upstream", "upstream"),
        ("slow.1.downstream", "downstream"),
    }
    assert {toxic.attributes for toxic in toxics} == {(("jitter", 0), ("latency", 20))}


@pytest.mark.parametrize(
    ("kind", "attributes", "place"),
    [
        ("bandwidth", {"rate": -1}, "rate"),  # crashes Toxiproxy
        ("bandwidth", {"rate": 0}, "rate"),
        ("bandwidth", {}, "rate"),
        ("latency", {"latency": -5}, "latency"),
        ("latency", {"latency": 10**12}, "latency"),
        ("latency", {"latency": 5, "jitter": -1}, "jitter"),
        ("latency", {"latency": 1.5}, "latency"),
        ("latency", {"latency": True}, "latency"),
        ("latency", {"latancy": 100}, "latancy"),  # Toxiproxy says 200 and does nothing
        ("packet_loss", {}, "packet_loss"),
    ],
)
def test_numbers_and_names_that_toxiproxy_cannot_take_are_refused(
    kind: str, attributes: dict[str, Any], place: str
) -> None:
    with pytest.raises(ProxyError, match=place):
        toxic_on_both_streams("t", kind, attributes)
