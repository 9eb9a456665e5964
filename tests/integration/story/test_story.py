"""The whole story over real processes; then each artefact is changed, each rule is broken, each process is killed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import data
import pytest
from integration.processes import anchor
from integration.story.conftest import Story
from tallystick.client import Client, Nodes
from tallystick.protocol.audit import AuditRecord, verify_log
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import ContractRefused, InvalidData, NotFound, PeerFailed, Refused, TallystickError
from tallystick.protocol.task import proposal_of
from tallystick.protocol.verify import verify_bundle
from tallystick.wire import node_pb2


@pytest.fixture(scope="module")
def proved(story: Story, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes, Bundle]:
    """One proved statistic: task, result file, bundle."""
    grants = story.grants()
    task, state = story.run(story.spec(grants), grants)
    assert state == "Proved"
    folder = tmp_path_factory.mktemp("proved")
    return task, story.result(task, folder / "result"), story.bundle(task, folder / "bundle")


def test_numbers_equal_the_pooled_plaintext(proved: tuple[str, bytes, Bundle]) -> None:
    values = json.loads(proved[1])["values"]
    pooled = data.clinical().groupby("diagnosis")
    for group in values["groups"]:
        rows = pooled.get_group(group["group"])
        assert group["count"] == len(rows)
        for column in ("mean radius", "mean texture"):
            assert float(group["mean"][column]) == pytest.approx(rows[column].mean(), rel=1e-13)
            assert float(group["std"][column]) == pytest.approx(rows[column].std(), rel=1e-12)
        expected = rows[["mean radius", "mean texture"]].corr().iloc[0, 1]
        assert float(group["correlation"][0][1]) == pytest.approx(expected, rel=1e-11)


def test_every_rule_holds_offline_against_a_trusted_block(story: Story, proved: tuple[str, bytes, Bundle]) -> None:
    task, result, bundle = proved
    report = verify_bundle(
        bundle,
        trusted_blocks=[anchor(story.network, task)],
        contracts=story.network.deployment.contracts,
        result_file=result,
    )
    report.require(complete=True)


@pytest.mark.parametrize("name", ["spec", "grants", "statement", "proof", "chain", "authority"])
def test_one_changed_byte_in_any_document_is_found(story: Story, proved: tuple[str, bytes, Bundle], name: str) -> None:
    task, result, bundle = proved
    content = bytearray(getattr(bundle, name))
    content[len(content) // 2] ^= 1
    report = verify_bundle(
        replace(bundle, **{name: bytes(content)}),
        trusted_blocks=[anchor(story.network, task)],
        contracts=story.network.deployment.contracts,
        result_file=result,
    )
    assert report.failed


def test_a_changed_result_file_is_found(story: Story, proved: tuple[str, bytes, Bundle]) -> None:
    _, result, bundle = proved
    forged = result.replace(b'"count":212', b'"count":213')
    assert forged != result
    assert 18 in verify_bundle(bundle, contracts=story.network.deployment.contracts, result_file=forged).failed


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"purpose": "marketing"}, "purpose"),
        ({"receivers": "birch"}, "receiver"),
        ({"parameters": {"minimum_group": 2}}, "fewer than"),
        ({"corruptions": 3}, "withstands"),
    ],
)
def test_what_the_grant_or_the_policy_does_not_allow_is_refused(story: Story, change: dict, rule: str) -> None:
    grants = story.grants()
    if change.get("receivers") == "birch":
        change = {"receivers": [story.birch.account]}
    with pytest.raises(Refused, match=rule):
        story.alder.submit(story.spec(grants, **change), grants.values())


def test_a_column_outside_the_grant_is_refused(story: Story) -> None:
    grants = story.grants(columns=["mean radius", "diagnosis"])
    with pytest.raises(Refused, match="column"):
        story.alder.submit(story.spec(grants), grants.values())


def test_a_workload_outside_the_grant_is_refused(story: Story) -> None:
    grants = story.grants(algorithms=["intersection"])
    with pytest.raises(Refused, match="algorithm"):
        story.alder.submit(story.spec(grants), grants.values())


def test_a_used_up_grant_is_refused(story: Story) -> None:
    grants = story.grants(uses=1)
    assert story.run(story.spec(grants), grants)[1] == "Proved"
    with pytest.raises(Refused, match="0 left of 1"):
        story.alder.submit(story.spec(grants), grants.values())


def test_a_revoked_grant_is_refused(story: Story) -> None:
    grants = story.grants()
    story.birch.revoke_grant(grants[story.birch.account].grant)
    with pytest.raises(Refused, match="revoked"):
        story.alder.submit(story.spec(grants), grants.values())


def test_a_group_that_is_too_small_is_not_revealed_and_on_record(story: Story) -> None:
    grants = story.grants()
    spec = story.spec(grants, parameters={"where": [{"column": "mean radius", "op": ">", "value": "27"}]})
    task, state = story.run(spec, grants)
    assert state == "Failed"
    with pytest.raises(NotFound):
        story.alder.nodes.files(story.alder.account, "GetResult", task, Path("/nonexistent"))
    # All refuse at the same moment: who hears first that another has ended the run need not come to it.
    records = [AuditRecord.parse(raw) for who in story.clients for raw in who.audit(who.account, "refusal")]
    assert any(record.task == task and record.rule == "group-too-small" for record in records)


def test_the_same_sums_with_few_rows_fewer_are_refused_and_on_record(story: Story, proved: tuple[str, bytes, Bundle]) -> None:
    """Both answers together would tell of the three people with the largest radius."""
    assert 1 <= (data.clinical()["mean radius"] > 27).sum() < 10 and proved
    grants = story.grants()
    task, state = story.run(
        story.spec(grants, attempts=1, parameters={"where": [{"column": "mean radius", "op": "<=", "value": "27"}]}), grants
    )
    assert state == "Failed"
    with pytest.raises(NotFound):
        story.alder.nodes.files(story.alder.account, "GetResult", task, Path("/nonexistent"))
    records = [AuditRecord.parse(raw) for who in story.clients for raw in who.audit(who.account, "refusal")]
    assert any(record.task == task and record.rule == "differencing" and "earlier answer" in record.message for record in records)


def test_only_the_requester_submits(story: Story) -> None:
    grants = story.grants()
    request = node_pb2.SubmitTaskRequest(spec=story.spec(grants).to_bytes(), grants=[])
    with pytest.raises(Refused, match="requester"):
        story.birch.nodes.call(story.birch.account, "SubmitTask", request)


def test_a_result_is_for_its_receivers_node_alone(story: Story, proved: tuple[str, bytes, Bundle], tmp_path: Path) -> None:
    with pytest.raises(Refused, match="own account"):
        story.birch.nodes.files(story.alder.account, "GetResult", proved[0], tmp_path)


def test_a_task_is_invisible_to_others(story: Story, proved: tuple[str, bytes, Bundle], tmp_path: Path) -> None:
    outsider = story.network.client(story.network.join("Outsider"))
    with pytest.raises(NotFound):
        outsider.bundle(proved[0], story.alder.account, tmp_path)
    assert outsider.audit(story.alder.account) == []


def test_the_regulator_reads_complete_anchored_logs(story: Story, proved: tuple[str, bytes, Bundle]) -> None:
    regulator = story.network.client(story.regulator)
    chain = story.network.governor.chain
    for who in story.hospitals:
        heads = [
            (e["size"], e["root"]) for e in chain.events(0, chain.head()) if e.name == "Anchored" and e["account"] == who.account
        ]
        assert heads
        records = regulator.audit(who.account)  # after the heads: the log may grow at any moment
        verify_log(records, chain_id=story.network.deployment.chain_id, account=who.account, heads=heads)


def test_data_files_that_break_a_rule_are_refused_by_name(story: Story) -> None:
    folder = story.hospitals[0].data
    good = (folder / "clinical.csv").read_text().splitlines()
    cases = {
        "missing.csv": "\n".join(line.rsplit(",", 1)[0] for line in good),
        "letters.csv": "\n".join([good[0], good[1].replace(good[1].split(",")[0], "abc", 1)]),
        "digits.csv": "\n".join([good[0], "1.23456," + good[1].split(",", 1)[1]]),
        "range.csv": "\n".join([good[0], "999999999999999999999," + good[1].split(",", 1)[1]]),
        "nan.csv": "\n".join([good[0], "," + good[1].split(",", 1)[1]]),
        "empty.csv": good[0] + "\n",
    }
    for name, content in cases.items():
        (folder / name).write_text(content)
        with pytest.raises(InvalidData):
            story.alder.publish("broken", name, data.CLINICAL)
    (folder / "bytes.csv").write_bytes("\n".join(good).encode().replace(b"benign", b"\xff\xfe", 1))
    for name in ("bytes.csv", "../../tls.key", "absent.csv"):
        with pytest.raises(InvalidData):
            story.alder.publish("broken", name, data.CLINICAL)


def test_a_file_that_changed_after_publication_is_refused(story: Story) -> None:
    path = story.hospitals[2].data / "clinical.csv"
    original = path.read_text()
    grants = story.grants()
    try:
        path.write_text(original.replace("benign", "malignant", 1))
        with pytest.raises(Refused, match="not the one that was published"):
            story.alder.submit(story.spec(grants), grants.values())
    finally:
        path.write_text(original)


def test_a_revoked_participant_is_refused_at_once(story: Story) -> None:
    leaving = story.network.join("Leaving")
    client = story.network.client(leaving)
    client.nodes.call(story.alder.account, "GetInfo", node_pb2.InfoRequest())
    story.network.governor.chain.send("ParticipantRegistry", "revoke", leaving.account, bytes(32))
    for _ in range(5):  # recorded once, however often it knocks
        with pytest.raises(Refused, match="not active"):
            client.nodes.call(story.alder.account, "GetInfo", node_pb2.InfoRequest())
    regulator = story.network.client(story.regulator)
    records = [AuditRecord.parse(each) for each in regulator.audit(story.alder.account, "refusal")]
    assert [each.rule for each in records if each.party == leaving.account] == ["participant-active"]
    with pytest.raises(ContractRefused):
        client.chain.send("AuditLog", "anchor", b"\1" * 32, 1)


def test_a_superseded_certificate_is_refused(story: Story) -> None:
    who = story.network.join("Rotating")
    old = story.network.client(who)
    old.nodes.call(story.alder.account, "GetInfo", node_pb2.InfoRequest())
    story.network.rotate(who)
    with pytest.raises(Refused, match="not the one enrolled"):
        old.nodes.call(story.alder.account, "GetInfo", node_pb2.InfoRequest())
    story.network.client(who).nodes.call(story.alder.account, "GetInfo", node_pb2.InfoRequest())


def test_a_proposal_that_nobody_accepts_can_be_expired_by_anyone(story: Story) -> None:
    grants = story.grants()
    spec = story.spec(grants, accept_seconds=60)
    governor = story.network.governor.chain
    story.alder.chain.send("TaskLedger", "propose", proposal_of(spec).as_tuple())
    governor.request("evm_increaseTime", 61)
    governor.request("evm_mine")
    receipt = governor.send("TaskLedger", "expire", proposal_of(spec).as_tuple())
    assert receipt.event("Expired")["late"] == 0b111


def test_an_unknown_node_answers_with_an_error_that_names_it(story: Story, tmp_path: Path) -> None:
    who = story.hospitals[0]
    nodes = Nodes(
        {story.birch.account: "127.0.0.1:9"},
        certificate=who.folder / "tls.pem",
        key=who.folder / "tls.key",
        authority=story.network.authority_file,
    )
    with pytest.raises(PeerFailed, match="127.0.0.1:9"):
        Client(story.network.connect(who.signer), nodes).nodes.call(story.birch.account, "GetInfo", node_pb2.InfoRequest())


def test_secrets_do_not_reach_the_logs(story: Story) -> None:
    for who in story.hospitals:
        log = (who.folder / "node.log").read_text()
        assert (who.folder / "password").read_text() not in log
        assert "PRIVATE KEY" not in log


def test_errors_carry_a_remedy(story: Story) -> None:
    grants = story.grants()
    with pytest.raises(TallystickError) as caught:
        story.alder.submit(story.spec(grants, purpose="marketing"), grants.values())
    assert caught.value.remedy
    assert caught.value.party
