"""The act of the demonstration in which hospitals are paid for what they contributed, and pay for what they broke."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import data
from rich.table import Table
from tallystick.chain.contract import Event
from tallystick.client import Client, disputes, settlement
from tallystick.client.settlement import Deal
from tallystick.protocol import canonical
from tallystick.protocol.agreement import COIN, Agreement
from tallystick.protocol.errors import ContractRefused
from tallystick.protocol.task import TaskSpec, proposal_of
from tallystick.testing.network import Institution

ETHER = 10**18
FEE, BOND = 3 * ETHER // 10, ETHER // 20
DISPUTE_SECONDS, RULING_SECONDS, RUN_SECONDS = 20, 600, 20
T = TypeVar("T")
STALE = 101  # the reason that the challenge states: a number of the consortium's own


def agree(client: Client, spec: TaskSpec, arbiter: str) -> Deal:
    """Open an agreement about a task that is drafted: the fee by contribution, a bond of everybody, one arbiter."""
    proposal = proposal_of(spec)
    count = len(proposal.accounts)
    shares = (10_000 - 10_000 // count * (count - 1), *[10_000 // count] * (count - 1))
    terms = Agreement(
        proposal.id(), COIN, FEE, BOND, DISPUTE_SECONDS, RULING_SECONDS, measured=True, upheld_by_default=False, shares=shares,
        arbiters=(arbiter,),
    )  # fmt: skip
    settlement.open_agreement(client.chain, proposal, terms)
    return settlement.agreed_deal_of(client.chain, canonical.hex32(proposal.id()), proposal)


def hang_after_accepting(client: Client, deal: Deal, who: Institution) -> None:
    """Stop an institution's node, with its workers, as soon as it has accepted a task."""
    until(lambda: any(event["party"] == who.account for event in told(client, deal, "Accepted")))
    assert who.process is not None
    os.killpg(who.process.pid, signal.SIGSTOP)


@contextmanager
def going_on(who: Institution) -> Iterator[None]:
    """Afterwards the institution's node goes on, whatever happened."""
    try:
        yield
    finally:
        assert who.process is not None
        os.killpg(who.process.pid, signal.SIGCONT)


def late(client: Client, deal: Deal) -> list[str]:
    """Who was found late with a task, as soon as somebody was."""
    return [str(event["accused"]) for event in until(lambda: told(client, deal, "BreachProved"))]


def sign_and_measure(clients: Sequence[Client], deal: Deal, shares: Sequence[int]) -> None:
    """Have every hospital sign the measured shares, and put them in the place of the declared ones."""
    signed = {client.account: settlement.sign_contributions(client.chain, deal, shares) for client in clients}
    settlement.measure(clients[0].chain, deal, shares, signed)


def challenge(client: Client, deal: Deal, accused: str, evidence: Path) -> bytes:
    """Challenge a party with a file that only the arbiters will see."""
    receipt = disputes.challenge(client.chain, deal, accused, STALE, hashlib.sha256(evidence.read_bytes()).digest())
    return bytes(receipt.event("DisputeRaised")["dispute"])


def settle(client: Client, deal: Deal) -> dict[str, int]:
    """Settle as soon as nothing can be disputed any more; what everybody is owed."""

    def settled() -> bool:
        try:
            settlement.settle(client.chain, deal)
        except ContractRefused as refusal:
            if refusal.error != "TooEarly":
                raise
            return False
        return True

    until(settled, pause=1.0)
    return settlement.payouts_of(client.chain, deal)


def account_table(names: dict[str, str], columns: dict[str, dict[str, Any]]) -> Table:
    """A row for each account, in ether where a column holds amounts."""
    table = Table("", *columns)
    for account, name in names.items():
        table.add_row(name, *(str(column.get(account, "")) for column in columns.values()))
    return table


def ether(amount: int) -> str:
    """An amount for people."""
    return f"{amount / ETHER:.4f}"


def public_rows(columns: Sequence[str], target: str) -> list[list[str]]:
    """Rows that no hospital has, at which every update is judged: the quantiles of each diagnosis."""
    return [
        [*(f"{group[name].quantile(quantile):.4f}" for name in columns), str(diagnosis)]
        for diagnosis, group in data.clinical().groupby(target)
        for quantile in (0.1, 0.25, 0.4, 0.6, 0.75, 0.9)
    ]


def told(client: Client, deal: Deal, name: str) -> list[Event]:
    """The chain's events of one kind about a task."""
    chain = client.chain
    return [each for each in chain.events(0, chain.head()) if each.name == name and each.arguments.get("task") == deal.task]


def until(ask: Callable[[], T], seconds: float = 90, pause: float = 0.02) -> T:
    """Ask until there is an answer. Raises TimeoutError."""
    give_up = time.monotonic() + seconds
    while not (found := ask()):
        if time.monotonic() > give_up:
            raise TimeoutError("the demonstration waited in vain")
        time.sleep(pause)
    return found
