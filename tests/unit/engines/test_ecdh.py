"""ECDH-PSI: what each side learns in each mode, and who is blamed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, local_sessions
from tallystick_node.engines.psi import ecdh
from tallystick_node.engines.psi.handshake import tag_bytes
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.two_party import intersect

LEFT = [f"id-{i}".encode() for i in range(30)]
RIGHT = [f"id-{i}".encode() for i in range(20, 70)] + [b""]


def engine(receivers, mode="ids", sets=(LEFT, RIGHT)):
    def run(session):
        peer = 1 - session.index
        return intersect(
            session, Items.of(sets[session.index]), peer=peer, receivers=receivers, mode=mode, protocol="ecdh", context=b"t"
        )

    return run


@pytest.mark.parametrize("receivers", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("mode", ["ids", "cardinality"])
@pytest.mark.parametrize("batch", [7, 1 << 15])
def test_each_side_learns_what_it_should(parties, monkeypatch, receivers, mode, batch):
    monkeypatch.setattr(ecdh, "BATCH", batch)
    outcomes = parties(2, engine(receivers, mode))
    assert [each.peer_items for each in outcomes] == [51, 30]
    for party, (outcome, matched) in enumerate(zip(outcomes, (range(20, 30), range(10)), strict=True)):
        receives = party in receivers
        assert outcome.cardinality == (10 if receives else None)
        if receives and mode == "ids":
            assert outcome.positions.tolist() == list(matched)
        else:
            assert outcome.positions is None


@settings(max_examples=20)
@given(st.sets(st.binary(max_size=3), max_size=12), st.sets(st.binary(max_size=3), max_size=12))
def test_intersections_are_those_of_sets(left, right):
    from concurrent.futures import ThreadPoolExecutor

    sets = (sorted(left), sorted(right, reverse=True))
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(engine((0, 1), sets=sets), local_sessions(2)))
    for own, outcome in zip(sets, outcomes, strict=True):
        assert {own[i] for i in outcome.positions} == left & right


def flip(message):
    return bytes([message[0] ^ 1]) + message[1:]


def short(message):
    return message[:-1]


def low(message):
    return bytes(32) + message[32:]


@pytest.mark.parametrize(
    ("number", "change", "step"),
    [
        (0, short, "bind"),
        (0, lambda message: b"\xff" * 8 + message[8:], "bind"),
        (1, flip, "salt"),
        (1, short, "salt"),
        (2, short, "items"),
        (2, low, "items"),
        (3, short, "tags"),
    ],
)
def test_each_corrupted_message_names_its_sender_and_step(parties, number, change, step):
    error = parties(2, engine((0,)), corrupt=(1, 0, number, change))[0]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (1, step)


def test_a_peer_with_another_context_is_noticed(parties):
    def run(session):
        context = b"t" if session.index else b"other"
        return intersect(
            session, Items.of(LEFT), peer=1 - session.index, receivers=(0,), mode="ids", protocol="ecdh", context=context
        )

    assert all(isinstance(each, ChannelError) for each in parties(2, run))


@pytest.mark.parametrize(
    "arguments",
    [{"receivers": ()}, {"receivers": (2,)}, {"mode": "all"}, {"items": [b"a", b"a"]}, {"peer": 5}, {"protocol": "kkrt"}],
)
def test_local_misuse_is_refused(parties, arguments):
    def run(session):
        arguments_ = {
            "items": [b"a"],
            "peer": 1 - session.index,
            "receivers": (0,),
            "mode": "ids",
            "protocol": "ecdh",
            "context": b"t",
        }
        arguments_ |= arguments
        return intersect(session, Items.of(arguments_.pop("items")), **arguments_)

    assert isinstance(parties(2, run)[0], ValueError)


def test_tags_leave_40_bits_against_false_matches():
    assert tag_bytes(1 << 20, 1 << 20) == 10
    assert tag_bytes(0, 0) == 5
