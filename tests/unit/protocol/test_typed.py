"""Typed digests against eth-account's, event topics against the compiled contracts, account signatures."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode
from eth_account.messages import _hash_eip191_message, encode_typed_data
from eth_utils.crypto import keccak
from tallystick.protocol import events, typed
from tallystick.protocol.errors import MalformedDocument, VerificationFailed
from tallystick.protocol.signature import recover, verify_signature
from tallystick.protocol.task import Party, Proposal
from unit.protocol.world import ACCOUNTS, PARTIES, REQUESTER, WORLD_DOMAIN


def fields(kind: str) -> list[dict[str, str]]:
    inner = kind.partition("(")[2].partition(")")[0]
    return [{"type": each.split()[0], "name": each.split()[1]} for each in inner.split(",")]


def peer(domain: typed.Domain, name: str, message: dict[str, Any], *kinds: str) -> bytes:
    types = {kind.partition("(")[0]: fields(kind) for kind in kinds}
    full = {"name": f"Tallystick {domain.contract}", "version": "1", "chainId": domain.chain_id}
    full["verifyingContract"] = domain.address
    types["EIP712Domain"] = fields(typed.DOMAIN_TYPE)
    data = {"types": types, "primaryType": name, "domain": full, "message": message}
    return bytes(_hash_eip191_message(encode_typed_data(full_message=data)))


B = [bytes([n]) * 32 for n in range(8)]


def test_result() -> None:
    result = typed.Result(B[1], 2, B[2], B[3], B[4], b"abcd")
    names = [field["name"] for field in fields(typed.RESULT_TYPE)]
    expected = peer(WORLD_DOMAIN, "Result", dict(zip(names, result.as_tuple(), strict=True)), typed.RESULT_TYPE)
    assert typed.result_digest(WORLD_DOMAIN, result) == expected


def test_enrolment_possession_acceptance() -> None:
    enrolment = typed.Enrolment(REQUESTER, B[1], B[2], B[3], 5, 6, 7)
    names = [field["name"] for field in fields(typed.ENROLMENT_TYPE)]
    message = dict(zip(names, enrolment.as_tuple(), strict=True))
    assert typed.enrolment_digest(WORLD_DOMAIN, enrolment) == peer(WORLD_DOMAIN, "Enrolment", message, typed.ENROLMENT_TYPE)
    assert typed.possession_digest(WORLD_DOMAIN, REQUESTER, B[1]) == peer(
        WORLD_DOMAIN, "Possession", {"account": REQUESTER, "fingerprint": B[1]}, typed.POSSESSION_TYPE
    )
    assert typed.acceptance_digest(WORLD_DOMAIN, B[1], B[2], 3) == peer(
        WORLD_DOMAIN, "Acceptance", {"task": B[1], "spec": B[2], "attempt": 3}, typed.ACCEPTANCE_TYPE
    )


def test_grant(world: Any) -> None:
    grant = world.grants[0]
    names = [field["name"] for field in fields(typed.GRANT_TYPE)]
    message = dict(zip(names, grant.as_tuple(), strict=True))
    assert typed.grant_digest(WORLD_DOMAIN, grant.id()) == peer(WORLD_DOMAIN, "Grant", message, typed.GRANT_TYPE)


@pytest.mark.parametrize("count", [1, 2, 16])
def test_proposal_with_nested_parties(count: int) -> None:
    parties = tuple(Party(PARTIES[i % 3], B[1], B[2], 2**64 - 1 - i, 2**32 - 1 - i) for i in range(count))
    proposal = Proposal(REQUESTER, B[1], parties, b"abcd", 2**40 - 1, 2**32 - 1, 16, B[5])
    names = [field["name"] for field in fields(typed.PROPOSAL_TYPE)]
    party_names = [field["name"] for field in fields(typed.PARTY_TYPE)]
    message = dict(zip(names, proposal.as_tuple(), strict=True))
    message["parties"] = [dict(zip(party_names, party.as_tuple(), strict=True)) for party in parties]
    own = typed.PROPOSAL_TYPE.removesuffix(typed.PARTY_TYPE)
    assert WORLD_DOMAIN.digest(proposal.id()) == peer(WORLD_DOMAIN, "Proposal", message, own, typed.PARTY_TYPE)


@pytest.mark.parametrize("values", [{"attempt": 256}, {"task": b"x" * 33}, {"proof_kind": "abcd!"}, {"attempt": "1"}])
def test_values_that_do_not_fit(values: dict[str, Any]) -> None:
    result = {"task": B[0], "attempt": 1, "statement": B[0], "inputs": B[0], "output": B[0], "proof_kind": b"abcd"}
    with pytest.raises(MalformedDocument):
        typed.Result(**(result | values)).hash()


KINDS = [each for each in vars(events).values() if isinstance(each, events.EventType)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_events_are_those_of_the_compiled_contracts(kind: events.EventType) -> None:
    artefact = resources.files("tallystick.chain.artifacts") / f"{kind.contract}.json"
    abi = json.loads(artefact.read_text())["abi"]
    (event,) = [each for each in abi if each["type"] == "event" and each["name"] == kind.name]
    topics = [each["name"] for each in event["inputs"] if each["indexed"]]
    data = [each["name"] for each in event["inputs"] if not each["indexed"]]
    assert topics == [name for name, _ in kind.indexed]
    assert data == [name for name, _ in kind.data]

    def signature(each: dict[str, Any]) -> str:
        inner = ",".join(signature(part) for part in each.get("components", []))
        return each["type"].replace("tuple", f"({inner})") if inner else each["type"]

    assert kind.topic == keccak(f"{kind.name}({','.join(signature(each) for each in event['inputs'])})".encode())


def test_signatures_recover_and_only_in_one_form() -> None:
    account, digest = ACCOUNTS[0], keccak(b"message")
    signature = account.sign(digest)
    verify_signature(account.address, digest, signature)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = signature[:32] + (order - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    for wrong in (
        high + bytes([55 - signature[64]]),
        signature[:64],
        signature[:64] + bytes([signature[64] - 27]),
        bytes(64) + b"\x1b",
        b"\xff" * 32 + signature[32:],
        b"",
    ):
        assert recover(digest, wrong) is None
    with pytest.raises(VerificationFailed) as caught:
        verify_signature(PARTIES[1], digest, signature, rule=13)
    assert (caught.value.rule, caught.value.party) == (13, PARTIES[1])


def test_logs_with_other_topics_do_not_decode() -> None:
    from tallystick.protocol.facts import Log

    good = (events.STARTED.topic, B[1])
    data = abi_encode(["uint8", "uint40"], [1, 2])
    assert events.decode(events.STARTED, Log(REQUESTER, good, data, 1, 1, 0))["attempt"] == 1
    for topics, body in [(good[:1], data), ((B[1], B[1]), data), ((*good, B[1]), data), (good, data[:-1])]:
        with pytest.raises(MalformedDocument):
            events.decode(events.STARTED, Log(REQUESTER, topics, body, 1, 1, 0))
