"""Tasks as the chain tells them: the state of one, its history, and waiting until it is final."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tallystick.chain.aio import pause
from tallystick.chain.connection import Chain
from tallystick.protocol import canonical
from tallystick.protocol.errors import ChainUnreachable, Deadline, NotFound, PeerFailed, Refused, TallystickError
from tallystick.protocol.reasons import reason_words

STATES = ("None", "Proposed", "Running", "Proved", "Failed", "Cancelled", "Expired")
FINAL = ("Proved", "Cancelled", "Expired")
#: How long a failed task is watched for a new attempt, beyond what the chain itself takes to tell nodes of the failure and to take
#: an acceptance. The parties' nodes begin one within a second or two, or never.
RETRY_SECONDS = 5.0
NOBODY = "0x" + "00" * 20


@dataclass(frozen=True)
class TaskState:
    """A task on chain at one moment. Times in seconds since 1970, 0 before they are known."""

    task: str
    state: str
    attempt: int
    accepted: int  # bit i: party i accepted this attempt
    started_at: int
    run_by: int


def present(chain: Chain) -> int:
    """What a block that came now would say: a chain may make blocks only for transactions, and its clock stands between them."""
    return max(chain.now(), int(time.time()))


def state_of(chain: Chain, task: str) -> TaskState:
    """A task's state. Raises NotFound."""
    found = chain.tasks.task_at(canonical.unhex32(task))
    if not found["state"]:
        raise NotFound("the chain knows no such task", party=task, remedy="`tally task list` shows those it knows")
    state = STATES[found["state"]]
    return TaskState(task.lower(), state, found["attempt"], found["accepted"], found["startedAt"], found["runBy"])


def wait(chain: Chain, task: str, seconds: float, each: Callable[[TaskState], None] = lambda _: None) -> TaskState:
    """Wait until a task is final, with ``each`` for every change. Raises Deadline or NotFound.

    A failed task is final when no party begins another attempt: the chain alone cannot tell, so it is watched a while. An endpoint
    that answered once may be silent for as long as the wait lasts. Raises ChainUnreachable where it is silent at the beginning or
    the end.
    """
    began = time.monotonic()
    last: TaskState | None = None
    changed, patience = began, RETRY_SECONDS
    while True:
        try:
            now = state_of(chain, task)
            goes_on = now != last and now.state == "Failed" and _may_go_on(chain, now)
        except ChainUnreachable:
            if last is None or time.monotonic() - began > seconds:
                raise
            pause(max(0.1, chain.profile.poll_seconds))
            continue
        if now != last:
            each(now)
            last, changed = now, time.monotonic()
            patience = RETRY_SECONDS + (chain.profile.reporting_seconds if goes_on else 0)
        if now.state in FINAL or (now.state == "Failed" and time.monotonic() - changed >= patience):
            return now
        if time.monotonic() - began > seconds:
            raise Deadline(
                f"the task is still {now.state.lower()} after {seconds:g} s",
                party=task,
                remedy="`tally task show` says what each party did; anyone may expire it after its deadline",
            )
        pause(max(0.1, chain.profile.poll_seconds))


def _may_go_on(chain: Chain, failed: TaskState) -> bool:
    """Whether the task ledger would take acceptances of another attempt, as far as it is known."""
    try:
        proposal = history_of(chain, failed.task).proposal
    except NotFound:  # its proposal is not final yet
        return True
    return bool(failed.attempt < proposal["attempts"] and chain.now() <= proposal["acceptBy"])


@dataclass(frozen=True)
class History:
    """What the chain's events say about one task."""

    requester: str
    proposal: dict[str, Any]
    block: int
    accepted: dict[int, list[str]]  # attempt -> accounts
    failures: list[dict[str, Any]]
    late: list[str]  # whom the expiry names
    proof: dict[str, Any] | None

    @property
    def parties(self) -> list[str]:
        """The parties' accounts, in the order of the proposal."""
        return [str(each["account"]) for each in self.proposal["parties"]]

    def proposal_tuple(self) -> tuple[Any, ...]:
        """The proposal as the contract takes it."""
        return tuple(
            [tuple(party.values()) for party in value] if name == "parties" else value for name, value in self.proposal.items()
        )

    def problem(self, state: TaskState) -> TallystickError | None:
        """Why a final task has no result, as an error; None when it is proved."""
        if state.state == "Failed":
            last = self.failures[-1] if self.failures else {"reason": "unknown", "accused": "", "reporter": ""}
            return PeerFailed(
                f"attempt {state.attempt} failed: {last['reason']}",
                party=last["accused"] or last["reporter"] or None,
                remedy="mend what the reason names, then submit a new task",
            )
        if state.state == "Expired":
            names = ", ".join(self.late) or "nobody"
            return Deadline(
                f"the task expired; late: {names}", party=self.late[0] if self.late else None, remedy="ask them, then submit again"
            )
        if state.state == "Cancelled":
            return Refused("the requester cancelled the task", rule="cancelled", party=self.requester, remedy="submit a new task")
        return None


def history_of(chain: Chain, task: str) -> History:
    """What happened to a task. Raises NotFound."""
    wanted = canonical.unhex32(task)
    made: History | None = None
    for event in chain.events(0, chain.head()):
        if event.arguments.get("task") != wanted:
            continue
        if event.name == "Proposed":
            made = History(event["requester"], dict(event["proposal"]), event.block, {}, [], [], None)
        elif made is None:
            continue
        elif event.name == "Accepted":
            made.accepted.setdefault(event["attempt"], []).append(event["party"])
        elif event.name == "Failed":
            made.failures.append(
                {
                    "attempt": event["attempt"],
                    "reason": reason_words(event["reason"]),
                    "reporter": event["reporter"],
                    "accused": event["accused"] if event["accused"] != NOBODY else "",
                    "block": event.block,
                }
            )
        elif event.name == "Expired":
            made.late.extend(account for index, account in enumerate(made.parties) if event["late"] >> index & 1)
        elif event.name == "ResultProved":
            proof = {"statement": event["statement"], "block": event.block, "block_hash": event.block_hash}
            made = History(made.requester, made.proposal, made.block, made.accepted, made.failures, made.late, proof)
    if made is None:
        raise NotFound("the chain knows no such task", party=task, remedy="`tally task list` shows those it knows")
    return made
