"""Strict reading of the fields of a decoded document: every key expected, every type exact, every size bounded."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

from tallystick.ethereum import to_checksum_address
from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument

T = TypeVar("T")

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
MAX_SECONDS = 2**40 - 1
"""The greatest time, in seconds since 1970, that the contracts' uint40 holds."""


def address(value: Any, where: str = "address") -> str:
    """``value`` if it is an EIP-55 checksummed address; otherwise raises :class:`MalformedDocument`."""
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value) or to_checksum_address(value) != value:
        raise MalformedDocument(f"{where}: not an address with an EIP-55 checksum")
    return value


def order(account: str) -> int:
    """The position of an account among others: its number, as the contracts compare it. Not the order of the text."""
    return int(account, 16)


class Fields:
    """A reader over one JSON object that must have exactly the keys it is given.

    Everything raises :class:`MalformedDocument`.
    """

    def __init__(self, value: Any, keys: Iterable[str], where: str, optional: Iterable[str] = ()) -> None:
        self._where = where
        if not isinstance(value, dict):
            self._fail("", "not an object")
        self._value: dict[str, Any] = value
        required, allowed = set(keys), set(keys) | set(optional)
        missing, unknown = sorted(required - value.keys()), sorted(value.keys() - allowed)
        if missing:
            self._fail("", f"misses {missing[0]!r}")
        if unknown:
            self._fail("", f"has a key it may not have: {unknown[0][:40]!r}")

    def _fail(self, key: str, rule: str) -> NoReturn:
        raise MalformedDocument(f"{self._where}{'.' + key if key else ''}: {rule}")

    def has(self, key: str) -> bool:
        """Whether an optional key is there."""
        return key in self._value

    def constant(self, key: str, expected: str) -> None:
        """The key holds exactly ``expected``."""
        if self._value[key] != expected:
            self._fail(key, f"must be {expected!r}")

    def string(self, key: str, limit: int = 256, *, empty: bool = False) -> str:
        """Text of at most ``limit`` characters."""
        value = self._value[key]
        if not isinstance(value, str) or len(value) > limit or (not value and not empty):
            self._fail(key, f"must be text of {0 if empty else 1} to {limit} characters")
        return value

    def choice(self, key: str, allowed: Iterable[str]) -> str:
        """One of the allowed texts."""
        value, options = self._value[key], tuple(allowed)
        if value not in options or not isinstance(value, str):
            self._fail(key, f"must be one of {', '.join(options)}")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""
        value = self._value[key]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self._fail(key, f"must be an integer from {low} to {high}")
        return value

    def number(self, key: str, high: int) -> int:
        """A natural number up to ``high`` that is written as decimal text, because it may pass 2^53."""
        value = self._value[key]
        if not isinstance(value, str) or not re.fullmatch(r"0|[1-9][0-9]{0,77}", value) or int(value) > high:
            self._fail(key, f"must be a decimal number up to {high}, as text")
        return int(value)

    def seconds(self, key: str) -> int:
        """A time in seconds since 1970."""
        return self.integer(key, 0, MAX_SECONDS)

    def boolean(self, key: str) -> bool:
        """True or false."""
        value = self._value[key]
        if not isinstance(value, bool):
            self._fail(key, "must be true or false")
        return value

    def address(self, key: str) -> str:
        """An EIP-55 address."""
        return address(self._value[key], f"{self._where}.{key}")

    def hex32(self, key: str) -> str:
        """An id: ``0x`` and 64 lower hex digits."""
        try:
            canonical.unhex32(self._value[key])
        except MalformedDocument as error:
            self._fail(key, error.message)
        return str(self._value[key])

    def digest(self, key: str) -> str:
        """A digest: ``sha256:`` and 64 lower hex digits."""
        try:
            canonical.untext(self._value[key])
        except MalformedDocument as error:
            self._fail(key, error.message)
        return str(self._value[key])

    def transcript(self, key: str) -> str:
        """A transcript's digest: ``blake3:`` and 64 lower hex digits."""
        value = self._value[key]
        if not isinstance(value, str) or not re.fullmatch(r"blake3:[0-9a-f]{64}", value):
            self._fail(key, "must be blake3: and 64 lower-case hex digits")
        return value

    def hexbytes(self, key: str, limit: int) -> bytes:
        """``0x`` and an even number of lower hex digits, at most ``limit`` bytes."""
        value = self._value[key]
        if not isinstance(value, str) or len(value) > 2 + 2 * limit or not re.fullmatch(r"0x(?:[0-9a-f]{2})*", value):
            self._fail(key, f"must be 0x and lower-case hex of at most {limit} bytes")
        return bytes.fromhex(value[2:])

    def object(self, key: str) -> dict[str, Any]:
        """A nested object, for another reader."""
        value = self._value[key]
        if not isinstance(value, dict):
            self._fail(key, "must be an object")
        return value

    def items(self, key: str, low: int, high: int, read: Callable[[Any, str], T]) -> tuple[T, ...]:
        """A list of ``low`` to ``high`` items, each read by ``read(item, where)``."""
        value = self._value[key]
        if not isinstance(value, list) or not low <= len(value) <= high:
            self._fail(key, f"must be a list of {low} to {high} items")
        return tuple(read(item, f"{self._where}.{key}[{index}]") for index, item in enumerate(value))

    def names(self, key: str, low: int, high: int, limit: int = 128) -> tuple[str, ...]:
        """A list of ``low`` to ``high`` different texts of 1 to ``limit`` characters."""
        values = self.items(key, low, high, lambda item, where: Fields({"it": item}, ("it",), where).string("it", limit))
        if len(set(values)) != len(values):
            self._fail(key, "names the same thing twice")
        return values

    def accounts(self, key: str, low: int, high: int) -> tuple[str, ...]:
        """A list of ``low`` to ``high`` addresses, strictly ascending by :func:`order`."""
        values = self.items(key, low, high, address)
        if any(order(a) >= order(b) for a, b in itertools.pairwise(values)):
            self._fail(key, "must be strictly ascending by the account's number")
        return values
