"""What a protocol promises, machine-readable: adversary, threshold, assumptions, and what each role learns besides its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SecurityStatement:
    """What a protocol promises. Shown before anyone authorises; recorded with the task."""

    adversary: str  # "semi-honest" | "malicious-with-abort" | "malicious-with-identifiable-abort"
    corruptions: int  # how many parties may collude without learning more than stated, of ``parties``
    parties: int
    computational_bits: int
    statistical_bits: int
    trusted: tuple[str, ...]  # third parties one must trust; empty when none
    learns: Mapping[str, str]  # role -> what that role learns besides its designated output
    references: tuple[str, ...] = ()
