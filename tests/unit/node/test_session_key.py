"""Keys of a run: an institution vouches for one key, in one attempt, and nobody else can."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_account import Account
from tallystick.signing import AccountSigner
from tallystick_node.engines.channel import VOUCHER
from tallystick_node.runs import session_key

ONE, TWO = (AccountSigner(Account.create()) for _ in range(2))
CONTEXT = bytes(range(32))
VECTOR = "85088dd09a7033e1bd1fb1abf0e5de867a0b16ff4eb3957960dad3b1b4e19474"


def public(key: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()


def test_a_voucher_holds_for_its_party_key_and_attempt_alone() -> None:
    key, voucher = session_key.issue(ONE, CONTEXT)
    other, _ = session_key.issue(ONE, CONTEXT)
    assert len(voucher) == VOUCHER and key != other
    made = session_key.identity(key, voucher, CONTEXT, [[ONE.address], [TWO.address]])
    assert made.check(0, public(key), voucher)
    assert not made.check(1, public(key), voucher)
    assert not made.check(0, public(other), voucher)
    assert not made.check(0, public(key), bytes(VOUCHER))
    assert not made.check(0, public(key), voucher[:-1])
    assert not session_key.identity(key, voucher, bytes(32), [[ONE.address]]).check(0, public(key), voucher)
    assert not made.check(0, public(key), session_key.issue(TWO, CONTEXT)[1])
    assert key.hex() not in repr(made)


def test_an_operator_vouches_for_its_party_and_for_no_other() -> None:
    key, voucher = session_key.issue(TWO, CONTEXT)
    made = session_key.identity(key, voucher, CONTEXT, [[ONE.address, TWO.address], [ONE.address]])
    assert made.check(0, public(key), voucher)
    assert not made.check(1, public(key), voucher)


def test_no_party_shows_anothers_voucher_by_naming_that_account_its_operator() -> None:
    key, voucher = session_key.issue(ONE, CONTEXT)
    made = session_key.identity(key, voucher, CONTEXT, [[ONE.address], [TWO.address, ONE.address]])
    assert made.check(0, public(key), voucher)
    assert not made.check(1, public(key), voucher)


def test_what_is_signed_is_what_the_specification_says() -> None:
    """docs/spec/session-key.md, its vector."""
    assert session_key.digest(CONTEXT, bytes(32)).hex() == VECTOR
