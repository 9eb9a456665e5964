"""How the parties come to one statement without a coordinator.

Each sends every other what it alone knows: its commitment, the digest of its result file, its view of each link, its costs and
its certificate. From these each builds the same statement, signs it, and checks the others' signatures. Whoever's word
contradicts another's is named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tallystick.chain.connection import Chain
from tallystick.protocol import canonical, proof, typed
from tallystick.protocol.errors import MalformedDocument, PeerFailed, TallystickError
from tallystick.protocol.identity import Certificate
from tallystick.protocol.reasons import Reason
from tallystick.protocol.signature import recover
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
from tallystick.protocol.task import SUM_VERIFIED, TaskSpec, proposal_of
from tallystick.signing import Signer

LIMIT = 1 << 20


@dataclass(frozen=True)
class Word:
    """What one party says after its run. Digests and commitments in text form; links by peer as [messages, bytes, digest]."""

    commitment: str
    output: str
    sent: Mapping[str, list[Any]]
    received: Mapping[str, list[Any]]
    seconds_ms: int
    certificate: str
    release: str

    def to_bytes(self) -> bytes:
        """Canonical bytes, for the peers."""
        return canonical.encode({name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def parse(cls, data: bytes, account: str) -> Word:
        """Read a peer's word. Raises PeerFailed naming it."""
        try:
            raw = canonical.decode(data, LIMIT)
            word = cls(**raw)
            for link in [*word.sent.values(), *word.received.values()]:
                messages, size, digest = link
                canonical.untext(digest)
                if type(messages) is not int or type(size) is not int:
                    raise MalformedDocument("a link's counts are integers")
            canonical.untext(word.release)
            if type(word.seconds_ms) is not int or Certificate.parse(word.certificate.encode()).account != account:
                raise MalformedDocument("not its own certificate")
        except (MalformedDocument, TypeError, ValueError, AttributeError):
            raise PeerFailed("sent evidence that is not well-formed", party=account, reason=Reason.STATEMENT_MISMATCH) from None
        return word


@dataclass(frozen=True)
class Registered:
    """A dataset's latest version, as it stands on chain."""

    rows: bytes
    descriptor: bytes


def registered(spec: TaskSpec, chain: Chain) -> dict[str, Registered]:
    """The datasets of a task's inputs, by id."""
    found = {}
    for part in spec.inputs:
        answer = chain.call("DatasetRegistry", "datasetAt", canonical.unhex32(part.dataset))
        found[part.dataset] = Registered(bytes(answer["rows"]), bytes(answer["descriptor"]))
    return found


def build(
    spec: TaskSpec,
    attempt: int,
    words: Mapping[str, Word],
    datasets: Mapping[str, Registered],
    contracts: Mapping[str, str],
) -> Statement:
    """The statement that follows from everybody's word and the registered datasets. Raises PeerFailed naming a contradiction."""
    parties = spec.parties
    links = []
    for sender in parties:
        for recipient in parties:
            if sender == recipient:
                continue
            one, other = words[sender].sent.get(recipient), words[recipient].received.get(sender)
            if one is None or one != other:
                raise PeerFailed(
                    f"transcript mismatch: {sender} and {recipient} saw different messages",
                    party=recipient if one is not None else sender,
                    remedy="both ends keep their transcript: compare them phase by phase",
                    reason=Reason.TRANSCRIPT_MISMATCH,
                )
            links.append(Link(sender, recipient, one[0], one[1], one[2]))
    inputs = []
    for part in spec.inputs:
        commitment = words[part.party].commitment
        if spec.proof == SUM_VERIFIED:
            proof.point_of(commitment)
        inputs.append(StatementInput(part.party, part.dataset, canonical.text(datasets[part.dataset].rows), part.grant, commitment))
    outputs = tuple(StatementOutput(account, words[account].output) for account in spec.receivers)
    return Statement(
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
        proof_inputs=canonical.hex32(proof.result_inputs(spec.proof, parties, inputs)),
        proof_output=canonical.hex32(proof.result_output(spec.proof, parties, inputs, outputs)),
        security=spec.security,
        cost=MeasuredCost(
            bytes=sum(link.bytes for link in links),
            rounds=max((link.messages for link in links), default=0),
            seconds_ms=max(word.seconds_ms for word in words.values()),
        ),
    )


def check_commitments(spec: TaskSpec, words: Mapping[str, Word], seen: list[str]) -> None:
    """Raise PeerFailed unless each party claims the commitment that this node saw in the run."""
    for account, commitment in zip(spec.parties, seen, strict=True):
        if spec.input_of(account) is not None and commitment and words[account].commitment != commitment:
            raise PeerFailed("claims another commitment than it made in the run", party=account, reason=Reason.STATEMENT_MISMATCH)


def sign(statement: Statement, chain: Chain, signer: Signer) -> tuple[typed.Result, bytes]:
    """The on-chain result that stands for the statement, and this party's signature of it."""
    result = proof.result_of(statement)
    return result, signer.sign_digest(_digest(result, chain))


def check_signature(result: typed.Result, chain: Chain, account: str, signature: bytes) -> None:
    """Raise PeerFailed unless ``account`` signed this very result."""
    if recover(_digest(result, chain), signature) != account:
        raise PeerFailed(
            "signed another statement than the one that follows from everybody's evidence",
            party=account,
            reason=Reason.STATEMENT_MISMATCH,
        )


def envelope(statement: Statement, signatures: Mapping[str, bytes]) -> bytes:
    """The DSSE envelope with everybody's signature."""
    return Envelope(statement.chain_id, statement.to_bytes(), dict(signatures)).to_bytes()


def _digest(result: typed.Result, chain: Chain) -> bytes:
    domain = typed.Domain("ProofRegistry", chain.deployment.chain_id, chain.deployment.contracts["ProofRegistry"])
    return typed.result_digest(domain, result)


def describe(error: TallystickError) -> str:
    """An error in one line of JSON, for digests of evidence."""
    return json.dumps(error.problem(), sort_keys=True)
