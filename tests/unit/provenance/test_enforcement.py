"""Agreements, disputes and breaches in the graph, from events as the chain tells them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from prov.model import ProvDocument
from tallystick.chain.contract import Event
from tallystick.protocol.agreement import COIN
from tallystick.provenance import Graph, Kind, prov_json, query, svg, table
from unit.protocol.world import PARTIES, START, World, make
from unit.provenance.conftest import graph_of, history

WORLD = make()
TASK = next(event for event in history(WORLD) if event.name == "Proposed")["task"]
AGREEMENT = {"fee": 1000, "bond": 50}


def event(contract: str, name: str, **arguments: Any) -> Event:
    return Event(contract, name, {"task": TASK, **arguments}, 0, "", "0x" + "cd" * 32, 0)


def after(*more: Event, first: tuple[Event, ...] = ()) -> Graph:
    """The whole history with events before and behind it."""
    told = [*first, *history(WORLD), *more]
    return graph_of(WORLD, events=[replace(each, block=block) for block, each in enumerate(told, start=1)])


def raised(number: int, accused: str) -> Event:
    return event(
        "Disputes", "DisputeRaised", dispute=bytes([number]) * 32, challenger=PARTIES[0], accused=accused, reason=5,
        evidence=bytes(32), ruleBy=START,
    )  # fmt: skip


def decided(number: int, accused: str, *, upheld: bool, default: bool = False) -> Event:
    return event("Disputes", "DisputeDecided", dispute=bytes([number]) * 32, accused=accused, upheld=upheld, byDefault=default)


OPENED = event("Settlement", "AgreementOpened", requester=PARTIES[2], token=COIN, agreement=AGREEMENT)


@pytest.mark.parametrize("early", [True, False])
def test_an_agreement_is_tied_to_its_task_whichever_came_first(early: bool) -> None:
    staked = event("Settlement", "BondPosted", account=PARTIES[1], bond=50)
    settled = event("Settlement", "TaskSettled", paid=True, lost=0, denied=0, amounts=[500, 550, 0, 0])
    graph = after(staked, settled, first=(OPENED,)) if early else after(OPENED, staked, settled)
    found = query.by_task(graph, "0x" + TASK.hex())
    (agreement,) = found.of(Kind.AGREEMENT)
    assert agreement.attributes["stage"] == "paid"
    relations = [(edge.relation, edge.target) for edge in found.edges if agreement.id in (edge.source, edge.target)]
    ends = ("opened", agreement.id), ("sets the terms of", f"{Kind.TASK}:0x{TASK.hex()}"), ("staked a bond under", agreement.id)
    assert sorted(relations) == sorted(ends)


def test_a_voided_statement_says_so_wherever_a_result_leads_back_to_it() -> None:
    graph = after(raised(1, COIN), decided(1, COIN, upheld=True))
    (result,) = graph.of(Kind.RESULT)
    back = query.by_file(graph, result.attributes["sha256"])
    (statement,) = back.of(Kind.STATEMENT)
    assert "upheld" in statement.attributes["void"] and not back.of(Kind.DISPUTE)
    assert "void: a dispute was upheld" in svg.draw(back)
    assert [dispute.attributes["outcome"] for dispute in query.by_task(graph, "0x" + TASK.hex()).of(Kind.DISPUTE)] == ["upheld"]


@pytest.mark.parametrize(("upheld", "default"), [(False, False), (False, True), (True, True)])
def test_a_dispute_shows_its_outcome_and_voids_nothing_else(*, upheld: bool, default: bool) -> None:
    graph = after(raised(1, PARTIES[1]), decided(1, PARTIES[1], upheld=upheld, default=default))
    (dispute,) = graph.of(Kind.DISPUTE)
    assert dispute.attributes["outcome"] == ("upheld" if upheld else "dismissed") + (" by default" if default else "")
    assert "void" not in graph.of(Kind.STATEMENT)[0].attributes


def test_a_contradiction_names_both_ends_and_accuses_neither() -> None:
    ends = {"from": PARTIES[0], "to": PARTIES[1]}
    seen = event("Disputes", "LinkContradicted", **ends, attempt=1, evidence=bytes(32))
    again = event("Disputes", "LinkContradicted", **ends, attempt=1, evidence=bytes(32))
    graph = after(seen, again)  # anyone may show the same evidence again
    (breach,) = graph.of(Kind.BREACH)
    assert breach.attributes["accused"] == "" and "another digest" in breach.attributes["breach"]
    assert {edge.relation for edge in graph.edges if edge.target == breach.id} == {
        "contradicts the other end in", "was breached by",
    }  # fmt: skip


def test_a_breach_belongs_to_who_committed_it_and_to_its_task() -> None:
    proved = event("Disputes", "BreachProved", accused=PARTIES[1], breach=0, evidence=bytes(32), prover=PARTIES[0])
    graph = after(proved)
    for found in (query.by_task(graph, "0x" + TASK.hex()), query.by_participant(graph, PARTIES[1])):
        assert [breach.attributes["accused"] for breach in found.of(Kind.BREACH)] == [PARTIES[1]]
    assert query.by_period(graph, START + len(history(WORLD)) + 1, START + 1000).of(Kind.BREACH)


def test_every_form_tells_of_them() -> None:
    proved = event("Disputes", "BreachProved", accused=PARTIES[1], breach=4, evidence=bytes(32), prover=PARTIES[0])
    graph = after(OPENED, raised(1, COIN), raised(2, PARTIES[1]), decided(2, PARTIES[1], upheld=False), proved)
    ProvDocument.deserialize(content=json.dumps(prov_json.document(graph)), format="json")
    drawn = svg.draw(graph)
    ET.fromstring(drawn)
    for words in ("fee 1000, bond 50", "dispute about the", "breach:", "dismissed"):
        assert words in drawn
    assert {row[2] for row in table.rows(graph)} >= {"was disputed in", "was breached by", "is accused in", "was found in"}


def test_a_dispute_alone_is_drawn_too() -> None:
    graph = after(raised(1, PARTIES[1]))
    alone = graph.within([graph.of(Kind.DISPUTE)[0].id])
    ET.fromstring(svg.draw(alone))


def test_events_of_tasks_that_were_not_proposed_leave_no_loose_ends(world: World) -> None:
    stray = replace(OPENED, arguments={**OPENED.arguments, "task": bytes(32)})
    graph = after(stray, replace(raised(1, COIN), arguments={**raised(1, COIN).arguments, "task": bytes(32)}))
    assert all(edge.source in graph.nodes and edge.target in graph.nodes for edge in graph.edges)
