"""A floor under appraisal policies: what is at least as strict accepts no more, member by member."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from tallystick.attestation.floor import laxer
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.snp_report import SnpTcb
from tallystick.attestation.tcb import TcbStatus

LEAST = SnpTcb(3, 0, 10, 200)
FLOOR = AppraisalPolicy(
    "floor",
    tcb_statuses=frozenset({TcbStatus.SW_HARDENING_NEEDED}),
    advisories=frozenset({"INTEL-SA-00615"}),
    grace=60,
    minimum_evaluation=17,
    snp_minimum={"Milan": LEAST},
)
TOO_MUCH: dict[str, tuple[Any, str]] = {
    "simulations": (frozenset({b"\x01" * 32}), "simulations: 01"),
    "tcb_statuses": (frozenset({TcbStatus.SW_HARDENING_NEEDED, TcbStatus.OUT_OF_DATE}), "tcb_statuses: OutOfDate"),
    "advisories": (frozenset({"INTEL-SA-00615", "INTEL-SA-00999"}), "advisories: INTEL-SA-00999"),
    "grace": (61, "grace: 61, above 60"),
    "minimum_evaluation": (16, "minimum_evaluation: 16, below 17"),
    "max_age": (301, "max_age: 301"),
    "validity": (86_401, "validity"),
    "service_tds": (frozenset({b"\x02" * 48}), "service_tds"),
    "snp_minimum": ({"Milan": replace(LEAST, snp=9)}, "snp_minimum: Milan"),
    "snp_without_list": (frozenset({"Milan"}), "snp_without_list: Milan"),
    "vmpls": (frozenset({0, 1}), "vmpls: 1"),
    "smt": (True, "smt"),
    "sendable": (True, "sendable"),
    "cca_platforms": (frozenset({b"\x03" * 32}), "cca_platforms: 03"),
}


def test_every_member_but_the_name_has_a_floor() -> None:
    assert set(TOO_MUCH) == {each.name for each in fields(AppraisalPolicy)} - {"name"}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_accepts_more_is_named_and_what_accepts_as_much_or_less_is_not(name: str) -> None:
    value, words = TOO_MUCH[name]
    lax: Any = replace(FLOOR, name="task", **{name: value})
    (found,) = laxer(lax, FLOOR)
    assert found.startswith(words)
    assert laxer(FLOOR, lax) == []
    assert laxer(replace(lax, name="floor"), lax) == []


def test_a_product_without_a_floor_is_one_that_is_not_accepted() -> None:
    other = replace(FLOOR, snp_minimum={"Milan": replace(LEAST, microcode=210), "Genoa": LEAST})
    assert laxer(other, FLOOR) == ["snp_minimum: Genoa"]
    assert laxer(replace(FLOOR, snp_minimum={}), FLOOR) == []


def test_what_is_too_much_is_told_in_few_words_however_much_it_is() -> None:
    """It goes into refusals, which travel."""
    lax = replace(FLOOR, grace=10**4000, snp_minimum={f"{number:050}": LEAST for number in range(10_000)})
    assert [(each.split(":")[0], len(each)) for each in laxer(lax, FLOOR)] == [("grace", 200), ("snp_minimum", 200)]
