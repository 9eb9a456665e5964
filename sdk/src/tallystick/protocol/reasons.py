"""Reason codes of failed attempts, as `TaskLedger.fail` records them (docs/spec/task.md). A code never changes its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType


class Reason(IntEnum):
    """Why an attempt failed, as its reporter says."""

    INTERNAL = 1
    PEER_SILENT = 2
    PEER_VIOLATION = 3
    TRANSCRIPT_MISMATCH = 4
    STATEMENT_MISMATCH = 5
    DATA = 6
    OUTPUT_POLICY = 7
    RESTARTED = 8
    AUTHORISATION_ENDED = 9
    WORKER = 10
    PEER_ABORTED = 11
    OPENING_DEMANDED = 12
    NOT_VOUCHED = 13
    CHANGED_AT_START = 14


WORDS: Mapping[int, str] = MappingProxyType(
    {
        Reason.INTERNAL: "a fault of the reporter's own node",
        Reason.PEER_SILENT: "the accused sent nothing in time, or closed the link",
        Reason.PEER_VIOLATION: "the accused sent what the protocol does not allow",
        Reason.TRANSCRIPT_MISMATCH: "the two ends of a link saw different messages",
        Reason.STATEMENT_MISMATCH: "the accused claimed or signed another statement",
        Reason.DATA: "the reporter's data broke a rule",
        Reason.OUTPUT_POLICY: "the output policy forbids the release",
        Reason.RESTARTED: "the reporter's node was restarted during the run",
        Reason.AUTHORISATION_ENDED: "a participant or a grant was revoked or suspended during the run",
        Reason.WORKER: "the reporter's worker process died, or ran too long",
        Reason.PEER_ABORTED: "another party ended the run and has not reported why",
        Reason.OPENING_DEMANDED: "the accused is to show where a row stands in its dataset",
        Reason.NOT_VOUCHED: "fewer of the verifiers that the task names vouched in time than it asks for",
        Reason.CHANGED_AT_START: "a dataset, a party's operators, or what counts of enclaves changed as the attempt started",
    }
)


def reason_words(code: int) -> str:
    """A code in words; for one that this release does not know, its number."""
    return WORDS.get(code, f"reason {code}")
