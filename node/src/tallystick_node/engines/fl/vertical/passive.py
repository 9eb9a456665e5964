"""An owner without the label while a tree grows: it adds what it cannot read, and answers for its own cuts."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, receive_block, send_array, send_block
from tallystick_node.engines.fl.vertical.binning import Binned, Integers
from tallystick_node.engines.fl.vertical.boosting import Bits, Local, Node, Settings, divided, split_open
from tallystick_node.engines.fl.vertical.encrypted import Cells, Histograms, Layout
from tallystick_node.engines.fl.vertical.messages import MAX_CANDIDATES, read_bits, send_bits
from tallystick_node.engines.he.errors import HomomorphicError
from tallystick_node.engines.he.paillier.ciphertexts import Ciphertexts, Encryptor

SUBTRACTION = 4  # multiplications that a cell takes when it is found as the rest of its parent


class PassiveParty:
    """One owner's side of all trees. ``local`` keeps the splits."""

    def __init__(self, session: Session, label: int, columns: Binned, settings: Settings, encryptor: Encryptor) -> None:
        self.local = Local(columns, settings.child_rows)
        self._session, self._label, self._columns, self._settings = session, label, columns, settings
        self._encryptor = encryptor
        self._layout = Layout(columns.rows, encryptor.key.bits)
        self._orders: list[Integers] = []  # of each node's candidates as they were sent: the cells that they cut after

    def tree(self) -> None:
        """One tree, level by level. Raises ProtocolViolation and ChannelError naming the owner of the label."""
        histograms = Histograms(self._columns, self._derivatives())
        level = [Node(np.arange(self._columns.rows), 0)]
        places, whole = 1, dict[int, Cells]()
        for depth in range(self._settings.depth):
            open_, _ = split_open(level, self._settings.child_rows)
            if not open_:
                return
            self._announce(open_)
            cells: dict[int, Cells] = {}
            for node, order in zip(open_, self._orders, strict=True):
                self._add(histograms, node, cells, whole)
                self._offer(histograms, cells[node.place], order)
            own = self._answer(open_)
            if depth + 1 == self._settings.depth:
                return
            level, whole = [], {}
            for node, left in zip(open_, self._partition(open_, own), strict=True):
                if left is not None:
                    children = divided(node, left, places)
                    places += 2
                    level += children
                    whole |= dict.fromkeys((each.place for each in children), cells[node.place])

    def _derivatives(self) -> Ciphertexts:
        key, rows = self._encryptor.key, self._columns.rows
        self._session.patience(self._label)
        data = receive_block(self._session.channels[self._label], rows * key.size, "derivatives")
        try:
            return Ciphertexts.from_bytes(key, data, rows)
        except HomomorphicError as error:
            raise ProtocolViolation(self._label, "derivatives", f"sent no ciphertexts: {error}") from None

    def _add(self, histograms: Histograms, node: Node, cells: dict[int, Cells], whole: dict[int, Cells]) -> None:
        """Sums over the node's rows in all cells: of the larger of two siblings as what the smaller leaves of their parent."""
        if node.place in cells:
            return
        other = node.sibling
        extra = SUBTRACTION * self._columns.total // max(1, len(self._columns.bins))
        if other is None or len(node.rows) <= len(other.rows) + extra:
            cells[node.place] = histograms.of(node.rows)
            return
        if other.place not in cells:
            cells[other.place] = histograms.of(other.rows)
        rest = self._columns.counts(node.rows)
        cells[node.place] = histograms.without(whole[node.place], cells[other.place], rest)

    def _announce(self, nodes: Sequence[Node]) -> None:
        """Draw an order of each node's cuts, and tell how many they are."""
        self._orders = []
        for node in nodes:
            cuts = self._columns.cuts(node.rows, self._settings.child_rows)
            order = list(range(len(cuts)))
            secrets.SystemRandom().shuffle(order)
            self._orders.append(cuts[order])
        send_array(self._session, self._label, np.array([len(order) for order in self._orders], np.uint32))

    def _offer(self, histograms: Histograms, cells: Cells, order: Integers) -> None:
        """Send the sums on the left of one node's cuts, in their order and re-randomised.

        The owner of the label decrypts them while the next node's are added up here.
        """
        sums = dict(zip(sorted(order.tolist()), histograms.cumulative(cells, order), strict=True))
        packed = self._layout.pack(self._encryptor.key, [sums[cell] for cell in order.tolist()])
        send_block(self._session.channels[self._label], self._encryptor.refresh(packed).to_bytes())

    def _answer(self, nodes: Sequence[Node]) -> dict[int, Bits]:
        """Keep the splits that are chosen among this owner's cuts, and tell which rows go left: returned by the node's place."""
        session, label = self._session, self._label
        session.patience(label)
        counts = receive_array(session, label, (len(nodes),), "choice", np.uint32).astype(np.int64)
        if counts.max() > MAX_CANDIDATES or any(
            count > len(order) for count, order in zip(counts.tolist(), self._orders, strict=True)
        ):
            raise ProtocolViolation(label, "choice", "chooses more cuts of a node than were offered")
        numbers = np.split(
            receive_array(session, label, (int(counts.sum()),), "choice", np.uint32).astype(np.int64), np.cumsum(counts)[:-1]
        )
        names, found = list[int](), dict[int, Bits]()
        for node, chosen, order in zip(nodes, numbers, self._orders, strict=True):
            if not len(chosen):
                continue
            if chosen.max() >= len(order):
                raise ProtocolViolation(label, "choice", "chooses a cut that was not offered")
            name, left = self.local.record(int(order[chosen].min()), node.rows)
            names.append(int(name, 16))
            found[node.place] = left
        if names:
            send_array(session, label, np.array(names, np.uint64))
            send_bits(session, label, list(found.values()))
        return found

    def _partition(self, nodes: Sequence[Node], own: dict[int, Bits]) -> list[Bits | None]:
        """How each node was split. Raises ProtocolViolation where that is not what this owner said, or leaves too few rows."""
        session, label, least = self._session, self._label, self._settings.child_rows
        session.patience(label)
        (split,) = read_bits(session, label, [len(nodes)], "partition")
        told = iter(read_bits(session, label, [len(nodes[place].rows) for place in np.flatnonzero(split).tolist()], "partition"))
        found: list[Bits | None] = []
        for node, is_split in zip(nodes, split.tolist(), strict=True):
            left = next(told) if is_split else None
            if left is not None and not least <= int(left.sum()) <= len(left) - least:
                raise ProtocolViolation(label, "partition", f"leaves fewer than {least} rows on one side")
            if node.place in own and (left is None or not np.array_equal(left, own[node.place])):
                raise ProtocolViolation(label, "partition", "splits a node otherwise than its chosen cut does")
            found.append(left)
        return found
