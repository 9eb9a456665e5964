"""The ways in which a training may add up what its owners say, as the task chooses among them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from tallystick.protocol.errors import InvalidTask, MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.task import PROJECTION_ABSENT, PROJECTION_VERIFIED, VECTOR_SUM_VERIFIED, TaskSpec, tolerated

from tallystick_node.engines.fl.aggregation import gossip, ring
from tallystick_node.engines.fl.aggregation.gossip import GossipSum
from tallystick_node.engines.fl.aggregation.journal import Journal
from tallystick_node.engines.fl.aggregation.record import Record
from tallystick_node.engines.fl.aggregation.ring import RingSum
from tallystick_node.engines.fl.aggregation.robust import RobustSum
from tallystick_node.engines.fl.aggregation.secure import SecureSum
from tallystick_node.engines.fl.federation import Federation
from tallystick_node.workloads.features import decimal
from tallystick_node.workloads.training.choice import Choice, Price
from tallystick_node.workloads.training.encryption import Ckks, Paillier

LEAST_ERROR, MOST_ERROR = 1e-12, 0.01  # of gossip
MAX_ARBITRARY = 7  # of at most 16 owners
SIGNED = 96  # bytes of a digest and a signature
VOUCHED = 97  # bytes of a key and its institution's word for it
COLLUDING = "the sum of the other owners' changes and measures: those of one, where all but one collude"
LEFT = (
    "about its last change, where the model moves little: the sum of the round after lacks it, and the others' changes are nearly"
    " the same in both"
)
RESULT = "the owners are trusted for the model"


def _error(value: Any, where: str) -> float:
    error = decimal(value, where)
    if not LEAST_ERROR <= error <= MOST_ERROR:
        raise MalformedDocument(f"{where}: must be from {LEAST_ERROR:g} to {MOST_ERROR:g}")
    return error


@lru_cache(maxsize=64)
def _steps(owners: int, error: float) -> int:
    """How many steps of gossip a round takes, about: the mean of some rounds, whose partners are drawn."""
    drawn = [gossip.steps(range(owners), bytes([seed]), error) for seed in range(16)]
    return -(-sum(drawn) // len(drawn))


def _arbitrary(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_ARBITRARY:
        raise MalformedDocument(f"{where}: must be a number of owners from 1 to {MAX_ARBITRARY}")
    return value


@dataclass(frozen=True)
class Secure(Choice):
    """Masked sums through coordinators in turns, committed to and proved by projections, or by openings of commitments."""

    name, proofs = "secure", (PROJECTION_VERIFIED, *PROJECTION_ABSENT, VECTOR_SUM_VERIFIED)

    def make(self, spec: TaskSpec, federation: Federation, journal: Journal | Record | None) -> SecureSum:
        """As many may drop out as the kind of proof tolerates: who is not named absent signs the statement, so a round without more
        would prove nothing."""
        dropped = tolerated(spec.proof) / len(spec.inputs)
        if isinstance(journal, Record):
            return SecureSum(dropped=dropped, record=journal, patient=True)
        return SecureSum(dropped=dropped, journal=journal, patient=True)

    def learns(self, spec: TaskSpec) -> Mapping[str, str]:
        """See :class:`Choice`."""
        return {"owners that collude": COLLUDING} | (
            {"everybody, of an owner that drops out": LEFT} if tolerated(spec.proof) else {}
        )

    def price(self, spec: TaskSpec, lengths: Sequence[int]) -> Price:
        """Four bytes for each number to the coordinator of a round, six to each party when a party coordinates itself."""
        owners, peers = len(spec.inputs), len(spec.parties) - 1
        turns = -(-len(lengths) // owners)
        own = sum(6 * length + 800 * owners for length in lengths[:turns])
        others = sum(4 * length + 400 * owners for length in lengths[turns:])
        seconds = sum(0.01 * owners + length * owners * 4e-8 for length in lengths)
        return Price(peers * own + others, 8 * len(lengths), seconds, 40 * owners)


@dataclass(frozen=True)
class Ring(Choice):
    """Masked sums that go round a ring: no coordinator."""

    name = "ring"

    def make(self, spec: TaskSpec, federation: Federation, journal: Journal | Record | None) -> RingSum:
        """See :class:`Choice`."""
        return RingSum()

    def learns(self, spec: TaskSpec) -> Mapping[str, str]:
        """See :class:`Choice`."""
        return {
            "owners that collude": f"{COLLUDING}, whatever they send",
            "owner that deviates": "nothing more; but it can change the sum that the others get, and is found out, though not"
            f" named, only where no such sum can be, or the models differ at the end: {RESULT}",
        }

    def price(self, spec: TaskSpec, lengths: Sequence[int]) -> Price:
        """Short vectors go to everybody at once; of longer ones every owner passes on two shares of all but one piece."""
        owners, peers = len(spec.inputs), len(spec.parties) - 1
        sent, rounds, seconds = 32 * peers, 1, 0.0
        for length in lengths:
            words, short = length + 1, length < ring.SHORT
            parts = peers if short else (2 * (owners - 1) + peers + 1 - owners) / owners
            sent += int(4 * words * parts)
            rounds += 1 if short else 2 * (owners - 1)
            seconds += 0.002 * owners + words * owners * 2e-8
        return Price(sent, rounds, seconds, 40)


@dataclass(frozen=True)
class Gossip(Choice):
    """Averages with one partner at a time, until all are within ``error`` of the mean."""

    error: float
    name, hides, reads = "gossip", False, MappingProxyType({"error": _error})

    def make(self, spec: TaskSpec, federation: Federation, journal: Journal | Record | None) -> GossipSum:
        """See :class:`Choice`."""
        return GossipSum(self.error)

    def learns(self, spec: TaskSpec) -> Mapping[str, str]:
        """See :class:`Choice`."""
        return {
            "partner in a step": "in an owner's first step of a round its change of the model and its measures, later weighted"
            " means of several owners': rows can be guessed from them",
            "owner that deviates": "nothing more; it can claim more weight than it has and move the mean, and is named only where"
            f" what it sends can be no weighted mean, or it settles a round beyond the error: {RESULT}",
        }

    def price(self, spec: TaskSpec, lengths: Sequence[int]) -> Price:
        """Eight bytes for each number in every step with a partner, and to every party where a party settles the round."""
        owners, peers = len(spec.inputs), len(spec.parties) - 1
        steps = _steps(owners, self.error)
        meetings, turns = steps * (owners - owners % 2) / owners, -(-len(lengths) // owners)
        sent = sum(8 * (length + owners) * meetings for length in lengths) + sum(8 * length * peers for length in lengths[:turns])
        seconds = sum(steps * (0.002 + length * 5e-8) for length in lengths)
        return Price(int(sent), (steps + 1) * len(lengths), seconds, 64)


class Robust(Choice):
    """A mean that a few owners' updates cannot move far, nor their weights, which scale it. Of quality and losses, which stand
    between the two in a vector, the sums are taken."""

    hides = False

    @abstractmethod
    def stands(self, owners: int) -> int:
        """How many of so many owners may send what they like."""

    def make(self, spec: TaskSpec, federation: Federation, journal: Journal | Record | None) -> RobustSum:
        """See :class:`Choice`."""
        packing = federation.packing
        return RobustSum.of(self.name, self.stands(len(spec.inputs)), packing.length - packing.size - 1)

    def require(self, federation: Federation, held_out: int) -> None:
        """See :class:`Choice`."""
        super().require(federation, held_out)
        if federation.strategy.weighting != "uniform" or federation.strategy.controls:
            raise ValueError(
                f"the aggregation {self.name} counts owners alike: take weighting uniform, and a strategy but scaffold"
            )
        if federation.schedule.stopping is not None:
            raise ValueError(f"the aggregation {self.name} believes each owner of its quality: set stop to null")

    def check(self, spec: TaskSpec) -> None:
        """See :class:`Choice`."""
        super().check(spec)
        owners, stands = len(spec.inputs), self.stands(len(spec.inputs))
        least = RobustSum.of(self.name, stands).least
        if owners < least:
            raise InvalidTask(
                f"the aggregation {self.name} that stands {stands} arbitrary owners needs {least} owners, not {owners}",
                remedy="name more inputs, or a smaller number in parameters.aggregation.arbitrary",
            )

    def learns(self, spec: TaskSpec) -> Mapping[str, str]:
        """See :class:`Choice`."""
        stands = self.stands(len(spec.inputs))
        return {
            "every party": "every owner's change of the model and its measures in every round: rows can be guessed from them",
            "owner that deviates": f"nothing more; the rule stands {stands} of them, and their word on losses and quality is"
            " believed; one that shows two parties two changes, or a number beyond its bound, is named",
        }

    def price(self, spec: TaskSpec, lengths: Sequence[int]) -> Price:
        """Four bytes for each number to every party, and twice of every owner its key and the signed digest of what it showed."""
        owners, peers = len(spec.inputs), len(spec.parties) - 1
        sent = peers * sum(4 * length + (VOUCHED + SIGNED) * (1 + owners) for length in lengths)
        seconds = sum(0.005 * owners + length * owners * (1e-7 + owners * 2e-9) for length in lengths)
        return Price(sent, 2 * len(lengths), seconds, 24 * owners)


@dataclass(frozen=True)
class Median(Robust):
    """The median of each number."""

    name = "median"

    def stands(self, owners: int) -> int:
        """Fewer than half."""
        return (owners - 1) // 2


@dataclass(frozen=True)
class TrimmedMean(Robust):
    """The mean of each number without the ``arbitrary`` smallest and greatest."""

    arbitrary: int
    name, reads = "trimmed-mean", MappingProxyType({"arbitrary": _arbitrary})

    def stands(self, owners: int) -> int:
        """As the task says."""
        return self.arbitrary


class Krum(TrimmedMean):
    """The change that has the closest neighbours."""

    name = "krum"


class MultiKrum(TrimmedMean):
    """The mean of the changes that have the closest neighbours."""

    name = "multi-krum"


METHODS: Mapping[str, type[Choice]] = {
    each.name: each for each in (Secure, Ring, Gossip, Median, TrimmedMean, Krum, MultiKrum, Paillier, Ckks)
}


def read_choice(value: Any, where: str) -> Choice:
    """From ``{method, ...}``. Raises MalformedDocument."""
    name = value.get("method") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in METHODS:
        raise MalformedDocument(f"{where}.method: must be one of {', '.join(METHODS)}")
    kind = METHODS[name]
    Fields(value, ("method", *kind.reads), where)
    return kind(**{key: read(value[key], f"{where}.{key}") for key, read in kind.reads.items()})
