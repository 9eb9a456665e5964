"""What is proved and is no well-formed document all the same is shown as a finding, and hides nothing of others."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest
from tallystick.cli.provenance import Form, _origin, answer
from tallystick.cli.terminal import Terminal
from tallystick.ethereum import keccak
from tallystick.protocol import canonical, events
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import MalformedDocument, VerificationFailed
from tallystick.protocol.result import file_digest
from tallystick.protocol.statement import Envelope, statement_digest
from tallystick.protocol.task import proposal_of
from tallystick.provenance import Graph, Kind, build, prov_json, svg, table
from unit.protocol.world import CHAIN, World, make
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


def test_files_that_no_digest_leads_to_are_said_of_the_bundle_and_not_of_what_was_proved(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever makes the bundle can put them there."""
    bundle = world.bundle()
    bad, good = sorted(bundle.terms)
    broken = replace(bundle, terms={bad: b"{", good: bundle.terms[good]}, certificates={"0.pem": b"none", **bundle.certificates})
    graph = together(world, bundles=[broken, broken])
    (statement,) = graph.of(Kind.STATEMENT)
    assert "finding" not in statement.attributes and table.findings(graph) == []
    said = statement.attributes["unread"]
    assert said.count("TS-1101") == 2 and f"terms/{bad}" in said and "certificates/0.pem" in said
    assert table.unread(graph) and statement.id in table.unread(graph)[0]
    assert sorted("purpose" in grant.attributes for grant in graph.of(Kind.GRANT)) == [False, True]  # the other terms are read
    assert all("common_name" in each.attributes for each in graph.of(Kind.CERTIFICATE))
    assert graph.of(Kind.RESULT)
    assert _origin(graph, statement)["unread"] == said
    drawn = svg.draw(graph)
    ET.fromstring(drawn)
    assert "unread: terms/" in drawn
    answer(cast("Any", SimpleNamespace(terminal=Terminal(colour=False))), graph, Form.TABLE, "")
    printed = capsys.readouterr().out
    assert "unread: terms/" in printed and "finding:" not in printed
    assert table.unread(graph_of(make())) == []


def test_a_proved_statement_that_cannot_be_read_is_one_and_hides_no_other(world: World) -> None:
    payload = b"colluders signed this"
    bad = proposing({"more": 1})
    bad.change(events.RESULT_PROVED, statement=statement_digest(payload))
    bundle = bad.bundle(statement=Envelope(CHAIN, payload, bad.signatures()).to_bytes())
    graph = together(world, bad, bundles=[bundle, world.bundle()])
    found = {node.attributes["task"]: node.attributes.get("finding", "") for node in graph.of(Kind.STATEMENT)}
    assert found[bad.statement.task].startswith("TS-1101") and not found[world.statement.task]
    assert {node.attributes["task"] for node in graph.of(Kind.RESULT)} == {world.statement.task}
    assert all("purpose" in task.attributes for task in graph.of(Kind.TASK))  # its spec can be read


def test_a_proved_spec_that_cannot_be_read_is_one(world: World) -> None:
    world.change(events.PROPOSED, spec=canonical.digest("task", b"no spec"))
    graph = together(world, bundles=[world.bundle(spec=b"no spec")])
    (statement,) = graph.of(Kind.STATEMENT)
    assert statement.attributes["finding"].startswith("TS-1101")
    assert graph.of(Kind.RESULT) and all("purpose" in grant.attributes for grant in graph.of(Kind.GRANT))
    shown = _origin(graph, statement)
    assert "workload" not in shown and shown["finding"] == statement.attributes["finding"]
    ET.fromstring(svg.draw(graph))


def test_proof_bytes_that_cannot_be_read_are_one_where_the_chain_has_their_digest() -> None:
    world = make("groth16")
    world.proof = b"no proof of a circuit"
    world.statement = replace(world.statement, proof_output=canonical.hex32(keccak(world.proof)))
    world.record()
    (statement,) = together(world).of(Kind.STATEMENT)
    assert statement.attributes["finding"].startswith("TS-1101") and "registrant" not in statement.attributes


@pytest.mark.parametrize("kind", ["groth16", "attested-hardware-quorum"])
def test_proof_bytes_of_another_digest_than_the_chains_are_the_bundles(kind: str) -> None:
    world = make(kind)
    other = bytes(each ^ 1 if place == 40 else each for place, each in enumerate(world.proof))
    with pytest.raises(VerificationFailed) as refused:
        together(world, bundles=[world.bundle(proof=other)])
    (statement,) = together(world).of(Kind.STATEMENT)
    assert (refused.value.rule, refused.value.party) == (15, statement.attributes["statement"])
    assert "leave it out" in refused.value.remedy


@pytest.mark.parametrize("on_chain", [{"attempt": 1}, {"output": bytes([7] * 32)}])
def test_a_statement_of_something_else_than_the_chain_proved_by_it_is_one(world: World, on_chain: dict[str, Any]) -> None:
    world.statement = replace(world.statement, attempt=2 if "attempt" in on_chain else 1)
    world.record()
    world.change(events.RESULT_PROVED, **on_chain)
    graph = together(world)
    (statement,) = graph.of(Kind.STATEMENT)
    assert "chain" in statement.attributes["finding"] and not graph.of(Kind.RESULT)
    assert {edge.source for edge in graph.edges} | {edge.target for edge in graph.edges} <= set(graph.nodes)
    ET.fromstring(svg.draw(graph))


def test_a_proved_result_file_that_cannot_be_read_is_one(world: World) -> None:
    content = b"no result file"
    world.agree(outputs=tuple(replace(each, sha256=file_digest(content)) for each in world.statement.outputs))
    graph = together(world, bundles=[world.bundle(results={"result.json": content})], results=(content,))
    (result,) = graph.of(Kind.RESULT)
    assert result.attributes["finding"].count("TS-1101") == 1 and not graph.of(Kind.FILE)  # once, although it came twice
    ET.fromstring(svg.draw(graph))


def test_vouchings_that_cannot_be_read_are_said_of_the_bundle() -> None:
    """No digest is over them, as they may be collected after the parties signed."""
    world = make("attested-hardware-quorum")
    assert not {"finding", "unread"} & set(graph_of(world).of(Kind.STATEMENT)[0].attributes)
    for proof in (world.proof + b"\0", world.proof[:3]):
        (statement,) = together(world, bundles=[world.bundle(proof=proof)]).of(Kind.STATEMENT)
        assert "proof.bin" in statement.attributes["unread"] and "finding" not in statement.attributes


def test_signed_commitments_that_cannot_be_read_are_one_of_the_statement() -> None:
    world = make("attested-hardware-quorum")
    world.statement = replace(world.statement, inputs=tuple(replace(each, commitment="none") for each in world.statement.inputs))
    world.record()
    (statement,) = together(world).of(Kind.STATEMENT)
    assert "TS-1101" in statement.attributes["finding"] and "unread" not in statement.attributes


def test_a_bundle_of_another_chain_is_refused_by_its_name(world: World) -> None:
    strange = proposing({"more": 1})
    with pytest.raises(VerificationFailed) as refused:
        together(world, bundles=[world.bundle(), strange.bundle()])
    named = next(node for node in together(strange).of(Kind.STATEMENT)).attributes["statement"]
    assert (refused.value.rule, refused.value.party) == (11, named) and "leave it out" in refused.value.remedy


def test_a_bundle_without_an_envelope_is_refused_as_a_bundle(world: World) -> None:
    with pytest.raises(MalformedDocument, match=r"statement\.dsse\.json of a bundle: ") as refused:
        together(world, bundles=[world.bundle(statement=b"{}")])
    assert "leave it out" in refused.value.remedy
