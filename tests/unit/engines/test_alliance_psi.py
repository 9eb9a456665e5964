"""ECDH-PSI with other platforms: messages byte for byte, the handshake's refusals, and a peer that is written from the page alone.

The recorded bytes were made by the alliance's own classes, PyPI `interconnection` 0.2.0.dev0; the peer here uses the library
`protobuf`, with messages described anew, and X25519 of `cryptography`.
"""

import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ProtocolViolation, local_sessions
from tallystick_node.engines.psi.alliance import exchange, messages, wire
from tallystick_node.engines.psi.alliance.exchange import Streams, intersect_with_platform
from tallystick_node.engines.psi.alliance.messages import Batch, Push, Request, Response, Suit
from tallystick_node.engines.psi.items import Items

OWN = [f"id-{i}".encode() for i in range(30)]
THEIRS = [f"id-{i}".encode() for i in range(20, 61)]

# -- messages

RECORDED = {
    "request": "080210011a01013a010142590a47747970652e676f6f676c65617069732e636f6d2f6f72672e696e746572636f6e6e656374"
    "696f6e2e76322e70726f746f636f6c2e45636350726f746f636f6c50726f706f73616c120e0a010112060801100b18031a01"
    "014a570a42747970652e676f6f676c65617069732e636f6d2f6f72672e696e746572636f6e6e656374696f6e2e76322e616c"
    "676f732e50736944617461496f50726f706f73616c12110a010110e80718ffffffffffffffffff01",
    "response": "0a0010013201013a600a45747970652e676f6f676c65617069732e636f6d2f6f72672e696e746572636f6e6e656374696f6e"
    "2e76322e70726f746f636f6c2e45636350726f746f636f6c526573756c741217080112060801100b1803180120ffffffffff"
    "ffffffff0142510a40747970652e676f6f676c65617069732e636f6d2f6f72672e696e746572636f6e6e656374696f6e2e76"
    "322e616c676f732e50736944617461496f526573756c74120d080110ffffffffffffffffff01",
    "refusal": "0a0908ab9aea0e12026e6f",
    "batch": "0a03656e63180330023a40" + bytes(range(64)).hex(),
    "last": "0a086475616c2e656e6318012001",
}
OURS = {
    "request": Request(rank=1, items=1000, result_to_rank=-1),
    "response": Response(-1),
    "refusal": Response(-1, code=messages.UNSUPPORTED_PARAMS, words="no"),
    "batch": Batch("enc", 3, last=False, count=2, points=bytes(range(64))),
    "last": Batch("dual.enc", 1, last=True, count=0, points=b""),
}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_messages_are_those_of_the_alliances_own_classes(name):
    content = bytes.fromhex(RECORDED[name])
    assert OURS[name].to_bytes() == content
    assert type(OURS[name]).parse(content) == OURS[name]


def described():
    """Classes of the `protobuf` library for the published messages, from their fields."""
    number, boolean, text, data, nested = 3, 8, 9, 12, 11  # kinds of a field: int64, bool, string, bytes, message
    file = descriptor_pb2.FileDescriptorProto(
        name="t.proto", package="org.interconnection.v2", syntax="proto3", dependency=["google/protobuf/any.proto"]
    )
    shapes = {
        "EcSuit": [("curve", 1, number), ("hash", 2, number), ("strategy", 3, number)],
        "Ecc": [("versions", 1, [number]), ("suits", 2, ["EcSuit"]), ("formats", 3, [number]), ("truncates", 4, boolean)],
        "EccResult": [("version", 1, number), ("suit", 2, "EcSuit"), ("format", 3, number), ("bits", 4, number)],
        "Io": [("versions", 1, [number]), ("items", 2, number), ("to", 3, number)],
        "IoResult": [("version", 1, number), ("to", 2, number)],
        "Header": [("code", 1, number), ("words", 2, text)],
        "Request": [
            ("version", 1, number), ("rank", 2, number), ("algos", 3, [number]),
            ("families", 7, [number]), ("params", 8, ["Any"]), ("io", 9, "Any"),
        ],
        "Response": [
            ("header", 1, "Header"), ("algo", 2, number), ("families", 6, [number]), ("params", 7, ["Any"]), ("io", 8, "Any"),
        ],
        "Chunk": [("length", 1, number), ("offset", 2, number)],
        "Push": [("rank", 1, number), ("key", 2, text), ("value", 3, data), ("kind", 4, number), ("chunk", 5, "Chunk")],
        "Batch": [
            ("type", 1, text), ("index", 3, number), ("last", 4, boolean), ("count", 6, number), ("points", 7, data),
        ],
    }  # fmt: skip
    for name, fields in shapes.items():
        made = file.message_type.add(name=name)
        for field, place, kind in fields:
            repeated = isinstance(kind, list)
            kind = kind[0] if repeated else kind
            where = ".google.protobuf.Any" if kind == "Any" else f".org.interconnection.v2.{kind}"
            named = {"type": nested, "type_name": where} if isinstance(kind, str) else {"type": kind}
            made.field.add(name=field, number=place, label=3 if repeated else 1, **named)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClassesForFiles(["t.proto"], pool)


PB = {name.rpartition(".")[2]: made for name, made in described().items()}
NUMBERS = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=9), NUMBERS, st.booleans(), NUMBERS, st.binary(max_size=40))
def test_batches_are_what_the_library_writes_and_reads(kind, index, last, count, points):
    theirs = PB["Batch"](type=kind, index=index, last=last, count=count, points=points).SerializeToString()
    ours = Batch(kind, index, last, count, points)
    assert ours.to_bytes() == theirs
    assert Batch.parse(theirs) == ours


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**62), st.text(max_size=9), st.binary(max_size=40), st.none() | st.integers(1, 2**62), st.integers(0, 2**62))
def test_pushes_are_what_the_library_writes_and_reads(rank, key, value, length, start):
    theirs = PB["Push"](rank=rank, key=key, value=value)
    if length is not None:
        theirs.kind, theirs.chunk.length, theirs.chunk.offset = 1, length, start
    ours = Push(rank, key, value, length, 0 if length is None else start)
    assert ours.to_bytes() == theirs.SerializeToString()
    assert Push.parse(theirs.SerializeToString()) == ours


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_whatever_comes_is_read_or_refused(content):
    for kind in (Request, Response, Batch, Push):
        try:
            kind.parse(content)
        except wire.Malformed:
            continue


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["request", "response"]), st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(name, place, byte):
    content = bytearray.fromhex(RECORDED[name])
    content[place % len(content)] = byte
    try:
        type(OURS[name]).parse(bytes(content))
    except wire.Malformed as error:
        assert str(error)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x08", "cut off"), (b"\x08" + b"\xff" * 10, "too long"), (b"\x3a\x05abc", "cut off"), (b"\x0b", "unknown type"),
        (b"\x00\x01", "no field 0"), (b"\x38\x01", "another type"), (b"\x08\x01" * 5000, "more than 4096"),
        (b"\x1d\x01", "cut off"),
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(content, words):
    with pytest.raises(wire.Malformed, match=words):
        wire.Reader(content).content(7)


@pytest.mark.parametrize("content", [b"\x1a\x81\x20" + b"\x01" * 4097, 2 * (b"\x1a\x81\x10" + b"\x01" * 2049)])
def test_a_list_of_numbers_is_bounded(content):
    with pytest.raises(wire.Malformed, match="more than 4096 numbers"):
        wire.Reader(content).numbers(3)
    assert wire.Reader(b"\x1a\x80\x20" + b"\x01" * 4096).numbers(3) == [1] * 4096


def test_fields_that_nobody_knows_are_skipped_and_lists_may_be_plain():
    known = Batch("enc", 0, last=True, count=0, points=b"").to_bytes()
    unknown = bytes.fromhex("a20603616263") + b"\x65abcd" + b"\x61" + b"abcdefgh" + b"\x42\x04\x08\x01\x10\x02"
    assert Batch.parse(unknown + known) == Batch.parse(known)
    assert wire.Reader(b"\x18\x01\x1a\x02\x02\x03\x18\x04").numbers(3) == [1, 2, 3, 4]


# -- the exchange


def streams():
    """Both sides' streams."""
    main, dual = local_sessions(2, seconds=240), local_sessions(2, seconds=240)
    return [Streams(main[rank].channels[1 - rank], dual[rank].channels[1 - rank]) for rank in range(2)]


class Platform:
    """The other side, from the published description: rank, items, who receives; ``size`` points of a batch, of which ``full`` says
    that the last one has some."""

    def __init__(self, rank, to, items=THEIRS, size=16, *, full=False, reference=False):
        self.rank, self.to, self.items, self.size, self.full, self.reference = rank, to, items, size, full, reference
        self.key = X25519PrivateKey.generate()

    def times(self, point):
        return self.key.exchange(X25519PublicKey.from_public_bytes(point))

    def handshake(self, main):
        if self.rank == 1:
            ecc = PB["Ecc"](
                versions=[1],
                formats=[2, 1],
                suits=[{"curve": 2, "hash": 1, "strategy": 2}, {"curve": 1, "hash": 11, "strategy": 3}],
            )
            io = PB["Io"](versions=[1], items=len(self.items), to=self.to)
            asked = PB["Request"](version=2, rank=1, algos=[2, 1], families=[2, 1])
            asked.params.add(type_url="type.googleapis.com/other", value=b"x")
            asked.params.add(type_url=messages._ECC_PROPOSAL, value=ecc.SerializeToString())
            asked.io.type_url, asked.io.value = messages._IO_PROPOSAL, io.SerializeToString()
            main.send(asked.SerializeToString())
            answer = PB["Response"].FromString(main.receive())
            assert (answer.header.code, answer.algo, list(answer.families)) == (0, 1, [1])
            chosen = PB["EccResult"].FromString(answer.params[0].value)
            assert (chosen.suit.curve, chosen.suit.hash, chosen.suit.strategy, chosen.format, chosen.bits) == (1, 11, 3, 1, -1)
            assert PB["IoResult"].FromString(answer.io.value).to == self.to
            return
        asked = PB["Request"].FromString(main.receive())
        assert (asked.version, asked.rank) == (2, 1)
        ecc = PB["EccResult"](suit={"curve": 1, "hash": 11, "strategy": 3}, format=1, bits=-1, version=0 if self.reference else 1)
        answer = PB["Response"](algo=1, families=[1], header={"code": 0})
        answer.params.add(type_url=messages._ECC_RESULT, value=ecc.SerializeToString())
        if self.reference:  # answers with a proposal
            io, kind = PB["Io"](items=len(self.items), to=self.to), messages._IO_PROPOSAL
        else:
            io, kind = PB["IoResult"](version=1, to=self.to), messages._IO_RESULT
        answer.io.type_url, answer.io.value = kind, io.SerializeToString()
        main.send(answer.SerializeToString())

    def batches(self, points, kind):
        parts = [points[i : i + self.size] for i in range(0, len(points), self.size)]
        parts += [] if self.full and parts else [[]]
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            yield PB["Batch"](type=kind, index=index, last=last, count=len(part), points=b"".join(part)).SerializeToString()

    def take(self, channel, kind):
        index = 0
        while True:
            batch = PB["Batch"].FromString(channel.receive())
            assert (batch.type, batch.index, len(batch.points)) == (kind, index, 32 * batch.count)
            yield batch, [batch.points[i : i + 32] for i in range(0, len(batch.points), 32)]
            if batch.last:
                return
            index += 1

    def run(self, given):
        self.handshake(given.main)
        for message in self.batches([self.times(hashlib.sha256(item).digest()) for item in self.items], "enc"):
            given.main.send(message)
        theirs = []
        for batch, points in self.take(given.main, "enc"):
            products = [self.times(point) for point in points]
            theirs += products
            if self.to in (-1, 1 - self.rank):
                given.dual.send(
                    PB["Batch"](
                        type="dual.enc", index=batch.index, last=batch.last, count=batch.count, points=b"".join(products)
                    ).SerializeToString()
                )
        if self.to not in (-1, self.rank):
            return None
        own = [point for _, points in self.take(given.dual, "dual.enc") for point in points]
        return [item for item, point in zip(self.items, own, strict=True) if point in set(theirs)]


def run(platform, items=OWN, to=None):
    sides = streams()
    mine = 1 - platform.rank

    def ours():
        return intersect_with_platform(sides[mine], mine, Items.of(items), platform.to if to is None else to)

    with ThreadPoolExecutor(2) as pool:
        other, own = pool.submit(platform.run, sides[platform.rank]), pool.submit(ours)
        theirs = other.result()
        return own.result(), theirs


@pytest.mark.parametrize("to", [-1, 0, 1])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_platform_that_is_written_from_the_page_finds_the_same(monkeypatch, rank, to):
    monkeypatch.setattr(exchange, "BATCH", 7)
    found, theirs = run(Platform(rank, to))
    common = [item for item in OWN if item in THEIRS]
    assert len(common) == 10
    assert found.peer_items == len(THEIRS)
    assert theirs == (common if to in (-1, rank) else None)
    if to in (-1, 1 - rank):
        assert [OWN[place] for place in found.positions] == common
    else:
        assert (found.positions, found.cardinality) == (None, None)


@pytest.mark.parametrize("kind", [{"full": True}, {"reference": True}, {"items": []}, {"items": [], "full": True}])
def test_other_ways_that_the_page_allows(kind):
    """A last batch that has points, the reference implementation's answer, and no items."""
    items = kind.get("items", THEIRS)
    found, theirs = run(Platform(0, -1, **kind))
    assert [OWN[place] for place in found.positions] == theirs == [item for item in OWN if item in items]


def test_two_of_ours():
    sides = streams()
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(intersect_with_platform, sides[rank], rank, Items.of((OWN, THEIRS)[rank]), -1) for rank in range(2)]
        left, right = (each.result() for each in runs)
    assert [OWN[i] for i in left.positions] == [THEIRS[i] for i in right.positions]


def test_points_are_those_of_x25519_also_with_the_top_bit_set():
    items = [b"%d" % i for i in range(8)]
    hashes = [hashlib.sha256(item).digest() for item in items]
    assert any(each[31] & 128 for each in hashes)
    secret = secrets.token_bytes(32)
    key = X25519PrivateKey.from_private_bytes(secret)
    due = [key.exchange(X25519PublicKey.from_public_bytes(each)) for each in hashes]
    assert [row.tobytes() for row in exchange.curve25519.multiply(exchange._points(items), secret)] == due


def test_what_is_sent_is_shuffled(monkeypatch):
    seen = []
    original = exchange.shuffled
    monkeypatch.setattr(exchange, "shuffled", lambda number: seen.append(original(number)) or seen[-1])
    found, _ = run(Platform(0, 1))
    assert sorted(seen[0].tolist()) == list(range(len(OWN)))
    assert found.positions.tolist() == list(range(20, 30))


# -- refusals


def answered(content, to=-1):
    """What rank 0 answers to a request, and what it raises."""
    sides = streams()
    sides[1].main.send(content)
    with pytest.raises(ProtocolViolation) as caught:
        intersect_with_platform(sides[0], 0, Items.of(OWN), to)
    assert (caught.value.peer, caught.value.step) == (1, "handshake")
    return Response.parse(sides[1].main.receive()), caught.value


GOOD = {"rank": 1, "items": 5, "result_to_rank": -1}


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"version": 1}, messages.UNSUPPORTED_VERSION, "version 1 is not supported: use 2"),
        ({"version": 3}, messages.UNSUPPORTED_VERSION, "version 3 is not supported: use 2"),
        ({"rank": 2}, messages.INVALID_REQUEST, "rank 1"),
        ({"algorithms": (2, 3)}, messages.UNSUPPORTED_ALGO, "ECDH-PSI"),
        ({"suits": (Suit(2, 1, 2), Suit(1, 13, 13))}, messages.UNSUPPORTED_PARAMS, "DIRECT_HASH"),
        ({"suits": ()}, messages.UNSUPPORTED_PARAMS, "DIRECT_HASH"),
        ({"versions": (2,)}, messages.UNSUPPORTED_PARAMS, "version 1 of the suit"),
        ({"formats": (2, 3)}, messages.UNSUPPORTED_PARAMS, "UNCOMPRESSED"),
        ({"io_versions": ()}, messages.UNSUPPORTED_PARAMS, "PsiDataIoProposal"),
        ({"result_to_rank": 0}, messages.HANDSHAKE_REFUSED, "-1 at rank 0 and 0 at rank 1"),
        ({"items": -1}, messages.UNSUPPORTED_PARAMS, "items"),
        ({"items": 1 << 40}, messages.UNSUPPORTED_PARAMS, "items"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_by_its_code(change, code, words):
    response, error = answered(Request(**GOOD | change).to_bytes())
    assert response.code == code
    assert words in response.words and words in error.rule


@pytest.mark.parametrize("content", [b"\xff", Request(**GOOD).to_bytes()[:-3], wire.number(1, 2) + wire.number(2, 1)])
def test_a_request_that_is_none_is_refused(content):
    assert answered(content)[0].code == messages.INVALID_REQUEST


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (Response(-1, code=31100203, words="no\n\x1b[2Jmore").to_bytes(), r"code 31100203: no\?\?\[2Jmore"),
        (b"\xff", "no response"),
        (Response(-1).to_bytes()[:-4], "no response"),
        (Response(-1, algorithm=2).to_bytes(), "algorithm 2"),
        (Response(-1, suit=Suit(2, 1, 2)).to_bytes(), "suit"),
        (Response(-1, format=2).to_bytes(), "point_octet_format 2"),
        (Response(0).to_bytes(), "result_to_rank 0"),
        (Response(-1, bits=96).to_bytes(), "truncation"),
        (Response(-1, version=2).to_bytes(), "versions"),
        (Response(-1, io_version=2).to_bytes(), "versions"),
    ],
)
def test_an_answer_that_was_not_offered_ends_the_run(content, words):
    sides = streams()
    sides[0].main.send(content)
    with pytest.raises(ProtocolViolation, match=words) as caught:
        intersect_with_platform(sides[1], 1, Items.of(OWN), -1)
    assert (caught.value.peer, caught.value.step) == (0, "handshake")


POINT = X25519PrivateKey.generate().public_key().public_bytes_raw()
LAST = Batch("enc", 1, last=True, count=0, points=b"")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ([b"\xff"], "no batch"),
        ([Batch("dual.enc", 0, last=False, count=1, points=POINT)], "batch 0 of type enc was due"),
        ([Batch("enc", 1, last=False, count=1, points=POINT)], "batch 0 of type enc was due"),
        ([Batch("enc", 0, last=False, count=1, points=POINT[:-1])], "31 bytes are not 1 points"),
        ([Batch("enc", 0, last=False, count=-1, points=b"")], "are not -1 points"),
        ([Batch("enc", 0, last=False, count=0, points=b"")], "only the last batch may be empty"),
        ([Batch("enc", 0, last=False, count=1, points=bytes(32))], "low order"),
        ([Batch("enc", 0, last=False, count=6, points=6 * POINT)], "more than 5 points"),
        ([Batch("enc", 0, last=False, count=4, points=4 * POINT), LAST], "4 items where it announced 5"),
    ],
)
def test_batches_that_are_not_due_name_the_peer(sent, words):
    sides = streams()
    for message in (Request(**GOOD), *sent):
        sides[1].main.send(message if isinstance(message, bytes) else message.to_bytes())
    with pytest.raises(ProtocolViolation, match=words) as caught:
        intersect_with_platform(sides[0], 0, Items.of(OWN), -1)
    assert (caught.value.peer, caught.value.step) == (1, "enc")


def test_a_peer_that_breaks_the_protocol_gets_no_more_items(monkeypatch):
    ends, original = [], exchange._send_masked

    def late(main, items, order, scalar, over):
        ends.append(over.wait(60))
        original(main, items, order, scalar, over)

    monkeypatch.setattr(exchange, "_send_masked", late)
    sides = streams()
    for message in (Request(**GOOD).to_bytes(), b"\xff"):
        sides[1].main.send(message)
    with pytest.raises(ProtocolViolation, match="no batch"):
        intersect_with_platform(sides[0], 0, Items.of(OWN), -1)
    assert ends == [True]
    assert Response.parse(sides[1].main.receive()).code == messages.OK
    sides[0].main.send(b"nothing else")
    assert sides[1].main.receive() == b"nothing else"


@pytest.mark.parametrize("count", [29, 31])
def test_as_many_points_come_back_as_were_sent(count):
    sides = streams()
    for message in (Response(-1), Batch("enc", 0, last=True, count=0, points=b"")):
        sides[0].main.send(message.to_bytes())
    sides[0].dual.send(Batch("dual.enc", 0, last=True, count=count, points=count * POINT).to_bytes())
    with pytest.raises(ProtocolViolation, match=r"points") as caught:
        intersect_with_platform(sides[1], 1, Items.of(OWN), -1)
    assert (caught.value.peer, caught.value.step) == (0, "dual.enc")


@pytest.mark.parametrize(("rank", "to", "items"), [(2, -1, OWN), (0, 2, OWN), (0, -2, OWN), (0, -1, [b"a", b"a"])])
def test_local_misuse_is_refused(rank, to, items):
    with pytest.raises(ValueError, match="ranks are|unique"):
        intersect_with_platform(streams()[0], rank, Items.of(items), to)
