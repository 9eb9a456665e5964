"""Reason codes of failed attempts, as `TaskLedger.fail` records them. Codes never change their meaning."""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """Why an attempt failed."""

    INTERNAL = 1  # the reporter's own fault
    PEER_SILENT = 2  # the accused sent nothing in time, or closed the link
    PEER_VIOLATION = 3  # the accused sent what the protocol does not allow
    TRANSCRIPT_MISMATCH = 4  # the ends of a link saw different messages
    STATEMENT_MISMATCH = 5  # the accused signed, or claimed, another statement
    DATA = 6  # the reporter's data broke a rule
    OUTPUT_POLICY = 7  # the output policy forbids the release (a group too small)
    RESTARTED = 8  # the reporter's node was restarted during the run
    AUTHORISATION_ENDED = 9  # a participant or a grant was revoked during the run
    WORKER = 10  # the reporter's worker process died or ran too long
