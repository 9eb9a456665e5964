"""Arrays beyond a run's memory lie in files that have no name, and go with their last use."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tallystick_node.engines.channel import Channel, local_sessions
from tallystick_node.engines.mpc import array as sa
from tallystick_node.engines.mpc.array.immediate import decoded
from tallystick_node.engines.mpc.plan import pieces
from tallystick_node.engines.mpc.plan.explain import BASE_MEMORY, explain, memory, too_large
from tallystick_node.engines.mpc.plan.kinds import encode
from tallystick_node.engines.mpc.plan.offers import OFFERS
from tallystick_node.engines.mpc.plan.roles import Cast, Part
from tallystick_node.engines.store import MEMORY, SMALLEST, Store, StoreFull

PARTIES = ("A", "B", "C")
WORDS = SMALLEST // 8


def test_what_fits_is_in_memory_and_the_rest_in_files(tmp_path) -> None:
    store = Store(tmp_path, 4 * SMALLEST)
    held = [store.empty((WORDS,)), store.empty((2, WORDS // 2))]
    filed = store.empty((3, WORDS))
    filed[...] = 7
    assert (store.held, store.filed) == (2 * SMALLEST, 3 * SMALLEST)
    assert filed.shape == (3, WORDS) and filed.dtype == np.uint64 and filed.sum() == 21 * WORDS
    small = store.empty((5,))
    assert small.size == 5 and store.filed == 3 * SMALLEST  # not worth a file
    view = filed[1:, 5:]
    del filed, small
    assert store.filed == 3 * SMALLEST and view.sum() == 7 * view.size
    del view
    held.pop()
    assert (store.held, store.filed) == (SMALLEST, 0)
    assert store.keep(store.empty((WORDS,))).base is None


def test_what_was_made_elsewhere_is_kept_once(tmp_path) -> None:
    store = Store(tmp_path, 4 * SMALLEST)
    first, second = np.arange(WORDS), np.arange(2 * WORDS)
    assert store.keep(first) is first and store.keep(first[3:]).base is first
    assert store.held == SMALLEST
    copy = store.keep(second)
    assert copy is not second and (copy == second).all() and store.filed == 2 * SMALLEST
    assert store.keep(copy) is copy and store.filed == 2 * SMALLEST
    stretched = np.broadcast_to(np.arange(4), (WORDS, 4))
    assert store.keep(stretched) is stretched  # it takes 32 bytes


def test_without_a_folder_everything_is_in_memory() -> None:
    store = Store(bound=1)
    array = store.empty((WORDS,))
    assert store.keep(array) is array and (store.held, store.filed) == (0, 0)


def test_a_full_disk_is_said_before_anything_is_written(tmp_path) -> None:
    with pytest.raises(StoreFull, match="no room for an array of 9007199254740992 bytes"):
        Store(tmp_path, 2 * SMALLEST).empty((1 << 50,))


def test_files_have_no_name_and_go_with_a_killed_process(tmp_path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom tallystick_node.engines.store import Store\n"
        "array = Store(Path(sys.argv[1]), 0).empty((1 << 20,))\narray[...] = 1\nprint('there', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "there\n"
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert any(str(tmp_path) in line and "(deleted)" in line for line in maps.splitlines())
        assert not list(tmp_path.iterdir())
        process.send_signal(signal.SIGKILL)
    assert not list(tmp_path.iterdir())


class Recording:
    """A channel that keeps what is sent."""

    def __init__(self, inner: Channel) -> None:
        self.peer, self.inner, self.sizes = inner.peer, inner, list[int]()
        self.receive, self.receive_into, self.mark = inner.receive, inner.receive_into, inner.mark

    def send(self, message) -> None:
        self.sizes.append(len(message))
        self.inner.send(message)


def everything(x, y, k, b):
    both = sa.column_stack([x, y])
    sa.reveal(both.T @ both, to=["A"], name="products")
    sa.reveal(sa.where(x < y, x * y, -y).reshape(10, -1).T.reshape(-1), to=["B"], name="chosen")
    sa.reveal(sa.cumsum(k)[::7], to=["R"], name="running")
    sa.reveal((b ^ (x > 0)).sum() + k.sum(), to=["A", "R"], name="count")
    sa.reveal(sa.group_public(k, x, size=4)[1], to=["A"], name="groups")
    sa.reveal(sa.concatenate([x, y]).mean() + sa.softmax(x).max(), to=["A"], name="mean")


ROWS = 3000


def run_everything(stores):
    declared = {"x": sa.declare("A", ROWS), "y": sa.declare("O", ROWS), "k": sa.declare("B", ROWS, kind="integer"),
                "b": sa.declare("C", ROWS, kind="bit")}  # fmt: skip
    draw = np.random.default_rng(3)
    data = {"x": draw.uniform(-3, 3, ROWS), "y": draw.uniform(-3, 3, ROWS), "k": draw.integers(0, 4, ROWS),
            "b": draw.integers(0, 2, ROWS)}  # fmt: skip
    plan = sa.plan_of(everything, declared, ["R"])
    cast = Cast((*plan.parties,), PARTIES)
    kinds = {each.name: plan.types[each.value].kind for each in plan.reveals}

    def one(session):
        channels = {peer: Recording(channel) for peer, channel in session.channels.items()}
        name = cast.parties[session.index]
        own = {each.name: encode(data[each.name], each.kind) for each in plan.inputs if each.owner == name}
        part = Part(plan, OFFERS["replicated"], cast, replace(session, channels=channels, store=stores[session.index]))
        found = {key: decoded(each, kinds[key]) for key, each in part.run(own).items()}
        return found, {peer: channel.sizes for peer, channel in channels.items()}

    with ThreadPoolExecutor(len(cast.parties)) as pool:
        answers = list(pool.map(one, local_sessions(len(cast.parties))))
    x, y, k, b = (data[name] for name in "xykb")
    assert np.abs(answers[cast.parties.index("A")][0]["products"] - np.stack([x, y]) @ np.stack([x, y]).T).max() < 0.1
    chosen = np.where(x < y, x * y, -y).reshape(10, -1).T.reshape(-1)
    assert np.abs(answers[cast.parties.index("B")][0]["chosen"] - chosen).max() < 1e-4
    assert (answers[cast.parties.index("R")][0]["running"] == np.cumsum(k)[::7]).all()
    assert answers[cast.parties.index("R")][0]["count"] == (b ^ (x > 0)).sum() + k.sum()
    assert np.abs(answers[0][0]["groups"] - np.bincount(k, x, 4)).max() < 0.1
    expected = np.concatenate([x, y]).mean() + (np.exp(x) / np.exp(x).sum()).max()
    assert abs(answers[0][0]["mean"] - expected) < 1e-3
    return [sizes for _, sizes in answers]


def test_files_change_neither_results_nor_messages(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(pieces, "PIECE", 512)
    monkeypatch.setattr(pieces, "CACHED", 100)
    monkeypatch.setattr(pieces, "LONG", 1000)
    monkeypatch.setattr("tallystick_node.engines.store.SMALLEST", 4000)
    stores = [Store(tmp_path, 40_000) for _ in range(5)]
    mapped, count = Store._mapped, [0]

    def counted(self, *arguments):
        count[0] += 1
        return mapped(self, *arguments)

    monkeypatch.setattr(Store, "_mapped", counted)
    in_files = run_everything(stores)
    assert count[0] > 20
    assert all(store.filed == 0 for store in stores)  # all of it was let go
    in_memory = run_everything([Store() for _ in range(5)])
    assert in_files == in_memory


MEASURE = """
import queue, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
import numpy as np
from tallystick_node.engines import channel
from tallystick_node.engines.mpc import array as sa
from tallystick_node.engines.mpc.plan import pieces
from tallystick_node.engines.mpc.plan.kinds import encode
from tallystick_node.engines.mpc.plan.offers import OFFERS
from tallystick_node.engines.mpc.plan.roles import Cast, Part
from tallystick_node.engines.store import Store

channel.queue.SimpleQueue = lambda: queue.Queue(4)  # a sender does not run ahead
pieces.PIECE = 1 << 15
folder, bound = Path(sys.argv[1]), int(sys.argv[2])
filed = [0]

def anonymous():
    line = next(line for line in open("/proc/self/status") if line.startswith("RssAnon"))
    return int(line.split()[1]) << 10

def program(x, y):
    product = x * y
    chosen = sa.where(x < y, product, y - x)
    sa.reveal(chosen, to=["A"], name="chosen")
    sa.reveal((product + chosen).sum(), to=["A"], name="sum")

def run(rows):
    def numbers(seed):
        return lambda first, count: encode(np.sin(np.arange(first, first + count) * seed), kind)
    plan = sa.plan_of(program, {"x": sa.declare("A", rows, "x"), "y": sa.declare("B", rows, "y")}, ["C"])
    kind, cast = plan.inputs[0].kind, Cast(plan.parties, plan.parties)
    def one(session):
        store = Store(folder, bound // 3)
        session = replace(session, store=store, progress=lambda *_: filed.append(store.filed))
        seed = {0: 1.0, 1: 2.0}.get(session.index)
        own = {} if seed is None else {"xy"[session.index]: pieces.gathered(store, (rows,), numbers(seed))}
        return Part(plan, OFFERS["replicated"], cast, session).run(own)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(one, channel.local_sessions(3)))[0]
    total = 0.0
    for first, count in pieces.parts(rows):
        x, y = (np.sin(np.arange(first, first + count) * seed) for seed in (1.0, 2.0))
        expected = np.where(x < y, x * y, y - x)
        assert np.abs(found["chosen"][first : first + count].view(np.int64) / 2**18 - expected).max() < 1e-4
        total += (x * y + expected).sum()
    assert abs(int(found["sum"].view(np.int64)) / 2**18 - total) < rows * 1e-5

run(3 * pieces.PIECE)
before, most, ended = anonymous(), [0], threading.Event()
def watch():
    while not ended.wait(0.002):
        most[0] = max(most[0], anonymous())
watcher = threading.Thread(target=watch)
watcher.start()
run(3 << 20)
ended.set()
watcher.join()
print(most[0] - before, 3 * max(filed))
"""


def test_a_plan_larger_than_its_bound_runs_within_it(tmp_path) -> None:
    """Three parties in one process, which share the bound."""
    bound = 72 << 20
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path), str(bound)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    used, filed = map(int, done.stdout.split())
    assert filed > 5 * bound, filed >> 20
    assert used < bound, used >> 20


def test_memory_files_and_refusal_are_foretold() -> None:
    rows = 100_000_000
    plan = sa.plan_of(
        lambda x, y: sa.reveal((x * y).sum(), to=["A"]), {"x": sa.declare("A", rows, "x"), "y": sa.declare("B", rows, "y")}
    )
    foretold = explain(plan, OFFERS["replicated"], Cast((*plan.parties, "C"), PARTIES))
    assert memory(plan).kept == 3 * 8 * rows
    assert foretold.file_bytes == 2 * 3 * 8 * rows - MEMORY // 2
    assert BASE_MEMORY + MEMORY // 2 < foretold.memory_bytes < BASE_MEMORY + MEMORY
    assert "files " in str(foretold)
    assert too_large(plan, 3, OFFERS["replicated"], MEMORY) is None
    ordered = sa.plan_of(lambda x: sa.reveal(sa.sort(x)[0], to=["A"]), {"x": sa.declare("A", rows, "x")})
    assert (
        too_large(ordered, 3, OFFERS["replicated"], MEMORY)
        == "sort needs 11.2 GB in memory at once, of 4.295 GB that there are for one step"
    )
