# ruff: noqa: N802 - handlers are named after the events that they take
"""What was agreed about tasks, who was found in breach, and what was disputed, as the chain's events tell it.

A dispute or a breach is an effect of the task it is about, so that whoever asks for the task sees it. A statement that was voided
is marked as well: a query for a result file leads back over its statement, and must not pass that by.
"""

from __future__ import annotations

from tallystick.chain.contract import Event
from tallystick.protocol.agreement import BREACHES, COIN, CONTRADICTION
from tallystick.protocol.reasons import reason_words
from tallystick.provenance.draft import Draft, hex_of, short
from tallystick.provenance.graph import Kind


class EnforcementDraft(Draft):
    """The handlers of the events of Settlement and Disputes."""

    # -- Settlement ------------------------------------------------------------------------------------------

    def _AgreementOpened(self, event: Event) -> None:
        task, agreed = hex_of(event["task"]), event["agreement"]
        name = self.node(
            event, Kind.AGREEMENT, task, f"fee {agreed['fee']}, bond {agreed['bond']}", task=task, stage="open",
            token="" if event["token"] == COIN else event["token"], fee=str(agreed["fee"]), bond=str(agreed["bond"]),
        )  # fmt: skip
        self.edge(event, self.account(event, event["requester"]), name, "opened")
        self.set_terms(event, task)

    def set_terms(self, event: Event, task: str) -> None:
        """Tie an agreement to its task, as soon as both are there: either may come first."""
        ends = f"{Kind.AGREEMENT}:{task}", f"{Kind.TASK}:{task}"
        if all(end in self.nodes for end in ends):
            self.edge(event, *ends, "sets the terms of")

    def _BondPosted(self, event: Event) -> None:
        agreement = f"{Kind.AGREEMENT}:{hex_of(event['task'])}"
        if agreement in self.nodes:
            self.edge(event, self.account(event, event["account"]), agreement, "staked a bond under")

    def _TaskSettled(self, event: Event) -> None:
        amounts = ", ".join(str(amount) for amount in event["amounts"])
        stage = "paid" if event["paid"] else "returned"
        self.mark(f"{Kind.AGREEMENT}:{hex_of(event['task'])}", stage=stage, amounts=amounts)

    # -- Disputes --------------------------------------------------------------------------------------------

    def _DisputeRaised(self, event: Event) -> None:
        task, dispute = hex_of(event["task"]), hex_of(event["dispute"])
        accused = "" if event["accused"] == COIN else event["accused"]
        name = self.node(
            event, Kind.DISPUTE, dispute, short(dispute), dispute=dispute, task=task, accused=accused,
            reason=reason_words(event["reason"]), evidence=hex_of(event["evidence"]), outcome="pending",
        )  # fmt: skip
        self.edge(event, self.account(event, event["challenger"]), name, "challenged in")
        if accused:
            self.edge(event, self.account(event, accused), name, "is accused in")
        self._about(event, task, name, "was disputed in")
        for statement in self._statements(task):
            self.edge(event, statement, name, "is disputed in")

    def _DisputeDecided(self, event: Event) -> None:
        outcome = ("upheld" if event["upheld"] else "dismissed") + (" by default" if event["byDefault"] else "")
        self.mark(f"{Kind.DISPUTE}:{hex_of(event['dispute'])}", outcome=outcome)
        if event["upheld"] and event["accused"] == COIN:
            for statement in self._statements(hex_of(event["task"])):
                self.mark(statement, void=f"a dispute was {outcome} at block {event.block}")

    def _BreachProved(self, event: Event) -> None:
        task, accused = hex_of(event["task"]), event["accused"]
        name = self._breach(event, f"{task}#{accused}", BREACHES[event["breach"]], accused)
        self.edge(event, self.account(event, accused), name, "was found in")

    def _LinkContradicted(self, event: Event) -> None:
        ends = event["from"], event["to"]
        key = f"{hex_of(event['task'])}#{event['attempt']}#{'#'.join(ends)}"
        name = self._breach(event, key, f"one of two ends {CONTRADICTION}", "")
        for end in ends:
            self.edge(event, self.account(event, end), name, "contradicts the other end in")

    def _breach(self, event: Event, key: str, words: str, accused: str) -> str:
        task = hex_of(event["task"])
        name = self.node(
            event, Kind.BREACH, key, words, task=task, accused=accused, breach=words, evidence=hex_of(event["evidence"])
        )
        self._about(event, task, name, "was breached by")
        return name

    def _about(self, event: Event, task: str, name: str, relation: str) -> None:
        if f"{Kind.TASK}:{task}" in self.nodes:
            self.edge(event, f"{Kind.TASK}:{task}", name, relation)

    def _statements(self, task: str) -> list[str]:
        return [name for name, node in self.nodes.items() if node.kind is Kind.STATEMENT and node.attributes["task"] == task]
