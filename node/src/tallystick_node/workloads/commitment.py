"""An owner's commitment to the rows that went into a task, where only the owner could ever open it."""

from __future__ import annotations

import hashlib
import secrets

import numpy as np
from numpy.typing import NDArray
from tallystick.protocol import canonical


def commit(columns: NDArray[np.float64], more: bytes) -> tuple[str, dict[str, str]]:
    """A hiding commitment to the rows that went in and to what else did, and its opening, which stays with the owner."""
    salt = secrets.token_bytes(32)
    state = hashlib.sha256(salt + np.ascontiguousarray(columns).astype("<f8").tobytes())
    state.update(more)
    return canonical.text(state.digest()), {"salt": salt.hex()}
