"""What a chain says of enclaves and platforms, for who gives data to one: keys go out only to what counts there.

A snapshot of one block, so that whoever has no chain at hand (a worker, an engine) can hold evidence against it. It goes beside a
full appraisal (:func:`~tallystick.attestation.verifier.appraise`), which it does not replace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from tallystick.attestation.rules import Rule, require
from tallystick.attestation.task_quote import TaskQuote


@dataclass(frozen=True)
class Standing:
    """``enclaves``: identities that are allowed. ``platforms``: first and last second by key (``x || y``), of those registered and
    not revoked."""

    enclaves: frozenset[bytes]
    platforms: Mapping[bytes, tuple[int, int]]

    def to_json(self) -> dict[str, Any]:
        """All of it, with bytes in hexadecimal, for another process."""
        platforms = {key.hex(): list(window) for key, window in self.platforms.items()}
        return {"enclaves": [each.hex() for each in self.enclaves], "platforms": platforms}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """From what :meth:`to_json` gave."""
        platforms = {bytes.fromhex(key): (int(first), int(last)) for key, (first, last) in value["platforms"].items()}
        return cls(frozenset(map(bytes.fromhex, value["enclaves"])), platforms)

    def require(self, quote: bytes, at: int) -> None:
        """Refuse the quote of a platform that does not count at ``at``, or of an enclave that is not allowed: rule 716.

        Raises :class:`~tallystick.attestation.rules.EvidenceRefused`. Verifies nothing else of the quote.
        """
        cut = TaskQuote.cut(quote)
        window = self.platforms.get(cut.platform)
        require(window is not None, Rule.STANDING, "the platform is not registered on chain, or revoked")
        assert window is not None
        require(window[0] <= at <= window[1], Rule.STANDING, "the platform's certificate is not valid now")
        require(cut.report.identity in self.enclaves, Rule.STANDING, "the enclave is not allowed on chain")
