"""Linear and logistic regression on columns of several owners, with Paillier and without an arbiter.

As in CAESAR (Chen, Zhou, Wang, Wu, Fang, Tan, Wang, Liu, Wang and Hong, "When Homomorphic Encryption Marries Secret Sharing:
Secure Large-Scale Sparse Logistic Regression and Applications in Risk Control", KDD 2021), weights, predictors, residuals and
gradients exist only as additive shares of two holders, the owner of the label and the first of the other owners. Columns never
leave their owner: it multiplies them with encrypted shares and masks the products (:mod:`masked`, :mod:`holders`). The logistic
function is that of the two-party engine, off by at most 1e-3 everywhere, since a polynomial of degree 3, as is usual, makes the
training diverge once a predictor leaves its interval. The truncations are the engine's too, and never wrap.

Numbers: columns have 11 bits after the point and weights 20; all is modulo 2^64.

Security (semi-honest, one corrupt owner). All that an owner receives until the last message is: ciphertexts under another's key,
which IND-CPA lets a simulator replace by encryptions of 0; as a holder, plaintexts and messages of the two-party engine that are
within 2^-40 (a product) and 2^-38 (the engine) of ones drawn without the others' inputs. The last messages are the other shares of
the owner's own final weights, which are its result. So each learns its own final weights and the sizes. With three owners or more,
the two holders together would learn every predictor and residual: they are assumed not to collude.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session
from tallystick_node.engines.fl.vertical.coefficients import (
    FAMILIES,
    MAX_FEATURES,
    MAX_OWNERS,
    MAX_WEIGHT,
    Coefficients,
    Family,
    require_names,
)
from tallystick_node.engines.fl.vertical.holders import Holder, Peers, assist
from tallystick_node.engines.fl.vertical.masked import MATRIX_BITS, STATISTICAL_BITS, Matrix
from tallystick_node.engines.he.paillier import keys
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.mpc.functions.sigmoid import sigmoid
from tallystick_node.engines.mpc.plan.offers import OFFERS
from tallystick_node.engines.mpc.plan.predict import Ledger, Predictor
from tallystick_node.engines.mpc.plan.stage import Want, staged
from tallystick_node.engines.mpc.protocol import Protocol, Shares
from tallystick_node.engines.mpc.ring import FixedPoint, Ring
from tallystick_node.engines.security import SecurityStatement

COLUMN, WEIGHT, VALUE, FACTOR = 11, 20, 18, 16  # bits after the point: of columns, weights, predictors and residuals, rates
LIMIT = float(1 << MATRIX_BITS - 1 - COLUMN)  # columns stay below 16 in magnitude
TARGET = 1 << 10  # and targets below this
MAX_BATCH, MAX_ROWS = 1 << 16, 1 << 24

Floats = NDArray[np.float64]
Done = Callable[[int], None]
T = TypeVar("T")


class Diverged(ArithmeticError):  # noqa: N818 - says what happened
    """Weights left the range of the fixed-point numbers: the rate is too large, or a holder sent another share than its own."""


@dataclass(frozen=True)
class Settings:
    """Mini-batch gradient descent over the rows in their order (shuffle them alike beforehand), of the mean loss plus
    ridge/2 |weights|^2 without the intercept. It ends after ``epochs``: the loss is never shown.

    Raises ValueError for what the fixed-point numbers cannot hold.
    """

    family: Family
    epochs: int
    batch: int
    rate: float
    ridge: float = 0.0

    def __post_init__(self) -> None:
        if self.family not in FAMILIES or not 1 <= self.epochs <= 10_000 or not 2 <= self.batch <= MAX_BATCH:
            raise ValueError(f"a linear or logistic model, 1 to 10000 epochs and batches of 2 to {MAX_BATCH} rows are offered")
        if not (2**-10 <= self.rate <= 4 and 0 <= self.ridge * self.rate <= 1):  # NaN compares false
            raise ValueError("the rate must be from 2^-10 to 4, and ridge times rate from 0 to 1")

    def batches(self, rows: int) -> list[slice]:
        """The batches of one epoch; the last may be smaller."""
        return [slice(first, min(first + self.batch, rows)) for first in range(0, rows, self.batch)]


@dataclass(frozen=True)
class Table:
    """One owner's columns, shape (rows, features), and the targets, shape (rows,), where it is the owner of the label.

    Raises ValueError, naming the column, for numbers that are not finite or not below 16 in magnitude: scale and clip them first.
    """

    columns: Floats
    features: tuple[str, ...]
    targets: Floats | None = None

    def __post_init__(self) -> None:
        require_names(self.features)
        if len(self.features) > MAX_FEATURES:
            raise ValueError(f"{len(self.features)} columns: an owner brings at most {MAX_FEATURES}")
        if self.columns.ndim != 2 or self.columns.shape[1] != len(self.features) or not 1 <= len(self.columns) <= MAX_ROWS:
            raise ValueError(f"columns of shape {self.columns.shape} where 1 to {MAX_ROWS} rows of {len(self.features)} were due")
        for name, column in zip(self.features, self.columns.T, strict=True):
            if not (np.abs(column) < LIMIT - 0.5 / (1 << COLUMN)).all():
                raise ValueError(
                    f"column {name!r} has a number that is not below {LIMIT:g} in magnitude: scale the column, or clip it"
                )
        if self.targets is not None and (self.targets.shape != self.columns.shape[:1] or not (np.abs(self.targets) < TARGET).all()):
            raise ValueError(f"the targets must be one number for each row, below {TARGET} in magnitude: scale them")

    def matrix(self) -> Matrix:
        """The columns as integers; after a column of ones with the owner of the label."""
        encoded = np.rint(np.ldexp(self.columns, COLUMN)).astype(np.int64)
        if self.targets is None:
            return encoded
        return np.column_stack([np.full(len(encoded), 1 << COLUMN), encoded])


def train(
    session: Session,
    owners: Sequence[int],
    table: Table,
    settings: Settings,
    key_bits: int,
    key: keys.PrivateKey | None = None,
    done: Done = lambda _epoch: None,
) -> Coefficients:
    """This owner's part of the model: the weights of its own columns, and with the owner of the label the intercept.

    ``owners`` are all owners' numbers in the session: that of the label first, who has ``table.targets``, then the other holder.
    All have the same rows in the same order, and the same settings. The first two need a ``key`` of ``key_bits`` bits, of their own
    and for this task only. ``done`` hears of each epoch. Raises ValueError for unfit input, ProtocolViolation and ChannelError
    naming a peer, and :class:`Diverged`.
    """
    _require_fitting(session, owners, table, settings, key_bits, key)
    peers = Peers(session, owners)
    peers.mark("sizes")
    matrix = table.matrix()
    widths = _exchange_sizes(peers, *matrix.shape)
    peers.exchange_keys(key, key_bits)
    if key is None:
        for epoch in range(settings.epochs):
            for rows in settings.batches(len(matrix)):
                assist(peers, matrix[rows])
                assist(peers, np.ascontiguousarray(matrix[rows].T))
            done(epoch)
        shares = None
    else:
        shares = _Descent(Holder(peers, key), matrix, table.targets, widths, settings).run(done)
    own = _exchange_weights(peers, shares, matrix.shape[1])
    intercept, weights = (own[0], own[1:]) if peers.place == 0 else (None, own)
    return Coefficients(settings.family, len(owners), peers.place, table.features, tuple(weights), intercept)


class _Descent:
    """The holders' part of the training."""

    def __init__(self, holder: Holder, matrix: Matrix, targets: Floats | None, widths: Sequence[int], settings: Settings) -> None:
        self._holder, self._matrix, self._settings = holder, matrix, settings
        self._targets = None if targets is None else FixedPoint(VALUE).encode(targets)
        self._pair = _Pair.between(holder.peers)
        self._widths = list(widths)
        self._weights = np.zeros(sum(widths), np.uint64)
        decay = np.full(sum(widths), round(settings.rate * settings.ridge * (1 << COLUMN + VALUE + FACTOR - WEIGHT)), np.uint64)
        decay[0] = 0
        self._decay = decay

    def run(self, done: Done) -> list[Ring]:
        """This holder's share of every owner's final weights."""
        for epoch in range(self._settings.epochs):
            for rows in self._settings.batches(len(self._matrix)):
                self._step(rows)
            done(epoch)
        return self._parted(self._weights)

    def _step(self, rows: slice) -> None:
        holder, batch = self._holder, self._matrix[rows]
        count = len(batch)
        weights = self._parted(self._weights)
        sealed = {place: holder.seal(weights[place]) for place in holder.peers.linked}
        products = holder.multiply(batch, weights, sealed, [count] * len(weights))
        residual = self._pair.mean(np.sum(products, axis=0, dtype=np.uint64), self._settings.family)
        if self._targets is not None:
            residual = residual - self._targets[rows]
        sealed = dict.fromkeys(holder.peers.linked, holder.seal(residual))
        across = np.ascontiguousarray(batch.T)
        gradient = np.concatenate(holder.multiply(across, [residual] * len(weights), sealed, self._widths))
        step = self._pair.step(gradient, self._weights * self._decay, self._settings.rate, count)
        self._weights = self._weights - step

    def _parted(self, weights: Ring) -> list[Ring]:
        return np.split(weights, np.cumsum(self._widths)[:-1])


class _Pair:
    """The two-party engine between the holders, on this side's shares."""

    def __init__(self, engine: Protocol, other: int) -> None:
        """``other`` is the number in the session of the owner on the other side."""
        self._engine, self._other = engine, other

    @classmethod
    def between(cls, peers: Peers) -> _Pair:
        """This side's end. Raises as the engine does."""
        (place,) = peers.holders
        other, session = peers.owners[place], peers.session
        link = session.channels[other]
        alone = replace(session, index=peers.place, channels={place: link}, patience=lambda _peer: None)
        return cls(_named(other, lambda: ObliviousAdditive(alone)), other)

    def mean(self, predictors: Ring, family: Family) -> Ring:
        """The expected targets, of predictors as products leave them."""
        values = self._truncate(predictors, COLUMN + WEIGHT - VALUE)
        if family == "linear":
            return values
        return _named(self._other, lambda: sigmoid(self._engine, Shares((values,)), fraction=VALUE)).parts[0]

    def step(self, gradient: Ring, decayed: Ring, rate: float, count: int) -> Ring:
        """By how much the weights change, of a gradient that is summed over ``count`` rows and of the ridge's part."""
        shift = max(1, (count - 1).bit_length())
        factor = round(rate * (1 << shift + FACTOR) / count)
        change = self._truncate(gradient, shift) * np.uint64(factor) + decayed
        return self._truncate(change, COLUMN + VALUE + FACTOR - WEIGHT)

    def _truncate(self, share: Ring, bits: int) -> Ring:
        """Shifted right; the error is 0 or -1."""
        return _named(self._other, lambda: self._engine.truncate(Shares((share,)), bits)).parts[0]


def _named(other: int, work: Callable[[], T]) -> T:
    """The engine numbers its two parties 0 and 1: what it finds wrong is told under the owner's number."""
    try:
        return work()
    except ProtocolViolation as error:
        raise ProtocolViolation(other, error.step, error.rule) from None


def between_holders(settings: Settings, rows: int, weights: int) -> tuple[int, int]:
    """What the two-party engine takes of a training on so many rows of a model of so many weights, the intercept among them: the
    bytes that the holder that sends more sends, and rounds. Found by a rehearsal of one batch of each size."""
    offer = OFFERS[ObliviousAdditive.name]
    with staged(offer, 2) as stage:
        assert stage is not None  # it makes randomness in advance
        once = Ledger(2)
        once.note(*stage.opening)
        sent, rounds, wanted = np.zeros(2, np.int64), 0, Counter[Want]()
        for count, times in Counter(each.stop - each.start for each in settings.batches(rows)).items():
            predictor = Predictor(offer, 2, stage)
            pair = _Pair(predictor, 1)
            pair.mean(np.zeros(count, np.uint64), settings.family)
            pair.step(np.zeros(weights, np.uint64), np.zeros(weights, np.uint64), settings.rate, count)
            sent += settings.epochs * times * np.array(predictor.ledger.bytes_sent)
            rounds += settings.epochs * times * predictor.ledger.rounds
            for want, elements in predictor.ledger.wanted.items():
                wanted[want] += settings.epochs * times * elements
        for stock in stage.stocks(wanted):
            once.note(*stock)
    return int(max(sent + once.bytes_sent)), rounds + once.rounds


def _require_fitting(
    session: Session, owners: Sequence[int], table: Table, settings: Settings, key_bits: int, key: keys.PrivateKey | None
) -> None:
    if not 2 <= len(owners) <= MAX_OWNERS or len(set(owners)) != len(owners) or session.index not in owners:
        raise ValueError(f"a vertical model has 2 to {MAX_OWNERS} different owners, this party among them")
    place = owners.index(session.index)
    if (place == 0) != (table.targets is not None):
        raise ValueError("the first owner has the targets, and nobody else")
    if place > 0 and not table.features:
        raise ValueError("an owner without the label needs a column")
    if (place < 2) != (key is not None) or key_bits not in keys.STRENGTH or (key and key.public.bits != key_bits):
        raise ValueError("the first two owners need a key of the agreed number of bits, and nobody else")
    if table.targets is not None and settings.family == "logistic" and not np.isin(table.targets, (0, 1)).all():
        raise ValueError("the targets of a logistic model are 0 or 1")


def _exchange_sizes(peers: Peers, rows: int, width: int) -> list[int]:
    """The owners' numbers of columns, as far as this one is told. Raises ProtocolViolation unless all have as many rows."""
    own = np.array([rows, width], np.uint64).tobytes()
    for place in peers.linked:
        peers.send(place, own)
    widths = [0] * len(peers.owners)
    widths[peers.place] = width
    for place in peers.linked:
        others, widths[place] = np.frombuffer(peers.receive(place, len(own), "sizes"), np.uint64).tolist()
        if others != rows:
            raise peers.violation(place, "sizes", f"has another number of rows than this party's {rows}")
        if not 1 <= widths[place] <= MAX_FEATURES + 1:
            raise peers.violation(place, "sizes", f"does not have 1 to {MAX_FEATURES} columns")
    return widths


def _exchange_weights(peers: Peers, shares: list[Ring] | None, width: int) -> list[float]:
    """Each owner gets both shares of its own weights."""
    peers.mark("weights")
    total = np.zeros(width, np.uint64)
    if shares is not None:
        total += shares[peers.place]
        for place in peers.linked:
            peers.send(place, shares[place].tobytes())
    for place in peers.holders:
        total += np.frombuffer(peers.receive(place, total.nbytes, "weights"), np.uint64)
    whole = total.view(np.int64)
    most = MAX_WEIGHT << WEIGHT
    if not -most < whole.min() <= whole.max() < most:
        raise Diverged(f"weights are not below {MAX_WEIGHT} in magnitude: use a smaller rate, or scale columns and targets")
    found: list[float] = np.ldexp(whole.astype(np.float64), -WEIGHT).tolist()
    return found


def security(parties: int, key_bits: int) -> SecurityStatement:
    """What the training promises ``parties`` owners, the holders' keys having ``key_bits`` bits."""
    encryption, engine = keys.security(key_bits), ObliviousAdditive.security(2)
    return replace(
        encryption,
        parties=parties,
        computational_bits=min(encryption.computational_bits, engine.computational_bits),
        statistical_bits=min(STATISTICAL_BITS, engine.statistical_bits),
        learns={
            "owner of the label": "the number of columns of each owner; with more than two owners it and the first of the others"
            " must not collude: together they learn every predictor and residual",
            "first of the other owners": "the number of columns of each owner",
            "other owner": "the numbers of columns of the first two owners",
        },
        references=(*encryption.references, "Chen et al., CAESAR, KDD 2021", *engine.references),
    )
