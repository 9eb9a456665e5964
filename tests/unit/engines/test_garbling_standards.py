"""AES-128 and SHA-256 as circuits, in the clear and garbled, against the standards' vectors and OpenSSL."""

from __future__ import annotations

import hashlib
import secrets

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from tallystick_node.engines.garbling import bristol
from tallystick_node.engines.garbling.aes128 import aes128
from tallystick_node.engines.garbling.circuit import Circuit, bits_of_bytes, bytes_of
from tallystick_node.engines.garbling.sha256 import initial, pad, sha256
from unit.engines.test_garbling import garbled


def encrypted(circuit: Circuit, keys, blocks) -> list[bytes]:
    return bytes_of(circuit.evaluate(bits_of_bytes(keys), bits_of_bytes(blocks))[0])


def digested(compress, messages) -> list[bytes]:
    """Digests of messages of one padded length."""
    states = [initial()] * len(messages)
    for blocks in zip(*map(pad, messages), strict=True):
        states = bytes_of(compress(bits_of_bytes(blocks), bits_of_bytes(states))[0])
    return states


def test_the_vectors_of_fips_197() -> None:
    """Appendix C.1 and appendix B."""
    keys = [bytes(range(16)), bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")]
    blocks = [bytes.fromhex("00112233445566778899aabbccddeeff"), bytes.fromhex("3243f6a8885a308d313198a2e0370734")]
    found = encrypted(aes128(), keys, blocks)
    assert [each.hex() for each in found] == ["69c4e0d86a7b0430d8cdb78070b4c55a", "3925841d02dc09fbdc118597196a0b32"]


def test_aes_costs_what_the_best_circuit_does() -> None:
    assert aes128().ands == 6400


def test_aes_in_text_and_garbled_is_that_of_openssl() -> None:
    keys, blocks = ([secrets.token_bytes(16) for _ in range(130)] for _ in range(2))
    wanted = [Cipher(algorithms.AES128(k), modes.ECB()).encryptor().update(b) for k, b in zip(keys, blocks, strict=True)]
    again = bristol.parse(bristol.write(aes128()))
    assert encrypted(again, keys, blocks) == wanted
    assert bytes_of(garbled(again, bits_of_bytes(keys), bits_of_bytes(blocks))[0]) == wanted


def test_the_vectors_of_fips_180() -> None:
    """The examples that NIST publishes with FIPS 180: one block, and two."""
    (one,) = digested(sha256().evaluate, [b"abc"])
    (two,) = digested(sha256().evaluate, [b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"])
    assert one.hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert two.hex() == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"


def test_sha_in_text_and_garbled_is_that_of_openssl() -> None:
    messages = [secrets.token_bytes(70) for _ in range(9)]
    wanted = [hashlib.sha256(message).digest() for message in messages]
    again = bristol.parse(bristol.write(sha256()))
    assert digested(again.evaluate, messages) == wanted
    assert digested(lambda block, state: garbled(sha256(), block, state), messages) == wanted
    assert sha256().ands < 22_700
