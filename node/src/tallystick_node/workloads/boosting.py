"""`boosting`: gradient-boosted trees for one owner's label on the columns of several owners of the same people.

Rows are matched first; then the owners grow the trees together (:mod:`tallystick_node.engines.fl.vertical`). Each keeps the part of
the model that is about its own columns, as a file of its result, and no other. Rows that were held out are scored by all owners
together, so that the owner of the label learns how good the model is.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData, InvalidTask
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.fl.vertical import secureboost
from tallystick_node.engines.fl.vertical.boosting import quality
from tallystick_node.engines.fl.vertical.encrypted import Layout
from tallystick_node.engines.fl.vertical.parts import Branch, Part
from tallystick_node.engines.fl.vertical.prediction import predict
from tallystick_node.engines.he.paillier.keys import generate
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.base import Cost, Outcome, Workload, require_owners_compute
from tallystick_node.workloads.boosting_parameters import Parameters
from tallystick_node.workloads.tabular import text

PART = "model-part.json"
PRODUCT = {2048: 8e-6, 3072: 1.6e-5}  # seconds for a product of ciphertexts
ENCRYPTION, DECRYPTION = 40, 800  # in products


class Boosting(Workload):
    """The workload `boosting`."""

    name = "boosting"
    proofs: tuple[str, ...] = ("signed-by-all",)

    def check(self, spec: TaskSpec) -> None:
        """Raise InvalidTask unless the spec is a boosting that can run."""
        parameters = Parameters.parse(spec.parameters)
        require_owners_compute(spec)
        parameters.check(spec)

    def columns(self, spec: TaskSpec, party: str) -> Sequence[str]:
        """The party's features, and the label where it has that, and its keys."""
        parameters = Parameters.parse(spec.parameters)
        return parameters.split.columns(party, parameters.used)

    def security(self, spec: TaskSpec) -> SecurityStatement:
        """That of the training, and what the scoring of the held-out rows and the join tell."""
        parameters = Parameters.parse(spec.parameters)
        promised = secureboost.security(len(spec.inputs), parameters.key_bits)
        scored = "; of the rows held out, the same of each tree that they come through" if parameters.held_out else ""
        learns = {role: f"{words}{scored}" for role, words in promised.learns.items()}
        return replace(promised, learns={**learns, **parameters.split.learns(), "receiver": "its own part of the model"})

    def cost(self, spec: TaskSpec, rows: Mapping[str, int]) -> Cost:
        """Of the owner of the label, which sends most: every row's ciphertext to each other owner for each tree. As if all rows
        matched."""
        parameters = Parameters.parse(spec.parameters)
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

    def run(self, spec: TaskSpec, party: str, table: pa.Table | None, session: Session, scratch: Path) -> Outcome:
        """Run one owner's side. Raises OutputRefused where too few rows match, and InvalidData for a label of one value."""
        if table is None:
            raise InvalidTask("an owner has no rows", party=party, remedy="name exactly the owners as receivers")
        parameters = Parameters.parse(spec.parameters)
        session.progress("matching the rows", 0.01)
        table = parameters.split.matched(spec, party, table, session)
        parameters.require_rows(table.num_rows)
        train, test = parameters.drawn(table.num_rows)
        columns = parameters.matrix(party, table)
        labels = parameters.labels(table) if party == parameters.target.party else None
        commitment, opening = _commit(columns, labels)
        (scratch / "opening.json").write_text(json.dumps(opening))
        accounts = parameters.owners(spec)
        owners = [spec.parties.index(account) for account in accounts]
        names = [each.column for each in parameters.own(party)]
        history: list[dict[str, Any]] = []
        if labels is None:
            part = secureboost.assist(session, owners, columns[train], names, parameters.settings, parameters.key_bits)
        else:
            trained = labels[train]

            def done(tree: int, scores: NDArray[np.float64]) -> None:
                history.append({"tree": tree, **quality_words(scores, trained)})
                session.progress(f"tree {tree} of {parameters.settings.trees}", tree / (parameters.settings.trees + 1))

            try:
                part = secureboost.lead(
                    session, owners, columns[train], names, trained, parameters.settings, generate(parameters.key_bits), done
                )
            except ValueError as error:
                raise InvalidData(str(error), remedy="use rows of both values of the target") from None
        scores = predict(session, owners, part, columns[test]) if len(test) else np.empty(0)
        path = scratch / PART
        path.write_bytes(part.to_json())
        values: dict[str, Any] = {"rows": len(train), "held_out": len(test), "owners": accounts, "splits": len(part.splits)}
        if labels is not None:
            values |= {
                "history": history,
                "validation": quality_words(scores, labels[test]),
                "nodes": nodes(part, accounts),
            }
        unknown = [""] * len(spec.parties)  # each owner's commitment is its own word: the run does not show it to others
        return Outcome(commitment=commitment, all_commitments=unknown, result=values, files={PART: path})


def _commit(columns: NDArray[np.float64], labels: NDArray[np.bool_] | None) -> tuple[str, dict[str, str]]:
    """A hiding commitment to the rows that went in, and its opening, which stays with the owner."""
    salt = secrets.token_bytes(32)
    state = hashlib.sha256(salt + np.ascontiguousarray(columns).astype("<f8").tobytes())
    state.update(b"" if labels is None else labels.astype(np.uint8).tobytes())
    return canonical.text(state.digest()), {"salt": salt.hex()}


def nodes(part: Part, accounts: Sequence[str]) -> list[dict[str, Any]]:
    """How many nodes each owner's columns split."""
    trees = () if part.ensemble is None else part.ensemble.trees
    counts = Counter(node.owner for tree in trees for node in tree if isinstance(node, Branch))
    return [{"party": account, "nodes": counts[number]} for number, account in enumerate(accounts)]


def quality_words(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> dict[str, str]:
    """Loss and area under the ROC curve, where there are rows."""
    return {name: text(value) for name, value in quality(scores, labels).items()} if len(labels) else {}
