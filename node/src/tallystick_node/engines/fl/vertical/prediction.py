"""Scores of rows by all owners together: the owner of the label walks the trees, and each owner answers for its own splits.

All trees are walked at once, level by level: the owner of the label asks an owner for the directions of the rows that came to its
splits (Cheng et al., SecureBoost, 2021, section "Federated Inference"). Nobody shows columns or thresholds.

Adversary: semi-honest. The owner of the label learns each row's way through each tree: on which side of thresholds that it does not
know the others' values lie. Another owner learns which rows came to which of its own splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.fl.vertical.binning import Floats, Integers
from tallystick_node.engines.fl.vertical.boosting import MAX_ROWS, Bits
from tallystick_node.engines.fl.vertical.messages import read_bits, send_bits
from tallystick_node.engines.fl.vertical.parts import MAX_DEPTH, Branch, Ensemble, Part

STEP = "prediction"
END = (1 << 64) - 1  # in place of a number of questions


@dataclass(frozen=True)
class Question:
    """Which of ``rows`` go left at the split of this name?"""

    split: str
    rows: Integers


def predict(session: Session, owners: Sequence[int], part: Part, columns: Floats) -> Floats:
    """The scores, log-odds of shape (rows,), at the owner of the label; at the others the same number of zeros.

    ``owners`` are the owners' numbers in the session in the order of the training, ``part`` is this owner's, ``columns`` its own of
    shape (rows, features) for the same rows in the same order. Raises ValueError for a part that does not fit; ProtocolViolation
    and ChannelError naming a peer.
    """
    _require_fitting(part, columns)
    if owners[part.owner] != session.index:
        raise ValueError("the part is another owner's")
    peers = owners[1:] if part.owner == 0 else owners[:1]
    for peer in sorted(peers):
        session.channels[peer].mark(STEP)
    if part.ensemble is None:
        _answer_all(session, owners[0], part, columns)
        return np.zeros(len(columns))
    if part.ensemble.owners != len(owners):
        raise ValueError(f"the model has {part.ensemble.owners} owners, not {len(owners)}")
    rows = np.array([len(columns)], np.uint64)
    for peer in peers:
        send_array(session, peer, rows)
    walk = _Walk(part.ensemble, len(columns))
    while walk.level:
        asked = walk.questions(len(owners))
        for peer, questions in zip(peers, asked[1:], strict=True):
            _ask(session, peer, questions)
        answers = [_answers(part, columns, asked[0])]
        answers += [_read_answers(session, peer, questions) for peer, questions in zip(peers, asked[1:], strict=True)]
        walk.go(answers)
    for peer in peers:
        send_array(session, peer, np.array([END], np.uint64))
    return walk.scores


def score(part: Part, columns: Floats) -> Floats:
    """The scores of rows by a model whose splits are all here. Raises ValueError for another part."""
    _require_fitting(part, columns)
    if part.ensemble is None or part.ensemble.owners != 1:
        raise ValueError("the model has parts with other owners: predict together")
    walk = _Walk(part.ensemble, len(columns))
    while walk.level:
        walk.go([_answers(part, columns, walk.questions(1)[0])])
    return walk.scores


class _Walk:
    """Where all rows are in all trees."""

    def __init__(self, ensemble: Ensemble, rows: int) -> None:
        self.scores = np.full(rows, ensemble.base)
        self._trees = ensemble.trees
        self.level: list[tuple[int, Branch, Integers]] = []
        self._asked: list[list[tuple[int, Branch, Integers]]] = []
        for tree in range(len(ensemble.trees)):
            self._come(tree, 0, np.arange(rows))

    def questions(self, owners: int) -> list[list[Question]]:
        """What to ask each owner at this level."""
        self._asked = [[each for each in self.level if each[1].owner == owner] for owner in range(owners)]
        return [[Question(branch.split, rows) for _, branch, rows in asked] for asked in self._asked]

    def go(self, answers: Sequence[Sequence[Bits]]) -> None:
        """To the next level, as each owner answered."""
        self.level = []
        for asked, lefts in zip(self._asked, answers, strict=True):
            for (tree, branch, rows), left in zip(asked, lefts, strict=True):
                self._come(tree, branch.left, rows[left])
                self._come(tree, branch.right, rows[~left])

    def _come(self, tree: int, place: int, rows: Integers) -> None:
        node = self._trees[tree][place]
        if isinstance(node, Branch):
            if len(rows):
                self.level.append((tree, node, rows))
        else:
            self.scores[rows] += node.value


def _answers(part: Part, columns: Floats, questions: Sequence[Question]) -> list[Bits]:
    splits = [part.splits[question.split] for question in questions]
    return [columns[question.rows, each.feature] <= each.threshold for question, each in zip(questions, splits, strict=True)]


def _ask(session: Session, peer: int, questions: Sequence[Question]) -> None:
    """How many, their splits, how many rows each, and which."""
    send_array(session, peer, np.array([len(questions)], np.uint64))
    send_array(session, peer, np.array([int(each.split, 16) for each in questions], np.uint64))
    send_array(session, peer, np.array([len(each.rows) for each in questions], np.uint64))
    if questions:
        send_array(session, peer, np.concatenate([each.rows for each in questions]).astype(np.uint32))


def _read_answers(session: Session, peer: int, questions: Sequence[Question]) -> list[Bits]:
    if questions:
        session.patience(peer)
    return read_bits(session, peer, [len(each.rows) for each in questions], STEP)


def _answer_all(session: Session, label: int, part: Part, columns: Floats) -> None:
    """Answer until the walk ends. A split is asked for once: what a walk of the trees would not ask is refused."""
    session.patience(label)
    if int(receive_array(session, label, (1,), STEP)[0]) != len(columns):
        raise ProtocolViolation(label, STEP, f"has another number of rows than this party's {len(columns)}")
    unasked = set(part.splits)
    for _ in range(MAX_DEPTH + 1):
        session.patience(label)
        count = int(receive_array(session, label, (1,), STEP)[0])
        if count == END:
            return
        if count > len(unasked):
            raise ProtocolViolation(label, STEP, "asks for more splits than are left")
        if not count:
            continue
        names = [f"{each:016x}" for each in receive_array(session, label, (count,), STEP).tolist()]
        sizes = receive_array(session, label, (count,), STEP)
        if int(sizes.max()) > len(columns):
            raise ProtocolViolation(label, STEP, "asks for more rows than there are")
        rows = receive_array(session, label, (int(sizes.sum()),), STEP, np.uint32).astype(np.int64)
        if len(set(names)) != count or not set(names) <= unasked:
            raise ProtocolViolation(label, STEP, "asks for a split that is not this party's, or twice")
        if len(rows) and rows.max() >= len(columns):
            raise ProtocolViolation(label, STEP, "asks for a row that is not there")
        unasked -= set(names)
        asked = [Question(*pair) for pair in zip(names, np.split(rows, np.cumsum(sizes.astype(np.int64))[:-1]), strict=True)]
        send_bits(session, label, _answers(part, columns, asked))
    raise ProtocolViolation(label, STEP, f"walks deeper than {MAX_DEPTH} levels")


def _require_fitting(part: Part, columns: Floats) -> None:
    if columns.ndim != 2 or columns.shape[1] != len(part.features) or not 0 < len(columns) <= MAX_ROWS:
        raise ValueError(f"columns of shape {columns.shape} where 1 to {MAX_ROWS} rows of {len(part.features)} features were due")
    if not np.isfinite(columns).all():
        raise ValueError("a column has a number that is not finite")
