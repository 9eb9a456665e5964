"""`tally operator` on a real chain: authorised by transaction and by signature, listed, revoked, resigned."""

from __future__ import annotations

import json
from pathlib import Path

from contracts.test_money_commands import Desk, desk
from tallystick.chain.operators import ever_allowed, signers_of, signs_for
from tallystick.protocol.operators import Scope

__all__ = ["desk"]
REGISTRY = "ParticipantRegistry"


def test_an_operator_is_authorised_listed_and_revoked(desk: Desk) -> None:
    world = desk.world
    own, node = world.parties[0], world.newcomer
    said = desk.tally(own, "operator", "authorise", node.address, "--days", 1)
    assert said["scopes"] == ["accept", "sign", "report"] and said["account"] == own.address
    assert world.chain.now() < said["not_after"] <= world.chain.now() + 86400
    (listed,) = desk.tally(own, "operator", "list", own.address)
    assert (listed["operator"], listed["scopes"]) == (node.address, ["accept", "sign", "report"])
    assert signers_of(world.chain, own.address, Scope.SIGN) == (own.address, node.address)
    assert signers_of(world.chain, own.address, Scope.STAKE) == (own.address,)
    assert desk.tally(own, "operator", "revoke", node.address)["scopes"] == []
    assert signers_of(world.chain, own.address, Scope.SIGN) == (own.address,)
    assert ever_allowed(world.chain, own.address, Scope.SIGN) == {node.address}
    assert ever_allowed(world.chain, own.address, Scope.STAKE) == frozenset()


def test_a_signed_authorisation_is_relayed_by_anyone_once(desk: Desk, tmp_path: Path) -> None:
    world = desk.world
    own, node, file = world.parties[0], world.newcomer, tmp_path / "signed.json"
    desk.tally(own, "operator", "sign", node.address, "--scope", "report", "--scope", "sign", "--out", file)
    assert desk.tally(world.stranger, "operator", "relay", file)["scopes"] == ["sign", "report"]
    assert desk.tally(world.stranger, "operator", "relay", file, code=42)["error"]["message"]
    forged = json.loads(file.read_text()) | {"scopes": ["stake"]}
    (tmp_path / "forged.json").write_text(json.dumps(forged))
    desk.tally(world.stranger, "operator", "relay", tmp_path / "forged.json", code=42)
    assert desk.tally(node, "operator", "resign", own.address)["operator"] == node.address


def test_scopes_have_names(desk: Desk) -> None:
    own, node = desk.world.parties[0], desk.world.newcomer
    refused = desk.tally(own, "operator", "authorise", node.address, "--scope", "grant", code=11)
    assert "accept, sign, report, stake" in refused["error"]["remedy"]


def test_the_chain_says_who_signs_for_whom(desk: Desk) -> None:
    world = desk.world
    own, other, node = world.parties[0], world.parties[1], world.newcomer
    digest = bytes(range(32))
    by_own, by_node = own.signer.sign_digest(digest), node.signer.sign_digest(digest)
    assert signs_for(world.chain, own.address, Scope.SIGN, digest, by_own)
    assert not signs_for(world.chain, own.address, Scope.SIGN, digest, by_node)
    desk.tally(own, "operator", "authorise", node.address)
    assert signs_for(world.chain, own.address, Scope.SIGN, digest, by_node)
    assert not signs_for(world.chain, own.address, Scope.STAKE, digest, by_node)
    assert not signs_for(world.chain, other.address, Scope.SIGN, digest, by_node)
    assert not signs_for(world.chain, own.address, Scope.SIGN, digest, by_node[:-1])
