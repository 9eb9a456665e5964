"""`tally task`: draft, plan, submit and follow computations."""

from __future__ import annotations

import secrets
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick.chain.connection import Chain
from tallystick.cli.participant import address
from tallystick.cli.session import Session, hex32, of, read, read_toml, write
from tallystick.client import GrantFile
from tallystick.protocol import canonical
from tallystick.protocol.errors import Deadline, MalformedDocument, NotFound
from tallystick.protocol.fields import order
from tallystick.protocol.task import Security, TaskInput, TaskSpec, proposal_of

app = typer.Typer(name="task", help="Draft, plan, submit and follow tasks.", no_args_is_help=True)
STATES = ("none", "proposed", "running", "proved", "failed", "cancelled", "expired")
FINAL = ("proved", "cancelled", "expired")
Spec = Annotated[Path, typer.Argument(help="A task spec (JSON).")]
Task = Annotated[str, typer.Argument(help="A task's id, 0x….")]


@app.command("draft")
def draft(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="TOML: workload, purpose, parameters, inputs, receivers and the rest.")],
    out: Annotated[Path, typer.Option(help="Where the spec goes.")],
    accept_hours: Annotated[float, typer.Option(min=0.01, help="Hours until every party must have accepted.")] = 24,
) -> None:
    """Write a canonical task spec from TOML, for the configured chain."""
    session = of(context)
    chain = session.chain()
    spec = spec_of(read_toml(source), chain, chain.now() + int(accept_hours * 3600))
    write(out, spec.to_bytes())
    session.terminal.record({"spec": str(out), "digest": spec.digest(), "task": proposal_of(spec).id()})


@app.command("plan")
def plan(context: typer.Context, spec: Spec) -> None:
    """Show who must approve, what is read of each party, who receives, and what security was asked for."""
    session = of(context)
    given = TaskSpec.parse(read(spec))
    approve = [
        {
            "party": party,
            "reads": list(entry.columns) if (entry := given.input_of(party)) else [],
            "dataset": entry.dataset if entry else "",
            "receives": party in given.receivers,
        }
        for party in given.parties
    ]
    summary = {
        "task": canonical.hex32(proposal_of(given).id()),
        "workload": given.workload,
        "purpose": given.purpose,
        "adversary": given.security.adversary,
        "corruptions": given.security.corruptions,
        "proof": given.proof,
        "accept_by": given.accept_by,
        "run_seconds": given.run_seconds,
        "attempts": given.attempts,
    }
    if session.terminal.json_output:
        session.terminal.json({**summary, "parties": approve})
        return
    session.terminal.record(summary)
    session.terminal.table(("party", "reads", "dataset", "receives"), approve, caption="every one of them must accept")


@app.command("submit")
def submit(
    context: typer.Context,
    spec: Spec,
    grant: Annotated[list[Path], typer.Option(help="A grant file from an owner; once for each input.")],
) -> None:
    """Propose a task on chain and hand its spec and grants to the parties' nodes."""
    session = of(context)
    grants = [GrantFile.parse(read(path)) for path in grant]
    task = session.client().submit(TaskSpec.parse(read(spec)), grants)
    session.terminal.record({"task": task})


@app.command("show")
def show(context: typer.Context, task: Task) -> None:
    """Show a task's state on chain."""
    session = of(context)
    session.terminal.record(_state(session.chain(), task))


@app.command("list")
def listing(context: typer.Context) -> None:
    """List the tasks in order of their proposals, with the state of now."""
    session = of(context)
    chain = session.chain()
    rows = []
    for event in session.events(chain, "Proposed"):
        found = _state(chain, "0x" + event["task"].hex())
        rows.append({**found, "requester": event["requester"], "block": event.block})
    session.terminal.table(("task", "state", "attempt", "requester", "block"), rows)


@app.command("watch")
def watch(
    context: typer.Context,
    task: Task,
    seconds: Annotated[float, typer.Option(min=0, help="How long to wait at most.")] = 600,
) -> None:
    """Wait until a task is final."""
    session = of(context)
    chain = session.chain()
    give_up = time.monotonic() + seconds
    shows = session.terminal.progress.status("waiting") if session.terminal.interactive else nullcontext()
    with shows as status:
        while True:
            found = _state(chain, task)
            if found["state"] in FINAL:
                break
            if time.monotonic() >= give_up:
                raise Deadline(
                    f"the task is still {found['state']} after {seconds:g} s",
                    party=task,
                    remedy="watch on with a longer --seconds, or look at the parties' nodes",
                )
            if status is not None:
                status.update(f"{found['state']}, attempt {found['attempt']}")
            time.sleep(max(chain.profile.poll_seconds, 0.2))
    session.terminal.record(found)


@app.command("cancel")
def cancel(context: typer.Context, task: Task) -> None:
    """Withdraw a proposal that has not started (requester)."""
    _close(of(context), task, "cancel")


@app.command("expire")
def expire(context: typer.Context, task: Task) -> None:
    """Close a task whose deadline has passed."""
    _close(of(context), task, "expire")


def spec_of(value: dict[str, Any], chain: Chain, accept_by: int) -> TaskSpec:
    """A spec from a TOML file, with a fresh salt. Raises MalformedDocument."""
    try:
        inputs = [
            TaskInput(address(each["party"]), each["dataset"], each["grant"], each["terms"], tuple(sorted(each["columns"])))
            for each in value["inputs"]
        ]
        security = value.get("security", {"adversary": "semi-honest", "corruptions": 1})
        spec = TaskSpec(
            chain_id=chain.deployment.chain_id,
            task_ledger=chain.contracts["TaskLedger"].address,
            requester=address(value["requester"]),
            workload=value["workload"],
            parameters=value["parameters"],
            purpose=value["purpose"],
            inputs=tuple(sorted(inputs, key=lambda each: order(each.party))),
            receivers=tuple(sorted((address(each) for each in value["receivers"]), key=order)),
            security=Security(security["adversary"], security["corruptions"]),
            proof=value.get("proof", "signed-by-all"),
            accept_by=accept_by,
            run_seconds=value.get("run_seconds", 600),
            attempts=value.get("attempts", 1),
            salt="0x" + secrets.token_hex(32),
        )
    except KeyError as error:
        raise MalformedDocument(f"the draft misses {error.args[0]!r}", remedy="see docs/reference/cli.md") from None
    except (TypeError, AttributeError):
        raise MalformedDocument("the draft has a value of the wrong type") from None
    return TaskSpec.parse(spec.to_bytes())


def _state(chain: Chain, task: str) -> dict[str, Any]:
    found = chain.call("TaskLedger", "taskAt", hex32(task))
    if not found["state"]:
        raise NotFound("the chain knows no such task", party=task, remedy="`tally task list` shows those it knows")
    return {
        "task": task.lower(),
        "state": STATES[found["state"]],
        "attempt": found["attempt"],
        "accepted": found["accepted"].bit_count(),
        "started_at": found["startedAt"],
        "run_by": found["runBy"],
    }


def _close(session: Session, task: str, function: str) -> None:
    chain = session.chain(signing=True)
    wanted = hex32(task)
    found = next((each for each in session.events(chain, "Proposed") if each["task"] == wanted), None)
    if found is None:
        raise NotFound("the chain knows no such task", party=task, remedy="`tally task list` shows those it knows")
    proposal = [
        [tuple(party.values()) for party in value] if name == "parties" else value for name, value in found["proposal"].items()
    ]
    sent = chain.send("TaskLedger", function, tuple(proposal))
    session.terminal.record({"task": task.lower(), "transaction": sent.transaction, "block": sent.block})
