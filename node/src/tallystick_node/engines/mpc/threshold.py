"""Is the pooled count of each group at least k? The parties learn that bit for each group and nothing else; no dealer.

Mix and match (Jakobsson and Juels, ASIACRYPT 2000) on exponential ElGamal over secp256k1 under a key that the n
input parties share n-of-n:

1. ``key``: each party broadcasts its share of the key with a Schnorr proof of possession (rogue keys would be
unprovable). 2. ``count``: each encrypts its counts to the first party, which adds them homomorphically and forms,
for each group, the encryptions of count - t for t = 0..k-1. The count is below k exactly if one of these is an
encryption of zero. 3. ``mix``: each party in turn multiplies every plaintext by a secret nonzero number,
re-randomises, and shuffles within groups. 4. ``decrypt``: all decrypt together. A group is too small exactly if a
plaintext is the identity; others are random.

Parties without input get the bits from all input parties and require that they agree (step ``bits``).

Security: semi-honest parties; up to n - 1 of the n input parties may collude and learn the bits only, under decisional
Diffie-Hellman in secp256k1 (128 bits) and the random oracle for the proofs. Nothing stops a party that deviates from
spoiling a bit; the proofs of correct mixing and decryption that would are not made here.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence

from tallystick_node.engines.alive import Alive, GoingOn, receive_worked_on
from tallystick_node.engines.channel import ProtocolViolation, Session, receive_block, send_block
from tallystick_node.engines.mpc import secp256k1 as group

MAX_THRESHOLD = 1000
MAX_COUNT = 1 << 62

Count = Callable[[GoingOn], Sequence[int]]
_Ciphertext = tuple[group.Point, group.Point]  # (r G, m G + r Y)
_DOMAIN = b"tallystick/v1/threshold\0"
_PAIR = 2 * group.ENCODED


def at_least(
    session: Session,
    count: Count | None,
    *,
    groups: int,
    threshold: int,
    inputs: Sequence[int],
    context: bytes,
) -> list[bool]:
    """For each of ``groups`` groups, whether the input parties' counts add up to ``threshold`` or more.

    ``count`` gives an input party's counts, however long that takes, and calls what it is given now and then meanwhile
    (:mod:`..alive`); it is None for a party not in ``inputs``. ``context`` (the task and the attempt) is equal everywhere. Raises
    what ``count`` does, ``ValueError`` for local misuse, :class:`ProtocolViolation` naming a deviating peer, ``ChannelError`` for a
    lost one.
    """
    inputs = sorted(set(inputs))
    if len(inputs) < 2 or not set(inputs) <= set(range(session.parties)):
        raise ValueError("the size test needs two or more input parties of the session")
    if groups < 1 or not 1 <= threshold <= MAX_THRESHOLD:
        raise ValueError(f"the size test needs groups and a threshold of 1 to {MAX_THRESHOLD}")
    if (count is not None) != (session.index in inputs):
        raise ValueError("exactly the input parties give counts")
    run = _Test(session, groups, threshold, inputs, hashlib.sha256(_DOMAIN + context).digest())
    return run.observe() if count is None else run.decide(count)


class _Test:
    """One run, as one participant sees it."""

    def __init__(self, session: Session, groups: int, threshold: int, inputs: list[int], context: bytes) -> None:
        self.session = session
        self.groups = groups
        self.threshold = threshold
        self.inputs = inputs
        self.context = context
        self.peers = [party for party in inputs if party != session.index]

    def observe(self) -> list[bool]:
        """The bits, as every input party tells them."""
        for phase in ("key", "count", "mix", "decrypt", "bits"):
            self.session.mark(f"threshold/{phase}")
        told: bytes | None = None
        for party in self.inputs:
            self.session.patience(party)  # all of them take their turns first
            bits = receive_block(self.session.channels[party], self.groups, "bits")
            if bits.strip(b"\0\1") or bits != (told or bits):
                raise ProtocolViolation(party, "bits", "its answer is not one bit for each group, or not the others'")
            told = bits
        return [bool(bit) for bit in told or b""]

    def decide(self, count: Count) -> list[bool]:
        """An input party's side."""
        session = self.session
        session.mark("threshold/key")
        counts = count(Alive(session.channels[party] for party in self.peers))
        if len(counts) != self.groups or not all(0 <= each < MAX_COUNT for each in counts):
            raise ValueError(f"there is one count of 0 to 2^62 for each of the {self.groups} groups")
        secret, key = self._share_key()
        rows = self._gather(counts, key)
        session.progress("threshold", 0.2)
        mixed = self._mix(rows, key)
        session.progress("threshold", 0.7)
        small = self._decrypt(mixed, secret)
        size = self.threshold
        bits = bytes(not any(small[at : at + size]) for at in range(0, len(small), size))
        session.mark("threshold/bits")
        for party, channel in sorted(session.channels.items()):
            if party not in self.inputs:
                send_block(channel, bits)
        session.progress("threshold", 1.0)
        return [bool(bit) for bit in bits]

    def _share_key(self) -> tuple[int, group.Point]:
        session, me = self.session, self.session.index
        secret, nonce = group.random_scalar(), group.random_scalar()
        share, announced = group.base(secret), group.base(nonce)
        answer = (nonce + self._challenge(me, share, announced) * secret) % group.ORDER
        proof = group.encode(share) + group.encode(announced) + answer.to_bytes(32, "big")
        for party in self.peers:
            session.channels[party].send(proof)
        key = share
        for party in self.peers:
            packed = receive_worked_on(session.channels[party], _PAIR + 32, "key")
            theirs, announced = self._pairs(party, "key", packed[:_PAIR])[0]
            answer = int.from_bytes(packed[_PAIR:], "big")
            expected = group.add(announced, group.multiply(theirs, self._challenge(party, theirs, announced)))
            if theirs is None or answer >= group.ORDER or group.encode(group.base(answer)) != group.encode(expected):
                raise ProtocolViolation(party, "key", "its proof of possession of its key share does not hold")
            key = group.add(key, theirs)
        if key is None:
            raise ProtocolViolation(self.peers[0], "key", "the key shares cancel out")
        return secret, key

    def _challenge(self, party: int, share: group.Point, announced: group.Point) -> int:
        parts = (self.context, b"key", party.to_bytes(4, "big"), group.encode(share), group.encode(announced))
        return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "big") % group.ORDER

    def _gather(self, counts: Sequence[int], key: group.Point) -> list[_Ciphertext]:
        """Step count: at the first party the threshold * groups ciphertexts to mix; nothing elsewhere."""
        session, first = self.session, self.inputs[0]
        session.mark("threshold/count")
        own = [_randomise((None, group.base(each)), key) for each in counts]
        if session.index != first:
            send_block(session.channels[first], _pack(own))
            return []
        for party in self.peers:
            theirs = self._receive(party, "count", self.groups)
            own = [(group.add(a, c), group.add(b, d)) for (a, b), (c, d) in zip(own, theirs, strict=True)]
        steps = [group.base(-t) for t in range(self.threshold)]
        return [(a, group.add(b, step)) for a, b in own for step in steps]

    def _mix(self, rows: list[_Ciphertext], key: group.Point) -> list[_Ciphertext]:
        """Step mix: pass the ciphertexts along the input parties; the last hands them to all."""
        session, place = self.session, self.inputs.index(self.session.index)
        size = self.threshold
        session.mark("threshold/mix")
        if place:
            rows = self._receive(self.inputs[place - 1], "mix", self.groups * size)
        mixed: list[_Ciphertext] = []
        shuffler = secrets.SystemRandom()
        for at in range(0, len(rows), size):
            block = []
            for a, b in rows[at : at + size]:
                factor = group.random_scalar()
                block.append(_randomise((group.multiply(a, factor), group.multiply(b, factor)), key))
            shuffler.shuffle(block)
            mixed += block
        last = place == len(self.inputs) - 1
        for party in self.peers if last else [self.inputs[place + 1]]:
            send_block(session.channels[party], _pack(mixed))
        return mixed if last else self._receive(self.inputs[-1], "mix", self.groups * size)

    def _decrypt(self, rows: list[_Ciphertext], secret: int) -> list[bool]:
        """Step decrypt: whether each plaintext is zero."""
        session = self.session
        session.mark("threshold/decrypt")
        masks = [group.multiply(a, secret) for a, _ in rows]
        packed = b"".join(map(group.encode, masks))
        for party in self.peers:
            send_block(session.channels[party], packed)
        for party in self.peers:
            theirs = receive_block(session.channels[party], group.ENCODED * len(rows), "decrypt")
            masks = [group.add(a, b) for a, b in zip(masks, _points(party, "decrypt", theirs), strict=True)]
        return [group.encode(mask) == group.encode(b) for mask, (_, b) in zip(masks, rows, strict=True)]

    def _receive(self, party: int, step: str, number: int) -> list[_Ciphertext]:
        return self._pairs(party, step, receive_block(self.session.channels[party], _PAIR * number, step))

    def _pairs(self, party: int, step: str, packed: bytes) -> list[_Ciphertext]:
        points = _points(party, step, packed)
        pairs = list(zip(points[::2], points[1::2], strict=True))
        if any(a is None for a, _ in pairs):
            raise ProtocolViolation(party, step, "a ciphertext carries no randomness")
        return pairs


def _randomise(ciphertext: _Ciphertext, key: group.Point) -> _Ciphertext:
    scalar = group.random_scalar()
    a, b = ciphertext
    return group.add(a, group.base(scalar)), group.add(b, group.multiply(key, scalar))


def _pack(rows: Sequence[_Ciphertext]) -> bytes:
    return b"".join(group.encode(a) + group.encode(b) for a, b in rows)


def _points(party: int, step: str, packed: bytes) -> list[group.Point]:
    try:
        return [group.decode(packed[at : at + group.ENCODED]) for at in range(0, len(packed), group.ENCODED)]
    except ValueError:
        raise ProtocolViolation(party, step, "the bytes are not a point of secp256k1") from None
