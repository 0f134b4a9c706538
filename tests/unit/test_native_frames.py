"""The native client's parsers: bytes in, facts out, whatever the bytes."""

from __future__ import annotations

import pytest
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.systems.etcd import rpc_pb2 as pb
from chaoskit.systems.etcd.clients.native import frames
from chaoskit.systems.etcd.clients.native.frames import Code, Frame, FrameReader, ProtocolBroken
from chaoskit.systems.etcd.clients.native.headers import End, HeadReader, request_block, with_timeout
from chaoskit.systems.etcd.clients.native.messages import MESSAGE_LIMIT, BadMessage, MessageReader, framed
from chaoskit.systems.etcd.clients.native.methods import Method, put_request, range_request, swap_request
from chaoskit.systems.etcd.clients.native.pulse import PATROL_S, PING, Pulse
from chaoskit.systems.etcd.clients.native.uploads import Uploads

pytestmark = pytest.mark.unit

FRAME_LIMIT = frames.DEFAULT_FRAME_LIMIT
STREAMS = st.integers(1, frames.LAST_STREAM)
PAYLOADS = st.binary(max_size=300)

GOOD_FRAMES = st.one_of(
    st.tuples(st.just(frames.DATA), st.sampled_from([0, frames.END_STREAM]), STREAMS, PAYLOADS),
    st.tuples(st.just(frames.HEADERS), st.sampled_from([4, 5]), STREAMS, PAYLOADS),
    st.tuples(st.just(frames.SETTINGS), st.just(0), st.just(0), st.binary(min_size=12, max_size=12)),
    st.tuples(st.just(frames.PING), st.sampled_from([0, 1]), st.just(0), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just(frames.RST_STREAM), st.just(0), STREAMS, st.binary(min_size=4, max_size=4)),
    st.tuples(st.just(frames.WINDOW_UPDATE), st.just(0), st.just(0) | STREAMS, st.binary(min_size=4, max_size=4)),
    st.tuples(st.just(frames.GOAWAY), st.just(0), st.just(0), st.binary(min_size=8, max_size=40)),
    st.tuples(st.integers(10, 255), st.integers(0, 255), st.just(0) | STREAMS, PAYLOADS),
)


def broken_by(data: bytes) -> ProtocolBroken:
    reader = FrameReader()
    reader.feed(data)
    assert reader.broken, "the reader swallowed it"
    return reader.broken


def read(data: bytes) -> list[Frame]:
    reader = FrameReader()
    got = reader.feed(data)
    assert reader.broken is None, reader.broken
    assert reader.held == 0
    return got


# ── frames ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(GOOD_FRAMES, max_size=12), st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(
    sent: list[tuple[int, int, int, bytes]], sizes: list[int]
) -> None:
    data = b"".join(frames.frame(*each) for each in sent)
    reader, got, at, turn = FrameReader(), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        got += reader.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert got == [(*each, len(each[3])) for each in sent]
    assert (reader.broken, reader.held) == (None, 0)


@given(st.lists(st.binary(max_size=400), max_size=20))
def test_random_bytes_never_raise_and_are_not_hoarded(chunks: list[bytes]) -> None:
    reader = FrameReader()
    for chunk in chunks:
        reader.feed(chunk)
        assert reader.held <= FRAME_LIMIT + frames.HEAD_BYTES + len(chunk)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 255), st.integers(0, 5), PAYLOADS), min_size=1, max_size=30)
)
@settings(max_examples=300)
def test_frames_of_any_type_flags_and_stream_are_taken_or_refused(sent: list[tuple[int, int, int, bytes]]) -> None:
    reader = FrameReader()
    got = reader.feed(b"".join(frames.frame(*each) for each in sent))
    assert reader.broken or len(got) <= len(sent)
    assert all(len(payload) <= length for *_, payload, length in got)


def test_after_the_protocol_is_broken_nothing_more_is_read() -> None:
    reader = FrameReader()
    good = frames.frame(frames.PING, 0, 0, b"12345678")
    assert len(reader.feed(good + frames.frame(frames.PING, 0, 1, b"12345678") + good)) == 1
    assert reader.feed(good) == []


def test_padding_is_cut_off_and_still_counts_for_flow_control() -> None:
    padded = bytes([3]) + b"body" + bytes(3)
    assert read(frames.frame(frames.DATA, frames.PADDED, 1, padded)) == [(frames.DATA, frames.PADDED, 1, b"body", 8)]


def test_priority_is_cut_off_a_header_block() -> None:
    flags = frames.PADDED | frames.PRIORITISED | frames.END_HEADERS
    payload = bytes([2]) + b"\x80\0\0\1\x10" + b"block" + bytes(2)
    assert read(frames.frame(frames.HEADERS, flags, 3, payload))[0][3] == b"block"


def test_a_header_block_in_pieces_comes_out_whole() -> None:
    data = (
        frames.frame(frames.HEADERS, frames.END_STREAM, 1, b"one")
        + frames.frame(frames.CONTINUATION, 0, 1, b"two")
        + frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, b"three")
    )
    assert read(data) == [(frames.HEADERS, frames.END_STREAM | frames.END_HEADERS, 1, b"onetwothree", 11)]


def test_the_reserved_bit_of_a_stream_is_ignored() -> None:
    data = bytearray(frames.frame(frames.DATA, 0, 5, b"x"))
    data[5] |= 0x80
    assert read(bytes(data)) == [(frames.DATA, 0, 5, b"x", 1)]


@pytest.mark.parametrize(
    ("what", "data", "code"),
    [
        ("a frame above the limit", frames.HEAD.pack((FRAME_LIMIT + 1) << 8, 0, 1), Code.FRAME_SIZE_ERROR),
        ("more padding than payload", frames.frame(0, frames.PADDED, 1, b"\x05abc"), Code.PROTOCOL_ERROR),
        ("padding without a length", frames.frame(0, frames.PADDED, 1, b""), Code.PROTOCOL_ERROR),
        ("DATA on stream 0", frames.frame(frames.DATA, 0, 0, b"x"), Code.PROTOCOL_ERROR),
        ("HEADERS on stream 0", frames.frame(frames.HEADERS, 4, 0, b"x"), Code.PROTOCOL_ERROR),
        ("SETTINGS on a stream", frames.frame(frames.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
        ("half a setting", frames.frame(frames.SETTINGS, 0, 0, b"abc"), Code.FRAME_SIZE_ERROR),
        ("SETTINGS ACK with content", frames.frame(frames.SETTINGS, 1, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
        ("a short PING", frames.frame(frames.PING, 0, 0, b"1234567"), Code.FRAME_SIZE_ERROR),
        ("a long RST_STREAM", frames.frame(frames.RST_STREAM, 0, 1, b"12345"), Code.FRAME_SIZE_ERROR),
        ("a short WINDOW_UPDATE", frames.frame(frames.WINDOW_UPDATE, 0, 1, b"12"), Code.FRAME_SIZE_ERROR),
        ("a short GOAWAY", frames.frame(frames.GOAWAY, 0, 0, b"1234567"), Code.FRAME_SIZE_ERROR),
        ("a lone CONTINUATION", frames.frame(frames.CONTINUATION, 4, 1, b"x"), Code.PROTOCOL_ERROR),
        ("HEADERS without room for priority", frames.frame(1, 0x24, 1, b"abc"), Code.FRAME_SIZE_ERROR),
        ("DATA inside a header block", frames.frame(1, 0, 1, b"x") + frames.frame(0, 0, 1, b"x"), Code.PROTOCOL_ERROR),
        ("another stream's piece", frames.frame(1, 0, 1, b"x") + frames.frame(9, 4, 3, b"x"), Code.PROTOCOL_ERROR),
    ],
)  # fmt: skip
def test_what_rfc_9113_forbids_breaks_the_connection(what: str, data: bytes, code: Code) -> None:
    assert broken_by(data).code == code, what


@pytest.mark.parametrize("piece", [b"", bytes(1000)])
def test_a_header_block_without_end_is_refused(piece: bytes) -> None:
    pieces = frames.frame(frames.CONTINUATION, 0, 1, piece) * 100
    assert broken_by(frames.frame(frames.HEADERS, 0, 1, piece) + pieces).code == Code.ENHANCE_YOUR_CALM


def test_a_server_of_the_web_is_told_from_one_of_grpc() -> None:
    assert "HTTP/1" in str(broken_by(b"HTTP/1.1 400 Bad Request\r\n\r\n"))


# ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(PAYLOADS, max_size=8), st.integers(1, 50))
def test_messages_come_out_as_they_went_in_however_the_frames_are_cut(sent: list[bytes], size: int) -> None:
    data = b"".join(map(framed, sent))
    reader = MessageReader()
    got = [message for at in range(0, len(data), size) for message in reader.feed(data[at : at + size])]
    assert got == sent
    assert reader.held == 0


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_random_bytes_are_messages_or_bad(chunks: list[bytes]) -> None:
    reader, fed = MessageReader(), 0
    try:
        for chunk in chunks:
            fed += len(chunk)
            reader.feed(chunk)
            assert reader.held <= fed
    except BadMessage:
        pass


@pytest.mark.parametrize("head", [b"\1\0\0\0\1x", b"\0" + (MESSAGE_LIMIT + 1).to_bytes(4), b"\0\xff\xff\xff\xff"])
def test_compressed_and_endless_messages_are_refused_by_their_head(head: bytes) -> None:
    with pytest.raises(BadMessage):
        MessageReader().feed(head)


# ── headers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def block(*fields: tuple[str, str], huffman: bool = True) -> bytes:
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode(list(fields), huffman=huffman)


BEGINNING = (":status", "200"), ("content-type", "application/grpc")


def end_of(*fields: tuple[str, str]) -> End:
    end = HeadReader().read(block(*fields)).end
    assert end
    return end


def test_trailers_say_how_a_call_ended() -> None:
    assert end_of(("grpc-status", "0"), ("grpc-message", "")) == End("OK", "")
    assert end_of(("grpc-status", "5"), ("grpc-message", "lease%20not%20found: 100%25 %C3%BC")) == End(
        "NOT_FOUND", "lease not found: 100% ü"
    )


def test_trailers_alone_say_it_too() -> None:
    head = HeadReader().read(block(*BEGINNING, ("grpc-status", "14"), ("grpc-message", "etcdserver: no leader")))
    assert head.end == End("UNAVAILABLE", "etcdserver: no leader")
    assert head.refusal, "without the end of the stream they are no beginning"


def test_an_ordinary_beginning_is_no_refusal() -> None:
    head = HeadReader().read(block(*BEGINNING))
    assert head.refusal is None
    assert head.end
    assert head.end.status == "INTERNAL", "a stream may not end with it"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(":status", "503")], "UNAVAILABLE"),
        ([(":status", "404")], "UNIMPLEMENTED"),
        ([(":status", "418")], "UNKNOWN"),
        ([(":status", "200"), ("content-type", "text/html")], "UNKNOWN"),
        ([("grpc-status", "99")], "UNKNOWN"),
        ([("grpc-status", "-1")], "UNKNOWN"),
        ([("grpc-status", "٣")], "UNKNOWN"),
        ([("x-whatever", "1")], "UNKNOWN"),
        ([], "UNKNOWN"),
        ([*BEGINNING, ("Upper-Case", "1")], "INTERNAL"),
        ([("content-type", "application/grpc"), (":status", "200")], "INTERNAL"),
        ([(":path", "/"), *BEGINNING], "INTERNAL"),
        ([("grpc-status", "0"), ("grpc-status", "13")], "INTERNAL"),
        ([(":status", "2x0")], "INTERNAL"),
    ],
)
def test_answers_that_are_none_of_grpc_never_pass_for_success(fields: list[tuple[str, str]], status: str) -> None:
    assert end_of(*fields).status == status
    assert HeadReader().read(block(*fields)).refusal, "nor for the beginning of one"


def test_a_provisional_answer_decides_nothing() -> None:
    head = HeadReader().read(block((":status", "103")))
    assert (head.informational, head.end, head.refusal) == (True, None, None)


def test_a_block_is_decoded_once() -> None:
    reader, trailers = HeadReader(), block(("grpc-status", "0"))
    assert reader.known(trailers) is None
    assert reader.read(trailers) is reader.known(trailers)


def test_the_dictionary_of_blocks_is_bounded() -> None:
    reader = HeadReader()
    for number in range(3000):
        reader.read(block(("grpc-status", "2"), ("grpc-message", str(number))))
    assert (
        sum(reader.known(block(("grpc-status", "2"), ("grpc-message", str(n)))) is not None for n in range(3000))
        <= 1024
    )


def test_a_small_block_that_decodes_to_a_large_list_is_refused() -> None:
    bomb = block(*[("a" * 1000, "b" * 1000)] * 20)
    with pytest.raises(ProtocolBroken) as broken:
        HeadReader().read(bomb)
    assert broken.value.code == Code.COMPRESSION_ERROR


def test_a_server_that_keeps_a_table_although_told_not_to_is_refused() -> None:
    with pytest.raises(ProtocolBroken):
        HeadReader().read(b"\x3f\xe1\x1f")  # "my table now has 4096 bytes"
    with pytest.raises(ProtocolBroken):
        HeadReader().read(b"\xbe")  # the first entry of that table


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_random_blocks_are_heads_or_break_the_connection(data: bytes) -> None:
    try:
        head = HeadReader().read(data)
    except ProtocolBroken as broken:
        assert broken.code == Code.COMPRESSION_ERROR
    else:
        assert head.informational or head.end


@given(st.text(st.characters(max_codepoint=126, min_codepoint=33), max_size=300), st.floats(1e-6, 1e6))
def test_request_headers_are_what_any_hpack_decoder_reads(token: str, timeout_s: float) -> None:
    from hpack import Decoder  # noqa: PLC0415  only here

    encoded = with_timeout(request_block("/etcdserverpb.KV/Put", "127.0.0.1:2379", (("token", token),)), timeout_s)
    fields = dict(Decoder().decode(encoded))
    assert fields[":path"] == "/etcdserverpb.KV/Put"
    assert fields["token"] == token
    number, unit = int(fields["grpc-timeout"][:-1]), fields["grpc-timeout"][-1]
    assert number < 10**8, "at most eight digits"
    assert number * {"u": 1e-6, "m": 1e-3, "S": 1.0}[unit] == pytest.approx(timeout_s, rel=0.01, abs=1e-6)


def test_a_method_remembers_a_bounded_number_of_deadlines() -> None:
    method = Method("KV/Put", "a", tls=False)
    for number in range(1000):
        method.block(number + 0.5)
    assert sum(method.known(number + 0.5) is not None for number in range(1000)) == 64


@given(st.binary(max_size=3000), st.binary(max_size=3000), st.integers(0, (1 << 63) - 1))
def test_requests_packed_by_hand_are_what_protobuf_reads(key: bytes, value: bytes, lease: int) -> None:
    assert pb.PutRequest.FromString(put_request(key, value, lease)) == pb.PutRequest(key=key, value=value, lease=lease)
    for serializable in (True, False):
        asked = pb.RangeRequest.FromString(range_request(key, serializable))
        assert asked == pb.RangeRequest(key=key, serializable=serializable)
    swap = pb.TxnRequest(
        compare=[pb.Compare(target=pb.Compare.MOD, key=key, mod_revision=lease)],
        success=[pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))],
        failure=[pb.RequestOp(request_range=pb.RangeRequest(key=key))],
    )
    assert pb.TxnRequest.FromString(swap_request(key, value, lease)) == swap


# ── signs of life ────────────────────────────────────────────────────────────────────────────────────────────────────


def looks(pulse: Pulse, until_s: float, *, busy: bool = True, mid_frame: bool = False) -> list[tuple[float, str]]:
    """What a patrol finds from now (0) on, with its time."""
    times = [turn * PATROL_S for turn in range(1, int(until_s / PATROL_S) + 1)]
    return [(at, found) for at in times if (found := pulse.look(at, busy=busy, mid_frame=mid_frame))]


def test_silence_brings_a_ping_and_silence_after_it_the_end() -> None:
    assert looks(Pulse(0.0), 8)[:2] == [(5.5, PING), (8.0, "no answer to a ping within 2 s")]


def test_a_connection_without_streams_is_not_pinged_for_etcd_counts_that_as_abuse() -> None:
    assert looks(Pulse(0.0), 60, busy=False) == []


def test_a_byte_after_the_ping_is_life() -> None:
    pulse = Pulse(0.0)
    assert looks(pulse, 6) == [(5.5, PING)]
    pulse.heard = 6.1
    assert pulse.look(6.5, busy=True, mid_frame=False) == ""
    assert pulse.look(7.9, busy=True, mid_frame=False) == ""


def test_a_process_that_stood_still_proves_nothing_about_the_server() -> None:
    pulse = Pulse(0.0)
    assert pulse.look(100.0, busy=True, mid_frame=True) == ""
    assert pulse.look(100.5, busy=True, mid_frame=True) == ""


def test_bytes_that_never_make_a_frame_are_no_life() -> None:
    pulse, found = Pulse(0.0), ""
    for turn in range(1, 40):
        pulse.heard = turn * PATROL_S
        found = found or pulse.look(turn * PATROL_S, busy=True, mid_frame=True)
    assert found == "no whole frame within 15 s"


# ── sending within windows ───────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.integers(0, 40_000), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 8), st.integers(1, 30_000)), max_size=30),
    st.integers(0, 70_000),
)
def test_no_window_is_ever_overdrawn_and_nothing_is_lost(
    sizes: list[int], updates: list[tuple[int, int]], initial: int
) -> None:
    uploads, granted, sent = Uploads(), {0: frames.DEFAULT_WINDOW}, dict[int, bytes]()
    uploads.resize(initial)
    bodies = {2 * at + 1: bytes([at]) * size for at, size in enumerate(sizes)}
    for number, body in bodies.items():
        granted[number], sent[number] = initial, b""
        uploads.begin(number)
        uploads.add(number, body, ends=True)
    enough = [(number, 1 << 20) for number in granted]
    for number, increment in [(0, 1), *updates, *enough]:
        if number in granted:
            uploads.widen(number, increment)
            granted[number] += increment
        for _, flags, stream, payload, _ in read(b"".join(uploads.pump())):
            sent[stream] += payload
            assert bool(flags & frames.END_STREAM) == (sent[stream] == bodies[stream])
        assert sum(map(len, sent.values())) <= granted[0]
        assert all(len(sent[each]) <= granted[each] for each in bodies)
    assert sent == bodies
    assert not uploads.open
