"""Signers by URI: code never sees a raw key, only something that signs.

``keystore:<path>`` is an encrypted keystore (version 3) and the default; ``env:<VARIABLE>`` holds a hex key for automated
set-ups; ``mnemonic:<index>`` is an account of the public development mnemonic and signs for development chains alone.
"""

from __future__ import annotations

import json
import os
import secrets as random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from tallystick.protocol.errors import Configuration, SignerLocked

if TYPE_CHECKING:  # most of a second to import, and only who signs needs it
    from eth_account.signers.local import LocalAccount
    from eth_typing import Hash32

DEVELOPMENT_CHAINS = (31337, 1337)
DEVELOPMENT_MNEMONIC = "test test test test test test test test test test test junk"


class Signer(Protocol):
    """Something that signs for one account."""

    @property
    def address(self) -> str:
        """The account, EIP-55."""

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r || s || v (v 27 or 28) over a 32-byte digest."""

    def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
        """The signed transaction, ready for ``eth_sendRawTransaction``."""


class AccountSigner:
    """A signer whose key is in this process's memory. ``chains`` limits the chains it signs transactions for."""

    def __init__(self, account: LocalAccount, chains: tuple[int, ...] = ()) -> None:
        self._account = account
        self._chains = chains

    @property
    def address(self) -> str:
        """The account, EIP-55."""
        return str(self._account.address)

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r || s || v (v 27 or 28) over a 32-byte digest."""
        return bytes(self._account.unsafe_sign_hash(cast("Hash32", digest)).signature)

    def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
        """The signed transaction. Raises SignerLocked for a chain that this key may not sign for."""
        if self._chains and transaction.get("chainId") not in self._chains:
            raise SignerLocked(
                "this key is public: it signs for development chains alone",
                party=self.address,
                remedy="use a keystore: signer",
            )
        return bytes(self._account.sign_transaction(transaction).raw_transaction)

    def __repr__(self) -> str:
        return f"AccountSigner({self.address})"


class OperatorSigner:
    """A participant's operator: ``address`` is the participant's account, and the operator's key signs. What it signs counts where
    the participant authorised it on chain (docs/spec/identity.md); its transactions are the operator's own account's."""

    def __init__(self, account: str, key: Signer) -> None:
        self._account = account
        self._key = key

    @property
    def address(self) -> str:
        """The participant's account, EIP-55."""
        return self._account

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r || s || v (v 27 or 28) over a 32-byte digest, of the operator's key."""
        return self._key.sign_digest(digest)

    def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
        """The transaction, signed by the operator's key."""
        return self._key.sign_transaction(transaction)

    def __repr__(self) -> str:
        return f"OperatorSigner({self._account} by {self._key.address})"


def signer_from_uri(uri: str, password: Callable[[], str] | None = None) -> Signer:
    """The signer that ``uri`` names. ``password`` is asked only when a keystore needs it.

    Raises SignerLocked (wrong password, unreadable file) or Configuration (unknown scheme, file open to others).
    """
    from eth_account import Account

    scheme, _, rest = uri.partition(":")
    if scheme == "keystore":
        return _keystore(Path(rest).expanduser(), password)
    if scheme == "env":
        key = os.environ.get(rest)
        if key is None:
            raise SignerLocked(f"the environment variable {rest} is not set", remedy="set it to the account's hex key")
        try:
            return AccountSigner(Account.from_key(key.strip()))
        except Exception:  # noqa: BLE001 - the library's message may quote the key
            raise SignerLocked(f"the environment variable {rest} holds no account key") from None
    if scheme == "mnemonic":
        if not rest.isdigit():
            raise Configuration("mnemonic: takes the number of an account", remedy="mnemonic:0")
        Account.enable_unaudited_hdwallet_features()
        path = f"m/44'/60'/0'/0/{int(rest)}"
        return AccountSigner(Account.from_mnemonic(DEVELOPMENT_MNEMONIC, account_path=path), DEVELOPMENT_CHAINS)
    raise Configuration(f"unknown signer {scheme!r}", remedy="use keystore:<path>, env:<VARIABLE> or mnemonic:<number>")


def create_keystore(path: Path, password: str, *, iterations: int | None = None) -> str:
    """Make an account, write its encrypted keystore (scrypt, mode 0600) and return its address.

    Raises Configuration when the file exists or the password has fewer than 8 characters.
    """
    from eth_account import Account

    if len(password) < 8:
        raise Configuration("the password is too short", remedy="use at least 8 characters")
    account = Account.from_key(random.token_bytes(32))
    content = json.dumps(Account.encrypt(account.key, password, kdf="scrypt", iterations=iterations))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Configuration("the keystore exists already", party=str(path), remedy="choose another file") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    return str(account.address)


def require_private(path: Path) -> None:
    """Raise Configuration when others than the owner may read ``path``."""
    if path.stat().st_mode & 0o077:
        raise Configuration("the file is open to others", party=str(path), remedy=f"chmod 600 {path}")


def _keystore(path: Path, password: Callable[[], str] | None) -> Signer:
    from eth_account import Account

    try:
        require_private(path)
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SignerLocked(
            f"the keystore cannot be read: {type(error).__name__}", party=str(path), remedy="check the path"
        ) from None
    if password is None:
        raise SignerLocked("the keystore needs its password", party=str(path), remedy="give a password file")
    try:
        return AccountSigner(Account.from_key(Account.decrypt(content, password())))
    except (ValueError, KeyError, TypeError):
        raise SignerLocked(
            "the keystore does not open", party=str(path), remedy="check the password and that the file is a keystore"
        ) from None
