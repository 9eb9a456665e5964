"""Paillier encryption beside phe (with gmpy2) and SecretFlow's HEU, on one core."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import phe
from tallystick_node.engines.he.paillier.ciphertexts import Encryptor, decrypt
from tallystick_node.engines.he.paillier.keys import generate
from tallystick_node.engines.he.paillier.packing import Packing

from benchmarks.peers import python_with

BITS = 2048
COUNT = 128
MEMBERS = 4
NUMBERS = 64  # of a peer's vectors, a ciphertext each; times are for one number
PACKED = 4096  # of our vectors
HEU = "sf-heu==0.5.2b0"


def run() -> dict[str, Any]:
    """Paillier of 2048 bits, one core, 32-bit plaintexts: encrypt, decrypt, add, multiply by 32 bits, and sums of vectors.

    Microseconds of processor time, which other work on the machine disturbs little. The sums take the whole way: 4 members encrypt
    vectors, ciphertexts are added, the sum is decrypted; for one number. Ours packs slots of 40 bits; the peers, as they are used,
    take a ciphertext for each number. Each row's peer is the faster of both.
    """
    interpreter = python_with("heu", HEU)
    command = [
        str(interpreter),
        str(Path(__file__).parent / "peers" / "heu_paillier.py"),
        *map(str, (BITS, COUNT, MEMBERS, NUMBERS)),
    ]
    with _one_core():
        found = {"ours": _ours(), "phe": _phe()}
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
        found["heu"] = json.loads(answer.stdout.splitlines()[-1])
    rows = []
    for operation in found["ours"]:
        times = {name: of[operation] for name, of in found.items()}
        sys.stderr.write(f"{operation}: {', '.join(f'{name} {us:.1f} us' for name, us in times.items())}\n")
        peer = min(("phe", "heu"), key=times.__getitem__)
        row = {"ours": times["ours"], "peer": peer, "peer_value": times[peer], "ratio": times["ours"] / times[peer]}
        rows.append({"operation": operation, **row, "phe": times["phe"], "heu": times["heu"]})
    worst = max(rows, key=lambda row: float(row["ratio"]))
    return {**{key: worst[key] for key in ("ours", "peer", "peer_value", "ratio")}, "unit": "us", "bits": BITS, "rows": rows}


@contextmanager
def _one_core() -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _timed(work: Callable[[], Any], count: int) -> float:
    """Microseconds of processor time for each of ``count`` operations, the best of three times."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best / count * 1e6


def _ours() -> dict[str, float]:
    key = generate(BITS)
    encryptor = Encryptor(key.public)
    plain = [random.randrange(1 << 32) for _ in range(COUNT)]
    cipher = encryptor.encrypt(plain)
    packing = Packing(BITS, 40, MEMBERS)
    vectors = np.arange(PACKED) + np.arange(MEMBERS)[:, None]

    def vector_sum() -> None:
        total = encryptor.encrypt(packing.pack(vectors[0]))
        for vector in vectors[1:]:
            total = total + encryptor.encrypt(packing.pack(vector))
        if (packing.unpack(decrypt(key, encryptor.refresh(total)), PACKED, MEMBERS) != vectors.sum(axis=0)).any():
            sys.exit("we found another sum")

    return {
        "encrypt": _timed(lambda: encryptor.encrypt(plain), COUNT),
        "decrypt": _timed(lambda: decrypt(key, cipher), COUNT),
        "add": _timed(lambda: cipher + cipher, COUNT),
        "multiply": _timed(lambda: cipher * plain, COUNT),
        "vector sum": _timed(vector_sum, PACKED),
    }


def _phe() -> dict[str, float]:
    public, secret = phe.generate_paillier_keypair(n_length=BITS)
    plain = [random.randrange(1 << 32) for _ in range(COUNT)]
    few = NUMBERS // 4
    cipher = [public.encrypt(number, r_value=1 + number) for number in plain]

    def vector_sum() -> None:
        total = [public.encrypt(i) for i in range(few)]
        for member in range(1, MEMBERS):
            total = [a + public.encrypt(i + member) for i, a in enumerate(total)]
        if [secret.decrypt(each) for each in total] != [MEMBERS * (MEMBERS - 1) // 2 + MEMBERS * i for i in range(few)]:
            sys.exit("phe found another sum")

    return {
        "encrypt": _timed(lambda: [public.encrypt(number) for number in plain[:few]], few),
        "decrypt": _timed(lambda: [secret.decrypt(each) for each in cipher], COUNT),
        "add": _timed(lambda: [a + b for a, b in zip(cipher, cipher, strict=True)], COUNT),
        "multiply": _timed(lambda: [a * b for a, b in zip(cipher, plain, strict=True)], COUNT),
        "vector sum": _timed(vector_sum, few),
    }
