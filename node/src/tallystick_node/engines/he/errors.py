# ruff: noqa: N818 - the names say what is wrong; the base class says that they are errors
"""What can go wrong in homomorphic encryption, as one tree:

HomomorphicError
├── InvalidKey         a key is not of the form that the scheme needs
├── InvalidCiphertext  bytes or numbers from outside are no ciphertexts under this key
├── PlaintextOverflow  a number does not fit in the plaintext, before or after the computation
└── MissingLibrary     an optional library is not installed
"""

from __future__ import annotations


class HomomorphicError(ValueError):
    """A homomorphic computation cannot go on. The message says which rule was broken and what to do."""


class InvalidKey(HomomorphicError):
    """A key is not of the form that the scheme needs."""


class InvalidCiphertext(HomomorphicError):
    """Bytes or numbers from outside are no ciphertexts under this key."""


class PlaintextOverflow(HomomorphicError):
    """A number does not fit in the plaintext, before or after the computation."""


class MissingLibrary(HomomorphicError):
    """An optional library is not installed."""
