"""Sums of a training under homomorphic encryption, as a task chooses them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

from tallystick.protocol.errors import InvalidTask, MalformedDocument
from tallystick.protocol.fields import address
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.fl.aggregation.ckks import CkksSum
from tallystick_node.engines.fl.aggregation.journal import Journal
from tallystick_node.engines.fl.aggregation.paillier import PaillierSum
from tallystick_node.engines.fl.aggregation.record import Record
from tallystick_node.engines.fl.federation import Federation
from tallystick_node.engines.he.ckks import SUMS, released_bits
from tallystick_node.engines.he.paillier.vectors import VectorCode
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.workloads.training.choice import Choice, Price
from tallystick_node.workloads.vertical.parameters import DECRYPTION, ENCRYPTION, KEY_BITS, PRODUCT

CKKS_KEY = 263_000  # bytes of a public key, about
CKKS_NUMBER = 4e-6  # seconds for a number at holder and adder together


def _key_bits(value: Any, where: str) -> int:
    if value not in KEY_BITS or isinstance(value, bool):
        raise MalformedDocument(f"{where}: must be one of {', '.join(map(str, KEY_BITS))}")
    return int(value)


@dataclass(frozen=True)
class Encrypted(Choice):
    """Sums under a key of ``holder``, added by ``adder``: parties of the task who must not collude."""

    holder: str
    adder: str
    reads: ClassVar[Mapping[str, Callable[[Any, str], Any]]] = {"holder": address, "adder": address}

    def __post_init__(self) -> None:
        if self.holder == self.adder:
            raise MalformedDocument("parameters.aggregation.adder: who adds and who holds the key must be two parties")

    @abstractmethod
    def encrypted(self, length: int, owners: int) -> tuple[int, float]:
        """Bytes of an encrypted vector, and the seconds that a round of them takes."""

    @abstractmethod
    def key(self) -> tuple[int, float]:
        """Bytes of the public key, and the seconds that making it takes."""

    def places(self, spec: TaskSpec) -> tuple[int, int]:
        """Holder and adder among the parties of the session."""
        return spec.parties.index(self.holder), spec.parties.index(self.adder)

    def check(self, spec: TaskSpec) -> None:
        """See :class:`Choice`."""
        super().check(spec)
        for role, account in (("holder", self.holder), ("adder", self.adder)):
            if account not in spec.parties:
                raise InvalidTask(
                    f"parameters.aggregation.{role} is no party of the task",
                    party=account,
                    remedy="name an owner or a receiver of the task",
                )

    def learns(self, spec: TaskSpec) -> Mapping[str, str]:
        """See :class:`Choice`."""
        return {
            f"holder of the key {self.holder} and adder {self.adder} together": "every owner's change of the model and its"
            " measures in every round: the two must not collude; each alone learns the sum, as all do",
            "owner that deviates": "nothing more; it can give a change that is larger than its bound, up to where no such sum can"
            " be: then the training ends and nobody is named. Whoever sends no ciphertext is named",
            "holder or adder that deviates": "an adder may have the change of a single owner decrypted in the place of the sum, so"
            " that all parties learn it; it may drop or add changes, and the holder may tell another sum: the two are trusted for"
            " the model, and the adder for the changes",
        }

    def price(self, spec: TaskSpec, lengths: Sequence[int]) -> Price:
        """Of the holder: eight bytes for each number to every party, and where it owns rows its encrypted vectors."""
        owners, peers = len(spec.inputs), len(spec.parties) - 1
        made = [self.encrypted(length, owners) for length in lengths]
        own = sum(size for size, _ in made) if spec.input_of(self.holder) is not None else 0
        size, making = self.key()
        seconds = making + sum(spent for _, spent in made)
        return Price(own + peers * (size + 8 + 8 * sum(lengths)), 3 * len(lengths) + 1, seconds, 64 + 16 * owners)


@dataclass(frozen=True)
class Paillier(Encrypted):
    """Exact on fixed-point steps, and slow to decrypt."""

    key_bits: int
    name, reads = "paillier", MappingProxyType({**Encrypted.reads, "key_bits": _key_bits})

    def make(self, spec: TaskSpec, federation: Federation, journal: Journal | Record | None) -> PaillierSum:
        """See :class:`Choice`."""
        return PaillierSum(*self.places(spec), self.key_bits)

    def encrypted(self, length: int, owners: int) -> tuple[int, float]:
        """See :class:`Encrypted`."""
        blocks = VectorCode(length, owners, self.key_bits).blocks
        return blocks * self.key_bits // 4 + 8, 0.01 + blocks * PRODUCT[self.key_bits] * (2 * ENCRYPTION + DECRYPTION)

    def key(self) -> tuple[int, float]:
        """See :class:`Encrypted`."""
        return self.key_bits // 8, 1.0


@dataclass(frozen=True)
class Ckks(Encrypted):
    """Approximate, and quick for long vectors."""

    name = "ckks"

    def require(self, federation: Federation, held_out: int) -> None:
        """See :class:`Choice`."""
        super().require(federation, held_out)
        if not held_out:
            raise ValueError("the aggregation ckks adds noise to every sum, which would be taken for measures: hold some rows out")

    def make(self, spec: TaskSpec, federation: Federation, journal: Journal | Record | None) -> CkksSum:
        """See :class:`Choice`."""
        return CkksSum(*self.places(spec))

    def promised(self, spec: TaskSpec, federation: Federation) -> SecurityStatement:
        """See :class:`Choice`. Every number that the holder tells costs some of what hides its key: those of all rounds, and of the
        measures at the end, which are taken at most twice."""
        told = federation.packing.length * (federation.schedule.rounds + 2)
        return replace(super().promised(spec, federation), statistical_bits=released_bits(told))

    def encrypted(self, length: int, owners: int) -> tuple[int, float]:
        """See :class:`Encrypted`."""
        return -(-length // SUMS.slots) * SUMS.ciphertext_limit + 8, 0.02 * owners + CKKS_NUMBER * max(length, SUMS.slots)

    def key(self) -> tuple[int, float]:
        """See :class:`Encrypted`."""
        return CKKS_KEY, 0.5
