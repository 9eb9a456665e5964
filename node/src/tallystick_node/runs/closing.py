"""What the nodes of an attempt say to one another when its computation is over: their words, what each heard, their signatures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from tallystick.chain.connection import Chain
from tallystick.protocol.errors import PeerFailed, RunFailed
from tallystick.protocol.reasons import Reason
from tallystick.protocol.statement import Statement
from tallystick.protocol.task import TaskSpec
from tallystick.signing import Signer

from tallystick_node.evidence import agreement, signed_links
from tallystick_node.evidence.agreement import Word
from tallystick_node.evidence.signed_links import SignedLink
from tallystick_node.evidence.signed_words import Heard, Report
from tallystick_node.peers.links import RunLinks
from tallystick_node.runs.patience import patiently

T = TypeVar("T")


class Closing:
    """``task``: its id, 32 bytes."""

    def __init__(self, chain: Chain, signer: Signer, spec: TaskSpec, task: bytes, attempt: int, links: RunLinks) -> None:
        self._chain, self._signer = chain, signer
        self._spec, self._task, self._attempt = spec, task, attempt
        self._links = links
        self.awaited: str | None = None  # whose evidence this party waits for
        self.contradictions: list[tuple[SignedLink, SignedLink]] = []  # in what the parties signed of their links

    async def words(self, own: Word, heard: Heard) -> dict[str, Word]:
        """The words of all parties but the absent, the same for everybody who gets them. Raises PeerFailed and RunFailed."""
        words = await self._exchange(own, heard)
        self.contradictions = signed_links.contradictions(self._task, self._attempt, words)
        await self._compare(words, heard)
        return words

    async def signatures(self, statement: Statement, words: Mapping[str, Word]) -> dict[str, bytes]:
        """Everybody's signature of the statement. Raises PeerFailed."""
        result, own = agreement.sign(statement, self._chain, self._signer)
        signatures = {self._signer.address: own}
        present = [account for account in self._links.links if account in words]
        for account in present:
            await self._links.send(account, own)
        for account in present:
            signatures[account] = await self._receive(account)
            await self._patiently(partial(agreement.check_signature, result, self._chain, account, signatures[account]))
        return signatures

    async def _exchange(self, own: Word, heard: Heard) -> dict[str, Word]:
        """The words of all parties, but of those that are gone and can be spared."""
        words, message = {self._signer.address: own}, heard.say(self._signer, own.to_bytes())
        for account in self._links.links:
            with self._links.sparing(account):
                await self._links.send(account, message)
        for account in self._links.links:
            with self._links.sparing(account):
                received = await self._receive(account)
                word = Word.parse(heard.take(account, received), account)
                await self._patiently(partial(signed_links.check, self._chain, account, self._task, self._attempt, word))
                words[account] = word
        return words

    async def _compare(self, words: dict[str, Word], heard: Heard) -> None:
        """Hold what each party heard against what this one did, and leave in ``words`` those of parties that all who are present
        find present.

        Links to a party that dies do not end everywhere at the same moment. So who hears that a party is absent whose word it has
        waits for its own link to it to end. Raises RunFailed when that does not happen: a party that is there is not declared
        absent with this party's signature. Nobody is accused, since a link between the two others may have broken. A party that
        goes while the reports are exchanged, and that nobody misses, is still in ``words``: the others may have had its report, so
        its signature is waited for in vain, and the next attempt does without it. Of a party whose word only some have heard,
        these compare it.
        """
        absent = [account for account in self._spec.parties if account not in words]
        present = [account for account in self._links.links if account in words]
        for account in present:
            with self._links.sparing(account):
                await self._links.send(account, heard.report(self._spec.parties))
        for account in present:
            missed: tuple[str, ...] = ()
            if account in words:  # not one that another has missed meanwhile, and that is gone
                with self._links.sparing(account):
                    report = Report.parse(await self._receive(account), account, self._spec)
                    await self._patiently(partial(heard.compare, account, report))
                    missed = report.absent
            for named in missed:
                if named in absent:
                    continue
                if named not in self._links.links or not await self._links.ended(named):
                    raise RunFailed(
                        f"{account} says that {named} is absent, with which this party is connected",
                        remedy="look at the link between the two: the next attempt needs it",
                        reason=Reason.PEER_SILENT,
                    )
                words.pop(named, None)

    async def _receive(self, account: str) -> bytes:
        self.awaited = account
        try:
            message = await self._links.receive(account)
        except PeerFailed:  # it is gone: where the run can spare it, nobody waits for it any more
            self.awaited = None
            raise
        self.awaited = None
        return message

    async def _patiently(self, ask: Callable[[], T]) -> T:
        """What the chain answers, while the run may take that long."""
        return await patiently(ask, self._spec.run_seconds)
