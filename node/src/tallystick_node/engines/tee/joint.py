"""A task in an enclave, party by party: evidence before any input, sealed inputs, a sealed result, evidence of the run.

The *host* launches the enclave; *owners* give inputs; *receivers* get the output. Everything goes over the session's links, which
are authenticated: nobody but the host passes on what is sealed.

1. Each receiver draws an X25519 key for this attempt and tells all parties its public half.
2. The host launches the enclave and gives every owner evidence over the enclave's key and the owner's nonce, which names the
   attempt and the owner. The owner appraises it by the task's policy, and goes no further unless it is accepted and of an enclave
   that the task names.
3. The owner tells all parties its commitment to its input and a salt. It seals both to the enclave's key: for this attempt, this
   algorithm, these receivers, its place, and all owners' commitments. The sealed input goes to the host.
4. The host runs the enclave. All parties get evidence of the run, which names attempt, algorithm, commitments and output; each
   checks it with the commitments that it was told and, an owner, with the key that it sealed to.
5. Each receiver opens its output and compares it with the evidence.

Security: whoever reads the memory of the host's machine reads all inputs where the platform is simulated; nothing protects them
but the host's honesty. On a platform that protects its memory, inputs and outputs are secret from the host too, which can withhold
a result, cannot change it, and cannot have the enclave use an input with others than its owner was told of. An owner that tells
parties different commitments makes the run fail.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tallystick.attestation import runs
from tallystick.attestation.documents import read_evidence
from tallystick.attestation.result import AttestationResult
from tallystick.attestation.rules import EvidenceRefused

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_block, send_block
from tallystick_node.engines.tee.appraisal import Accepted
from tallystick_node.engines.tee.hosting import HostedEnclave
from tallystick_node.engines.tee.manifest import fresh
from tallystick_node.engines.tee.worker import HEAD, SALT

MAX_INPUT = 32 << 20  # bytes of one table
MAX_DOCUMENT = 1 << 20
_NONCE = b"tallystick/tee/nonce/v1"


@dataclass(frozen=True, kw_only=True)
class Terms(Accepted):
    """What the task fixes, beside the enclaves that it accepts. Parties by their index in the session. ``algorithm``: its SHA-256;
    ``conditions`` under which it runs; ``output``: most bytes of it; ``seconds`` that the run may take."""

    host: int
    owners: Sequence[int]
    receivers: Sequence[int]
    algorithm: bytes
    conditions: bytes
    output: int
    seconds: float

    def before(self, key: bytes, own: bytes) -> bytes:
        """The report data of evidence before the run: of an enclave with this public key, for an owner's nonce."""
        return runs.key_digest(key) + fresh(self.conditions, own)

    def code(self, context: bytes) -> bytes:
        """What inputs and outputs are sealed for: the attempt and the algorithm."""
        return context + self.algorithm


@dataclass(frozen=True)
class Finished:
    """What a party has at the end. ``commitments`` by owner, in order; ``digest`` of the salted output; the enclave's public
    ``key``; ``evidence`` of the run as a document, its raw ``quote``, and the ``result`` of its appraisal; ``salt`` and ``output``
    for a receiver."""

    commitments: tuple[bytes, ...]
    digest: bytes
    key: bytes
    evidence: bytes
    quote: bytes
    result: AttestationResult
    salt: bytes = b""
    output: bytes | None = field(default=None, repr=False)


def nonce(context: bytes, owner: int) -> bytes:
    """What an owner's evidence has to be fresh for: the attempt, and the owner by its place among the parties."""
    return hashlib.sha256(_NONCE + context + owner.to_bytes(4, "big")).digest()


def run(session: Session, terms: Terms, data: bytes | None, launch: Callable[[], HostedEnclave] | None) -> Finished:
    """One party's side: ``data`` of an owner, ``launch`` of the host. Raises :class:`ProtocolViolation` naming the host where its
    evidence is refused, and naming whoever sends what is malformed; what ``launch`` and the enclave raise at the host."""
    me, others = session.index, sorted(session.channels)
    session.mark("keys")
    own = X25519PrivateKey.generate() if me in terms.receivers else None
    receivers = _shared(session, terms.receivers, own.public_key().public_bytes_raw() if own else None, "receiver key")
    keys = [receivers[each] for each in terms.receivers]

    session.mark("evidence")
    enclave, key = None, b""
    if launch is not None:
        session.progress("starting the enclave", 0.1)
        enclave = launch()
        key = enclave.public_key
        for owner in terms.owners:
            document = enclave.attest(nonce(session.context, owner))
            if owner == me:
                terms.appraise(document, terms.before(key, nonce(session.context, me)))
            else:
                session.channels[owner].send(key + document)
    elif me in terms.owners:
        session.patience(terms.host)
        key, document = _split(terms.host, session.channels[terms.host].receive(), 32, "evidence of the enclave")
        expected = terms.before(key, nonce(session.context, me))
        _accepted(terms, document, expected, "evidence of the enclave")

    session.mark("inputs")
    salt = os.urandom(SALT)
    told = _shared(session, terms.owners, None if data is None else runs.commitment(salt, data), "commitment", patient=True)
    commitments = tuple(told[owner] for owner in terms.owners)
    sealed = b""
    if data is not None:
        place = list(terms.owners).index(me)
        context = runs.input_context(terms.code(session.context), keys, place)
        sealed = runs.seal(key, salt + runs.inputs_digest(commitments) + data, context)
        if enclave is None:
            _send(session, terms.host, sealed)
    inputs = []
    if enclave is not None:
        limit = MAX_INPUT + HEAD + runs.OVERHEAD
        inputs = [sealed if owner == me else _receive(session, owner, limit, "sealed input") for owner in terms.owners]

    session.mark("run")
    if enclave is not None:
        session.progress("running the enclave", 0.5)
        run, document = enclave.compute(inputs, keys, session.context, terms.seconds)
        outputs = dict(zip(terms.receivers, run.outputs, strict=True))
        for peer in others:
            session.channels[peer].send(key + run.output + document)
            if peer in outputs:
                _send(session, peer, outputs[peer])
        digest, mine = run.output, outputs.get(me, b"")
    else:
        session.patience(terms.host)
        head, document = _split(terms.host, session.channels[terms.host].receive(), 64, "evidence of the run")
        if key and head[:32] != key:
            raise ProtocolViolation(terms.host, "evidence of the run", "is of another enclave than the one that was sealed to")
        key, digest = head[:32], head[32:]
        mine = _receive(session, terms.host, SALT + terms.output + runs.OVERHEAD, "sealed output") if own else b""
    bound = runs.task_digest(session.context, terms.algorithm, commitments, digest) + hashlib.sha256(key).digest()
    result = _accepted(terms, document, bound, "evidence of the run")
    finished = Finished(commitments, digest, key, document, read_evidence(document).raw, result)
    if own is None:
        return finished
    salt, output = _opened(session, terms, own, mine, keys, finished)
    return replace(finished, salt=salt, output=output)


def _accepted(terms: Terms, document: bytes, report_data: bytes, step: str) -> AttestationResult:
    try:
        return terms.appraise(document, report_data)
    except EvidenceRefused as refused:
        _refuse(terms.host, step, refused)


def _refuse(host: int, step: str, refused: EvidenceRefused) -> NoReturn:
    raise ProtocolViolation(host, step, f"is refused by {refused}") from None


def _opened(
    session: Session, terms: Terms, key: X25519PrivateKey, sealed: bytes, receivers: Sequence[bytes], finished: Finished
) -> tuple[bytes, bytes]:
    context = runs.output_context(terms.code(session.context), receivers, finished.commitments)
    try:
        salted = runs.unseal(key, sealed, context)
    except InvalidTag:
        raise ProtocolViolation(terms.host, "sealed output", "does not open with this receiver's key") from None
    if hashlib.sha256(salted).digest() != finished.digest:
        raise ProtocolViolation(terms.host, "sealed output", "is not the one that the evidence names")
    return salted[:SALT], salted[SALT:]


def _shared(session: Session, who: Sequence[int], own: bytes | None, step: str, *, patient: bool = False) -> Mapping[int, bytes]:
    """32 bytes of each party of ``who``, which each tells all others."""
    if own is not None:
        session.broadcast(own)
    found = {}
    for peer in who:
        if peer == session.index:
            assert own is not None
            found[peer] = own
            continue
        if patient:
            session.patience(peer)
        found[peer], _ = _split(peer, session.channels[peer].receive(), 32, step, more=0)
    return found


def _split(peer: int, message: bytes, size: int, step: str, more: int = MAX_DOCUMENT) -> tuple[bytes, bytes]:
    if not size <= len(message) <= size + more:
        raise ProtocolViolation(peer, step, f"sent {len(message)} bytes")
    return message[:size], message[size:]


def _send(session: Session, peer: int, data: bytes) -> None:
    session.channels[peer].send(len(data).to_bytes(8, "big"))
    send_block(session.channels[peer], data)


def _receive(session: Session, peer: int, limit: int, step: str) -> bytes:
    size = int.from_bytes(_split(peer, session.channels[peer].receive(), 8, step, more=0)[0], "big")
    if size > limit:
        raise ProtocolViolation(peer, step, f"announces {size} bytes where at most {limit} are allowed")
    return receive_block(session.channels[peer], size, step)
