"""What is proved and is no well-formed document all the same is shown as a finding, and hides nothing of others."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tallystick.cli.provenance import Form, _origin, answer
from tallystick.cli.terminal import Terminal
from tallystick.protocol import canonical, events
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import VerificationFailed
from tallystick.protocol.result import file_digest
from tallystick.protocol.task import proposal_of
from tallystick.provenance import Graph, Kind, build, prov_json, svg, table
from unit.protocol.world import World, make
from unit.provenance.conftest import graph_of, history

CODE = "sha256:" + "aa" * 32
ONE, OTHER = "sha256:" + "11" * 32, "sha256:" + "22" * 32


def proposing(parameters: dict[str, Any]) -> World:
    """A world whose task has these parameters besides, as all parties signed and the chain recorded."""
    made = make()
    made.spec = replace(made.spec, parameters={**made.spec.parameters, **parameters}, salt="0x" + "77" * 32)
    proposal = proposal_of(made.spec)
    made.agree(task=canonical.hex32(proposal.id()), spec=canonical.text(made.spec.digest()))
    own, asked = {"task": proposal.id()}, {"spec": proposal.spec, "proposal": proposal.as_tuple()}
    made.events = [
        (kind, {**values, **own, **(asked if kind is events.PROPOSED else {})} if "task" in values else values)
        for kind, values in made.events
    ]
    return made


def together(*worlds: World, bundles: list[Bundle] | None = None, results: tuple[bytes, ...] = ()) -> Graph:
    """The graph of several tasks on one chain, with the bundle of each."""
    first = worlds[0]
    first.events = [*first.events, *(each for world in worlds[1:] for each in world.events if "task" in each[1])]
    found = [world.bundle() for world in worlds] if bundles is None else bundles
    return build(history(first), chain_id=1, block=len(first.events), block_hash="", bundles=found, results=results)


@pytest.mark.parametrize(
    ("enclave", "words"),
    [
        ({"algorithm": CODE}, "parameters.enclave: misses 'identities'"),
        ({"algorithm": CODE, "identities": [OTHER, ONE]}, "parameters.enclave.identities: not ascending, each once"),
        ({"algorithm": CODE, "identities": [{}]}, ""),
        ({"algorithm": 7, "identities": [ONE]}, "parameters.enclave.algorithm"),
        ("an enclave", "parameters.enclave: not an object"),
        ([], "parameters.enclave: not an object"),
    ],
)
def test_a_proved_spec_that_names_its_code_in_no_way_is_a_finding_and_breaks_no_other(enclave: Any, words: str) -> None:
    bad, good = proposing({"enclave": enclave}), make()
    graph = together(good, bad)
    statements = {node.attributes["task"]: node for node in graph.of(Kind.STATEMENT)}
    found = statements[bad.statement.task].attributes["finding"]
    assert found.startswith("TS-1101: ") and words in found
    assert "finding" not in statements[good.statement.task].attributes
    assert {node.attributes["task"] for node in graph.of(Kind.RESULT)} == set(statements)  # its results are there, too
    whole = [(edge.source, edge.relation, edge.target) for edge in graph.edges]
    assert {(edge.source, edge.relation, edge.target) for edge in graph_of(make()).edges} <= set(whole)


def test_every_form_of_the_answer_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    graph = together(proposing({"enclave": {"algorithm": CODE}}))
    (statement,) = graph.of(Kind.STATEMENT)
    said = "TS-1101: parameters.enclave: misses 'identities'"
    assert table.findings(graph) == [f"{statement.id} is proved, and {said}"]
    assert _origin(graph, statement)["finding"] == said
    assert said in json.dumps(graph.to_json()) and said in json.dumps(prov_json.document(graph))
    drawn = svg.draw(graph)
    ET.fromstring(drawn)
    assert "finding: TS-1101" in drawn
    session: Any = type("Session", (), {"terminal": Terminal(colour=False)})
    answer(session, graph, Form.TABLE, "")
    assert "finding: statement:" in capsys.readouterr().out
    assert table.findings(graph_of(make())) == []


def test_documents_beside_the_spec_that_cannot_be_read_are_findings(world: World) -> None:
    bundle = world.bundle()
    broken = replace(bundle, terms=dict.fromkeys(bundle.terms, b"{"), certificates={"x.pem": b"none"})
    graph = together(world, bundles=[broken])
    (statement,) = graph.of(Kind.STATEMENT)
    assert statement.attributes["finding"].count("TS-1101") == 2
    assert graph.of(Kind.RESULT)


def test_a_proved_result_file_that_cannot_be_read_is_one(world: World) -> None:
    content = b"no result file"
    world.agree(outputs=tuple(replace(each, sha256=file_digest(content)) for each in world.statement.outputs))
    graph = together(world, results=(content,))
    (result,) = graph.of(Kind.RESULT)
    assert "TS-1101" in result.attributes["finding"] and not graph.of(Kind.FILE)
    ET.fromstring(svg.draw(graph))


def test_vouchings_that_cannot_be_read_are_one() -> None:
    world = make("attested-hardware-quorum")
    assert "finding" not in graph_of(world).of(Kind.STATEMENT)[0].attributes
    world.proof = world.proof + b"\0"
    (statement,) = together(world).of(Kind.STATEMENT)
    assert "TS-1101" in statement.attributes["finding"]


def test_a_bundle_of_another_chain_is_refused_by_its_name(world: World) -> None:
    strange = proposing({"more": 1})
    with pytest.raises(VerificationFailed) as refused:
        together(world, bundles=[world.bundle(), strange.bundle()])
    named = next(node for node in together(strange).of(Kind.STATEMENT)).attributes["statement"]
    assert (refused.value.rule, refused.value.party) == (11, named) and "leave it out" in refused.value.remedy
