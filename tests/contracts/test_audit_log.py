from __future__ import annotations

import secrets

from contracts.conftest import World, refused


def test_each_account_anchors_its_own_growing_log(world: World) -> None:
    first, second = secrets.token_bytes(32), secrets.token_bytes(32)
    who = world.parties[0]
    who.send("AuditLog", "anchor", first, 3)
    who.send("AuditLog", "anchor", second, 4)
    head = world.call("AuditLog", "headOf", who.address)
    assert (head["root"], head["size"]) == (second, 4)
    assert world.call("AuditLog", "headOf", world.parties[1].address)["size"] == 0


def test_a_log_never_shrinks_or_stands_still(world: World) -> None:
    who = world.parties[0]
    who.send("AuditLog", "anchor", secrets.token_bytes(32), 5)
    for size in (5, 4, 0):
        with refused("NotGrowing"):
            who.send("AuditLog", "anchor", secrets.token_bytes(32), size)


def test_an_empty_root_is_refused(world: World) -> None:
    with refused("EmptyRoot"):
        world.parties[0].send("AuditLog", "anchor", bytes(32), 1)


def test_a_stranger_and_a_suspended_participant_anchor_nothing(world: World) -> None:
    with refused("NotActive"):
        world.stranger.send("AuditLog", "anchor", secrets.token_bytes(32), 1)
    world.governor.send("ParticipantRegistry", "suspend", world.parties[0].address, bytes(32))
    with refused("NotActive"):
        world.parties[0].send("AuditLog", "anchor", secrets.token_bytes(32), 1)
