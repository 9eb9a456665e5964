"""The vectors of docs/spec/lookup.md, recomputed from their description, and by the code."""

import hashlib
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from tallystick_node.engines.pir import lwe, oprf
from tallystick_node.engines.pir.lookup import VERSION
from tallystick_node.engines.pir.public import DIGEST, HEADER, Layout, Public, column_digest
from tallystick_node.engines.pir.table import build, columns_of, open_row
from tallystick_node.engines.psi import curve25519

PAGE = (Path(__file__).parents[3] / "docs/spec/lookup.md").read_text()
ROWS = dict(
    line.strip("| ").split(" | ") for line in PAGE.split("## Vectors")[1].splitlines() if line.startswith("| ") and "`" in line
)
KEY = bytes.fromhex(ROWS["`k`"].strip("`"))
SEED = bytes(range(16))
OPRF, PUBLIC = b"tallystick/v1/pir/oprf\0", b"tallystick/v1/pir/public\0"


def function(key, message):
    """F, the scalar multiplication by another library."""
    assert "`tallystick-V01-CS01-with-curve25519_XMD:SHA-512_ELL2_NU_`" in PAGE
    point = X25519PublicKey.from_public_bytes(curve25519.hash_to_curve([OPRF + message], b"")[0].tobytes())
    return hashlib.sha512(OPRF + X25519PrivateKey.from_private_bytes(key).exchange(point) + message)


def test_the_function():
    value = function(KEY, b"item\0key").hexdigest()
    assert ROWS['`F(k, "item\\0key")`'] == f"`{value}`"
    assert oprf.evaluate(KEY, [b"key"])[0].tobytes().hex() == value
    check = hashlib.sha256(OPRF + b"check\0" + function(KEY, b"known item").digest()).digest()
    assert ROWS["`check` of `k` alone"] == f"`{check.hex()}`"
    assert oprf.check_of([KEY]) == check


def test_the_public_matrix_and_the_digests():
    stream = Cipher(algorithms.AES128(SEED), modes.CTR(bytes(16))).encryptor().update(bytes(8192))
    words = np.frombuffer(stream[4096:], "<u4")
    assert "`" + ", ".join(map(str, words[:3])) + "`" in PAGE
    assert (lwe.public_rows(SEED, 1, 1)[0] == words).all()
    digest = hashlib.sha256(PUBLIC + bytes(4)).digest()
    assert ROWS["digest of a column of four zeros"] == f"`{digest.hex()}`"
    assert column_digest(bytes(4)) == digest
    header = b"".join(number.to_bytes(4, "little") for number in (256, 1, 2, 0, 1)) + SEED + bytes(32)
    whole = hashlib.sha256(PUBLIC + header + bytes(2 * 4096) + bytes(256 * 32)).hexdigest()
    assert f"`{whole}`" in PAGE
    empty = Public(
        Layout(256, 1, 2),
        SEED,
        1,
        bytes(32),
        np.zeros((2, 1024), np.uint32),
        np.zeros((256, 32), np.uint8),
        np.zeros((0, 10), np.uint8),
    )
    assert empty.digest.hex() == whole
    assert f"({VERSION}), the table's digest ({DIGEST}), the header ({HEADER})" in PAGE


def test_a_sealed_row_opens_as_described():
    table = build([b"key"], [b"row"], 8)
    output = function(table.keys[0], b"item\0key").digest()
    column = int.from_bytes(output[:8], "little") % table.public.layout.columns
    assert columns_of(np.frombuffer(output, np.uint8)[None], table.public.layout)[0] == column
    slot = table.matrix[:26, column].tobytes() if table.places[0] >= 0 else table.public.stash[0, 8:].tobytes()
    assert AESSIV(output[16:48]).decrypt(slot, None) == b"\3\0row" + bytes(5)
    assert open_row(np.frombuffer(output, np.uint8), np.frombuffer(slot, np.uint8)) == b"row"
