"""`boosting`: gradient-boosted trees for one owner's label on the columns of several owners of the same people.

The owners grow the trees together (:mod:`tallystick_node.engines.fl.vertical`); what is around that stands in :mod:`.training`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.fl.vertical import secureboost
from tallystick_node.engines.fl.vertical.boosting import Bits, quality
from tallystick_node.engines.fl.vertical.encrypted import Layout
from tallystick_node.engines.fl.vertical.importance import ask, share
from tallystick_node.engines.fl.vertical.parts import Branch, Part
from tallystick_node.engines.he.paillier.keys import generate
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.base import Cost
from tallystick_node.workloads.tabular import text
from tallystick_node.workloads.vertical.boosting_parameters import Parameters
from tallystick_node.workloads.vertical.model_kinds import TREES
from tallystick_node.workloads.vertical.parameters import DECRYPTION, ENCRYPTION, PRODUCT, Floats
from tallystick_node.workloads.vertical.training import Fitted, Owned, VerticalTraining

TOLD = {  # for the importances
    "owner of the label": "at the end which splits of another owner share a column",
    "other owner": "at the end how much of the whole gain each of its columns has",
}


class Boosting(VerticalTraining[Part, Parameters]):
    """The workload `boosting`."""

    name = "boosting"
    kind = TREES

    def parameters(self, spec: TaskSpec) -> Parameters:
        """Read them. Raises InvalidTask."""
        return Parameters.parse(spec.parameters)

    def promised(self, spec: TaskSpec) -> SecurityStatement:
        """See :class:`VerticalTraining`."""
        promised = secureboost.security(len(spec.inputs), self.parameters(spec).key_bits)
        return replace(
            promised, learns={role: f"{words}; {TOLD[role]}" if role in TOLD else words for role, words in promised.learns.items()}
        )

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """Of the owner of the label, which sends most: every row's ciphertext to each other owner for each tree. As if all rows
        matched."""
        parameters = self.parameters(spec)
        settings, others = parameters.settings, len(spec.inputs) - 1
        matched = min(rows.values(), default=0)
        trained = matched - matched * parameters.held_out // 100
        layout = Layout(max(1, trained), parameters.key_bits)
        widest = max(len(parameters.own(part.party)) for part in spec.inputs if part.party != parameters.target.party)
        cuts = widest * (settings.bins - 1) * ((1 << settings.depth) - 1)  # of all nodes of a tree, at most
        halves = (settings.depth + 1) / 2  # rows that are added of the smaller of two children
        products = trained * (ENCRYPTION + widest * halves) + cuts * (layout.width + others * DECRYPTION / layout.slots)
        told = settings.depth * (matched // 8 + 64)
        return Cost(
            bytes_sent=settings.trees * others * (trained * parameters.key_bits // 4 + told) + 100 * matched,
            rounds=2 * settings.trees * settings.depth + settings.depth + 8,
            seconds=2.0 + settings.trees * products * PRODUCT[parameters.key_bits],
            memory_bytes=200_000_000 + trained * parameters.key_bits + 8 * matched * (widest + 8),
        )

    def train(self, parameters: Parameters, own: Owned) -> Fitted[Part]:
        """See :class:`VerticalTraining`."""
        settings, bits = parameters.settings, parameters.key_bits
        if own.answers is None:
            part = secureboost.assist(own.session, own.owners, own.columns, own.names, settings, bits)
            return Fitted(part, {"splits": len(part.splits), "columns": _importances(part, ask(own.session, own.owners, part))})
        labels, history, gains = own.answers > 0, list[dict[str, Any]](), dict[tuple[int, str], float]()

        def done(tree: int, scores: Floats) -> None:
            history.append({"tree": tree, **quality_words(scores, labels)})
            own.session.progress(f"tree {tree} of {settings.trees}", tree / (settings.trees + 1))

        def chosen(owner: int, name: str, worth: float) -> None:
            gains[owner, name] = worth

        key = generate(bits)
        part = secureboost.lead(own.session, own.owners, own.columns, own.names, labels, settings, key, done, chosen)
        widths = [len(parameters.names(account)) for account in own.accounts]
        columns = _importances(part, share(own.session, own.owners, part, gains, widths))
        return Fitted(
            part, {"splits": len(part.splits), "columns": columns, "history": history, "nodes": nodes(part, own.accounts)}
        )


def _importances(part: Part, shares: Floats) -> list[dict[str, str]]:
    return [{"column": name, "gain": text(each)} for name, each in zip(part.features, shares, strict=True)]


def nodes(part: Part, accounts: Sequence[str]) -> list[dict[str, Any]]:
    """How many nodes each owner's columns split."""
    trees = () if part.ensemble is None else part.ensemble.trees
    counts = Counter(node.owner for tree in trees for node in tree if isinstance(node, Branch))
    return [{"party": account, "nodes": counts[number]} for number, account in enumerate(accounts)]


def quality_words(scores: Floats, labels: Bits) -> dict[str, str]:
    """Loss and area under the ROC curve, where there are rows."""
    return {name: text(value) for name, value in quality(scores, labels).items()} if len(labels) else {}
