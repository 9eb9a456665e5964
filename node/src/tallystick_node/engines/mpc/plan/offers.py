"""The protocols that plans run on, by name."""

from __future__ import annotations

from tallystick_node.engines.mpc.beaver.dealer import Dealer
from tallystick_node.engines.mpc.beaver.dealt import DealtAdditive
from tallystick_node.engines.mpc.beaver.lattice.products import TILE
from tallystick_node.engines.mpc.beaver.lattice.transform import N
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.mpc.clear import Clear
from tallystick_node.engines.mpc.malicious import MaliciousReplicated
from tallystick_node.engines.mpc.plan.roles import Offer
from tallystick_node.engines.mpc.replicated import Replicated

OFFERS: dict[str, Offer] = {
    "clear": Offer(Clear, Clear, 1, 1),
    "replicated": Offer(Replicated, Replicated, 3, 3),
    "replicated-malicious": Offer(MaliciousReplicated, MaliciousReplicated, 3, 3),
    "two-party": Offer(ObliviousAdditive, ObliviousAdditive, 2, 2, batch=N, tile=TILE),
    "additive-dealer": Offer(
        DealtAdditive, lambda session: DealtAdditive(session, session.parties - 1), 2, 8, lambda session: Dealer(session).serve()
    ),
}
SECURE = tuple(name for name, offer in OFFERS.items() if name != "clear" and offer.deal is None)
