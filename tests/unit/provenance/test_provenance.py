from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prov.model import ProvDocument
from tallystick.protocol import canonical, events
from tallystick.protocol.errors import NotFound, VerificationFailed
from tallystick.protocol.task import proposal_of
from tallystick.provenance import Edge, Graph, Kind, Node, Strength, build, prov_json, query, svg, table
from unit.protocol.world import CHAIN, PARTIES, START, World, make
from unit.provenance.conftest import graph_of, history

WORLD = make()
GRAPH = graph_of(WORLD)


def kinds(graph: Graph) -> dict[str, int]:
    return {str(kind): len(graph.of(kind)) for kind in Kind}


def test_counts_of_the_whole_history(graph: Graph) -> None:
    assert kinds(graph) == {
        "certificate": 3, "participant": 4, "dataset": 2, "grant": 2, "task": 1, "attempt": 1, "statement": 1,
        "result": 1, "file": 0, "agreement": 0, "dispute": 0, "breach": 0, "algorithm": 0, "review": 0,
    }  # fmt: skip


def test_file_leads_back_to_every_certificate_that_stands_behind_it(world: World, graph: Graph) -> None:
    digest = hashlib.sha256(world.results[PARTIES[2]]).hexdigest()
    found = query.by_file(graph, digest)
    assert kinds(found)["certificate"] == 3
    assert kinds(found)["dataset"] == 2
    with pytest.raises(NotFound):
        query.by_file(graph, "00" * 32)


def test_a_file_beside_a_result_leads_back_through_it(world: World) -> None:
    content, digest = world.results[PARTIES[2]], hashlib.sha256(b"model").hexdigest()
    loose = build(history(world), chain_id=CHAIN, block=1, block_hash="0x", bundles=[world.bundle()], results=[content])
    bundled = build(history(world), chain_id=CHAIN, block=1, block_hash="0x", bundles=[world.bundle(results={"a.json": content})])
    for graph in (loose, bundled):
        found = query.by_file(graph, digest)
        assert kinds(found) == kinds(query.by_file(graph, hashlib.sha256(content).hexdigest())) | {"file": 1}
        assert found.of(Kind.FILE)[0].label == "model.bin"
        assert "with model.bin" in svg.draw(found)
        assert "ts:file-sha256-" in json.dumps(prov_json.document(found))
    forged = content.replace(b"3.5", b"9.5")  # no statement has this digest: nothing that it names is believed
    graph = build(history(world), chain_id=CHAIN, block=1, block_hash="0x", bundles=[world.bundle()], results=[forged])
    with pytest.raises(NotFound):
        query.by_file(graph, digest)


def test_a_prediction_leads_back_to_what_made_its_model(world: World) -> None:
    """Through the earlier task's statement to the data that trained the model."""
    later, made = make(), world.statement.task
    later.spec = replace(later.spec, parameters={**later.spec.parameters, "model": {"task": made}}, salt="0x" + "77" * 32)
    proposal = proposal_of(later.spec)
    later.agree(task=canonical.hex32(proposal.id()), spec=canonical.text(later.spec.digest()))
    own = {"task": proposal.id()}
    asked = {"spec": proposal.spec, "proposal": proposal.as_tuple()}
    told = [
        (kind, {**values, **own, **(asked if kind is events.PROPOSED else {})}) for kind, values in later.events if "task" in values
    ]
    later.events = [*world.events, *told]
    graph = graph_of(later)
    found = query.by_file(graph, hashlib.sha256(later.results[PARTIES[2]]).hexdigest())
    assert {node.attributes["task"] for node in found.of(Kind.STATEMENT)} == {made, later.statement.task}
    assert any(edge.relation == "made the model of" for edge in found.edges)
    plain = graph_of(world)
    assert not any(edge.relation == "made the model of" for edge in plain.edges)


def test_what_an_enclave_computed_says_so_on_the_task_and_on_every_result(world: World) -> None:
    later = make()
    code = {"algorithm": "sha256:" + "aa" * 32, "identities": ["sha256:" + "bb" * 32]}
    enclosed = {**later.spec.parameters, "attestation": {"family": "simulated", "authority": "0x" + "cc" * 32}, "enclave": code}
    later.spec = replace(later.spec, parameters=enclosed)
    proposal = proposal_of(later.spec)
    later.agree(task=canonical.hex32(proposal.id()), spec=canonical.text(later.spec.digest()))
    own, asked = {"task": proposal.id()}, {"spec": proposal.spec, "proposal": proposal.as_tuple()}
    later.events = [
        (kind, {**values, **own, **(asked if kind is events.PROPOSED else {})} if "task" in values else values)
        for kind, values in later.events
    ]
    graph = graph_of(later)
    (task,), (result,) = graph.of(Kind.TASK), graph.of(Kind.RESULT)
    assert task.attributes["evidence"] == result.attributes["evidence"] == "attested, simulated"
    assert task.attributes["algorithm"].endswith(code["algorithm"])
    assert "attested, simulated" in json.dumps(prov_json.document(graph))
    assert not any("evidence" in node.attributes for node in graph_of(world).nodes.values())


def test_file_is_unknown_without_its_bundle(world: World) -> None:
    digest = hashlib.sha256(world.results[PARTIES[2]]).hexdigest()
    with pytest.raises(NotFound, match="no known task"):
        query.by_file(graph_of(world, bundles=0), digest)


def test_dataset_leads_forward_to_its_results_and_not_to_the_other_dataset(graph: Graph) -> None:
    dataset = graph.of(Kind.DATASET)[0].attributes["dataset"]
    found = query.by_dataset(graph, dataset)
    assert kinds(found)["result"] == 1
    assert query.by_dataset(graph, dataset.upper().replace("0X", "0x")) == found
    with pytest.raises(NotFound):
        query.by_dataset(graph, "0x" + "00" * 32)


def test_task_participant_purpose_and_period(graph: Graph) -> None:
    task = graph.of(Kind.TASK)[0]
    assert kinds(query.by_task(graph, task.attributes["task"]))["result"] == 1
    assert kinds(query.by_participant(graph, PARTIES[0].lower()))["dataset"] >= 1
    assert kinds(query.by_purpose(graph, "quality of care"))["task"] == 1
    with pytest.raises(NotFound):
        query.by_purpose(graph, "marketing")
    assert kinds(query.by_period(graph, START, START + 100))["task"] == 1
    assert not query.by_period(graph, 0, START - 1).nodes


def test_the_proof_kind_is_the_strength_of_its_edge(graph: Graph) -> None:
    proved = [edge for edge in graph.edges if edge.relation == "is proved by"]
    assert [edge.strength for edge in proved] == [Strength.SUM_VERIFIED]
    other = graph_of(make("signed-by-all"))
    assert [e.strength for e in other.edges if e.relation == "is proved by"] == [Strength.SIGNED_BY_ALL]


def test_a_bundle_whose_statement_the_chain_does_not_know_is_refused(world: World) -> None:
    world.change(events.RESULT_PROVED, statement=bytes(32))
    with pytest.raises(VerificationFailed) as refused:
        graph_of(world)
    assert refused.value.rule == 11


def test_a_bundle_whose_spec_is_not_the_proposed_one_is_refused(world: World) -> None:
    world.change(events.PROPOSED, spec=bytes(32))
    with pytest.raises(VerificationFailed) as refused:
        graph_of(world)
    assert refused.value.rule == 2


def test_revocation_and_debits_show(world: World) -> None:
    world.events.append((events.REVOKED, {"account": PARTIES[0], "fingerprint": bytes(32), "reason": bytes(32)}))
    graph = graph_of(world)
    assert graph.nodes[f"participant:{PARTIES[0]}"].attributes["status"] == "revoked"
    assert {node.attributes["used"] for node in graph.of(Kind.GRANT)} == {"1"}


def test_prov_json_is_read_by_the_reference_implementation(graph: Graph) -> None:
    text = json.dumps(prov_json.document(graph))
    read = ProvDocument.deserialize(io.StringIO(text), format="json")
    assert len(read.get_records()) == len(graph.nodes) + len(graph.edges) + 1


def test_json_and_table_say_what_they_are_true_at(graph: Graph) -> None:
    assert graph.to_json()["true_at"] == {"chain_id": 31337, "block": graph.block, "block_hash": graph.block_hash}
    assert graph.block_hash in table.caption(graph)
    assert len(table.rows(graph)) == len(graph.edges)
    assert canonical.hex32(bytes(32)) not in graph.nodes


@given(label=st.text(st.characters(exclude_categories=()), max_size=60), title=st.text(max_size=40))
def test_svg_is_well_formed_whatever_the_labels(label: str, title: str) -> None:
    nodes = {
        name: replace(node, label=label, attributes={**node.attributes, "purpose": label}) for name, node in GRAPH.nodes.items()
    }
    root = ET.fromstring(svg.draw(replace(GRAPH, nodes=nodes), title).encode())
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags == {"svg", "title", "rect", "text", "path"}


def test_svg_of_an_empty_answer_is_well_formed(graph: Graph) -> None:
    ET.fromstring(svg.draw(graph.within([])))


def cards(drawing: str) -> list[tuple[float, float, float, float]]:
    """The cards' boxes: x, y, width, height."""
    inner = [each for each in ET.fromstring(drawing) if each.tag.endswith("svg")]
    return [tuple(float(each.attrib[name]) for name in ("x", "y", "width", "height")) for each in inner]  # type: ignore[misc]


def crowd(count: int, label: str) -> Graph:
    """Many datasets of one owner, each granted, all used by one task without a result."""
    owner = Node("participant:a", Kind.PARTICIPANT, label, 1, 1, {"account": "a", "status": "active", "roles": "data-provider"})
    task = Node("task:t", Kind.TASK, "t", 1, 1, {"task": "t", "requester": "a", "state": "running"})
    nodes, edges = {owner.id: owner, task.id: task}, []
    for n in range(count):
        dataset = Node(f"dataset:{n}#1", Kind.DATASET, label, 1, 1, {"dataset": str(n), "version": "1"})
        grant = Node(f"grant:{n}", Kind.GRANT, label, 1, 1, {"grantee": "a", "used": "0", "uses": "1", "purpose": label})
        nodes |= {dataset.id: dataset, grant.id: grant}
        edges += [
            Edge(owner.id, dataset.id, "published", Strength.CHAIN),
            Edge(dataset.id, grant.id, "was granted under", Strength.CHAIN),
            Edge(grant.id, task.id, "is named by", Strength.CHAIN),
        ]
    return Graph(1, 1, "0x" + "00" * 32, nodes, tuple(edges))


def test_svg_draws_every_line_that_its_legend_explains_and_explains_no_other(graph: Graph) -> None:
    for drawn in (graph, graph_of(make("signed-by-all")), graph_of(WORLD, bundles=0), crowd(2, "x")):
        paths = [element for element in ET.fromstring(svg.draw(drawn)).iter() if element.tag.endswith("path")]
        style = [(path.attrib["stroke"], path.attrib.get("stroke-dasharray", "")) for path in paths]
        legend = [each for each, path in zip(style, paths, strict=True) if path.attrib["d"].endswith("h28")]
        lines = [each for each, path in zip(style, paths, strict=True) if not path.attrib["d"].endswith("h28")]
        assert set(legend) == set(lines)
        assert len(set(legend)) == len(legend)
    dashed = svg.STROKES[Strength.DOCUMENT][2]
    assert svg.draw(graph).count(f'stroke-dasharray="{dashed}"') == 2  # the legend's, and the result file's


@pytest.mark.parametrize("label", ["x", "W" * 80, "東京大学医学部附属病院" * 5, "Universitätsklinikum " * 6])
def test_svg_of_many_cards_overlaps_nowhere_and_stays_inside(label: str) -> None:
    drawing = svg.draw(crowd(20, label), label)
    boxes = cards(drawing)
    assert len(boxes) == 42
    height = float(ET.fromstring(drawing).attrib["height"])
    for x, y, width, tall in boxes:
        assert x >= 0
        assert x + width <= svg.WIDTH
        assert y >= svg.TOP
        assert y + tall <= height
    for one in boxes:
        for other in boxes:
            if one is not other and one[0] == other[0]:
                assert one[1] + one[3] < other[1] or other[1] + other[3] < one[1]
    assert drawing.count(">none</text>") == 2


def test_svg_cards_hold_their_whole_text_for_a_pointer() -> None:
    name = "Universitätsklinikum Hamburg-Eppendorf, Institut für Medizinische Biometrie und Epidemiologie"
    titles = [each.text for each in ET.fromstring(svg.draw(crowd(1, name))).iter() if each.tag.endswith("title")]
    assert any(name in (text or "") for text in titles)
