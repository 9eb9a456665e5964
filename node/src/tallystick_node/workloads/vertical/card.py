"""The card of a model that owners of different columns hold in parts: each owner has one with its part.

The headings are those of :mod:`..model_card`. Everything in it stands in the task's spec or in the owner's result file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tallystick.protocol.task import TaskSpec

from tallystick_node.workloads.model_card import document, inputs, intended_use, plain, rounded, settings, task_lines
from tallystick_node.workloads.vertical.model_kinds import KINDS
from tallystick_node.workloads.vertical.parameters import Vertical

_DATA = ("split", "features", "target")


def vertical_card(spec: TaskSpec, parameters: Vertical, party: str, values: Mapping[str, Any], file: str) -> str:
    """The card of ``party``'s part, in ``file``, in Markdown, from the spec and the values of its result."""
    target, asked = plain(parameters.target.column), spec.security
    return document(
        f"Model card: {target}, one owner's part",
        {
            "Model details": _details(spec, parameters, party, values, file),
            "Intended use": intended_use(spec),
            "Training and evaluation data": [
                f"{values['rows']} joint rows trained it; {values['held_out']}, by the task's seed, were held out to judge it.",
                *inputs(spec),
            ],
            "Training procedure": [
                "Vertical: the owners have different columns of the same people, and trained together without showing them.",
                f"- Settings: {settings({name: each for name, each in spec.parameters.items() if name not in _DATA})}.",
            ],
            "Metrics": _metrics(values),
            "Privacy": [
                f"- The task asked for protection against {asked.corruptions} colluding parties that are {asked.adversary}.",
                "- What each owner learnt besides its part stands in the task's security statement.",
                "- It was not differentially private: nothing bounds what the model tells of a single row.",
            ],
            "Caveats and recommendations": [
                "- Nothing shows that an owner's rows are true or were trained on honestly.",
                "- The held-out rows are the same people's: elsewhere the model may do worse. Judge it where it shall be used.",
                "- Groups of people were not told apart: compare the metrics for each group that matters before use.",
            ],
            "Provenance": [
                *task_lines(spec),
                "",
                "Check it with `tally verify BUNDLE --result result.json`, which has this part's digest.",
            ],
        },
    )


def _details(spec: TaskSpec, parameters: Vertical, party: str, values: Mapping[str, Any], file: str) -> list[str]:
    said = spec.parameters["target"]
    gives = f"the chance of {plain(said['values'][1])}" if "values" in said else "a number"
    own = "label and columns" if party == parameters.target.party else "columns"
    return [
        f"- Kind: {KINDS[spec.workload].words}; `{file}` is the part of {party}, about its own {own}.",
        f"- Together the parts give {plain(said['column'])}: {gives}. One part alone says nothing of a row: the workload",
        "  `joint-prediction` scores rows with all of them.",
        "",
        "| owner | column |",
        "|---|---|",
        *(f"| {each.party} | {plain(each.column)} |" for each in parameters.features),
        "",
        f"Owners in the model's order: {', '.join(values['owners'])}.",
    ]


def _metrics(values: Mapping[str, Any]) -> list[str]:
    if not values.get("validation"):
        return ["None here: no rows were held out, or the owner of the label has them."]
    return ["On the rows held out:", *(f"- {name}: {rounded(float(value))}" for name, value in values["validation"].items())]
