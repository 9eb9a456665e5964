"""What requesters and parties agreed about tasks, as this node read it from the chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_utils.address import to_checksum_address
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.protocol.agreement import COIN, Agreement
from tallystick.protocol.errors import ChainUnreachable, NotFound, Refused
from tallystick.protocol.task import TaskSpec, proposal_of

from tallystick_node.settings import Policy
from tallystick_node.store.database import Store

ABI = "(bytes32,address,uint128,uint128,uint32,uint32,bool,bool,uint16[],address[],uint128)"


@dataclass(frozen=True)
class Agreed:
    """An agreement that stands on chain, and who staked its bond: bit i for party i, as ``ISettlement.Escrow`` says."""

    agreement: Agreement
    posted: int
    parties: tuple[str, ...]

    def staked(self, account: str) -> bool:
        """Whether an account is a party that staked the bond, and so undertook the agreement."""
        return account in self.parties and bool(self.posted >> self.parties.index(account) & 1)


class Agreements:
    """The agreements that were opened on one chain. They stand in events, which the node keeps as it reads them."""

    def __init__(self, chain: Chain, store: Store) -> None:
        self._chain = chain
        self._store = store

    def keep(self, event: Event) -> None:
        """Keep what an ``AgreementOpened`` says."""
        agreement = Agreement.of(event["agreement"].values())
        self._store.put_document("agreement", agreement.id(), abi_encode([ABI], [agreement.as_tuple()]))

    def of(self, spec: TaskSpec) -> Agreed | None:
        """What stands for a task, None where nothing was agreed. Raises ChainUnreachable."""
        task = proposal_of(spec).id()
        try:
            found = self._chain.settlement.escrow_of(task)
        except NotFound:  # a deployment of a release that had no settlement
            return None
        if not any(found["agreement"]):
            return None
        document = self._store.document(found["agreement"])
        if document is None:  # it was opened in a block that this node has not come to yet
            self._catch_up()
            document = self._store.document(found["agreement"])
        if document is None:
            raise ChainUnreachable("the chain does not show the terms of an agreement that it knows", party=self._chain.shown_url)
        values = abi_decode([ABI], document)[0]
        token, arbiters = to_checksum_address(values[1]), [to_checksum_address(each) for each in values[9]]
        return Agreed(Agreement.of((values[0], token, *values[2:9], arbiters, values[10])), found["posted"], spec.parties)

    def _catch_up(self) -> None:
        cursor = self._store.cursor()
        latest = self._chain.head() + self._chain.profile.confirmations
        for event in self._chain.events(cursor[0] if cursor else 0, latest):
            if event.name == "AgreementOpened":
                self.keep(event)


def require_terms(agreed: Agreed | None, spec: TaskSpec, account: str, policy: Policy) -> None:
    """Raise Refused unless a party's policy takes what was agreed about a task.

    Of an agreement with a price for each use, this party's share is what the first attempt's uses are worth under it. Amounts
    are in the chain's own coin: an agreement in another token counts as no fee and no bond. A party that staked, which only
    its operator or this policy does, has taken the terms.
    """
    if agreed is not None and agreed.staked(account):
        return
    coins = agreed.agreement if agreed is not None and agreed.agreement.token == COIN else None
    uses = [party.uses for party in proposal_of(spec).parties]
    share = coins.owed(uses, 1)[spec.parties.index(account)] if coins else 0
    asked, most = agreed.agreement.bond if agreed else 0, policy.largest_stake
    if share < policy.minimum_fee:
        _refuse(
            spec, f"this party's share of the fee is {share}, less than its node asks, {policy.minimum_fee}", "pay a larger fee"
        )
    if policy.bond_of_others > (coins.bond if coins else 0):
        _refuse(
            spec, f"this node asks a bond of {policy.bond_of_others} of the others", "open an agreement that asks for such a bond"
        )
    if asked and most is not None and (coins is None or asked > most):
        _refuse(
            spec,
            f"the agreement asks a bond of {asked}, and this node stakes at most {most} of the chain's own coin by itself",
            "ask for a smaller bond, or have the party's operator stake it (`tally settlement post`)",
        )


def _refuse(spec: TaskSpec, message: str, remedy: str) -> NoReturn:
    raise Refused(message, rule="agreement", party=spec.requester, remedy=remedy)
