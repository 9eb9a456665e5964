"""This node as a verifier: it appraises evidence that others ask it about, and vouches for what it shows.

Whoever asks is a participant, and brings everything: nothing is fetched, and no data of a task comes here. What counts is what the
chain says (that the attempt runs, that the governor named this account and allows the environment), what the evidence shows, and
this node's own floor under appraisal policies. The same question gets the same answer, so that many parties of a task cost one
appraisal and one signature; in the second half of the time for which that holds, who asks again gets one that holds longer.

Security: a vouching is this institution's word under the policy that it names, for one attempt; it can be shown to anybody. The
adversary who asks may choose all four documents; what it cannot have is a vouching for a simulation, for an environment that the
chain does not allow, for an attempt that does not run, or by a policy laxer than the floor.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from tallystick.attestation.documents import read_evidence, read_policy
from tallystick.attestation.floor import laxer
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.rules import EvidenceRefused
from tallystick.chain.connection import Chain
from tallystick.protocol import canonical
from tallystick.protocol.errors import ContractRefused, MalformedDocument, Refused
from tallystick.protocol.proof.attested import MAX_IDENTITIES
from tallystick.protocol.proof.vouching import RunClaim, Vouching, vouch
from tallystick.signing import Signer

AT_ONCE = 4  # appraisals; one more waits
EACH = 8  # questions of one account, appraised or waiting
REMEMBERED = 256  # answers
RUNNING = 2  # ITaskLedger.State
_RULE = "vouching"


@dataclass(frozen=True)
class Question:
    """What a party asks: the claim of a run, its evidence with endorsements, the policy, and the identities that the task names."""

    claim: bytes
    evidence: bytes
    policy: bytes
    identities: Sequence[str]

    @property
    def digest(self) -> bytes:
        """One question, one value."""
        parts = (self.claim, self.evidence, self.policy, *(each.encode() for each in self.identities))
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


class Voucher:
    """``floor``: the laxest policy by which this institution vouches, None where it vouches for nothing by itself; ``key``: the
    account whose key signs; ``takes_part``: whether this node is a party of a task; ``record`` keeps what was vouched for."""

    def __init__(
        self,
        chain: Chain,
        signer: Signer,
        key: str,
        floor: AppraisalPolicy | None,
        takes_part: Callable[[str], bool],
        record: Callable[[Vouching, str], object],
    ) -> None:
        self._chain, self._signer, self._key, self._floor = chain, signer, key, floor
        self._takes_part, self._record = takes_part, record
        self._room, self._lock = asyncio.Semaphore(AT_ONCE), threading.Lock()
        self._asking: dict[asyncio.Task[Vouching], str] = {}  # who has asked each
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._answers: OrderedDict[bytes, tuple[Vouching, int]] = OrderedDict()  # and when each was given

    async def answer(self, question: Question, caller: str) -> Vouching:
        """What this institution vouches for. Raises Refused by the rule ``vouching`` or by that of the attestation that fails, and
        MalformedDocument."""
        if self._floor is None:
            raise self._refused(
                "this node vouches for no evidence by itself", "ask its operator, or have the task name another verifier"
            )
        if not 1 <= len(question.identities) <= MAX_IDENTITIES:
            raise MalformedDocument(f"1 to {MAX_IDENTITIES} identities go with a question")
        if list(self._asking.values()).count(caller) >= EACH:
            raise self._refused(f"{EACH} questions of this account are not answered yet", "wait for the answers, and ask again")
        asking = asyncio.create_task(self._in_turn(question, caller, self._floor))
        self._asking[asking] = caller
        asking.add_done_callback(self._asking.pop)
        return await asyncio.shield(asking)  # a question that is called off takes its thread, and counts, until it is answered

    async def _in_turn(self, question: Question, caller: str, floor: AppraisalPolicy) -> Vouching:
        turn = self._turns.setdefault(question.digest, asyncio.Lock())  # all parties of a task ask at the same moment
        async with turn, self._room:
            return await asyncio.to_thread(self._answer, question, caller, floor)

    def _answer(self, question: Question, caller: str, floor: AppraisalPolicy) -> Vouching:
        now = max(self._chain.now(), int(time.time()))
        claim, identities = RunClaim.parse(question.claim), [canonical.untext(each) for each in question.identities]
        self._require_standing(claim, identities, now)
        with self._lock:
            known = self._answers.get(question.digest)
        if known is not None and 2 * now < known[1] + known[0].not_after:
            return known[0]
        try:
            policy = read_policy(question.policy)
            more = laxer(policy, floor)
            if more:
                raise self._refused(
                    f"the task's appraisal policy accepts more than this node does ({'; '.join(more)})",
                    "appraise by a stricter policy, or ask the operator about policy.appraisal",
                )
            found = vouch(
                claim, read_evidence(question.evidence), identities, policy, self._signer.address, self._signer.sign_digest, now
            )
        except EvidenceRefused as refused:
            raise Refused(
                f"the evidence is refused: {refused}",
                rule=refused.rule.code,
                party=self._signer.address,
                remedy="docs/spec/attestation.md has the rules",
            ) from None
        self._record(found, caller)
        with self._lock:
            self._answers[question.digest] = found, now
            if len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
        return found

    def _require_standing(self, claim: RunClaim, identities: Sequence[bytes], now: int) -> None:
        """What the chain has to say before anything is appraised."""
        deployment, own, task = self._chain.deployment, self._signer.address, canonical.hex32(claim.task)
        if (claim.chain_id, claim.registry) != (deployment.chain_id, deployment.contracts["ProofRegistry"]):
            raise self._refused("the claim is for another chain or deployment", "ask about a task of this consortium's deployment")
        if self._key != own:
            raise self._refused(
                "this node signs with an operator's key, and a vouching has to be the account's own",
                "vouch with the account's key: `tally quorum vouch`",
            )
        if not self._chain.quorum.is_verifier(own):
            raise self._refused("the governor has not named this account a verifier", "ask the governor (`tally quorum name`)")
        try:
            facts = self._chain.tasks.task_at(claim.task)
        except ContractRefused as error:
            raise self._refused(f"there is no such task on chain: {error.message}", "propose the task first") from None
        if (facts["state"], facts["attempt"]) != (RUNNING, claim.attempt) or now > facts["runBy"]:
            raise self._refused(f"attempt {claim.attempt} of {task} does not run", "ask while the attempt runs")
        if self._takes_part(task):
            raise self._refused("this institution is a party of the task, whose word never counts", "name a verifier that is none")
        for identity in identities:
            if not self._chain.quorum.allowed(identity):
                raise self._refused(
                    f"the governor does not allow the environment {canonical.text(identity)}",
                    "ask the governor (`tally quorum allow`)",
                )

    def _refused(self, message: str, remedy: str) -> Refused:
        return Refused(message, rule=_RULE, party=self._signer.address, remedy=remedy)
