from __future__ import annotations

import secrets

from contracts.conftest import World, refused
from tallystick.protocol.dataset import dataset_id
from tallystick.protocol.identity import ROLES

REGISTRY = "DatasetRegistry"


def commitments() -> list[bytes]:
    return [secrets.token_bytes(32) for _ in range(3)]


def test_the_id_is_the_owners_and_the_descriptors(world: World) -> None:
    owner = world.parties[0]
    values = commitments()
    receipt = owner.send(REGISTRY, "publish", *values)
    dataset = receipt.event("Published")["dataset"]
    assert dataset == dataset_id(owner.address, values[0])
    found = world.call(REGISTRY, "datasetAt", dataset)
    assert (found["owner"], found["version"], found["descriptor"], found["rows"]) == (owner.address, 1, *values[:2])
    assert world.call(REGISTRY, "requireUsable", dataset) == owner.address


def test_only_active_data_providers_publish(world: World) -> None:
    with refused("NotActive"):
        world.stranger.send(REGISTRY, "publish", *commitments())
    world.enrol(world.newcomer, world.enrolment(world.newcomer, roles=ROLES["requester"]))
    with refused("RoleMissing"):
        world.newcomer.send(REGISTRY, "publish", *commitments())


def test_a_dataset_is_published_once_and_never_empty(world: World) -> None:
    values = commitments()
    world.parties[0].send(REGISTRY, "publish", *values)
    with refused("DatasetExists"):
        world.parties[0].send(REGISTRY, "publish", *values)
    world.parties[1].send(REGISTRY, "publish", *values)  # another owner: another dataset
    for missing in range(3):
        broken = commitments()
        broken[missing] = bytes(32)
        with refused("EmptyCommitment"):
            world.parties[0].send(REGISTRY, "publish", *broken)


def test_only_the_owner_revises_and_withdraws(world: World) -> None:
    owner, other = world.parties[:2]
    dataset = world.publish(owner)
    with refused("NotTheOwner"):
        other.send(REGISTRY, "revise", dataset, *commitments())
    with refused("NotTheOwner"):
        world.stranger.send(REGISTRY, "withdraw", dataset)
    owner.send(REGISTRY, "revise", dataset, *commitments())
    assert world.call(REGISTRY, "datasetAt", dataset)["version"] == 2
    with refused("EmptyCommitment"):
        owner.send(REGISTRY, "revise", dataset, bytes(32), *commitments()[:2])


def test_withdrawal_is_for_good_and_open_to_a_suspended_owner(world: World) -> None:
    owner = world.parties[0]
    dataset = world.publish(owner)
    world.governor.send("ParticipantRegistry", "suspend", owner.address, bytes(32))
    with refused("NotActive"):
        owner.send(REGISTRY, "revise", dataset, *commitments())
    owner.send(REGISTRY, "withdraw", dataset)
    with refused("DatasetWithdrawn"):
        world.call(REGISTRY, "requireUsable", dataset)
    with refused("DatasetWithdrawn"):
        owner.send(REGISTRY, "withdraw", dataset)


def test_an_unknown_dataset_is_unknown(world: World) -> None:
    with refused("UnknownDataset"):
        world.call(REGISTRY, "requireUsable", secrets.token_bytes(32))
    with refused("UnknownDataset"):
        world.parties[0].send(REGISTRY, "withdraw", secrets.token_bytes(32))
    with refused("UnknownDataset"):
        world.parties[0].send(REGISTRY, "revise", secrets.token_bytes(32), *commitments())
