"""SecretFlow's HEU, scheme ZPaillier, on arrays; run by the interpreter of HEU's own environment.

``heu_paillier.py BITS COUNT MEMBERS NUMBERS`` prints one line of JSON: microseconds of processor time for each operation.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from heu import numpy as hnp
from heu import phe


def timed(work: Callable[[], Any], count: int) -> float:
    """Microseconds of processor time for each of ``count`` operations, the best of three times."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best / count * 1e6


def main() -> None:
    """Time every operation."""
    bits, count, members, numbers = map(int, sys.argv[1:])
    kit = hnp.setup(phe.parse_schema_type("ZPaillier"), bits)
    encryptor, decryptor, evaluator = kit.encryptor(), kit.decryptor(), kit.evaluator()
    plain = kit.array(np.array([random.randrange(1 << 32) for _ in range(count)], np.int64))
    cipher = encryptor.encrypt(plain)
    vectors = [kit.array(np.arange(numbers, dtype=np.int64) + member) for member in range(members)]

    def vector_sum() -> None:
        total = encryptor.encrypt(vectors[0])
        for vector in vectors[1:]:
            total = evaluator.add(total, encryptor.encrypt(vector))
        found = decryptor.decrypt(total)
        if [int(str(found[i])) for i in range(3)] != [members * (members - 1) // 2 + members * i for i in range(3)]:
            sys.exit("HEU found another sum")

    answer = {
        "encrypt": timed(lambda: encryptor.encrypt(plain), count),
        "decrypt": timed(lambda: decryptor.decrypt(cipher), count),
        "add": timed(lambda: evaluator.add(cipher, cipher), count),
        "multiply": timed(lambda: evaluator.mul(cipher, plain), count),
        "vector sum": timed(vector_sum, numbers),
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
