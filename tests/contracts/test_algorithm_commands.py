"""`tally algorithm` on a real chain, and what an owner's node asks of the reviews that it reads there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contracts.conftest import Actor
from contracts.test_money_commands import Desk, desk
from pydantic import ValidationError
from tallystick.chain import algorithms
from tallystick.chain.connection import Chain
from tallystick.protocol import canonical
from tallystick.protocol.algorithm import AlgorithmCard, code_digest, reason_digest
from tallystick.protocol.errors import ChainUnreachable, ContractRefused, NotFound, Refused
from tallystick.protocol.task import TaskSpec
from tallystick_node.admission.reviews import require_reviews
from tallystick_node.settings import Policy

__all__ = ["desk"]
QUERY = b"SELECT count(*) AS group_size FROM north JOIN south USING (person)"
WORDS = (
    "--name",
    "exposure",
    "--release",
    "1",
    "--gives",
    "how many",
    "--table",
    "north=person,balance",
    "--table",
    "south=person",
)


class Panel:
    """One author's query, as files, and three who read it."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.world = desk, desk.world
        self.author, *others = desk.world.parties
        self.readers = [*others, desk.world.regulator]
        self.code, self.card, self.reason = (desk.folder / name for name in ("query.sql", "query.sql.card.json", "reason.md"))
        self.code.write_bytes(QUERY)
        self.reason.write_text("Read all of it: counts alone, in groups.")
        self.digest = canonical.text(code_digest(QUERY))

    def register(self) -> Any:
        return self.desk.tally(self.author, "algorithm", "register", self.code, *WORDS)

    def review(self, who: Actor, verdict: str, code: int = 0) -> Any:
        given = (self.code, verdict, "--card", self.card, "--reason", self.reason)
        return self.desk.tally(who, "algorithm", "review", *given, code=code)

    def spec(self, code: bytes = QUERY, kind: str = "sql") -> TaskSpec:
        found = {"algorithm": canonical.text(code_digest(code)), "identities": ["sha256:" + "22" * 32]}
        parameters = {"algorithm": {"kind": kind, "content": code.decode()}, "enclave": found}
        return replace(TaskSpec.parse(self.desk.spec.read_bytes()), workload="enclave", parameters=parameters)

    def refused(self, spec: TaskSpec | None = None, **policy: Any) -> Refused:
        with pytest.raises(Refused) as refusal:
            require_reviews(spec or self.spec(), self.world.chain, Policy(**policy))
        assert refusal.value.rule == "algorithm-review" and refusal.value.remedy
        return refusal.value

    def admitted(self, spec: TaskSpec | None = None, **policy: Any) -> None:
        require_reviews(spec or self.spec(), self.world.chain, Policy(**policy))


@pytest.fixture
def panel(desk: Desk) -> Panel:
    return Panel(desk)


def test_an_algorithm_is_registered_shown_reviewed_and_withdrawn(panel: Panel) -> None:
    desk, (first, second, _) = panel.desk, panel.readers
    said = panel.register()
    assert (said["algorithm"], said["grant"]) == (panel.digest, f"enclave:{panel.digest}")
    card = AlgorithmCard.parse(panel.card.read_bytes())
    assert [(table.name, table.columns) for table in card.tables] == [("north", ("person", "balance")), ("south", ("person",))]
    shown = desk.tally(first, "algorithm", "show", panel.digest, "--card", panel.card)
    assert (shown["author"], shown["kind"], shown["name"], shown["approved"]) == (panel.author.address, "sql", "exposure", 0)
    approved = panel.review(first, "approved")
    assert approved["reason"] == canonical.text(reason_digest(panel.reason.read_bytes()))
    panel.review(second, "approved")
    panel.reason.write_text("A group of one shows a person.")
    panel.review(second, "rejected")
    shown = desk.tally(first, "algorithm", "show", panel.digest)
    assert (shown["approved"], shown["rejected"]) == (1, 1)
    rows = desk.tally(first, "algorithm", "reviews", panel.digest)
    assert [(row["reviewer"], row["verdict"], row["stands"]) for row in rows] == [
        (first.address, "approved", True),
        (second.address, "approved", False),
        (second.address, "rejected", True),
    ]
    desk.tally(panel.author, "algorithm", "withdraw", panel.digest)
    shown = desk.tally(first, "algorithm", "show", panel.digest)
    assert (shown["withdrawn"], shown["approved"]) == (True, 0)


def test_registering_again_sends_the_same_and_is_refused_by_name(panel: Panel) -> None:
    panel.register()
    before = panel.card.read_bytes()
    again = panel.desk.tally(panel.author, "algorithm", "register", panel.code, *WORDS, code=42)
    assert "AlgorithmExists" in again["error"]["message"] and again["error"]["remedy"]
    assert panel.card.read_bytes() == before


def test_who_may_not_review_is_told_why_and_what_to_do(panel: Panel) -> None:
    panel.register()
    refusals = {
        "OwnAlgorithm": panel.review(panel.author, "approved", code=42),
        "NotActive": panel.review(panel.world.stranger, "approved", code=42),
    }
    panel.review(panel.readers[0], "approved")
    refusals["SameVerdict"] = panel.review(panel.readers[0], "approved", code=42)
    refusals["NotTheAuthor"] = panel.desk.tally(panel.readers[0], "algorithm", "withdraw", panel.digest, code=42)
    for name, said in refusals.items():
        assert name in said["error"]["message"] and said["error"]["remedy"]


def test_a_changed_line_another_card_and_an_empty_reason_are_not_reviewed(panel: Panel) -> None:
    panel.register()
    reader = panel.readers[0]
    panel.code.write_bytes(QUERY + b" ")
    assert "no algorithm with this digest" in panel.review(reader, "approved", code=70)["error"]["message"]
    panel.code.write_bytes(QUERY)
    whole = panel.card.read_bytes()
    panel.card.write_bytes(canonical.encode({**json.loads(whole), "gives": "nothing"}))
    assert "not the one" in panel.review(reader, "approved", code=11)["error"]["message"]
    panel.desk.tally(reader, "algorithm", "show", panel.digest, "--card", panel.card, code=11)
    panel.card.write_bytes(whole)
    panel.reason.write_text(" ")
    assert "reason" in panel.review(reader, "approved", code=11)["error"]["message"]
    assert algorithms.reviews_of(panel.world.chain, code_digest(QUERY)) == []


def test_what_is_unknown_or_unreadable_is_named(panel: Panel) -> None:
    for arguments in (("show", panel.digest), ("reviews", panel.digest)):
        panel.desk.tally(panel.author, "algorithm", *arguments, code=70)
    panel.desk.tally(panel.author, "algorithm", "show", "0x12", code=11)
    other = panel.desk.folder / "query.txt"
    other.write_bytes(QUERY)
    panel.desk.tally(panel.author, "algorithm", "register", other, *WORDS, code=11)
    panel.desk.tally(panel.author, "algorithm", "register", panel.code, *WORDS, "--table", "north", code=11)


def test_more_reviews_than_a_page_are_read_in_order(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    panel.register()
    for reader in panel.readers:
        panel.review(reader, "approved")
    order = [reader.address for reader in panel.readers]
    for page in (1, 2, 3, 64):
        monkeypatch.setattr(algorithms, "PAGE", page)
        assert [each.reviewer for each in algorithms.reviews_of(panel.world.chain, code_digest(QUERY))] == order
    with pytest.raises(ContractRefused):
        algorithms.reviews_of(panel.world.chain, bytes(32))


def test_however_many_reviewers_are_counted_a_page_at_a_time_at_one_block(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    panel.register()
    first, second, third = panel.readers
    for reader, verdict in ((first, "approved"), (second, "rejected"), (third, "approved")):
        panel.review(reader, verdict)
    chain, code = panel.world.chain, code_digest(QUERY)
    strangers = ["0x" + number.to_bytes(20, "big").hex() for number in range(1, 200)]
    accounts = [*(each.address for each in panel.readers), *strangers]
    asked: list[tuple[int, Any]] = []
    ask = chain.algorithms.approvals

    def count(code: bytes, reviewers: Any, *, block: Any = "latest") -> Any:
        asked.append((len(reviewers), block))
        return ask(code, reviewers, block=block)

    monkeypatch.setattr(chain.algorithms, "approvals", count)
    assert algorithms.approvals(chain, code, [*accounts, *accounts]) == (2, 1)
    assert [size for size, _ in asked] == [64, 64, 64, 10]
    assert {block for _, block in asked} == {chain.latest()[0]}
    monkeypatch.setattr(algorithms, "PAGE", 1)  # those who reviewed stand in pages of their own
    assert algorithms.approvals(chain, code, [each.address for each in panel.readers]) == (2, 1)
    assert algorithms.approvals(chain, code, []) == (0, 0)
    with pytest.raises(ContractRefused):
        algorithms.approvals(chain, bytes(32), [])


# -- what an owner's node asks


def test_a_node_that_asks_for_no_approvals_takes_code_that_nobody_registered(panel: Panel) -> None:
    panel.admitted()
    panel.admitted(panel.spec(kind="python"))


def test_what_code_is_registered_as_binds_whether_or_not_approvals_are_asked_for(panel: Panel) -> None:
    """A grant names the digest alone: what an owner read as a query must not run as a program."""
    panel.register()
    panel.admitted()
    refusal = panel.refused(panel.spec(kind="python"))
    assert (refusal.rule, refusal.party) == ("algorithm-review", panel.author.address)
    assert "was registered as sql, and the task runs it as python" in refusal.message
    panel.desk.tally(panel.author, "algorithm", "withdraw", panel.digest)
    panel.admitted()
    panel.refused(panel.spec(kind="python"))


def test_code_that_somebody_else_registered_as_what_it_is_not_has_a_way_out(panel: Panel) -> None:
    panel.author.send("AlgorithmRegistry", "register", code_digest(QUERY), 3, bytes([1] * 32))
    refusal = panel.refused()
    assert "was registered as python, and the task runs it as sql" in refusal.message
    assert "change one byte" in refusal.remedy and "register that" in refusal.remedy and "granted" in refusal.remedy
    panel.admitted(panel.spec(QUERY + b" -- ours"))  # as the remedy says: another digest, of the same meaning


def test_a_kind_that_this_release_does_not_know_binds_where_approvals_are_asked_for_alone(panel: Panel) -> None:
    panel.author.send("AlgorithmRegistry", "register", code_digest(QUERY), 9, bytes([1] * 32))
    panel.admitted()
    panel.admitted(panel.spec(kind="python"))
    panel.readers[0].send("AlgorithmRegistry", "review", code_digest(QUERY), True, bytes([2] * 32))
    assert "was registered as kind 9" in panel.refused(approvals=1).message


def test_an_owner_gets_the_approvals_that_it_asks_for(panel: Panel) -> None:
    assert "no algorithm with this digest" in panel.refused(approvals=1).message
    panel.register()
    assert "0 of the 1" in panel.refused(approvals=1).message
    first, second, third = panel.readers
    panel.review(first, "approved")
    panel.admitted(approvals=1)
    panel.admitted(approvals=1, reviewers=(second.address, first.address))
    assert second.address in panel.refused(approvals=1, reviewers=(second.address,)).remedy
    assert "1 of the 2" in panel.refused(approvals=2).message
    panel.review(second, "approved")
    panel.admitted(approvals=2)
    panel.refused(panel.spec(QUERY + b" "), approvals=1)  # a changed line is another algorithm
    panel.world.governor.send("ParticipantRegistry", "suspend", second.address, bytes(32))
    assert "1 of the 2" in panel.refused(approvals=2).message
    panel.admitted(approvals=1, reviewers=(first.address, third.address))


def test_a_rejection_counts_from_whom_the_owner_named_and_only_then(panel: Panel) -> None:
    panel.register()
    first, second, third = panel.readers
    panel.review(first, "approved")
    panel.review(second, "rejected")
    panel.admitted(approvals=1)
    panel.admitted(approvals=1, reviewers=(first.address, third.address))
    refusal = panel.refused(approvals=1, reviewers=(first.address, second.address))
    assert refusal.party == second.address and "rejects" in refusal.message
    panel.review(second, "approved")  # it changed its mind
    panel.admitted(approvals=2, reviewers=(first.address, second.address))
    panel.review(first, "rejected")
    panel.refused(approvals=1, reviewers=(first.address, second.address))


def test_the_requesters_own_approval_is_no_others(panel: Panel) -> None:
    panel.register()
    requester = panel.world.requester
    panel.review(requester, "approved")
    panel.refused(approvals=1)
    panel.admitted(approvals=1, reviewers=(requester.address,))  # unless the owner says that it trusts it


def test_code_runs_as_what_it_was_reviewed_as_and_not_once_withdrawn(panel: Panel) -> None:
    panel.register()
    panel.review(panel.readers[0], "approved")
    assert "as python" in panel.refused(panel.spec(kind="python"), approvals=1).message
    panel.desk.tally(panel.author, "algorithm", "withdraw", panel.digest)
    assert "AlgorithmIsWithdrawn" in panel.refused(approvals=1).message


def test_without_a_registry_an_owner_that_asks_for_reviews_admits_nothing(panel: Panel) -> None:
    deployment = panel.world.deployment
    older = replace(deployment, contracts={k: v for k, v in deployment.contracts.items() if k != "AlgorithmRegistry"})
    chain = Chain(panel.world.url, older, profile=panel.world.chain.profile)
    with pytest.raises(Refused, match="has no AlgorithmRegistry") as refusal:
        require_reviews(panel.spec(), chain, Policy(approvals=1))
    assert "tally chain deploy" in refusal.value.remedy
    with pytest.raises(NotFound):
        algorithms.algorithm_of(chain, code_digest(QUERY))


def test_a_chain_that_does_not_number_its_blocks_is_no_chain(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    for header in ({}, {"number": None}, {"number": "one", "hash": "0x"}):
        monkeypatch.setattr(panel.world.chain, "block", lambda _, header=header: header)
        with pytest.raises(ChainUnreachable):
            require_reviews(panel.spec(), panel.world.chain, Policy(approvals=1))


def test_a_policy_that_nobody_could_meet_is_no_setting(tmp_path: Path) -> None:
    account = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    for given in (
        {"reviewers": (account,)},
        {"reviewers": (account,), "approvals": 2},
        {"reviewers": (account, account), "approvals": 2},
        {"reviewers": (account.lower(),), "approvals": 1},
        {"approvals": -1},
        {"approvals": 65},
    ):
        with pytest.raises(ValidationError):
            Policy(**given)  # type: ignore[arg-type]
    assert Policy(approvals=1, reviewers=(account,)).approvals == 1
