"""`tally task`: draft, plan, submit and follow computations."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick.chain.connection import Chain
from tallystick.cli import phases
from tallystick.cli.session import Session, address, hex32, of, read, read_json, read_toml, write
from tallystick.cli.terminal import Terminal, moment
from tallystick.client import GrantFile, follow, recurring, settlement
from tallystick.client import plan as planning
from tallystick.client.follow import TaskState
from tallystick.client.settlement import STAGES
from tallystick.protocol import canonical
from tallystick.protocol.dataset import DatasetDescriptor
from tallystick.protocol.errors import MalformedDocument, NotFound
from tallystick.protocol.fields import order
from tallystick.protocol.task import Security, TaskInput, TaskSpec, proposal_of

_SENTENCE = re.compile(r"(?<=[.;]) ")
_LENGTH = re.compile(r"([1-9][0-9]{0,8})([smhd])")
COST = ("bytes_sent", "rounds", "seconds", "memory_bytes")
app = typer.Typer(name="task", help="Draft, plan, submit and follow tasks.", no_args_is_help=True)
Spec = Annotated[Path, typer.Argument(help="A task spec (JSON).")]
Task = Annotated[str, typer.Argument(help="A task's id, 0x….")]


@app.command("draft")
def draft(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="TOML: workload, purpose, parameters, [[inputs]], receivers and the rest.")],
    out: Annotated[Path, typer.Option(help="Where the spec goes.")],
    accept_hours: Annotated[float, typer.Option(min=0.01, help="Hours until every party must have accepted.")] = 24,
) -> None:
    """Write a canonical task spec from TOML, for the configured chain."""
    session = of(context)
    chain = session.chain()
    spec = spec_of(read_toml(source), chain, follow.present(chain) + int(accept_hours * 3600), source.parent)
    write(out, spec.to_bytes())
    session.terminal.record({"spec": str(out), "digest": spec.digest(), "task": proposal_of(spec).id()})


@app.command("plan")
def plan(
    context: typer.Context,
    spec: Spec,
    grant: Annotated[
        list[Path] | None, typer.Option(help="A grant file, to see whether its terms permit the task; repeatable.")
    ] = None,
    descriptor: Annotated[
        list[Path] | None, typer.Option(help="An input's descriptor, whose rows make the predicted cost right; repeatable.")
    ] = None,
    ask: Annotated[bool, typer.Option("--ask/--no-ask", help="Ask the parties' nodes, or only the chain.")] = True,
) -> None:
    """Foretell a task: who learns what, who must approve, what it uses up and costs, until when, and what stands in its way."""
    session = of(context)
    read_spec = TaskSpec.parse(read(spec))
    stated = [GrantFile.parse(read(path)).terms for path in grant or ()]
    known = [DatasetDescriptor.parse(read(path)) for path in descriptor or ()]
    words = planning.ask(session.nodes(), read_spec, {each.owner: each.rows for each in known}) if ask else ()
    terms = {canonical.hex32(each.root()): each for each in stated}
    given = planning.plan(read_spec, session.chain(), words, terms)
    if session.terminal.json_output:
        session.terminal.json(given.to_json())
    else:
        _tell(session.terminal, given)


def _tell(terminal: Terminal, given: planning.Plan) -> None:
    names = ("task", "workload", "purpose", "requester", "proof", "adversary", "corruptions", "run_seconds", "attempts")
    times = {"accept_by": f"{moment(given.accept_by)}, in {max(0, given.accept_by - given.now)} s"}
    terminal.record({**{name: getattr(given, name) for name in names}, **times}, title="The task")
    terminal.line("Who learns what")
    for who, what in vars(given.reveals).items():
        first, *more = _SENTENCE.split(what) if who == "protocol" else [what]  # a line each: a plan may need many
        terminal.line(f"  {who}: {first}")
        for sentence in more:
            terminal.line(f"    {sentence}")
    terminal.line("What it withstands")
    for promise in sorted({_promise(each.security) for each in given.words if each.security}) or ["only the parties' nodes know"]:
        terminal.line(f"  {promise}")
    terminal.line(f"Who must accept: every one; an attempt takes {given.transactions} transactions of theirs together")
    for each in given.parties:
        terminal.line(f"  {each.party}")
        terminal.line(f"    as {each.approves_as}{'; receives the result' if each.receives else ''}")
        for said in _brings(each):
            terminal.line(f"    {said}")
    terminal.line("What it would cost each")
    costs = [{"party": each.account, **{name: _rounded(each.cost.get(name)) for name in COST}} for each in given.words if each.cost]
    terminal.table(("party", *COST), costs, caption="" if costs else "only the parties' nodes know")
    terminal.line("In the way")
    for obstacle in given.obstacles or ("nothing",):
        terminal.line(f"  {obstacle}")


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


@app.command("repeat")
def repeat(
    context: typer.Context,
    spec: Spec,
    grant: Annotated[list[Path], typer.Option(help="A grant file from an owner; once for each input.")],
    every: Annotated[str, typer.Option(help="From one occurrence to the next: a number and s, m, h or d, such as 7d.")],
    times: Annotated[int, typer.Option(min=1, help="How many occurrences there are in all.")],
    folder: Annotated[Path, typer.Option(help="Where it stands what was begun: the same folder goes on from there.")],
    accept_hours: Annotated[float, typer.Option(min=0.01, help="Hours until every party must have accepted an occurrence.")] = 24,
) -> None:
    """Ask for a task again and again, each time on the datasets' newest version; stop at the first that is refused or fails."""
    session = of(context)
    recurrence = recurring.Recurrence(TaskSpec.parse(read(spec)), _seconds(every), times, int(accept_hours * 3600))
    grants = [GrantFile.parse(read(path)) for path in grant]

    def told(number: int, task: str, state: str) -> None:
        session.terminal.record({"occurrence": number, "task": task, "state": state.lower()})

    recurring.repeat(session.client(), recurrence, grants, folder, told)


@app.command("show")
def show(context: typer.Context, task: Task) -> None:
    """Show a task's state on chain: who accepted, what failed and who was late."""
    session = of(context)
    chain = session.chain()
    found, history = follow.state_of(chain, _id(task)), follow.history_of(chain, _id(task))
    accepted = history.accepted.get(found.attempt, [])
    session.terminal.record(
        {
            **_row(found),
            "requester": history.requester,
            "accepted": accepted,
            "waiting_for": [each for each in history.parties if each not in accepted] if found.state == "Proposed" else [],
            "accept_by": history.proposal["acceptBy"],
            "attempts": history.proposal["attempts"],
            "agreement": _agreement(chain, found.task),
            "failures": history.failures,
            "late": history.late,
            "proved_at_block": history.proof["block"] if history.proof else None,
            "proved_in": history.proof["block_hash"] if history.proof else "",
        }
    )


@app.command("list")
def listing(context: typer.Context) -> None:
    """List the tasks in order of their proposals, with the state of now."""
    session = of(context)
    chain = session.chain()
    rows = []
    for event in session.events(chain, "Proposed"):
        found = follow.state_of(chain, "0x" + event["task"].hex())
        rows.append({**_row(found), "requester": event["requester"], "block": event.block})
    session.terminal.table(("task", "state", "attempt", "requester", "block"), rows)


@app.command("watch")
def watch(
    context: typer.Context,
    task: Task,
    seconds: Annotated[float, typer.Option(min=0, help="How long to wait at most.")] = 600,
) -> None:
    """Wait until a task is final, and tell how it goes where the own node can be asked. One without a result is an error."""
    session = of(context)
    chain = session.chain()
    shows = session.terminal.progress.status("waiting") if session.terminal.interactive else nullcontext()
    with shows as status:

        def each(found: TaskState) -> None:
            if status is not None:
                status.update(f"{found.state.lower()}, attempt {found.attempt}")

        with phases.shown(session, _id(task), seconds):
            found = follow.wait(chain, _id(task), seconds, each)
    session.terminal.record(_row(found))
    problem = follow.history_of(chain, _id(task)).problem(found)
    if problem is not None:
        raise problem


@app.command("cancel")
def cancel(context: typer.Context, task: Task) -> None:
    """Withdraw a proposal that has not started (requester)."""
    _close(of(context), task, "cancel")


@app.command("expire")
def expire(context: typer.Context, task: Task) -> None:
    """Close a task whose deadline has passed (anyone)."""
    _close(of(context), task, "expire")


def spec_of(value: dict[str, Any], chain: Chain, accept_by: int, folder: Path) -> TaskSpec:
    """A spec from a TOML file in ``folder``, with a fresh salt. Raises MalformedDocument or NotFound."""
    try:
        inputs = [_input(each, chain, folder) for each in value["inputs"]]
        security = value.get("security", {"adversary": "semi-honest", "corruptions": 1})
        spec = TaskSpec(
            chain_id=chain.deployment.chain_id,
            task_ledger=chain.contracts["TaskLedger"].address,
            requester=address(value["requester"]),
            workload=value["workload"],
            parameters=_parameters(value["parameters"], folder),
            purpose=value["purpose"],
            inputs=tuple(sorted(inputs, key=lambda each: order(each.party))),
            receivers=tuple(sorted((address(each) for each in value["receivers"]), key=order)),
            compute=tuple(sorted((address(each) for each in value.get("compute", [])), key=order)),
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


def _parameters(value: Any, folder: Path) -> dict[str, Any]:
    """The parameters: a table, or the name of a JSON file beside the draft, since TOML has no null."""
    found = read_json(folder / value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise MalformedDocument("the draft's parameters are neither a table nor the name of a JSON file with an object")
    return found


def _input(value: dict[str, Any], chain: Chain, folder: Path) -> TaskInput:
    """One input: ``grant_file`` says it all but the columns, which default to those granted; or every id by itself."""
    if "grant_file" not in value:
        ids = (value["dataset"], value["grant"], value["terms"])
        return TaskInput(address(value["party"]), *ids, tuple(sorted(value["columns"])))
    file = GrantFile.parse(read(folder / value["grant_file"]))
    found = chain.datasets.dataset_at(file.grant.dataset)
    if not found["version"]:
        raise NotFound("the grant is for a dataset that the chain does not know", party=file.terms.dataset)
    return TaskInput(
        party=found["owner"],
        dataset=file.terms.dataset,
        grant=canonical.hex32(file.grant.id()),
        terms=canonical.hex32(file.grant.terms),
        columns=tuple(sorted(value.get("columns", file.terms.columns))),
    )


def _seconds(text: str) -> int:
    """A length of time from a number and its unit. Raises MalformedDocument."""
    found = _LENGTH.fullmatch(text)
    if found is None:
        raise MalformedDocument(f"{text!r} is no length of time", remedy="write a number and s, m, h or d, such as 7d")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def _promise(security: Mapping[str, Any]) -> str:
    """A node's security statement in words."""
    trusted = ", ".join(map(str, security.get("trusted") or ())) or "nobody"
    return (
        f"{security.get('corruptions')} of {security.get('parties')} parties that are {security.get('adversary')}; "
        f"{security.get('computational_bits')} bits of computational and {security.get('statistical_bits')} of statistical "
        f"security; trusts {trusted}"
    )


def _rounded(value: object) -> object:
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value


def _id(task: str) -> str:
    return canonical.hex32(hex32(task))


def _row(found: TaskState) -> dict[str, Any]:
    return {
        "task": found.task,
        "state": found.state.lower(),
        "attempt": found.attempt,
        "started_at": found.started_at,
        "run_by": found.run_by,
    }


def _agreement(chain: Chain, task: str) -> dict[str, Any]:
    """What was agreed about a task and who staked its bond, in short; nothing where no agreement was opened."""
    try:
        stage = STAGES[chain.settlement.escrow_of(canonical.unhex32(task))["stage"]]
    except NotFound:  # a deployment of a release that had no settlement
        return {}
    if stage == STAGES[0]:
        return {}
    deal = settlement.agreed_deal_of(chain, task)
    staked = settlement.posted_by(chain, deal)
    return {"stage": stage, "fee": deal.agreement.fee, "bond": deal.agreement.bond, "staked": ", ".join(staked) or "nobody"}


def _brings(each: planning.PartyPlan) -> list[str]:
    """What is read of a party, and by which grant."""
    said = [f"reads {', '.join(each.reads)}"] if each.reads else []
    if grant := each.grant:
        left = f"{grant.left} of {grant.uses} uses left"
        if grant.epsilon_micros:
            budget, spent = (Decimal(micros) / 1_000_000 for micros in (grant.epsilon_micros, grant.spent_micros))
            left += f", {budget - spent:f} of epsilon {budget:f} left"
        said.append(f"grant {grant.grant[:10]}…: {left}, valid until {moment(grant.not_after)}")
    return said


def _close(session: Session, task: str, function: str) -> None:
    chain = session.chain(signing=True)
    sent = chain.send("TaskLedger", function, follow.history_of(chain, _id(task)).proposal_tuple())
    session.terminal.record({"task": _id(task), "transaction": sent.transaction, "block": sent.block})
