"""docs/reference/workloads.md says what the code does: its examples are tasks, its bounds the code's."""

import json
import re
from pathlib import Path

import pytest
from tallystick_node.engines.fl.split import network
from tallystick_node.engines.fl.transfer import representation
from tallystick_node.engines.fl.vertical import binning, parts
from tallystick_node.engines.fl.vertical import regression as regression_engine
from tallystick_node.engines.mpc.additive import MAX_LENGTH
from tallystick_node.engines.mpc.models import group_tests
from tallystick_node.engines.mpc.models.answers import LINKS, OUTPUTS
from tallystick_node.engines.mpc.models.trees import RULES
from tallystick_node.engines.psi import circuit, circuit_bins, labels
from tallystick_node.engines.tee.joint import MAX_INPUT
from tallystick_node.workloads import alignment, categories, features, keys
from tallystick_node.workloads.enclave import parameters as enclave_parameters
from tallystick_node.workloads.intersection import labels as intersection_labels
from tallystick_node.workloads.intersection import parameters as intersection_parameters
from tallystick_node.workloads.intersection import sum as intersection_sum
from tallystick_node.workloads.linked import parameters as linked_parameters
from tallystick_node.workloads.lookup import parameters as lookup_parameters
from tallystick_node.workloads.plans import (
    aggregation,
    architecture,
    column_parameters,
    computation,
    prediction_parameters,
    ranking,
    regression,
    scorecard,
)
from tallystick_node.workloads.registry import workloads
from tallystick_node.workloads.statistics import parameters as statistics_parameters
from tallystick_node.workloads.training import parameters as training_parameters
from tallystick_node.workloads.vertical import boosting_parameters, joint_prediction_parameters, split_training, transfer
from tallystick_node.workloads.vertical import regression as vertical_regression

PAGE = (Path(__file__).parents[3] / "docs/reference/workloads.md").read_text()
PARSE = {
    "statistics": statistics_parameters.Parameters.parse,
    "intersection": intersection_parameters.Parameters.parse,
    "intersection-sum": intersection_sum.Parameters.parse,
    "linked-statistics": linked_parameters.Parameters.parse,
    "lookup": lookup_parameters.Parameters.parse,
    "computation": computation.Parameters.parse,
    "regression": regression.Parameters.parse,
    "scorecard": scorecard.Parameters.parse,
    "column-statistics": column_parameters.Parameters.parse,
    "aggregation": aggregation.Parameters.parse,
    "ranking": ranking.Parameters.parse,
    "prediction": prediction_parameters.Parameters.parse,
    "training": training_parameters.Parameters.parse,
    "boosting": boosting_parameters.Parameters.parse,
    "shared-boosting": boosting_parameters.SharedParameters.parse,
    "vertical-regression": vertical_regression.Parameters.parse,
    "split-training": split_training.Parameters.parse,
    "joint-prediction": joint_prediction_parameters.Parameters.parse,
    "transfer": transfer.Parameters.parse,
    "enclave": enclave_parameters.Parameters.parse,
}


def section(name):
    return PAGE.split(f"\n## `{name}`\n")[1].split("\n## `")[0]


@pytest.mark.parametrize("name", sorted(PARSE))
def test_the_example_is_a_task(name):
    (example,) = re.findall(rf"```json {name}\n(.*?)```", section(name), re.DOTALL)
    PARSE[name](json.loads(example))


@pytest.mark.parametrize("name", sorted(PARSE))
def test_the_table_has_every_parameter_and_no_other(name):
    (example,) = re.findall(r"```json [\w-]+\n(.*?)```", section(name), re.DOTALL)
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
    for text in (*keys.TYPES, *intersection_parameters.MODES, *keys.DUPLICATES, *intersection_parameters.FORMATS):
        assert f"`{text}`" in section("intersection"), text
    for text in (
        f"1 to {intersection_labels.MAX_COLUMNS} columns", f"`bytes`, 1 to {intersection_labels.MAX_TEXT},",
        f"most {labels.MAX_WIDTH} bytes",
    ):  # fmt: skip
        assert text in section("intersection"), text


def test_the_bounds_of_the_joint_tables_are_the_codes():
    for name, texts in {
        "linked-statistics": (
            f"0 to {linked_parameters.MAX_COLUMNS} of", f"1 to {linked_parameters.MAX_BITS} |",
            f"2 to {linked_parameters.MAX_GROUPS} different", f"2 to {linked_parameters.MAX_MINIMUM:,} |",
            f"at most 2^{circuit_bins.MAX_ITEMS.bit_length() - 1} distinct", f"at most {circuit.MAX_COLUMNS} words",
            f"at most 2^{circuit.MAX_WORDS.bit_length() - 1} words",
            f"more than {linked_parameters.ROOM},", *(f"`{each}`" for each in statistics_parameters.COMPUTE),
        ),
        "column-statistics": (
            f"0 to {column_parameters.MAX_COLUMNS} of", f"0 to {column_parameters.MAX_GROUPS} of",
            f"2 to {categories.MAX_CATEGORIES} different", f"0 to {column_parameters.MAX_QUANTILES} decimal texts",
            f"0 to {column_parameters.MAX_TESTS} different", f"{group_tests.MAX_ROWS:,} rows",
            *(f"`{each}`" for each in (*column_parameters.COMPUTE, *column_parameters.GROUP_TESTS, column_parameters.CHI_SQUARE)),
        ),
        "aggregation": (
            f"1 to {aggregation.MAX_KEYS} of", f"{aggregation.MAX_CELLS} combinations", f"1 to {aggregation.MAX_LIMIT:,}",
            f"0 to {aggregation.MAX_VALUES} of", f"2^{aggregation.KEY_BITS}",
        ),
        "ranking": (f"1 to {ranking.MAX_K:,}", f"2^{ranking.ID_BITS}", f"1 to {features.MAX_FEATURES} of"),
        "prediction": (
            f"1 to {architecture.MAX_INPUTS} of", f"1 to {architecture.MAX_LAYERS} of", f"1 to {architecture.MAX_TREES} complete",
            f"depth 1 to {architecture.MAX_DEPTH}", f"{architecture.MAX_WEIGHTS:,} weights", f"each 1 to {architecture.MAX_WINDOW}",
            f"`{architecture.WEIGHT}`", *architecture.LAYERS, *(f"`{each}`" for each in (*OUTPUTS, *LINKS, *RULES)),
        ),
        "training": (
            f"1 to {training_parameters.MAX_FEATURES} of", f"1 to {training_parameters.MAX_ROUNDS} `rounds`",
            f"{training_parameters.MAX_PARAMETERS:,} numbers", f"2 to {categories.MAX_CATEGORIES} different",
        ),
        "boosting": (
            f"1 to {features.MAX_FEATURES} of", f"1 to {boosting_parameters.MAX_TREES} |", f"1 to {parts.MAX_DEPTH} |",
            f"2 to {binning.MAX_BINS} |", f"2 to {categories.MAX_CATEGORIES} different",
        ),
        "vertical-regression": (
            f"1 to {features.MAX_FEATURES} of", f"1 to {vertical_regression.MAX_EPOCHS} |",
            f"2 to {regression_engine.MAX_BATCH:,} |", f"{vertical_regression.ROWS_PER_WEIGHT} rows for each",
            f"below {regression_engine.LIMIT:g} in",
        ),
        "enclave": (f"{enclave_parameters.MAX_TEXT:,} characters", f"1 to {MAX_INPUT:,}"),
        "transfer": (f"2 to {features.MAX_FEATURES} of", f"1 to {representation.MAX_WIDTH} |"),
        "split-training": (
            f"0 to {network.MAX_LAYERS} of 1 to {network.MAX_WIDTH} |", f"1 to {split_training.MAX_EPOCHS} |",
            f"1 to {network.MAX_ROWS:,} |", f"to {split_training.MAX_DIVERGENCE:,.0f} |",
        ),
        "regression": (f"1 to {features.MAX_FEATURES} of", f"{regression.ROWS_PER_COEFFICIENT} rows", *regression.FAMILIES),
    }.items():  # fmt: skip
        for text in texts:
            assert text in section(name), text
    for mode in alignment.MODES:
        assert f"`{mode}`" in section("regression")
