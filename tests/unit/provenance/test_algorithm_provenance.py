"""Of a task in an enclave, the graph shows its code's registration and the reviews that stood when its attempt started."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

from prov.model import ProvDocument
from tallystick.chain.contract import Event
from tallystick.cli.provenance import _origin
from tallystick.provenance import Graph, Kind, prov_json, query, svg, table
from unit.protocol.world import ALGORITHM, PARTIES, make
from unit.provenance.conftest import graph_of, history

WORLD = make("attested-simulated")
CODE, OTHER = ALGORITHM, b"\x22" * 32
TASK = "0x" + next(event for event in history(WORLD) if event.name == "Proposed")["task"].hex()
AUTHOR, FIRST, SECOND = "0x" + "a1" * 20, PARTIES[0], PARTIES[1]
ATTEMPT = f"{Kind.ATTEMPT}:{TASK}#1"


def event(name: str, code: bytes = CODE, **arguments: Any) -> Event:
    return Event("AlgorithmRegistry", name, {"code": code, **arguments}, 0, "", "0x" + "cd" * 32, 0)


def registered(code: bytes = CODE) -> Event:
    return event("AlgorithmRegistered", code, author=AUTHOR, kind=1, card=b"\x33" * 32)


def reviewed(reviewer: str, approved: bool, code: bytes = CODE) -> Event:
    return event("AlgorithmReviewed", code, reviewer=reviewer, approved=approved, reason=b"\x44" * 32)


def told(*first: Event, after: tuple[Event, ...] = ()) -> list[Event]:
    """Events before the task's history and behind it."""
    return [replace(each, block=block) for block, each in enumerate([*first, *history(WORLD), *after], start=1)]


def graph(*first: Event, after: tuple[Event, ...] = ()) -> Graph:
    return graph_of(WORLD, events=told(*first, after=after))


def standing(found: Graph) -> list[tuple[str, str]]:
    return [
        (found.nodes[edge.source].attributes["reviewer"], found.nodes[edge.source].attributes["verdict"])
        for edge in found.edges
        if (edge.relation, edge.target) == ("stood at the start of", ATTEMPT)
    ]


def test_the_reviews_that_stood_at_the_start_and_no_others_lead_to_the_attempt() -> None:
    before = (registered(), reviewed(FIRST, True), reviewed(SECOND, True), reviewed(SECOND, False), reviewed(FIRST, True, OTHER))
    found = query.by_task(graph(*before, after=(reviewed(FIRST, False),)), TASK)
    assert standing(found) == [(FIRST, "approved"), (SECOND, "rejected")]
    assert found.nodes[ATTEMPT].attributes["reviews"] == "1 approved, 1 rejected"
    (algorithm,) = found.of(Kind.ALGORITHM)
    assert (algorithm.attributes["author"], algorithm.attributes["code_kind"]) == (AUTHOR, "sql")
    relations = {(edge.relation, edge.target) for edge in found.edges if edge.source == algorithm.id}
    assert ("is the code of", f"{Kind.TASK}:{TASK}") in relations
    assert len(found.of(Kind.REVIEW)) == 2  # what was said later, or of other code, did not lead to this task


def test_code_that_was_not_registered_or_was_withdrawn_before_the_start_says_so() -> None:
    late = graph(after=(registered(), reviewed(FIRST, True)))
    assert late.nodes[ATTEMPT].attributes["reviews"] == "the code was not registered"
    ended = (registered(), reviewed(FIRST, True), event("AlgorithmWithdrawn", author=AUTHOR))
    found = graph(*ended)
    assert found.nodes[ATTEMPT].attributes["reviews"] == "1 approved, 0 rejected, withdrawn by its author"
    assert "withdrawn_at_block" in found.of(Kind.ALGORITHM)[0].attributes


def test_where_a_result_comes_from_says_how_its_code_was_reviewed() -> None:
    for before, said in (((registered(), reviewed(FIRST, True)), "1 approved, 0 rejected"), ((), "the code was not registered")):
        whole = graph(*before)
        (statement,) = whole.of(Kind.STATEMENT)
        assert _origin(whole, statement)["code_reviews"] == said
    other = graph_of(make())
    assert "code_reviews" not in _origin(other, other.of(Kind.STATEMENT)[0])


def test_every_form_of_the_answer_shows_them() -> None:
    whole = graph(registered(), reviewed(FIRST, True))
    found = query.by_task(whole, TASK)
    assert any(row[2] == "stood at the start of" for row in table.rows(found))
    json.dumps(found.to_json())
    ProvDocument.deserialize(content=json.dumps(prov_json.document(found)))
    drawn = svg.draw(found)
    ET.fromstring(drawn)
    assert "code: 1 approved, 0" in drawn and "rejected" in drawn
    for part in (query.by_participant(whole, AUTHOR), whole.within([node.id for node in whole.of(Kind.REVIEW)])):
        ET.fromstring(svg.draw(part))


def test_a_task_that_is_in_no_enclave_names_no_code() -> None:
    other = make()
    before = [registered(), reviewed(FIRST, True)]
    events = [replace(each, block=block) for block, each in enumerate([*before, *history(other)], start=1)]
    found = graph_of(other, events=events)
    assert all("reviews" not in attempt.attributes for attempt in found.of(Kind.ATTEMPT))
    assert len(found.of(Kind.ALGORITHM)) == 1 and not query.by_task(found, found.of(Kind.TASK)[0].attributes["task"]).of(
        Kind.ALGORITHM
    )
