"""The card of a trained model, for people: what it is, what it is for, from whose rows, how good, and how to check that.

The headings follow Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019), section 4. Everything in it stands in the task's
spec or in the result file, which has the numbers in full; here they are rounded to three digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from tallystick.protocol import canonical
from tallystick.protocol.task import TaskSpec, proposal_of

CARD = "model-card.md"
_KINDS = {"linear": "linear regression", "logistic": "logistic regression", "perceptron": "a perceptron with hidden layers of"}
SUMS: Mapping[str, tuple[str, str]] = {  # by how it was added up: what is seen of a round, and what vouches for it
    "secure": (
        "only the sum of the masked changes is seen",
        "the task's proof shows that the sums used are those of what the owners committed to",
    ),
    "ring": (
        "only the sum of the masked changes is seen, which went round a ring of the owners without a coordinator",
        "that the sums are true is the owners' word: all signed the result",
    ),
    "gossip": (
        "owners averaged their changes with one partner at a time, who sees them, until all had nearly the same",
        "that the means are true is the owners' word: all signed the result",
    ),
    **dict.fromkeys(
        ("median", "trimmed-mean", "krum", "multi-krum"),
        (
            "every party sees every owner's change, and takes the robust mean of them itself",
            "what every owner showed is signed, and all parties compared it; all signed the result",
        ),
    ),
    **dict.fromkeys(
        ("paillier", "ckks"),
        (
            "the changes are encrypted, one party adds them and another decrypts the sum: together these two could see each change",
            "that the sums are true is the word of these two: all signed the result",
        ),
    ),
}
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|#&~"})


def card(spec: TaskSpec, values: Mapping[str, Any]) -> str:
    """The card in Markdown, from the spec of a task of the workload `training` and the values of its result."""
    sections = {
        "Model details": _details(values),
        "Intended use": intended_use(spec),
        "Training and evaluation data": _data(spec, values),
        "Training procedure": _procedure(spec, values),
        "Metrics": _metrics(values),
        "Privacy": _privacy(spec),
        "Caveats and recommendations": _caveats(),
        "Provenance": _provenance(spec, values),
    }
    return document(f"Model card: {plain(values['model']['target']['column'])}", sections)


def document(title: str, sections: Mapping[str, Sequence[str]]) -> str:
    """A card with these headings and the lines under them."""
    lines = [f"# {title}"]
    for heading, content in sections.items():
        lines += ["", f"## {heading}", *content]
    return "\n".join([*lines, ""])


def rounded(number: float) -> str:
    """A number as people read it: three significant digits."""
    return f"{number:.3g}"


def _details(values: Mapping[str, Any]) -> list[str]:
    model = values["model"]
    kind, target = model["kind"], model["target"]
    hidden = ", ".join(map(str, kind.get("hidden", ())))
    size = sum(prod(shape) for _, _, shape in model["layout"])
    answers = target.get("values")
    gives = (
        f"one of {', '.join(map(plain, answers))}" if answers else f"a number; (x - {target['center']}) / {target['scale']} of it"
    )
    return [
        f"- Kind: {_KINDS[kind['name']]}{f' {hidden} units' if hidden else ''}; {size} numbers in `model.safetensors`.",
        f"- It takes (x - center) / scale of these columns, and gives {plain(target['column'])}: {gives}.",
        "",
        "| column | center | scale |",
        "|---|---|---|",
        *(f"| {plain(each['column'])} | {each['center']} | {each['scale']} |" for each in model["features"]),
    ]


def intended_use(spec: TaskSpec) -> list[str]:
    """What the owners agreed to."""
    return [
        f"The owners granted their data for the purpose: {plain(spec.purpose)}.",
        "Another use is none of what they agreed to. Who may use the model is for them and the receivers to settle.",
    ]


def _data(spec: TaskSpec, values: Mapping[str, Any]) -> list[str]:
    held_out = spec.parameters["held_out"]
    rows = "Rows of all owners" if values["rows"] is None else f"{values['rows']} rows of all owners together"
    return [
        f"{rows} trained it. Each owner held out {held_out} percent of its rows, drawn by the task's seed, to judge it by.",
        *inputs(spec),
    ]


def inputs(spec: TaskSpec) -> list[str]:
    """Whose datasets by which grants, as a table."""
    rows = (f"| {each.party} | {each.dataset} | {each.grant} |" for each in spec.inputs)
    return ["", "| owner | dataset | grant |", "|---|---|---|", *rows]


def _procedure(spec: TaskSpec, values: Mapping[str, Any]) -> list[str]:
    said, rounds = spec.parameters, f"{values['rounds']} of at most {spec.parameters['schedule']['rounds']} rounds"
    seen, vouched = SUMS[said["aggregation"]["method"]]
    return [
        f"Federated: {rounds} made this model. In a round every owner trains on its own rows, and",
        f"{seen}; {vouched}.",
        f"- Aggregation: {_aggregation(spec)}.",
        f"- Strategy: {settings(said['strategy'])}.",
        f"- Schedule: {settings(said['schedule'])}.",
        f"- Model: {settings(said['model'])}.",
    ]  # fmt: skip


def _metrics(values: Mapping[str, Any]) -> list[str]:
    if not values["validation"]:
        return ["None: no rows were held out."]
    return [
        "On all owners' held-out rows:",
        *(f"- {name}: {rounded(float(value))}" for name, value in values["validation"].items()),
    ]


def _privacy(spec: TaskSpec) -> list[str]:
    stated, asked = spec.parameters.get("privacy"), spec.security
    bound = (
        f"The training was differentially private: {settings(stated)}."
        if stated
        else "It was not differentially private: nothing bounds what the model tells of a single row."
    )
    return [
        f"- The task asked for protection against {asked.corruptions} colluding parties that are {asked.adversary}.",
        f"- No owner's rows left it; of its changes of the model {SUMS[spec.parameters['aggregation']['method']][0]}.",
        "- Every party of the task knows the model after each round.",
        f"- {bound}",
    ]


def _caveats() -> list[str]:
    return [
        "- Nothing shows that an owner's rows are true or were trained on honestly; what it could do in a round was bounded.",
        "- The held-out rows are the same owners': elsewhere the model may do worse. Judge it on rows of where it shall be used.",
        "- Groups of people were not told apart: compare the metrics for each group that matters before use.",
    ]


def task_lines(spec: TaskSpec) -> list[str]:
    """Which task made the model, and who took part."""
    return [
        f"- Task: {canonical.hex32(proposal_of(spec).id())}, asked for by {spec.requester}",
        f"- Chain: {spec.chain_id}, task ledger {spec.task_ledger}",
        f"- Proof: {spec.proof}",
        f"- Parties: {', '.join(spec.parties)}",
    ]


def _provenance(spec: TaskSpec, values: Mapping[str, Any]) -> list[str]:
    lines = [*task_lines(spec), f"- Aggregation: {_aggregation(spec)}"]
    drawn = values.get("coordinators")
    if drawn:
        by = f"drawn by block {drawn['block']}" if drawn["block"] else "by account"
        lines.append(f"- The sums' coordinators, in turns, {by}: {', '.join(drawn['order'])}")
    return [
        *lines,
        f"- Digest of the model's numbers: {values['model']['digest']}",
        "",
        f"Check it with `tally verify BUNDLE --result result.json{' --aggregate aggregate.bin' if drawn else ''}` and",
        "`tally provenance file model.safetensors --bundle BUNDLE`.",
    ]


def _aggregation(spec: TaskSpec) -> str:
    said = dict(spec.parameters["aggregation"])
    method = plain(said.pop("method"))
    return f"{method} ({settings(said)})" if said else method


def settings(value: Mapping[str, Any]) -> str:
    """A table of the task's parameters in one line."""
    return ", ".join(f"{plain(name)} {_setting(each)}" for name, each in value.items())


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({settings(value)})"
    if isinstance(value, list):
        return " and ".join(plain(str(each)) for each in value)
    return "none" if value is None else plain(str(value))


def plain(text: str) -> str:
    """Text of the spec as Markdown that shows exactly it: nothing in it is markup, and it stays in its line."""
    return "".join(character if character.isprintable() else " " for character in text).translate(_MARKS)
