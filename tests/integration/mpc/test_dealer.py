"""A computation with a dealer through the whole story: both owners compute, Cedar deals, Elm receives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from integration.mpc.conftest import Five, walked
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.canonical import unhex32
from tallystick.protocol.errors import Refused
from tallystick.protocol.verify import verify_bundle

pytestmark = pytest.mark.slow


def test_a_computation_with_a_dealer_is_proved_by_all_of_them(five: Five, tmp_path: Path) -> None:
    cedar = five.cedar.account
    spec, grants = five.walk(2, f"additive-dealer:{cedar}", (five.alder, five.birch, five.cedar))
    task = five.elm.submit(spec, grants.values())
    assert five.elm.wait(task, 300) == "Proved"
    paths = five.patiently(lambda: five.elm.result(task, tmp_path / "result"))
    content = next(path for path in paths if path.name == "result.json").read_bytes()
    (output,) = json.loads(content)["values"]["outputs"]
    assert np.abs(np.array(output["numbers"], float) - walked(2)).max() < 1e-4
    bundle = Bundle.read(five.patiently(lambda: five.elm.bundle(task, cedar, tmp_path / "bundle")))
    chain = five.network.governor.chain
    event = next(e for e in chain.events(0, chain.head()) if e.name == "ResultProved" and e["task"] == unhex32(task))
    trusted, contracts = [bytes.fromhex(event.block_hash[2:])], five.network.deployment.contracts
    verify_bundle(bundle, trusted_blocks=trusted, contracts=contracts, result_file=content).require(complete=True)


def test_an_owner_is_not_asked_to_trust_a_receiver_as_dealer(five: Five) -> None:
    spec, grants = five.walk(2, f"additive-dealer:{five.elm.account}", (five.alder, five.birch, five.elm))
    with pytest.raises(Refused, match="owns or receives"):
        five.elm.submit(spec, grants.values())
