"""The vector commitment that the chain's sum check rests on."""

from __future__ import annotations

import secrets
import time
from typing import Any

from tallystick.commitments import pedersen

VALUES = 500


def run() -> dict[str, Any]:
    """Seconds to commit to a vector of 500 totals of 64 bits."""
    values = [secrets.randbits(64) for _ in range(VALUES)]
    pedersen.generators(len(values))
    began = time.perf_counter()
    pedersen.commit(values, secrets.randbits(253))
    return {"ours": time.perf_counter() - began, "unit": "s", "values": VALUES}
