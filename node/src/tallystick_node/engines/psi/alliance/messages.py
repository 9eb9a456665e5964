"""The messages of the alliance's ECDH-PSI: handshake request and response, and batches of points.

Numbers of fields, names and values of enumerations are those of the alliance's published descriptions, packages
``org.interconnection``, ``org.interconnection.v2`` and below (PPCA open protocols, ECDH-PSI, with secretflow/interconnection, in
its state of July 2025). Of each message the fields are here that ECDH-PSI uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from tallystick_node.engines.psi.alliance import wire
from tallystick_node.engines.psi.alliance.wire import Malformed, Reader

VERSION = 2  # of the handshake
ECDH_PSI = 1  # AlgoType
ECC = 1  # ProtocolFamily
CURVE25519, SHA_256, DIRECT_HASH_AS_POINT_X = 1, 11, 3  # CurveType, HashType, HashToCurveStrategy
UNCOMPRESSED = 1  # PointOctetFormat; of Curve25519 the x-coordinate alone, little-endian
EVERYBODY = -1  # result_to_rank
UNTRUNCATED = -1  # bit_length_after_truncated

OK, HANDSHAKE_REFUSED, UNSUPPORTED_VERSION, UNSUPPORTED_ALGO, UNSUPPORTED_PARAMS = 0, 31100200, 31100201, 31100202, 31100203
INVALID_REQUEST = 31100100
ENCRYPTED, DUAL = "enc", "dual.enc"  # types of a batch

_TYPES = "type.googleapis.com/org.interconnection.v2."
_ECC_PROPOSAL, _ECC_RESULT = _TYPES + "protocol.EccProtocolProposal", _TYPES + "protocol.EccProtocolResult"
_IO_PROPOSAL, _IO_RESULT = _TYPES + "algos.PsiDataIoProposal", _TYPES + "algos.PsiDataIoResult"


@dataclass(frozen=True)
class Suit:
    """A curve, a hash, and how it leads to the curve, each as its enumeration numbers it."""

    curve: int = CURVE25519
    hash: int = SHA_256
    strategy: int = DIRECT_HASH_AS_POINT_X

    def to_bytes(self) -> bytes:
        """``EcSuit``."""
        return wire.number(1, self.curve) + wire.number(2, self.hash) + wire.number(3, self.strategy)

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read. Raises Malformed."""
        fields = Reader(content)
        return cls(fields.number(1), fields.number(2), fields.number(3))


@dataclass(frozen=True)
class Request:
    """``HandshakeRequest`` for ECDH-PSI: what a party offers. ``versions`` of the parameters of the curves, ``io_versions`` of
    those of the data."""

    rank: int
    items: int
    result_to_rank: int
    suits: Sequence[Suit] = (Suit(),)
    formats: Sequence[int] = (UNCOMPRESSED,)
    truncates: bool = False
    version: int = VERSION
    algorithms: Sequence[int] = (ECDH_PSI,)
    versions: Sequence[int] = (1,)
    io_versions: Sequence[int] = (1,)

    def to_bytes(self) -> bytes:
        """As it is sent."""
        suits = b"".join(wire.message(2, suit.to_bytes()) for suit in self.suits)
        ecc = wire.numbers(1, self.versions) + suits + wire.numbers(3, self.formats) + wire.number(4, self.truncates)
        io = wire.numbers(1, self.io_versions) + wire.number(2, self.items) + wire.number(3, self.result_to_rank)
        return (
            wire.number(1, self.version)
            + wire.number(2, self.rank)
            + wire.numbers(3, self.algorithms)
            + wire.numbers(7, [ECC])
            + wire.message(8, _any(_ECC_PROPOSAL, ecc))
            + wire.message(9, _any(_IO_PROPOSAL, io))
        )

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read. Raises Malformed, also where parameters of curves or data are missing."""
        fields = Reader(content)
        ecc = Reader(_of_family(fields.numbers(7), fields.contents(8), _ECC_PROPOSAL))
        io = Reader(_opened(fields.content(9), _IO_PROPOSAL))
        return cls(
            rank=fields.number(2),
            items=io.number(2),
            result_to_rank=io.number(3),
            suits=tuple(Suit.parse(suit) for suit in ecc.contents(2)),
            formats=tuple(ecc.numbers(3)),
            truncates=bool(ecc.number(4)),
            version=fields.number(1),
            algorithms=tuple(fields.numbers(3)),
            versions=tuple(ecc.numbers(1)),
            io_versions=tuple(io.numbers(1)),
        )


def version_of(content: bytes) -> int:
    """The version of a request of whatever version. Raises Malformed."""
    return Reader(content).number(1)


@dataclass(frozen=True)
class Response:
    """``HandshakeResponse``: what was chosen, or the code and the words of a refusal. ``io_version`` 0: not said."""

    result_to_rank: int
    suit: Suit = Suit()
    format: int = UNCOMPRESSED
    bits: int = UNTRUNCATED
    algorithm: int = ECDH_PSI
    version: int = 1
    io_version: int = 1
    code: int = OK
    words: str = ""

    def to_bytes(self) -> bytes:
        """As it is sent: a refusal has its header alone."""
        header = wire.message(1, wire.number(1, self.code) + wire.text(2, self.words))
        if self.code != OK:
            return header
        ecc = (
            wire.number(1, self.version)
            + wire.message(2, self.suit.to_bytes())
            + wire.number(3, self.format)
            + wire.number(4, self.bits)
        )
        io = wire.number(1, self.io_version) + wire.number(2, self.result_to_rank)
        return (
            header
            + wire.number(2, self.algorithm)
            + wire.numbers(6, [ECC])
            + wire.message(7, _any(_ECC_RESULT, ecc))
            + wire.message(8, _any(_IO_RESULT, io))
        )

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read. Raises Malformed. The alliance's reference implementation answers with a proposal where a result is due, and leaves
        versions out: the one is read for what it says, the other as not said."""
        fields = Reader(content)
        header = Reader(fields.content(1))
        if header.number(1) != OK:
            return cls(EVERYBODY, code=header.number(1), words=header.text(2))
        ecc = Reader(_of_family(fields.numbers(6), fields.contents(7), _ECC_RESULT))
        given = fields.content(8)
        proposal = Reader(given).text(1) == _IO_PROPOSAL
        io = Reader(_opened(given, _IO_PROPOSAL if proposal else _IO_RESULT))
        return cls(
            result_to_rank=io.number(3 if proposal else 2),
            suit=Suit.parse(ecc.content(2)),
            format=ecc.number(3),
            bits=ecc.number(4),
            algorithm=fields.number(2),
            version=ecc.number(1),
            io_version=0 if proposal else io.number(1),
        )


@dataclass(frozen=True)
class Push:
    """``PushRequest`` of the transport: a message, or the part of one of ``length`` bytes that begins at ``start``."""

    rank: int
    key: str
    value: bytes
    length: int | None = None  # None for a whole message
    start: int = 0

    def to_bytes(self) -> bytes:
        """As it is sent."""
        part = b"" if self.length is None else wire.number(1, self.length) + wire.number(2, self.start)
        return (
            wire.number(1, self.rank)
            + wire.text(2, self.key)
            + wire.text(3, self.value)
            + wire.number(4, self.length is not None)
            + (b"" if self.length is None else wire.message(5, part))
        )

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read. Raises Malformed."""
        fields = Reader(content)
        kind, part = fields.number(4), Reader(fields.content(5))
        if kind not in (0, 1):
            raise Malformed(f"there is no way {kind} to transfer")
        length = part.number(1) if kind else None
        return cls(fields.number(1), fields.text(2), fields.content(3), length, part.number(2) if kind else 0)


def pushed(code: int = OK, words: str = "") -> bytes:
    """``PushResponse``."""
    return wire.message(1, wire.number(1, code) + wire.text(2, words))


def refusal_of(content: bytes) -> tuple[int, str]:
    """Code and words of a ``PushResponse``. Raises Malformed."""
    header = Reader(Reader(content).content(1))
    return header.number(1), header.text(2)


@dataclass(frozen=True)
class Batch:
    """``EcdhPsiCipherBatch``: points one after another. Its field 8, how often further the item of a point stands in a list, is
    read over: an intersection is of sets."""

    type: str
    index: int
    last: bool
    count: int
    points: bytes

    def to_bytes(self) -> bytes:
        """As it is sent."""
        return (
            wire.text(1, self.type)
            + wire.number(3, self.index)
            + wire.number(4, self.last)
            + wire.number(6, self.count)
            + wire.text(7, self.points)
        )

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read. Raises Malformed."""
        fields = Reader(content)
        return cls(fields.text(1), fields.number(3), bool(fields.number(4)), fields.number(6), fields.content(7))


def _any(kind: str, content: bytes) -> bytes:
    """``google.protobuf.Any``."""
    return wire.text(1, kind) + wire.text(2, content)


def _opened(content: bytes, kind: str) -> bytes:
    fields = Reader(content)
    if fields.text(1) != kind:
        raise Malformed(f"a {kind.rpartition('.')[2]} is due")
    return fields.content(2)


def _of_family(families: Sequence[int], given: Sequence[bytes], kind: str) -> bytes:
    """The parameters that stand at the place of elliptic curves among the families."""
    for family, content in zip(families, given, strict=False):
        if family == ECC:
            return _opened(content, kind)
    raise Malformed("no parameters of elliptic curves")
