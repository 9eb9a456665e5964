"""Structured logs: one JSON object a line on standard error, and nothing secret in any."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

WITHHELD = "[withheld]"
_SECRET = re.compile(r"password|passphrase|secret|mnemonic|private|salt|blinding|share|token|authorization", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_LONG_HEX = re.compile(r"\b(?:0x)?[0-9a-fA-F]{65,}\b")  # longer than a digest: content


def withhold(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide what a field's name calls secret, credentials in URLs, raw bytes, and hexadecimal content longer than a digest."""
    for key, value in event.items():
        event[key] = WITHHELD if _SECRET.search(key) else _clean(value)
    return event


def _clean(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, str):
        return _LONG_HEX.sub(WITHHELD, _CREDENTIALS.sub("", value))
    if isinstance(value, dict):
        return {key: WITHHELD if _SECRET.search(str(key)) else _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


def write_json() -> None:
    """Send every log line of this process to standard error as JSON."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            withhold,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
