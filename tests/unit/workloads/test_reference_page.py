"""docs/reference/workloads.md says what the code does: its examples are tasks, its bounds the code's."""

import json
import re
from pathlib import Path

import pytest
from tallystick_node.engines.mpc.additive import MAX_LENGTH
from tallystick_node.workloads import computation, intersection, keys, scorecard, statistics_parameters
from tallystick_node.workloads.registry import workloads

PAGE = (Path(__file__).parents[3] / "docs/reference/workloads.md").read_text()
PARSE = {
    "statistics": statistics_parameters.Parameters.parse,
    "intersection": intersection.Parameters.parse,
    "computation": computation.Parameters.parse,
    "scorecard": scorecard.Parameters.parse,
}


def section(name):
    return PAGE.split(f"\n## `{name}`\n")[1].split("\n## `")[0]


@pytest.mark.parametrize("name", sorted(PARSE))
def test_the_example_is_a_task(name):
    (example,) = re.findall(rf"```json {name}\n(.*?)```", section(name), re.DOTALL)
    PARSE[name](json.loads(example))


@pytest.mark.parametrize("name", sorted(PARSE))
def test_the_table_has_every_parameter_and_no_other(name):
    (example,) = re.findall(r"```json \w+\n(.*?)```", section(name), re.DOTALL)
    table = section(name).split("| parameter |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(json.loads(example))


def test_every_workload_and_its_proofs_are_on_the_page():
    for name, workload in workloads().items():
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| [`{name}`]"))
        assert [f"`{each}`" for each in workload.proofs] == row.rstrip("| ").split("| ")[-1].split(", ")


def test_the_bounds_are_the_codes():
    page = section("statistics")
    for text in (
        f"0 to {statistics_parameters.MAX_COLUMNS} of `{{name, scale}}`", f"2 to {statistics_parameters.MAX_BINS} edges",
        f"1 to {statistics_parameters.MAX_GROUPS} different values", f"2 to {statistics_parameters.MAX_MINIMUM} |",
        f"at most {statistics_parameters.MAX_TEST:,}", f"at most {MAX_LENGTH:,}",
        *(f"`{each}`" for each in (*statistics_parameters.COMPUTE, *statistics_parameters.OPERATORS)),
    ):  # fmt: skip
        assert text in page, text
    for text in (*keys.TYPES, *intersection.MODES, *keys.DUPLICATES, intersection.RESULT):
        assert f"`{text}`" in section("intersection"), text
