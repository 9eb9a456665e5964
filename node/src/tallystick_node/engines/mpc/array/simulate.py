"""A whole computation in one process: one thread for each party, over in-memory channels. For notebooks, tests and rehearsals.

It is the real protocol with all its messages, but all parties are one process: nothing is secret from whoever runs it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tallystick_node.engines.channel import ChannelError, Session, local_sessions
from tallystick_node.engines.mpc.array.immediate import Immediate, decoded
from tallystick_node.engines.mpc.array.secret import using
from tallystick_node.engines.mpc.plan.document import Plan
from tallystick_node.engines.mpc.plan.engine import Engine
from tallystick_node.engines.mpc.plan.kinds import Kind, Type, encode
from tallystick_node.engines.mpc.plan.offers import OFFERS
from tallystick_node.engines.mpc.plan.roles import Cast, Offer, Part
from tallystick_node.engines.mpc.ring import Ring

SECONDS = 600.0  # how long one party waits for another: in a new installation kernels are compiled meanwhile
DEALER = "dealer"


@contextlib.contextmanager
def simulate(parties: Sequence[str], protocol: str = "replicated", fraction: int = 18) -> Iterator[Laboratory]:
    """Let ``secret`` and ``reveal`` work here: each operation is done at once, by all parties, which all compute.

    ``reveal`` gives the numbers that the receivers get. Raises ValueError for a protocol that is not for so many parties.
    """
    offer = OFFERS[protocol]
    if offer.deal is not None:
        raise ValueError(f"{protocol} has a dealer: record a plan, and run it with run_locally")
    if not offer.fewest <= len(parties) <= offer.most:
        raise ValueError(f"{protocol} is for {offer.fewest} to {offer.most} computing parties, not {len(parties)}")
    laboratory = Laboratory(tuple(parties), offer, fraction)
    try:
        with using(laboratory):
            yield laboratory
    finally:
        laboratory.close()


def run_locally(
    plan: Plan, inputs: Mapping[str, ArrayLike], computing: Sequence[str], protocol: str = "replicated"
) -> dict[str, dict[str, NDArray[Any]]]:
    """Run a plan in one process, each party in its role; for each party the results that it gets, by name.

    ``inputs`` by name; parties that compute only are named in ``computing`` besides the plan's; a dealer is added as ``dealer``.
    Raises what a party raises.
    """
    offer = OFFERS[protocol]
    dealer = () if offer.deal is None else (DEALER,)
    parties = tuple(dict.fromkeys((*plan.parties, *computing, *dealer)))
    cast = Cast(parties, tuple(computing), *dealer)
    encoded: dict[str, dict[str, Ring]] = {party: {} for party in parties}
    for each in plan.inputs:
        encoded[each.owner][each.name] = encode(inputs[each.name], each.kind)
    kinds = {each.name: plan.types[each.value].kind for each in plan.reveals}

    def one(session: Session) -> dict[str, NDArray[Any]]:
        found = Part(plan, offer, cast, session).run(encoded[parties[session.index]])
        return {name: decoded(elements, kinds[name]) for name, elements in found.items()}

    with ThreadPoolExecutor(len(parties)) as pool:
        running = [pool.submit(one, session) for session in local_sessions(len(parties), SECONDS)]
        return dict(zip(parties, gathered(running), strict=True))


def gathered(running: Sequence[Future[Any]]) -> list[Any]:
    """What all gave; raises the first error that is not the echo of another party's."""
    errors = [error for each in running if (error := each.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, ChannelError)):
        raise error
    return [each.result() for each in running]


class Laboratory(Engine):
    """The parties of :func:`simulate`. Operations are handed to all of them; only a reveal is waited for."""

    def __init__(self, parties: tuple[str, ...], offer: Offer, fraction: int) -> None:
        super().__init__(fraction)
        self.parties = parties
        self._benches = [_Bench(session, offer, parties, fraction) for session in local_sessions(len(parties), SECONDS)]
        self._count = 0

    def share(self, values: NDArray[Any], owner: str, kept: Type) -> _Held:
        """Secrets of one party."""
        if owner not in self.parties:
            raise ValueError(f"{owner} is no party of the computation: {', '.join(self.parties)}")
        encode(values, kept.kind)  # says at once what does not fit
        return self._everywhere(1, lambda engine, _: [engine.share(values, owner, kept)])[0]

    def constant(self, elements: Ring, kind: Kind) -> _Held:
        """A public value."""
        return self._everywhere(1, lambda engine, _: [engine.constant(elements, kind)])[0]

    def apply(
        self,
        operation: str,
        operands: Sequence[_Held],
        attributes: Mapping[str, Any],
        operand_types: Sequence[Type],
        types: Sequence[Type],
    ) -> list[_Held]:
        """Hand the operation to all parties."""
        numbers = [each.number for each in operands]
        return self._everywhere(
            len(types),
            lambda engine, held: engine.apply(operation, [held[each] for each in numbers], attributes, operand_types, types),
        )

    def reveal(self, value: _Held, kind: Type, to: Sequence[str] | None, name: str | None) -> NDArray[Any]:
        """The numbers, which all receivers agree on."""
        unknown = [party for party in to or () if party not in self.parties]
        if unknown or (to is not None and not to):
            raise ValueError(f"reveal to one or more of {', '.join(self.parties)}, not to {', '.join(unknown) or 'nobody'}")
        number = value.number
        waiting = [bench.ask(lambda engine, held: engine.reveal(held[number], kind, to, name)) for bench in self._benches]
        shown = [each for each in gathered(waiting) if each is not None]
        assert all(np.array_equal(shown[0], each) for each in shown[1:])
        return np.asarray(shown[0])

    def rounds_and_bytes(self) -> tuple[int, int]:
        """What was measured so far: the rounds of the party that had most, and the bytes that all sent together."""
        for each in [bench.ask(lambda _engine, _held: None) for bench in self._benches]:
            each.result()
        steps = [bench.session.meter.steps.values() for bench in self._benches]
        return max(sum(each.rounds for each in party) for party in steps), sum(each.bytes for party in steps for each in party)

    def close(self) -> None:
        """End all parties."""
        for bench in self._benches:
            bench.close()

    def forget(self, number: int) -> None:
        """Nobody names this value any more."""
        for bench in self._benches:
            bench.ask(lambda _, held: held.pop(number, None))

    def _everywhere(self, count: int, step: Callable[[Immediate, dict[int, Any]], Sequence[Any]]) -> list[_Held]:
        numbers = range(self._count, self._count + count)
        self._count += count

        def work(engine: Immediate, held: dict[int, Any]) -> None:
            held.update(zip(numbers, step(engine, held), strict=True))

        for bench in self._benches:
            bench.ask(work)
        return [_Held(self, number) for number in numbers]


class _Held:
    """A value that every party holds its shares of, until this is collected."""

    def __init__(self, laboratory: Laboratory, number: int) -> None:
        self._laboratory = laboratory
        self.number = number

    def __del__(self) -> None:
        self._laboratory.forget(self.number)


class _Bench:
    """One party: a thread that does what it is asked, in order. After an error it answers everything with that error."""

    def __init__(self, session: Session, offer: Offer, parties: tuple[str, ...], fraction: int) -> None:
        self.session = session
        self._asked: queue.SimpleQueue[tuple[Callable[..., Any], Future[Any]] | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=(offer, parties, fraction), daemon=True)
        self._thread.start()

    def ask(self, work: Callable[[Immediate, dict[int, Any]], Any]) -> Future[Any]:
        """Have something done; what it gives, later."""
        answer: Future[Any] = Future()
        self._asked.put((work, answer))
        return answer

    def close(self) -> None:
        """End."""
        self._asked.put(None)

    def _work(self, offer: Offer, parties: tuple[str, ...], fraction: int) -> None:
        held: dict[int, Any] = {}
        engine: Immediate | None = None
        while (asked := self._asked.get()) is not None:
            work, answer = asked
            try:
                if self._failure is not None:
                    raise self._failure
                engine = engine or Immediate(offer.open(self.session), parties, fraction)
                with np.errstate(over="ignore"):  # the ring wraps; NumPy warns of it for arrays without axes
                    answer.set_result(work(engine, held))
            except Exception as error:  # noqa: BLE001 - handed to whoever asked, and to all who ask later
                self._failure = self._failure or error
                answer.set_exception(self._failure)
            del asked, work, answer
