"""SecureBoost: trees on columns of several owners, whose sums of derivatives the owner of the label decrypts.

For each tree the owner of the label encrypts every row's derivatives under its own key. The other owners add them up on the left of
each cut of their columns and send the re-randomised sums back, in an order that is drawn anew for each node. The owner of the label
finds the best cut; whose it is keeps its column and threshold under a random name and tells which rows go left.

Adversary: semi-honest. What each learns is stated in :func:`security`. Messages are checked all the same: ciphertexts, counts and
partitions, and that the rows sent left have the sums that were decrypted. What is wrong raises :class:`ProtocolViolation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, receive_block, send_array, send_block
from tallystick_node.engines.fl.vertical.binning import Binned, Floats, Integers
from tallystick_node.engines.fl.vertical.boosting import (
    FRACTION,
    MAX_ROWS,
    Bits,
    Chosen,
    Done,
    Local,
    Node,
    Settings,
    Sums,
    grow,
    require_trainable,
)
from tallystick_node.engines.fl.vertical.encrypted import Layout
from tallystick_node.engines.fl.vertical.messages import MAX_CANDIDATES, read_bits, send_bits
from tallystick_node.engines.fl.vertical.parts import Part
from tallystick_node.engines.fl.vertical.passive import PassiveParty
from tallystick_node.engines.he.errors import HomomorphicError
from tallystick_node.engines.he.paillier import keys
from tallystick_node.engines.he.paillier.ciphertexts import Ciphertexts, Encryptor, decrypt
from tallystick_node.engines.security import SecurityStatement


def lead(
    session: Session,
    owners: Sequence[int],
    columns: Floats,
    features: Sequence[str],
    labels: Bits,
    settings: Settings,
    key: keys.PrivateKey,
    done: Done = lambda _tree, _scores: None,
    chosen: Chosen = lambda _owner, _name, _worth: None,
) -> Part:
    """Train as the owner of the label: ``owners`` are all owners' numbers in the session, this one's first.

    ``columns`` have shape (rows, features), of the same rows in the same order as the other owners'. The others run :func:`assist`
    with the same settings. ``done`` hears of each tree, and all rows' scores after it; ``chosen`` of each split what it is worth
    (:func:`~boosting.grow`). Returns this owner's part of the model. Raises ValueError for unfit rows; ProtocolViolation and
    ChannelError naming a peer.
    """
    binned = Binned(columns, settings.bins)
    if len(labels) != binned.rows or len(features) != columns.shape[1] or owners[0] != session.index:
        raise ValueError("labels, names and columns are not of one table, or another owner leads")
    require_trainable(labels)
    mark(session, owners, "boosting")
    for owner in owners[1:]:
        send_array(session, owner, np.array([binned.rows], np.uint64))
        send_block(session.channels[owner], key.public.to_bytes())
    for owner in owners[1:]:
        session.patience(owner)
        if int(receive_array(session, owner, (1,), "rows")[0]) != binned.rows:
            raise ProtocolViolation(owner, "rows", f"has another number of rows than this party's {binned.rows}")
    local = Local(binned, settings.child_rows)
    seal = _Seal(key, Layout(binned.rows, key.public.bits))
    remotes = [Remote(session, owner, settings.child_rows, seal) for owner in owners[1:]]
    ensemble = grow(settings, [local, *remotes], labels, done, chosen)
    return Part(0, tuple(features), local.splits, ensemble)


def assist(
    session: Session, owners: Sequence[int], columns: Floats, features: Sequence[str], settings: Settings, key_bits: int
) -> Part:
    """Train as another owner than that of the label, which is the first of ``owners`` and runs :func:`lead`.

    ``key_bits`` is the size of key that the owners agreed on. Returns this owner's part of the model: its own splits. Raises as
    :func:`lead` does.
    """
    binned = Binned(columns, settings.bins)
    if len(features) != columns.shape[1] or not 0 < binned.rows <= MAX_ROWS:
        raise ValueError(f"names and columns are not of one table of 1 to {MAX_ROWS} rows")
    mark(session, owners, "boosting")
    label = owners[0]
    session.patience(label)
    rows = int(receive_array(session, label, (1,), "rows")[0])
    data = receive_block(session.channels[label], key_bits // 8, "key")
    try:
        key = keys.PublicKey.from_bytes(data)
    except HomomorphicError as error:
        raise ProtocolViolation(label, "key", f"sent no public key: {error}") from None
    send_array(session, label, np.array([binned.rows], np.uint64))
    if rows != binned.rows:
        raise ProtocolViolation(label, "rows", f"has another number of rows than this party's {binned.rows}")
    passive = PassiveParty(session, label, binned, settings, Encryptor(key))
    for _ in range(settings.trees):
        passive.tree()
    return Part(owners.index(session.index), tuple(features), passive.local.splits, None)


def mark(session: Session, owners: Sequence[int], phase: str) -> None:
    """Mark a phase on the links that the training uses: those of the owner of the label."""
    for owner in sorted(owners[1:] if session.index == owners[0] else owners[:1]):
        session.channels[owner].mark(phase)


class _Seal:
    """Encrypts a tree's derivatives once for all owners."""

    def __init__(self, key: keys.PrivateKey, layout: Layout) -> None:
        self.key, self.layout = key, layout
        self._encryptor = Encryptor(key)
        self._of: Integers | None = None
        self._data = b""

    def data(self, first: Integers, second: Integers) -> bytes:
        """The rows' ciphertexts."""
        if self._of is not first:
            self._data, self._of = self._encryptor.encrypt(self.layout.join(first, second)).to_bytes(), first
        return self._data

    def open(self, data: bytes, sums: int) -> Sums:
        """The sums in a message. Raises HomomorphicError."""
        ciphertexts = Ciphertexts.from_bytes(self.key.public, data, self.layout.blocks(sums))
        return self.layout.unpack(decrypt(self.key, ciphertexts), sums)


class Remote:
    """Another owner, as the owner of the label sees it: an :class:`~boosting.Owner` over a channel."""

    def __init__(self, session: Session, peer: int, least: int, seal: _Seal) -> None:
        self._session, self._peer, self._least, self._seal = session, peer, least, seal
        self._violation = partial(ProtocolViolation, peer)
        self._nodes: Sequence[Node] = ()
        self._sums: dict[int, Sums] = {}
        self._names: set[str] = set()
        self._first, self._second = np.empty(0, np.int64), np.empty(0, np.int64)

    def begin(self, first: Integers, second: Integers) -> None:
        """See :class:`Owner`."""
        self._first, self._second = first, second
        send_block(self._session.channels[self._peer], self._seal.data(first, second))

    def candidates(self, nodes: Sequence[Node]) -> list[Sums]:
        """See :class:`Owner`."""
        session, peer = self._session, self._peer
        session.patience(peer)
        counts = receive_array(session, peer, (len(nodes),), "candidates", np.uint32).astype(np.int64)
        if counts.max() > MAX_CANDIDATES:
            raise self._violation("candidates", f"announces more than {MAX_CANDIDATES} cuts of one node")
        found = [self._opened(node, count) for node, count in zip(nodes, counts.tolist(), strict=True)]
        self._nodes, self._sums = nodes, {node.place: each for node, each in zip(nodes, found, strict=True)}
        return found

    def _opened(self, node: Node, count: int) -> Sums:
        """One node's sums, decrypted and checked."""
        size = self._seal.layout.blocks(count) * self._seal.key.public.size
        data = receive_block(self._session.channels[self._peer], size, "candidates")
        try:
            sums = self._seal.open(data, count)
        except HomomorphicError:  # no more is said: what decrypts to what is nobody's business
            raise self._violation("candidates", "sent what are no sums of the encrypted derivatives") from None
        most, whole = len(node.rows) << FRACTION, int(self._second[node.rows].sum())
        if count and not (np.abs(sums.first).max() <= most and sums.second.min() >= 1 and sums.second.max() < whole):
            raise self._violation("candidates", "sent sums that are not those of some of a node's rows")
        return sums

    def split(self, wanted: Sequence[tuple[Node, Integers]]) -> list[tuple[str, Bits]]:
        """See :class:`Owner`."""
        session, peer = self._session, self._peer
        ties = {node.place: numbers for node, numbers in wanted}
        empty = np.empty(0, np.int64)
        chosen = [ties.get(node.place, empty) for node in self._nodes]
        send_array(session, peer, np.array([len(each) for each in chosen], np.uint32))
        send_array(session, peer, np.concatenate(chosen).astype(np.uint32))
        if not wanted:
            return []
        session.patience(peer)
        names = [f"{name:016x}" for name in receive_array(session, peer, (len(wanted),), "split").tolist()]
        lefts = read_bits(session, peer, [len(node.rows) for node, _ in wanted], "split")
        if len(set(names)) != len(names) or self._names & set(names):
            raise self._violation("split", "gives two splits one name")
        self._names |= set(names)
        for (node, numbers), left in zip(wanted, lefts, strict=True):
            self._require_told(node, numbers, left)
        return list(zip(names, lefts, strict=True))

    def learn(self, nodes: Sequence[Node], lefts: Sequence[Bits | None]) -> None:
        """See :class:`Owner`."""
        send_bits(self._session, self._peer, [np.array([left is not None for left in lefts])])
        send_bits(self._session, self._peer, [left for left in lefts if left is not None])

    def _require_told(self, node: Node, numbers: Integers, left: Bits) -> None:
        """The rows on the left are as many as they must be, and have the sums of one of the chosen candidates."""
        rows, sums = node.rows[left], self._sums[node.place]
        if not self._least <= len(rows) <= len(left) - self._least:
            raise self._violation("split", f"leaves fewer than {self._least} rows on one side")
        same = (sums.first[numbers] == self._first[rows].sum()) & (sums.second[numbers] == self._second[rows].sum())
        if not same.any():
            raise self._violation("split", "sends other rows left than those whose sums it sent")


def security(parties: int, key_bits: int) -> SecurityStatement:
    """What the training promises ``parties`` owners under a key of ``key_bits`` bits."""
    encryption = keys.security(key_bits)
    return replace(
        encryption,
        parties=parties,
        learns={
            "owner of the label": "for each node and other owner the number of cuts that the owner's columns offer, the sums of the"
            " derivatives on the left of each cut without its column and threshold and in random order, whose cut a node was split"
            " at, and the rows of every node",
            "other owner": "the rows of every node above the last level of each tree, who of them went which way, which of its own"
            " cuts were chosen, and nothing else of the labels; rows that part tell which have alike labels",
        },
        references=(
            *encryption.references,
            "Cheng et al., SecureBoost, IEEE Intelligent Systems, 2021",
            "Chen et al., SecureBoost+, arXiv 2110.10927",
        ),
    )
