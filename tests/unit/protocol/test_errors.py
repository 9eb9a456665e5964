"""The error tree: complete tables, stable codes, and errors that survive the wire and a process boundary."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import grpc
import pytest
from tallystick.protocol import errors
from tallystick.protocol.errors import (
    ContractRefused,
    MalformedDocument,
    PeerFailed,
    Refused,
    TallystickError,
    VerificationFailed,
)


def test_the_table_has_every_class_once() -> None:
    classes = list(errors.tree())
    assert [row.error for row in errors.TABLE.values()] == classes
    assert list(errors.TABLE) == [each.code for each in classes]
    assert len({row.exit for row in errors.TABLE.values()}) == len(classes)
    assert all(10 <= row.exit <= 99 for row in errors.TABLE.values())


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = dict(re.findall(r"(\w+)\s+(TS-\d{4})", errors.__doc__ or ""))
    assert drawn == {each.__name__: each.code for each in errors.tree()}


def test_the_page_has_the_table() -> None:
    page = (Path(__file__).parents[3] / "docs/spec/errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(TS-\d{4})` \| (\w+) \| [^|]+ \| (\w+) \| (\d+) \|", page, re.MULTILINE)
    assert rows == [(code, row.error.__name__, row.grpc, str(row.exit)) for code, row in errors.TABLE.items()]


def test_grpc_names_and_numbers_are_those_of_grpc() -> None:
    assert dict(errors.GRPC_NUMBERS) == {status.name: status.value[0] for status in grpc.StatusCode}
    assert set(errors.GRPC_STATUS.values()) <= set(errors.GRPC_NUMBERS)


@pytest.mark.parametrize("code", list(errors.TABLE))
def test_an_error_survives_the_wire(code: str) -> None:
    error = errors.error_of(code, "what", party="0xabc", remedy="then")
    assert type(error) is errors.TABLE[code].error
    assert error.problem() == {"code": code, "message": "what", "party": "0xabc", "remedy": "then"}
    assert all(word in str(error) for word in (code, "what", "0xabc", "then"))
    assert errors.exit_code(error) == errors.TABLE[code].exit


def test_an_unknown_code_is_the_peers_failure() -> None:
    error = errors.error_of("TS-9999", "what")
    assert isinstance(error, PeerFailed)
    assert "TS-9999" in error.message


@pytest.mark.parametrize(
    "error",
    [
        MalformedDocument("m", party="p", remedy="r"),
        Refused("m", rule="grant.purpose"),
        VerificationFailed("m", rule=7),
        ContractRefused("m", error="GrantUsedUp", arguments=(1, b"x")),
    ],
)
def test_an_error_survives_pickling(error: TallystickError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


def test_exit_codes_of_what_is_not_ours() -> None:
    assert errors.exit_code(KeyboardInterrupt()) == 130
    assert errors.exit_code(ValueError()) == 1
