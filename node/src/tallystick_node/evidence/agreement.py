"""How the parties come to one statement without a coordinator.

Each sends every other what it alone knows: its commitment, its part of the proof, the digest of its result file, its view of each
link, its costs and its certificate. All compare what they heard of whom (:mod:`signed_words`), so a party that told two others two
words is named by both. From the words, the same at all, each builds the same statement, signs it, and checks the others'
signatures. Whoever's word contradicts what this party knows of the run is named, and so is who signs another statement than the
words lead to. Where two saw different messages on their link nobody is, since either may lie: :mod:`signed_links` keeps who said
what.

A task may tolerate that parties are absent in the end. Then those who are present agree on who is not, as they compare the words:
nobody signs that a party is absent with which it is connected itself. For the absent each gives what it knows of what they did in
the run; it is the same at all, or their signatures do not fit.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from tallystick.chain.connection import Chain
from tallystick.chain.operators import signs_for
from tallystick.protocol import canonical, typed
from tallystick.protocol.errors import MalformedDocument, PeerFailed, RunFailed, TallystickError
from tallystick.protocol.fields import Fields
from tallystick.protocol.identity import Certificate
from tallystick.protocol.operators import Scope
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.subject import result_of, subject_of
from tallystick.protocol.reasons import Reason
from tallystick.protocol.statement import (
    CONTRACTS,
    CodeRelease,
    Envelope,
    Link,
    MeasuredCost,
    Statement,
    StatementInput,
    StatementOutput,
)
from tallystick.protocol.task import MAX_PARTIES, ZERO32, TaskSpec, proposal_of, tolerated
from tallystick.signing import Signer

LIMIT = 1 << 20
SIGNATURE = 65  # bytes, of an account's key
MAX_CONTRIBUTION = 1 << 18  # letters; the longest are range proofs, part of the 96 KiB that a proof takes, in hex digits


@dataclass(frozen=True)
class Word:
    """What one party says after its run. ``links``: both directions of each of its links, as it saw them; ``signatures``: its own
    of each of them (:mod:`signed_links`)."""

    commitment: str  # empty without input
    contribution: str  # to the proof, as its kind defines; empty where that takes nothing
    output: str  # digest of the result file; empty when it receives none
    links: tuple[Link, ...]
    signatures: tuple[bytes, ...]
    seconds_ms: int
    certificate: str
    release: str

    def to_bytes(self) -> bytes:
        """Canonical bytes, for the peers."""
        members = {name: getattr(self, name) for name in self.__dataclass_fields__}
        links, signatures = [link.to_json() for link in self.links], ["0x" + each.hex() for each in self.signatures]
        return canonical.encode({**members, "links": links, "signatures": signatures})

    @classmethod
    def parse(cls, data: bytes, account: str) -> Word:
        """Read a peer's word. Raises PeerFailed naming it."""
        try:
            fields = Fields(canonical.decode(data, LIMIT), cls.__dataclass_fields__, "word")
            word = cls(
                commitment=fields.string("commitment", 400, empty=True),
                contribution=fields.string("contribution", MAX_CONTRIBUTION, empty=True),
                output=fields.string("output", 256, empty=True),
                links=fields.items("links", 0, 2 * MAX_PARTIES, Link.from_json),
                signatures=fields.items("signatures", 0, 2 * MAX_PARTIES, _signature),
                seconds_ms=fields.integer("seconds_ms", 0, canonical.MAX_INTEGER),
                certificate=fields.string("certificate", LIMIT),
                release=fields.digest("release"),
            )
            if word.output:
                fields.digest("output")
            if Certificate.parse(word.certificate.encode()).account != account:
                raise MalformedDocument("word.certificate: not its own")
        except MalformedDocument as error:
            raise PeerFailed(
                f"sent evidence that is not well-formed: {error.message}", party=account, reason=Reason.STATEMENT_MISMATCH
            ) from None
        return word


def _signature(value: object, where: str) -> bytes:
    return Fields({"signature": value}, ("signature",), where).hexbytes("signature", SIGNATURE)


@dataclass(frozen=True)
class Known:
    """What this party's worker knows of what every party did in the run, in the order of the parties: the commitments, and in tasks
    that tolerate absence the contributions to the proof."""

    commitments: Sequence[str]
    contributions: Sequence[str] = ()


@dataclass(frozen=True)
class Registered:
    """A dataset's latest version, as it stands on chain."""

    rows: bytes
    descriptor: bytes


def registered(spec: TaskSpec, chain: Chain) -> dict[str, Registered]:
    """The datasets of a task's inputs, by id."""
    found = {}
    for part in spec.inputs:
        answer = chain.datasets.dataset_at(canonical.unhex32(part.dataset))
        found[part.dataset] = Registered(bytes(answer["rows"]), bytes(answer["descriptor"]))
    return found


@dataclass(frozen=True)
class Draft:
    """A statement that does not say yet what its proof is about, and what was said for the proof, by account."""

    statement: Statement
    said: Mapping[str, str]


def draft(
    spec: TaskSpec,
    attempt: int,
    words: Mapping[str, Word],
    datasets: Mapping[str, Registered],
    contracts: Mapping[str, str],
    known: Known,
) -> Draft:
    """What follows from everybody's word and the registered datasets. Of whom there is no word, that party is absent, and ``known``
    speaks for it. Raises PeerFailed naming who says what cannot be, RunFailed where two contradict each other."""
    parties = tuple(account for account in spec.parties if account in words)
    absent = tuple(account for account in spec.parties if account not in words)
    if not set(absent) <= set(spec.may_be_absent) or len(absent) > tolerated(spec.proof):
        raise PeerFailed("is absent from a task that cannot do without it", party=absent[0], reason=Reason.PEER_SILENT)
    views = {account: {(link.sender, link.recipient): link for link in word.links} for account, word in words.items()}
    links = []
    for pair in itertools.permutations(parties, 2):
        one, other = (views[account].get(pair) for account in pair)
        if one is None or other is None:
            raise PeerFailed(
                f"transcript mismatch: says nothing of what {pair[0]} sent {pair[1]}",
                party=pair[1] if one is not None else pair[0],
                reason=Reason.TRANSCRIPT_MISMATCH,
            )
        if one != other:  # either may have said what is false: nobody else can tell
            raise RunFailed(
                f"transcript mismatch: {pair[0]} and {pair[1]} saw different messages",
                remedy="both ends keep their transcript: compare them phase by phase",
                reason=Reason.TRANSCRIPT_MISMATCH,
            )
        links.append(one)
    kind, inputs = KINDS[spec.proof], []
    for part in spec.inputs:
        word = words.get(part.party)
        commitment = known.commitments[spec.parties.index(part.party)] if word is None else word.commitment
        try:
            kind.check_commitment(commitment)
        except MalformedDocument as error:
            raise PeerFailed(error.message, party=part.party, reason=Reason.STATEMENT_MISMATCH) from None
        rows = canonical.text(datasets[part.dataset].rows)
        inputs.append(StatementInput(part.party, part.dataset, rows, part.grant, commitment))
    for account in spec.receivers:
        if not words[account].output:
            raise PeerFailed("names no result file", party=account, reason=Reason.STATEMENT_MISMATCH)
    outputs = tuple(StatementOutput(account, words[account].output) for account in spec.receivers)
    statement = Statement(
        chain_id=spec.chain_id,
        contracts={name: contracts[name] for name in CONTRACTS},
        task=canonical.hex32(proposal_of(spec).id()),
        attempt=attempt,
        spec=canonical.text(spec.digest()),
        workload=spec.workload,
        code=tuple(CodeRelease(account, words[account].release) for account in parties),
        inputs=tuple(inputs),
        outputs=outputs,
        links=tuple(links),
        proof=spec.proof,
        proof_inputs=canonical.hex32(ZERO32),
        proof_output=canonical.hex32(ZERO32),
        security=spec.security,
        cost=MeasuredCost(
            bytes=sum(link.bytes for link in links),
            rounds=max((link.messages for link in links), default=0),
            seconds_ms=max(word.seconds_ms for word in words.values()),
        ),
        absent=absent,
    )
    said = {account: words[account].contribution for account in parties}
    said |= {account: known.contributions[spec.parties.index(account)] for account in absent}
    return Draft(statement, said)


@contextmanager
def blaming() -> Iterator[None]:
    """Turn what a proof's parts raise into PeerFailed of the party whose part it is, and into RunFailed where they prove nothing
    together though no party can be named."""
    try:
        yield
    except MalformedDocument as error:
        if error.party is None:
            raise RunFailed(error.message, reason=Reason.STATEMENT_MISMATCH) from None
        raise PeerFailed(error.message, party=error.party, reason=Reason.STATEMENT_MISMATCH) from None


def complete(spec: TaskSpec, statement: Statement, content: bytes) -> Statement:
    """The drafted statement, with what its proof is about; ``content`` is the proof. Raises RunFailed where the spec's terms forbid
    this one."""
    kind, subject = KINDS[spec.proof], subject_of(statement, spec.parties)
    with blaming():
        kind.require_terms(spec.parameters, len(spec.parties), content)
    inputs, output = kind.inputs(subject), kind.output(subject, content)
    return replace(statement, proof_inputs=canonical.hex32(inputs), proof_output=canonical.hex32(output))


def check_commitments(spec: TaskSpec, words: Mapping[str, Word], known: Known) -> None:
    """Raise PeerFailed unless each party claims the commitment that this node saw in the run, and adds to the proof what this node
    knows of it, where it knows that."""
    for account, commitment in zip(spec.parties, known.commitments, strict=True):
        word = words.get(account)
        if word is not None and spec.input_of(account) is not None and commitment and word.commitment != commitment:
            raise PeerFailed("claims another commitment than it made in the run", party=account, reason=Reason.STATEMENT_MISMATCH)
    for account, contribution in zip(spec.parties[: len(known.contributions)], known.contributions, strict=True):
        if account in words and words[account].contribution != contribution:
            raise PeerFailed(
                "adds another part to the proof than it gave in the run", party=account, reason=Reason.STATEMENT_MISMATCH
            )


def sign(statement: Statement, chain: Chain, signer: Signer) -> tuple[typed.Result, bytes]:
    """The on-chain result that stands for the statement, and this party's signature of it."""
    result = result_of(statement)
    return result, signer.sign_digest(_digest(result, chain))


def check_signature(result: typed.Result, chain: Chain, account: str, signature: bytes) -> None:
    """Raise PeerFailed unless ``account``, or an operator for it, signed this very result. Raises ChainUnreachable."""
    if not signs_for(chain, account, Scope.SIGN, _digest(result, chain), signature):
        raise PeerFailed(
            "signed another statement than the one that follows from everybody's word",
            party=account,
            reason=Reason.STATEMENT_MISMATCH,
            remedy="all have the same words: compare at both nodes what the chain said of the datasets as the attempt started, and "
            "what is known of absent parties",
        )


def envelope(statement: Statement, signatures: Mapping[str, bytes]) -> bytes:
    """The DSSE envelope with everybody's signature."""
    return Envelope(statement.chain_id, statement.to_bytes(), dict(signatures)).to_bytes()


def _digest(result: typed.Result, chain: Chain) -> bytes:
    return typed.result_digest(chain.domain("ProofRegistry"), result)


def describe(error: TallystickError) -> str:
    """An error in one line of JSON, for digests of evidence."""
    return json.dumps(error.problem(), sort_keys=True)
