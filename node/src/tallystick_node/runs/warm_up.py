"""Compiling the engines' kernels before a run needs them: ``python -m tallystick_node.runs.warm_up``, and
``tallystick-node warm-up``.

Numba compiles a kernel at its first call and keeps the machine code beside the source. In a fresh installation that takes longer
than a run bears the silence of a peer. So each engine runs once in memory, with itself, before this node accepts a task that needs
it. A mark beside the machine code says for which sources, compiler and processor that was done. It is locked meanwhile: nodes that
share an installation take turns.

A kernel is compiled for the types of its arguments, and arrays that may not be written to are of another type. So engines run with
both where both occur, and with as many rows as lay what they hold out in each way.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import structlog
from tallystick.commitments.projection import points
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines import compiled
from tallystick_node.engines.answers import Answers, Partition
from tallystick_node.engines.channel import Session, local_sessions
from tallystick_node.engines.fl.aggregation.journal import Journal
from tallystick_node.engines.fl.aggregation.robust import RobustSum
from tallystick_node.engines.fl.aggregation.secure import SecureSum
from tallystick_node.engines.fl.learners.clipped import add_clipped
from tallystick_node.engines.mpc import array as sa
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.mpc.matrix import add_product
from tallystick_node.engines.mpc.models.glm import Newton, fit, predict
from tallystick_node.engines.mpc.plan.offers import OFFERS
from tallystick_node.engines.pir.lookup import Offer, ask, serve
from tallystick_node.engines.pir.table import build
from tallystick_node.engines.psi.circuit import join
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.two_party import PROTOCOLS, intersect
from tallystick_node.runs.workers import environment
from tallystick_node.workloads.registry import workload_named

LOG = structlog.get_logger()
DEADLINE = 1800  # seconds for all engines: on an idle core they take a minute or two
SILENCE = 300.0  # seconds that a party waits for another, which may compile meanwhile, or have failed


def _items(count: int) -> Items:
    """Different ones, made in every way in which rows become items."""
    numbers = Items.of(number.to_bytes(8, "big") for number in range(count))  # not to be written to
    items = numbers.take(numbers.distinct())
    for each in (numbers, items):
        each.hashes(bytes(32))
    return items.take(items.distinct())


def _answer() -> None:
    """Two tasks about one dataset, whose rows are hashed as the worker does."""
    items, inputs = Items(np.arange(9), np.zeros(8, np.uint8)), bytes(32)
    with TemporaryDirectory() as folder:
        answers = Answers(Path(folder), bytes(32), lambda key, _: items.hashes(key)[0][:, 0], 2)
        for _ in range(2):
            answers.require([Partition(np.zeros(len(items), np.int32))], inputs, 2).remember()


def _train() -> None:
    """Clipped gradients, and sums of what owners say: in secret, with their proof, and in the open."""
    rows, classes = np.ones((2, 2)), np.zeros(2)
    layers = [(np.zeros((2, 3)), np.zeros(3)), (np.zeros((3, 2)), np.zeros(2))]
    add_clipped(
        layers, [(np.zeros_like(weight), np.zeros_like(bias)) for weight, bias in layers], "cross-entropy", rows, classes, 1
    )

    def party(session: Session) -> None:
        said, owners = np.zeros(3), range(session.parties)
        with TemporaryDirectory() as folder:
            journal = Journal(Path(folder))
            SecureSum(dropped=0, journal=journal).total(session, said, owners, 0)
            journal.project(points(bytes(32)))
        RobustSum.of("median", 1, added=1).total(session, said, owners, 1)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(party, local_sessions(3, SILENCE)))


def _intersect() -> None:
    def party(session: Session) -> None:
        items = _items(40)
        for protocol in PROTOCOLS:
            intersect(session, items, peer=1 - session.index, receivers=[0], mode="ids", protocol=protocol, context=b"")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(party, local_sessions(2, SILENCE)))


def _link() -> None:
    def party(session: Session) -> None:
        items, numbers = Items.of([b"a", b"b"]), np.zeros((2, 1), np.uint64)
        join(ObliviousAdditive(session), items, numbers, widths=(1, 1), context=b"")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(party, local_sessions(2, SILENCE)))


def _look_up() -> None:
    items = list(_items(20))
    offer = Offer(bytes(32), build(items, items, 8))

    def party(session: Session) -> None:
        if session.index == 0:
            serve(session, 1, offer, 1)
        else:
            ask(session, 0, items[:1], 1, bytes(32), 8)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(party, local_sessions(2, SILENCE)))


def _compute(protocol: str) -> None:
    """A regression, a ranking and counts: they need every kernel. Whole blocks of 64 rows are laid out otherwise than parts of one;
    and the more bits are made and checked together, the more of them move together, in one of three ways."""

    def multiply(y: sa.SecretArray) -> None:
        line = y.reshape(1, -1)  # one that a product takes to the other's axes is not written to
        sa.reveal((line * y).sum() + (y * line).sum(), to=["A"])

    def model(x: sa.SecretArray, y: sa.SecretArray) -> None:
        coefficients = fit(x, y, "logistic", Newton(1), 0.1)
        sa.reveal(coefficients, to=["A"])
        sa.reveal((sa.rank(predict(x, coefficients, "logistic")) * y).sum(), to=["A"])
        multiply(y)

    def counts(x: sa.SecretArray, y: sa.SecretArray) -> None:
        sa.reveal((x.T @ x).sum() + (y > 0).sum(), to=["A"])
        multiply(y)

    for shapes in (((8, 9), (8, 8), (8, 9)), ((2, 9), (2, 8), (8, 9)), ((8, 1), (8, 8), (8, 1))):
        add_product(*(np.zeros(shape, np.uint64) for shape in shapes))  # wider, of fewer rows, and narrower than the regression's
    many = (5_000, 10_000, 20_000) if protocol == "replicated-malicious" else (100,)
    for rows, program, kind in [*((rows, model, "fixed:20") for rows in (64, 100)), *((rows, counts, "integer") for rows in many)]:
        plan = sa.plan_of(
            program, {"x": sa.declare("A", rows, ["a", "b"], kind), "y": sa.declare("B", rows, "y", kind)}, fraction=20
        )
        values = {"x": np.random.default_rng(1).integers(-3, 3, (rows, 2)), "y": np.arange(rows) % 2}
        sa.run_locally(plan, values, list("ABC"[: OFFERS[protocol].fewest]), protocol)


#: What runs once, by the name that a task needs it by; in this order.
ENGINES: dict[str, Callable[[], None]] = {
    "answers": _answer,
    "training": _train,
    "intersection": _intersect,
    "hidden-join": _link,
    "lookup": _look_up,
    **{name: partial(_compute, name) for name in OFFERS if name != "clear"},
}
#: Those that take seconds, and that tasks may wait for which a new node gets first: they do not stand back behind other work.
QUICK = ("answers", "training")


def needed(spec: TaskSpec) -> frozenset[str]:
    """The engines with kernels that a task runs: those that its workload always needs, and that of the protocol it names."""
    protocol = str(spec.parameters.get("protocol")).partition(":")[0]  # what may follow names a dealer
    named = {"intersection", protocol} if protocol in ENGINES else set()  # its owners may match their rows first
    return frozenset({*workload_named(spec.workload).kernels, *named})


def warm(engine: str) -> float | None:
    """Run an engine once, unless that was done. Returns the seconds that it took, None when there was nothing to do."""
    with _mark(engine).open("a+") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        mark.seek(0)
        now = compiled.fingerprint()
        if mark.read() == now:
            return None
        began = time.monotonic()
        ENGINES[engine]()
        mark.truncate(0)
        mark.write(now)
        return time.monotonic() - began


def is_warm(engine: str) -> bool:
    """Whether an engine has run with these sources, compiler and processor."""
    try:
        return _mark(engine).read_text() == compiled.fingerprint()
    except OSError:
        return False


def _mark(engine: str) -> Path:
    folder = compiled.folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{engine}.warm"


class WarmUp:
    """The engines of one node that are cold yet, and the process that warms them. ``quick`` is set when the quick ones are warm."""

    def __init__(self) -> None:
        self.cold = {engine for engine in ENGINES if not is_warm(engine)}
        self.quick = asyncio.Event()
        self._warmed(set())

    def ready(self, spec: TaskSpec) -> bool:
        """Whether a task's engines are warm."""
        return not needed(spec) & self.cold

    async def run(self) -> None:
        """Warm what is cold, in a process of low priority. A failure is logged, and tasks are accepted all the same."""
        if not self.cold:
            return
        LOG.info("kernels are compiled", engines=sorted(self.cold))
        try:
            problem = f"the process ended with status {await self._compile()}"
        except OSError as error:  # no memory, or no more processes or descriptors
            problem = f"no process can be started: {error.strerror}"
        if self.cold:
            LOG.warning(
                "kernels are not compiled: first runs will be slow",
                engines=sorted(self.cold),
                problem=problem,
                remedy="look at this machine's memory and limits of processes, and run warm-up",
            )
        else:
            LOG.info("all kernels are compiled")
        self._warmed(set(self.cold))

    async def _compile(self) -> int | None:
        """Start the process, and note what it names; its status when it has ended."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tallystick_node.runs.warm_up",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            while line := await process.stdout.readline():  # it ends by its own deadline
                self._warmed({line.decode().strip()})
            return await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _warmed(self, engines: set[str]) -> None:
        self.cold -= engines
        if self.cold.isdisjoint(QUICK):
            self.quick.set()


def main() -> None:
    """Warm every engine, and name each on standard output."""
    signal.alarm(DEADLINE)

    def work(engine: str) -> None:
        warm(engine)
        sys.stdout.write(engine + "\n")
        sys.stdout.flush()

    for engine in QUICK:
        work(engine)
    os.nice(19)
    for engine in ENGINES:
        if engine not in QUICK:
            work(engine)


if __name__ == "__main__":
    main()
