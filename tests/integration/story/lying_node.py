"""A hostile node, for tests: as any other, but it says of one link that it received other bytes than it did."""

from __future__ import annotations

import sys
from typing import Any

from tallystick_node import app
from tallystick_node.runs.attempt import Attempt


def lie(attempt: Attempt, outcome: dict[str, Any], *rest: Any) -> Any:
    """The node's word about its links, with the digest of what the party before it sent changed."""
    peer = min(outcome["received"], key=int)
    messages, size, digest = outcome["received"][peer]
    false = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    outcome["received"][peer] = [messages, size, false]
    return honest(attempt, outcome, *rest)


honest = Attempt._word
Attempt._word = lie  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(app.main())
