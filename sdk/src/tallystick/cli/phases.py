"""What the own node says of a run while a command waits for its end: the chain knows when a task started, not how it goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

from tallystick.cli.session import Session
from tallystick.cli.terminal import Terminal
from tallystick.client.nodes import Stream
from tallystick.protocol.errors import TallystickError

MARGIN = 60.0  # seconds for which the node is listened to beyond the wait
JOIN = 5.0


@contextmanager
def shown(session: Session, task: str, seconds: float) -> Iterator[None]:
    """While this lasts, each phase of a task's run is told, once, as the account's own node reports it.

    Nothing is told where the settings name no such node, where its key does not open without a prompt, or where it does not answer:
    the wait itself rests on the chain alone.
    """
    try:
        stream = session.nodes(prompt=False).watch(session.account(), task, seconds + MARGIN)
    except TallystickError:
        yield
        return
    reader = Thread(target=_tell, args=(stream, session.terminal), daemon=True)
    reader.start()
    try:
        yield
    finally:
        stream.close()
        reader.join(JOIN)


def _tell(stream: Stream, terminal: Terminal) -> None:
    last = ""
    with suppress(TallystickError):
        for status in stream:
            if status.phase and status.phase != last:
                last = status.phase
                terminal.step(f"{min(1.0, max(0.0, status.progress)):4.0%}  {last}")
