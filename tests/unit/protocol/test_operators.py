"""Statements that operators signed: a bundle with the chain's word that they might verifies, and no other."""

from __future__ import annotations

import hashlib

import pytest
from coincurve import PrivateKey
from tallystick.protocol import events, typed
from tallystick.protocol.audit import AuditRecord, verify_log
from tallystick.protocol.errors import MalformedDocument, VerificationFailed
from tallystick.protocol.operators import NODE, Scope, authorisation_digest, scope_names, scopes_named
from tallystick.protocol.verify import verify_bundle
from tallystick.signing import OperatorSigner, signer_from_uri
from unit.protocol.world import START, Account, World, make

OPERATOR = Account(PrivateKey(hashlib.sha256(b"operator").digest()))
STRANGER = signer_from_uri("mnemonic:5")


def operated() -> World:
    """The second party's signature is the operator's."""
    world = make()
    world.signers[world.spec.parties[1]] = OPERATOR
    return world


def said(world: World, party: int = 1, **changes: object) -> None:
    """What the chain says of the operator before the proof."""
    told = {"account": world.spec.parties[party], "operator": OPERATOR.address, "scopes": int(NODE), "notAfter": START + 10**6}
    world.insert_before(events.RESULT_PROVED, events.OPERATOR_CHANGED, **(told | changes))


def verdict(world: World) -> tuple[str, str]:
    report = verify_bundle(world.bundle(), trusted_blocks=[world.head()], contracts=world.contracts)
    rule = report.rules[12]
    assert rule.number == 13 and set(report.failed) <= {13}
    return rule.verdict, rule.detail


def test_an_operator_signs_for_its_party() -> None:
    world = operated()
    said(world)
    assert verdict(world) == ("ok", f"{len(world.spec.parties)} parties, 1 of them by operators")


def test_a_party_signs_itself_though_it_has_an_operator() -> None:
    world = make()
    said(world)
    assert verdict(world) == ("ok", f"{len(world.spec.parties)} parties")


@pytest.mark.parametrize(
    "changes",
    [
        {"scopes": int(Scope.ACCEPT | Scope.REPORT | Scope.STAKE)},
        {"scopes": 0},
        {"notAfter": START},
        {"operator": STRANGER.address},
        {"party": 0},
    ],
)
def test_who_might_not_sign_signs_for_nobody(changes: dict[str, object]) -> None:
    world = operated()
    said(world, **changes)  # type: ignore[arg-type]
    assert verdict(world)[0] == "failed"


def test_without_a_word_on_chain_nobody_signs_for_another() -> None:
    assert verdict(operated())[0] == "failed"


def test_the_last_word_before_the_proof_counts() -> None:
    world = operated()
    said(world)
    said(world, scopes=0)
    assert verdict(world)[0] == "failed"
    said(world)
    assert verdict(world)[0] == "ok"
    after = {"account": world.spec.parties[1], "operator": OPERATOR.address, "scopes": 0, "notAfter": 0}
    world.events.append((events.OPERATOR_CHANGED, after))
    assert verdict(world)[0] == "ok"


def test_scopes_are_named_both_ways() -> None:
    for scopes in range(16):
        assert scopes_named(scope_names(scopes)) == scopes
    for name in ("grant", "", "ACCEPT|SIGN"):
        with pytest.raises(MalformedDocument):
            scopes_named([name])


def test_an_authorisation_names_each_of_its_members() -> None:
    domain = typed.Domain("ParticipantRegistry", 31337, STRANGER.address)
    members = (STRANGER.address, OPERATOR.address, 7, 99, 0)
    others = [
        (*members[:i], changed, *members[i + 1 :]) for i, changed in enumerate((OPERATOR.address, STRANGER.address, 3, 98, 1))
    ]
    assert len({authorisation_digest(domain, *each) for each in (members, *others)}) == 6  # type: ignore[arg-type]


def test_a_log_is_its_accounts_and_its_operators() -> None:
    node = signer_from_uri("mnemonic:4")
    account, key = STRANGER.address, OperatorSigner(STRANGER.address, node)
    assert key.address == account
    fields = (31337, account, 0, 1, "run", "", "", "", "", "x", {})
    record = AuditRecord(*fields).signed(key.sign_digest)  # type: ignore[arg-type]
    verify_log([record.to_bytes()], chain_id=31337, account=account, heads=(), operators={node.address})
    for operators in (frozenset[str](), {account}):
        with pytest.raises(VerificationFailed):
            verify_log([record.to_bytes()], chain_id=31337, account=account, heads=(), operators=operators)
