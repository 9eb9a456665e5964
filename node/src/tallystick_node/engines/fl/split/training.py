"""Training between owners: activations go to the owner of the label, noised gradients come back, batch by batch.

The order of the rows is common knowledge, so nobody asks: another owner sends what its bottom gives for the next batch, gets the
gradients of the loss by it, takes its step, and goes on.

Adversary: semi-honest; what each learns is stated in :func:`security`. A malicious owner of the label could send gradients that
make a bottom give its columns away (Pasquini, Ateniese and Bernaschi, "Unleashing the tiger", CCS 2021): no check here finds them.
Messages are checked all the same, for length and range; what is wrong raises :class:`ProtocolViolation`.

A ``key`` is an owner's secret of ``KEY`` bytes: its first weights come from it, and the noise of the owner of the label. Draw a
fresh one for each training with ``secrets``; the same keys, settings and rows give the same model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, receive_block, send_array
from tallystick_node.engines.fl.parameters import Vector
from tallystick_node.engines.fl.split.network import MAX_OWNERS, Bottom, Done, Local, Settings, grow, require_labels
from tallystick_node.engines.fl.split.parts import Part
from tallystick_node.engines.fl.split.protection import Bits, Protection, most_area
from tallystick_node.engines.fl.split.towers import Normals
from tallystick_node.engines.security import SecurityStatement

HELLO, ACTIVATIONS, GRADIENTS = "hello", "activations", "gradients"
LARGEST = 1e6  # of a gradient's numbers


def lead(
    session: Session,
    owners: Sequence[int],
    columns: Vector,
    features: Sequence[str],
    labels: Bits,
    settings: Settings,
    key: bytes,
    done: Done = lambda _epoch, _loss: None,
) -> Part:
    """Train as the owner of the label: ``owners`` are all owners' numbers in the session, this one's first.

    ``columns`` have shape (rows, features), of the same rows in the same order as the other owners', on a scale of 1; features may
    be none. The others run :func:`assist` with the same settings. ``done`` hears of each epoch and its mean loss. Returns this
    owner's part of the model. Raises ValueError for unfit rows or diverging training; ProtocolViolation and ChannelError naming a
    peer.
    """
    if columns.shape != (len(labels), len(features)) or owners[0] != session.index or not 2 <= len(owners) <= MAX_OWNERS:
        raise ValueError("labels, names and columns are not of one table, another owner leads, or there are not 2 to 64 owners")
    require_labels(labels)
    own = [Local(columns, settings, key)] if features else []
    _meet(session, owners[1:], len(labels), settings)
    share = settings.share(len(owners) - 1)
    others = [
        Remote(session, peer, settings.cut, Protection(share, Normals(key, f"noise {number}")))
        for number, peer in enumerate(owners[1:], 1)
    ]
    bottoms: list[Bottom] = [*own, *others]
    top = grow(settings, bottoms, labels, key, done)
    return Part(0, len(owners), tuple(features), settings.cut, own[0].trained if own else None, top)


def assist(
    session: Session, owners: Sequence[int], columns: Vector, features: Sequence[str], settings: Settings, key: bytes
) -> Part:
    """Train as another owner than that of the label, which is the first of ``owners`` and runs :func:`lead`.

    Returns this owner's part of the model: its own bottom. Raises as :func:`lead` does.
    """
    local = Local(columns, settings, key)
    if columns.shape[1] != len(features) or session.index not in owners[1:] or len(owners) > MAX_OWNERS:
        raise ValueError("names and columns are not of one table, or this party is not among the other owners")
    peer = owners[0]
    _meet(session, [peer], len(columns), settings)
    for _, rows in settings.batches(len(columns)):
        send_array(session, peer, local.forward(rows))
        session.patience(peer)
        local.backward(read_numbers(session, peer, (len(rows), settings.cut), GRADIENTS, LARGEST))
    return Part(owners.index(session.index), len(owners), tuple(features), settings.cut, local.trained, None)


class Remote:
    """Another owner's bottom, as the owner of the label sees it: a :class:`~network.Bottom` over a channel."""

    def __init__(self, session: Session, peer: int, cut: int, protection: Protection) -> None:
        self._session, self._peer, self._cut, self._protection = session, peer, cut, protection

    def forward(self, rows: NDArray[np.int64]) -> Vector:
        """See :class:`Bottom`."""
        self._session.patience(self._peer)
        return read_numbers(self._session, self._peer, (len(rows), self._cut), ACTIVATIONS, 1.0)

    def backward(self, errors: Vector, labels: Bits) -> None:
        """See :class:`Bottom`."""
        noised = self._protection.protect(errors, labels)
        send_array(self._session, self._peer, np.clip(noised, -LARGEST, LARGEST))


def read_numbers(session: Session, peer: int, shape: tuple[int, ...], step: str, largest: float) -> Vector:
    """Numbers from a peer. Raises ProtocolViolation for another length, and unless each is finite and within ``largest``."""
    numbers = receive_array(session, peer, shape, step, np.float64)
    if not (np.abs(numbers) <= largest).all():  # a NaN is not
        raise ProtocolViolation(peer, step, f"sent a number that is not within [-{largest:g}, {largest:g}]")
    return numbers


def _meet(session: Session, peers: Sequence[int], rows: int, settings: Settings) -> None:
    """Compare the numbers of rows and the settings."""
    own = settings.digest(rows)
    for peer in sorted(peers):
        session.channels[peer].mark("split training")
    for peer in peers:
        session.channels[peer].send(rows.to_bytes(8, "little") + own)
    for peer in peers:
        session.patience(peer)
        theirs = receive_block(session.channels[peer], 8 + len(own), HELLO)
        if int.from_bytes(theirs[:8], "little") != rows:
            raise ProtocolViolation(peer, HELLO, f"has another number of rows than this party's {rows}: align the rows first")
        if theirs[8:] != own:
            raise ProtocolViolation(
                peer, HELLO, "has other settings, or takes rows in another order: agree on settings and on NumPy first"
            )


def security(parties: int, settings: Settings) -> SecurityStatement:
    """What the training promises ``parties`` owners under these settings."""
    if math.isinf(settings.divergence):
        labels = "exact gradients of all rows, from whose lengths and directions the labels can be read"
    else:
        labels = (
            "noised gradients of all rows, from which, all epochs and other owners together, labels are told apart with an area"
            f" under the ROC curve of at most {most_area(settings.divergence):.3f} while gradients of a class are normal; a row"
            " far from its class's mean is protected less"
        )
    return SecurityStatement(
        adversary="semi-honest",
        corruptions=parties - 1,
        parties=parties,
        computational_bits=128,
        statistical_bits=0,
        trusted=(),
        learns={
            "owner of the label": f"for each row, other owner and epoch the {settings.cut} numbers that the owner's bottom gives,"
            " from which columns can be guessed, and computed by whoever knows the bottom and gives it as many numbers as columns",
            "other owner": f"{labels}; whatever its own columns tell of the label, in a bottom that was trained for it; and what"
            " the gradients tell of the other owners' columns",
        },
        references=(
            "Vepakomma et al., Split learning for health, arXiv 1812.00564, 2018",
            "Li et al., Label leakage and protection in two-party split learning, ICLR 2022",
            "Pasquini et al., Unleashing the tiger, CCS 2021",
            "Fu et al., Label inference attacks against vertical federated learning, USENIX Security 2022",
        ),
    )
