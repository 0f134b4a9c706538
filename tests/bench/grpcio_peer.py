"""The peer: grpcio under gevent with messages in C, nothing around it: no Locust, no records but service times."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import random  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402

import gevent  # noqa: E402
import grpc  # noqa: E402
import grpc.experimental.gevent as grpc_gevent  # noqa: E402
from gevent.queue import Queue  # noqa: E402

gevent.get_hub().threadpool_size = 400  # each call that waits holds a thread; with the default of 10, streams starve
grpc_gevent.init_gevent()

from chaoskit.systems.etcd import rpc_pb2 as pb  # noqa: E402
from tests.bench.python_peer import Order, Tally  # noqa: E402

ORDER = Order()
TALLY = Tally()
CHANNELS = [grpc.insecure_channel(endpoint) for endpoint in ORDER.endpoints]
WATCH_CHANNELS = [
    grpc.insecure_channel(endpoint, options=[("grpc.use_local_subchannel_pool", 1)]) for endpoint in ORDER.endpoints
]
TTL_S = 100


def main() -> None:
    clients = [client(number) for number in range(ORDER.clients)]
    if ORDER.figure == "watch":
        watch()
        clients = [putter(number, lambda: ORDER.key) for number in range(ORDER.put_clients)]
    TALLY.begin()
    for one in clients:
        gevent.spawn(again_and_again, one)
    gevent.sleep(ORDER.seconds)
    TALLY.end(ORDER.out, of_events=ORDER.figure == "watch")


def again_and_again(call: Callable[[], object]) -> None:
    while True:
        TALLY.timed(call)


def client(number: int) -> Callable[[], object]:
    channel = CHANNELS[number % len(CHANNELS)]
    match ORDER.figure:
        case "put":
            return putter(number, random_key)
        case "range-l" | "range-s":
            get = unary(channel, "KV/Range", pb.RangeRequest, pb.RangeResponse)
            stale = ORDER.figure == "range-s"
            return lambda: get(pb.RangeRequest(key=ORDER.key.encode(), serializable=stale), timeout=5)
        case "txn":
            txn = unary(channel, "KV/Txn", pb.TxnRequest, pb.TxnResponse)
            return lambda: txn(transaction(random_key()), timeout=5)
        case "keepalive":
            return keeper(channel)
        case _:
            return lambda: None


def putter(number: int, key: Callable[[], str]) -> Callable[[], object]:
    put = unary(CHANNELS[number % len(CHANNELS)], "KV/Put", pb.PutRequest, pb.PutResponse)
    return lambda: put(pb.PutRequest(key=key().encode(), value=ORDER.value), timeout=5)


def keeper(channel: grpc.Channel) -> Callable[[], object]:
    """One stream, a question and an answer in turn."""
    grant = unary(channel, "Lease/LeaseGrant", pb.LeaseGrantRequest, pb.LeaseGrantResponse)
    lease = grant(pb.LeaseGrantRequest(TTL=TTL_S), timeout=5).ID
    keep = channel.stream_stream(
        "/etcdserverpb.Lease/LeaseKeepAlive",
        request_serializer=pb.LeaseKeepAliveRequest.SerializeToString,
        response_deserializer=pb.LeaseKeepAliveResponse.FromString,
    )
    questions: Queue = Queue()
    answers = keep(iter(questions.get, None))

    def ask() -> object:
        questions.put(pb.LeaseKeepAliveRequest(ID=lease))
        return next(answers)

    return ask


def watch() -> None:
    """As many watches on one stream per member as chaoskit has."""
    streams = min(len(CHANNELS), ORDER.clients)
    for channel in WATCH_CHANNELS[:streams]:
        open_stream = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.WatchResponse.FromString,
        )
        create = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=ORDER.key.encode()))
        answers = open_stream(_ask(create, ORDER.clients // streams))
        for _ in range(ORDER.clients // streams):
            next(answers)
        gevent.spawn(count, answers)


def _ask(create: pb.WatchRequest, times: int) -> Iterator[pb.WatchRequest]:
    for _ in range(times):
        yield create
    while True:
        gevent.sleep(3600)


def count(answers: Iterator[pb.WatchResponse]) -> None:
    for answer in answers:
        TALLY.events(len(answer.events))


def transaction(key: str) -> pb.TxnRequest:
    put = pb.PutRequest(key=key.encode(), value=ORDER.value)
    return pb.TxnRequest(success=[pb.RequestOp(request_put=put)])


def random_key() -> str:
    return f"{ORDER.prefix}put/{random.randrange(ORDER.keys):06d}"


def unary(channel: grpc.Channel, name: str, request: type, answer: type) -> Callable[..., object]:
    return channel.unary_unary(
        f"/etcdserverpb.{name}",
        request_serializer=request.SerializeToString,
        response_deserializer=answer.FromString,
    )


if __name__ == "__main__":
    main()
