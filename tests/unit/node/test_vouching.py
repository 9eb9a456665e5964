"""A node as a verifier, and a node that is asked for a task with evidence of hardware: what each refuses, by name and remedy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick.attestation.documents import write_evidence, write_policy
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.tcb import TcbStatus
from tallystick.chain.profile import PROFILES
from tallystick.protocol import canonical
from tallystick.protocol.errors import Configuration, ContractRefused, MalformedDocument, Refused
from tallystick.protocol.proof.subject import subject_of
from tallystick.protocol.proof.vouching import RunClaim, Vouching
from tallystick.protocol.signature import recover
from tallystick_node.admission.gate import Gate
from tallystick_node.server.vouching import AT_ONCE, EACH, Question, Voucher
from tallystick_node.settings import Policy, Settings
from tallystick_node.workloads.enclave.workload import EnclaveTask
from unit.attestation.test_cca import MARK
from unit.protocol import quorum_world
from unit.protocol.quorum_world import AT, VERIFIERS, claim, evidence, identity, policy, sign
from unit.protocol.world import make
from unit.workloads.test_enclave_task import NORTH, own, parameters, spec, vouched

ME = VERIFIERS[0]
ALLOWED = canonical.text(identity())


class FakeChain:
    """A chain on which the attempt of ``about`` runs, ``named`` may vouch, and ``allowed`` environments count."""

    def __init__(self, about: RunClaim, state: int = 2) -> None:
        self.about, self.time = about, AT
        self.facts: dict[str, Any] = {"state": state, "attempt": about.attempt, "runBy": AT + 600}
        self.named, self.allowed, self.least = set(VERIFIERS), {identity()}, 2
        self.deployment = SimpleNamespace(chain_id=about.chain_id, contracts={"ProofRegistry": about.registry})
        self.quorum = SimpleNamespace(
            is_verifier=lambda account: account in self.named,
            allowed=lambda each: each in self.allowed,
            threshold=lambda: self.least,
        )
        self.tasks = SimpleNamespace(task_at=self.task_at)
        self.suspended: set[str] = set()
        self.profile = PROFILES["public"]
        self.participants = SimpleNamespace(require_active=self.require_active)

    def now(self) -> int:
        return self.time

    def task_at(self, task: bytes) -> dict[str, Any]:
        if task != self.about.task:
            raise ContractRefused("unknown", error="UnknownTask")
        return self.facts

    def require_active(self, account: str, _: int) -> None:
        if account in self.suspended:
            raise ContractRefused("suspended", error="NotActive")


class Case:
    def __init__(self) -> None:
        world = make("attested-hardware-quorum")
        self.about = claim(subject_of(world.statement, world.spec.parties))
        self.chain, self.records = FakeChain(self.about), list[tuple[Vouching, str]]()
        self.key, self.floor, self.takes_part = ME, policy(), False

    def question(self, **changes: Any) -> Question:
        made: dict[str, Any] = {
            "claim": self.about.to_bytes(),
            "evidence": write_evidence(evidence(self.about.report_data)),
            "policy": write_policy(policy()),
            "identities": (ALLOWED,),
        }
        return Question(**made | changes)

    def voucher(self, floor: AppraisalPolicy | None = None) -> Voucher:
        chain: Any = self.chain
        signer: Any = SimpleNamespace(address=ME, sign_digest=lambda digest: sign(ME, digest))
        return Voucher(
            chain, signer, self.key, floor or self.floor, lambda _: self.takes_part, lambda *said: self.records.append(said)
        )


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr("time.time", lambda: float(AT))
    return Case()


def test_a_verifier_vouches_once_for_what_many_parties_ask(case: Case) -> None:
    voucher, question = case.voucher(), case.question()

    async def all_of_them() -> Sequence[Vouching]:
        parties = [voucher.answer(question, party) for party in ("0xA", "0xB", "0xC")]  # at the same moment
        return [*await asyncio.gather(*parties), await voucher.answer(question, "0xD")]

    first, *others = asyncio.run(all_of_them())
    assert others == [first] * 3
    assert recover(first.digest, first.signature) == ME
    assert (first.task, first.attempt, first.identity, first.policy) == (case.about.task, 1, identity(), policy().digest)
    assert len(case.records) == 1


def test_an_answer_is_given_again_for_half_of_the_time_for_which_it_holds(case: Case) -> None:
    voucher, question = case.voucher(policy(validity=10**9)), case.question()
    first = asyncio.run(voucher.answer(question, "0xA"))
    case.chain.facts["runBy"] = first.not_after + 1
    half = AT + (first.not_after - AT + 1) // 2
    case.chain.time = half - 1
    assert asyncio.run(voucher.answer(question, "0xA")) == first
    case.chain.time = half  # who asks now may need one that holds longer
    assert asyncio.run(voucher.answer(question, "0xA")).not_after > first.not_after
    case.chain.facts["state"] = 3  # proved: what is remembered is no longer given out either
    with pytest.raises(Refused, match="does not run"):
        asyncio.run(voucher.answer(question, "0xA"))


def test_what_a_verifier_does_not_vouch_for_is_refused_by_name(case: Case) -> None:
    def refused(words: str, rule: str = "vouching", **changes: Any) -> None:
        with pytest.raises(Refused, match=words) as caught:
            asyncio.run(case.voucher().answer(case.question(**changes), "0xA"))
        assert caught.value.rule == rule and caught.value.remedy
        assert not case.records

    elsewhere = replace(case.about, chain_id=case.about.chain_id + 1)
    refused("another chain", claim=elsewhere.to_bytes())
    refused("no such task", claim=replace(case.about, task=bytes(32)).to_bytes())
    refused("attempt 2 of", claim=replace(case.about, attempt=2).to_bytes())
    refused("does not allow the environment", identities=(ALLOWED, "sha256:" + "11" * 32))
    refused("rule 704", "policy.report-data", evidence=write_evidence(evidence(bytes(64))))
    refused("rule 103", "form.version", evidence=b"{}")
    refused(
        "accepts more than this node does .cca_platforms",
        policy=write_policy(quorum_world.policy(cca_platforms=frozenset({bytes(32)}))),
    )
    refused("accepts more than this node does .validity", policy=write_policy(quorum_world.policy(validity=10**9)))
    simulated = evidence(case.about.report_data, MARK)
    refused("rule 701", "policy.authority", evidence=write_evidence(simulated))
    case.chain.facts["runBy"] = AT - 1
    refused("does not run")
    case.chain.facts["runBy"] = AT
    case.takes_part = True
    refused("a party of the task")
    case.takes_part, case.key = False, VERIFIERS[1]
    refused("operator's key")
    case.key = ME
    case.chain.named.clear()
    refused("has not named this account")


def test_a_question_is_not_looked_at_that_names_none_or_millions_of_environments(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Question, "digest", property(lambda _: pytest.fail("hashed, on the loop that serves everybody")))
    for identities in ((), (ALLOWED,) * 17):
        with pytest.raises(MalformedDocument, match="1 to 16 identities"):
            asyncio.run(case.voucher().answer(case.question(identities=identities), "0xA"))


def test_one_account_that_asks_much_and_calls_it_off_takes_no_more_than_its_share(case: Case) -> None:
    voucher, go_on, begun = case.voucher(), threading.Event(), list[bytes]()
    answer = voucher._answer

    def slow(question: Question, *rest: Any) -> Vouching:
        begun.append(question.policy)
        go_on.wait(60)
        return answer(question, *rest)

    voucher._answer = slow  # type: ignore[method-assign]
    questions = [case.question(policy=write_policy(policy(validity=seconds))) for seconds in range(1000, 1000 + EACH + 1)]

    async def ask() -> None:
        asking = [asyncio.create_task(voucher.answer(each, "0xA")) for each in questions]
        try:
            with pytest.raises(Refused, match=f"{EACH} questions of this account") as refused:
                await asking[-1]
            assert refused.value.rule == "vouching"
            for each in asking[:EACH]:
                each.cancel()
            await asyncio.wait(asking)
            with pytest.raises(Refused, match=f"{EACH} questions of this account"):
                await voucher.answer(questions[-1], "0xA")
            other = asyncio.create_task(voucher.answer(questions[-1], "0xB"))
            await asyncio.sleep(0)
            assert not other.done() and len(begun) <= AT_ONCE
        finally:
            go_on.set()
        assert recover((found := await other).digest, found.signature) == ME
        async with asyncio.timeout(60):
            while len(case.records) <= EACH:  # what was called off is answered as well
                await asyncio.sleep(0.01)
        assert sorted(asked for _, asked in case.records) == ["0xA"] * EACH + ["0xB"]

    asyncio.run(ask())


def test_a_node_vouches_for_nothing_unless_it_says_so(case: Case) -> None:
    assert not Policy().vouches
    voucher = case.voucher()
    voucher._floor = None
    with pytest.raises(Refused, match="vouches for no evidence by itself"):
        asyncio.run(voucher.answer(case.question(), "0xA"))


# -- before a task is accepted


def admit(asked: Any, tmp_path: Path, chain: Any = None, **settings: Any) -> None:
    Gate(NORTH, chain, None, Policy(**settings), tmp_path)._enclave_rule(asked, EnclaveTask())  # type: ignore[arg-type]


def test_an_owners_floor_holds_whatever_the_requesters_policy_allows(tmp_path: Path) -> None:
    lax = spec(parameters(attestation=own(tcb_statuses=frozenset({TcbStatus.OUT_OF_DATE}), grace=60)), proof="attested-hardware")
    hardened = spec(parameters(attestation=own(tcb_statuses=frozenset({TcbStatus.SW_HARDENING_NEEDED}))), proof="attested-hardware")
    admit(lax, tmp_path)
    admit(hardened, tmp_path, appraisal={"tcb_statuses": ["SWHardeningNeeded"]})
    for asked, floor, words in (
        (lax, {"tcb_statuses": ["SWHardeningNeeded"], "grace": 60}, r"tcb_statuses: OutOfDate\)"),
        (lax, {"tcb_statuses": ["OutOfDate"], "grace": 59}, "grace: 60, above 59"),
        (hardened, {}, "tcb_statuses: SWHardeningNeeded"),
    ):
        with pytest.raises(Refused, match=words) as refused:
            admit(asked, tmp_path, appraisal=floor)
        assert refused.value.rule == "security" and "policy.appraisal" in refused.value.remedy


def test_a_key_of_an_arm_platform_counts_where_the_operator_named_it(case: Case, tmp_path: Path) -> None:
    asked = vouched(attestation=own(cca_platforms=frozenset({bytes(32)})), terms={"verifiers": list(VERIFIERS)})
    case.chain.allowed = {b"\x22" * 32}
    admit(asked, tmp_path, case.chain, appraisal={"cca_platforms": ["00" * 32]})
    for floor in (None, {}, {"cca_platforms": ["01" * 32]}):
        with pytest.raises(Refused, match="cca_platforms: 00"):
            admit(asked, tmp_path, case.chain, appraisal=floor)


def test_a_task_whose_verifiers_the_chain_would_not_count_is_not_begun(case: Case, tmp_path: Path) -> None:
    asked = vouched(terms={"verifiers": list(VERIFIERS)})
    case.chain.allowed = {b"\x22" * 32}
    admit(asked, tmp_path, case.chain)

    def refused(words: str) -> None:
        with pytest.raises(Refused, match=words) as caught:
            admit(asked, tmp_path, case.chain)
        assert caught.value.rule == "proof" and "tally quorum" in caught.value.remedy

    case.chain.least = 3
    refused("asks for 2 verifiers and the chain for at least 3")
    case.chain.least = 0
    refused("the governor set no threshold")
    case.chain.least = 2
    case.chain.suspended.add(VERIFIERS[0])
    admit(asked, tmp_path, case.chain)
    case.chain.named.remove(VERIFIERS[1])
    refused("only 1 of the verifiers")
    case.chain.named.add(VERIFIERS[1])
    case.chain.allowed.clear()
    refused("does not allow the environment sha256:22")


def test_a_policy_whose_word_ends_before_the_chain_has_it_is_refused(case: Case, tmp_path: Path) -> None:
    case.chain.allowed = {b"\x22" * 32}
    hold = case.chain.profile.reporting_seconds

    def asked(validity: int) -> Any:
        return vouched(attestation=own(validity=validity), terms={"verifiers": list(VERIFIERS)})

    admit(asked(hold + 1), tmp_path, case.chain)
    for validity in (1, hold):
        with pytest.raises(Refused, match=f"good for {validity} s, and to have it on this chain takes a node {hold} s") as caught:
            admit(asked(validity), tmp_path, case.chain)
        refusal = caught.value
        assert (refusal.rule, refusal.party) == ("proof", asked(validity).requester) and f"more than {hold}" in refusal.remedy
    admit(
        spec(parameters(attestation=own(validity=1)), proof="attested-hardware"), tmp_path, case.chain
    )  # the chain itself appraises


@pytest.mark.parametrize("table", ['tcb_statuses = ["Revoked"]', 'tcb_statuses = ["Fine"]', "more = 1", "grace = -1"])
def test_a_floor_that_is_no_policy_is_named(tmp_path: Path, table: str) -> None:
    for name in ("tls.pem", "tls.key", "authority.pem", "deployment.json"):
        (tmp_path / name).touch(0o600)
    plain = 'signer = "mnemonic:0"\ncertificate = "tls.pem"\nkey = "tls.key"\nauthority = "authority.pem"\nrpc_url = "http://x"\n'
    (tmp_path / "node.toml").write_text(plain + f'deployment = "deployment.json"\n[policy.appraisal]\n{table}\n')
    with pytest.raises(Configuration, match=r"setting policy\.appraisal"):
        Settings.load(tmp_path / "node.toml")
    (tmp_path / "node.toml").write_text(
        plain + 'deployment = "deployment.json"\n[policy.appraisal]\ntcb_statuses = ["OutOfDate"]\n'
    )
    floor = Settings.load(tmp_path / "node.toml").policy.appraisal
    assert floor is not None and floor.tcb_statuses == {TcbStatus.OUT_OF_DATE}
