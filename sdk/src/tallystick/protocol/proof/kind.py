"""The interface of a kind of proof. Its counterpart on chain is an ``IProofVerifier`` of the same name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.subject import Subject
from tallystick.protocol.result import ResultFile


class ProofKind(Protocol):
    """One kind of proof. Every method raises :class:`MalformedDocument` for what is not as its kind demands; where one party is at
    fault, the error names it.

    The commitments of a subject are checked with :meth:`check_commitment` before it is given to the other methods.
    """

    name: str

    def check_commitment(self, text: str) -> None:
        """Refuse text that is not an input's commitment."""

    def assemble(self, subject: Subject, said: Mapping[str, str]) -> bytes:
        """The proof bytes: what ``ProofRegistry.submit`` gets as ``proof``, and ``proof.bin`` holds.

        ``said``: what each party adds to the proof, by account; empty text where its kind needs nothing.
        """

    def require_terms(self, parameters: Mapping[str, Any], parties: int, proof: bytes) -> None:
        """Refuse a proof by ``parties`` that the parameters of its spec do not admit. Most kinds admit whatever they accept."""

    def inputs(self, subject: Subject) -> bytes:
        """``Result.inputs``: 32 bytes."""

    def output(self, subject: Subject, proof: bytes) -> bytes:
        """``Result.output``: 32 bytes."""

    def check(self, subject: Subject, proof: bytes) -> str:
        """Refuse proof bytes that do not show what the kind promises; what they show, in words."""

    def open(self, subject: Subject, proof: bytes, file: ResultFile, aggregate: Iterable[bytes] | None) -> str | None:
        """Refuse a receiver's files that do not open the proved result; what they open, in words.

        ``proof`` has passed :meth:`check`. ``aggregate``: the bytes of the aggregate's file, in pieces. The answer is None
        when that is needed and was not given.
        """


def require_nothing_said(said: Mapping[str, str]) -> None:
    """For kinds whose proof follows from the commitments alone."""
    for party, text in said.items():
        if text:
            raise MalformedDocument("adds to a proof of a kind that takes nothing", party=party)


def require_no_aggregate(aggregate: Iterable[bytes] | None) -> None:
    """For kinds without an aggregate's file."""
    if aggregate is not None:
        raise MalformedDocument("a result of this kind has no aggregate")
