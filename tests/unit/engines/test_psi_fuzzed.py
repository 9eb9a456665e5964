"""Whatever a peer sends, a party of an intersection ends with a result or with an error that names a peer, never otherwise."""

import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from tallystick_node.engines.channel import ChannelError, local_sessions
from tallystick_node.engines.he.paillier import keys
from tallystick_node.engines.psi import join_sum
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.labelled import intersect_labelled
from tallystick_node.engines.psi.labels import Labels
from tallystick_node.engines.psi.multi_party import intersect_all
from tallystick_node.engines.psi.two_party import intersect
from tallystick_node.engines.psi.unbalanced import ask, prepare, serve
from unit.engines.conftest import run_parties

SETS = [
    Items.of(b"%d" % i for i in range(30)),
    Items.of(b"%d" % i for i in range(20, 60)),
    Items.of(b"%d" % i for i in range(25, 50)),
]
LABELS = Labels(20, np.zeros((len(SETS[0]), 20), np.uint8))
PREPARED = prepare(SETS[0], bytes(32), labelled=LABELS)
KEY = keys.generate(join_sum.KEY_BITS)


def two(protocol):
    def run(session):
        terms = {"receivers": (0,), "mode": "ids", "protocol": protocol, "context": b"t"}
        return intersect(session, SETS[session.index], peer=1 - session.index, **terms)

    return run


def many(session):
    return intersect_all(session, SETS[session.index], parties=range(3), receivers=(0, 1), context=b"t")


def sums(session):
    numbers = np.ones((len(SETS[0]), 1), np.int64) if session.index == 0 else None
    terms = {"columns": 1, "receivers": (0, 1), "minimum": 1, "context": b"t"}
    return join_sum.join_and_sum(session, SETS[session.index], numbers, peer=1 - session.index, **terms)


def prepared(session):
    if session.index == 0:
        return serve(session, 1, PREPARED)
    with tempfile.TemporaryDirectory() as folder:
        return ask(session, 0, SETS[1], bytes(32), Path(folder), 20)


def labelled(session):
    terms = {"receiver": 1, "protocol": "rr22", "context": b"t"}
    given = LABELS if session.index == 0 else Labels(20)
    return intersect_labelled(session, SETS[session.index], given, peer=1 - session.index, **terms)


RUNS = {"rr22": (2, two("rr22")), "rr22-malicious": (2, two("rr22-malicious")), "ecdh": (2, two("ecdh")), "many": (3, many)}
RUNS |= {"sums": (2, sums), "prepared": (2, prepared), "labelled": (2, labelled)}


def spoilt(message, draw):
    """Another message: bits flipped, cut, longer, or nothing like it."""
    kind = draw.randrange(5)
    if kind == 0 and message:
        place = draw.randrange(len(message))
        return message[:place] + bytes([message[place] ^ 1 << draw.randrange(8)]) + message[place + 1 :]
    if kind == 1:
        return message[: draw.randrange(len(message) + 1)]
    if kind == 2:
        return message + draw.randbytes(draw.choice([1, 8, 1000]))
    return draw.randbytes(len(message)) if kind == 3 else bytes(len(message))


class Spoiling:
    """A link that spoils one of its messages, and all that follow one time in three."""

    def __init__(self, inner, draw):
        self.inner, self.peer, self.draw = inner, inner.peer, draw
        self.receive, self.receive_into, self.mark = inner.receive, inner.receive_into, inner.mark
        self.wait, self.always = draw.randrange(10), draw.randrange(3) == 0

    def send(self, message):
        self.wait -= 1
        due = self.wait == -1 or (self.always and self.wait < 0)
        self.inner.send(spoilt(bytes(message), self.draw) if due else message)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_spoilt_message_ends_in_a_result_or_names_a_peer(monkeypatch, name, seed):
    monkeypatch.setattr(join_sum, "generate", lambda bits: KEY)
    number, run = RUNS[name]
    draw = random.Random(f"{name} {seed}")
    sessions = local_sessions(number, seconds=0.5)
    sender, to = draw.sample(range(number), 2)
    sessions[sender].channels[to] = Spoiling(sessions[sender].channels[to], draw)
    for outcome in run_parties(sessions, run):
        # Spoilt keys match less: that a sum has too few matches is an answer of its protocol.
        assert isinstance(outcome, ChannelError | join_sum.TooFewMatches) or not isinstance(outcome, Exception), repr(outcome)
