"""JSON-RPC over HTTP: whatever an endpoint answers, or fails to answer, is one error of ours.

An endpoint is often somebody else's machine behind somebody's proxy. It answers with HTML, with the wrong JSON, too slowly or
not at all; and its URL often holds a credential. So every answer is checked for its form here, and the URL is shown without
credentials, path and query.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from tallystick import flat_json
from tallystick.protocol.errors import ChainUnreachable, TallystickError

if TYPE_CHECKING:  # a second to import, and only an annotation here
    from web3 import Web3

SECONDS = 15.0
#: An answer may take this many times the time-out as a whole, so that an endpoint that drips byte by byte does not hold us.
WHOLE = 4
#: What only asks is asked once more when no answer comes: a machine that stood still answers when it goes on, and Ganache, which
#: now and then never answers an estimate, answers the same question at once.
READS, SENDS = "eth_", "eth_send"
MESSAGE_LIMIT = 300
ANSWER_LIMIT = 1 << 25  # bytes: a page of logs is the longest that we ask for, and is halved when it has more
MAX_DEPTH = 64  # of the arrays and objects in an answer
REMEDY = "check the URL and that the chain runs (`make chain-status`)"


class Transport:
    """One endpoint. Safe to use from several threads: each has its own connection. ``limit``: bytes of an answer,
    ``ANSWER_LIMIT`` where it is none."""

    def __init__(self, url: str, seconds: float = SECONDS, limit: int | None = None) -> None:
        self.url = url
        self.seconds = seconds
        self._given = limit
        self._threads = threading.local()

    @classmethod
    def of(cls, web3: Web3) -> Transport:
        """The endpoint that ``web3`` is connected to over HTTP."""
        provider: Any = web3.provider
        return cls(str(provider.endpoint_uri), float(provider.get_request_kwargs().get("timeout", SECONDS)))

    @property
    def shown(self) -> str:
        """The URL without credentials, query and path."""
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return "a malformed URL"
        host = f"[{host}]" if ":" in host else host
        return f"{parts.scheme}://{host}" + (f":{port}" if port else "")

    @property
    def limit(self) -> int:
        """The most bytes of an answer."""
        return ANSWER_LIMIT if self._given is None else self._given

    def answer(self, method: str, parameters: Sequence[Any]) -> dict[str, Any]:
        """One call: an object with ``result``, or with ``error`` as an object, as for an answer that is too long. Raises
        ChainUnreachable."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}).encode()
        with self.understood(method, remedy=REMEDY, said="the chain does not answer"):
            try:
                found = flat_json.parse(self._post(body), MAX_DEPTH)
            except _TooLong:
                return {"error": {"message": f"the answer has more than {self.limit} bytes"}}
            except requests.ReadTimeout:
                if not method.startswith(READS) or method.startswith(SENDS):
                    raise
                found = flat_json.parse(self._post(body), MAX_DEPTH)
        if isinstance(found, dict):
            error = found.get("error")
            if isinstance(error, dict):
                return found
            if error is None and "result" in found:
                return {"result": found["result"]}
            if isinstance(error, str):
                return {"error": {"message": error}}
        raise ChainUnreachable(f"the answer to {method} is no JSON-RPC", party=self.shown, remedy=REMEDY)

    def request(self, method: str, *parameters: Any) -> Any:
        """The result of one call. Raises ChainUnreachable, also when the endpoint answers with an error."""
        answer = self.answer(method, parameters)
        if "error" in answer:
            raise self.refused(method, answer)
        return answer["result"]

    def number(self, method: str, *parameters: Any) -> int:
        """The result of one call that answers with a quantity. Raises ChainUnreachable."""
        found = self.request(method, *parameters)
        with self.understood(method):
            return int(found, 16)

    def data(self, method: str, *parameters: Any) -> bytes:
        """The result of one call that answers with bytes. Raises ChainUnreachable."""
        found = self.request(method, *parameters)
        with self.understood(method):
            return unhex(found)

    def refused(self, method: str, answer: dict[str, Any]) -> ChainUnreachable:
        """The endpoint's own error, as ours."""
        return ChainUnreachable(f"the chain refused {method}: {message_of(answer)}", party=self.shown)

    @contextlib.contextmanager
    def understood(self, method: str, *, remedy: str = "", said: str = "the chain's answer does not make sense") -> Iterator[None]:
        """Turn whatever the block raises over an endpoint or its answer into ChainUnreachable; errors of ours pass."""
        try:
            yield
        except TallystickError:
            raise
        except Exception as error:  # noqa: BLE001 - HTTP, JSON and ABI libraries raise no common class; texts may quote the URL
            raise ChainUnreachable(f"{said} ({method}: {_kind(error)})", party=self.shown, remedy=remedy) from None

    def _post(self, body: bytes) -> bytes:
        give_up = time.monotonic() + WHOLE * self.seconds
        with self._session().post(
            self.url,
            data=body,
            headers={"content-type": "application/json"},
            timeout=self.seconds,
            allow_redirects=False,  # a redirected POST would carry the call to a host that nobody configured
            stream=True,
        ) as response:
            if response.status_code != 200:
                raise _Status(response.status_code)
            answer = bytearray()
            for chunk in response.iter_content(1 << 16):
                answer += chunk
                if len(answer) > self.limit:
                    raise _TooLong
                if time.monotonic() > give_up:
                    raise requests.Timeout
            return bytes(answer)

    def _session(self) -> requests.Session:
        if not hasattr(self._threads, "session"):
            self._threads.session = requests.Session()
        session: requests.Session = self._threads.session
        return session


def message_of(answer: dict[str, Any]) -> str:
    """What the endpoint says about its error: one line, of bounded length, without control characters."""
    text = str(answer["error"].get("message") or "no reason given")[:MESSAGE_LIMIT]
    return "".join(letter if letter.isprintable() else " " for letter in text)


def unhex(text: Any) -> bytes:
    """The bytes of ``0x…``, or of a quantity with an odd number of digits. Raises ValueError."""
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError("not 0x-prefixed")
    digits = text[2:]
    return bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits)


class _Status(Exception):  # noqa: N818 - never leaves this module
    """An HTTP status that is no answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _TooLong(Exception):  # noqa: N818 - never leaves this module
    """An answer of more bytes than there may be."""


def _kind(error: Exception) -> str:
    return f"HTTP {error.status}" if isinstance(error, _Status) else type(error).__name__
