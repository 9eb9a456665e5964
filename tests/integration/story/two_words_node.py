"""A hostile node, for tests: as any other, but it tells one peer another word than the rest, and signs both."""

from __future__ import annotations

import sys
from dataclasses import replace

from tallystick.signing import Signer
from tallystick_node import app
from tallystick_node.evidence.agreement import Word
from tallystick_node.evidence.signed_words import Heard
from tallystick_node.peers.links import RunLinks

others: dict[bytes, bytes] = {}  # what it tells one peer in the place of what it tells the rest


def say(heard: Heard, signer: Signer, word: bytes) -> bytes:
    """Both words, of which it remembers the first as its own."""
    parsed = Word.parse(word, heard._own)
    second = honest_say(heard, signer, replace(parsed, seconds_ms=parsed.seconds_ms + 1).to_bytes())
    first = honest_say(heard, signer, word)
    others[first] = second
    return first


async def send(links: RunLinks, account: str, message: bytes) -> None:
    """Send what it has for this peer, which is the one with the highest account."""
    last = account == max(links.links, key=lambda each: int(each, 16))
    await honest_send(links, account, others.get(message, message) if last else message)


honest_say, honest_send = Heard.say, RunLinks.send
Heard.say = say  # type: ignore[method-assign]
RunLinks.send = send  # type: ignore[method-assign]
Heard.compare = lambda *_: None  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(app.main())
