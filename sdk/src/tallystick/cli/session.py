"""What every command shares: the settings, the terminal, and the connections that a command asks for.

Settings are a TOML file (`--config`, `TALLY_CONFIG` or `tally.toml`) under `TALLY_*` variables of the same names.
"""

from __future__ import annotations

import getpass
import os
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import typer
from eth_utils.address import is_address, to_checksum_address

from tallystick import flat_json
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.chain.deployment import Deployment
from tallystick.chain.index import IN_MEMORY, EventIndex, index_path
from tallystick.chain.profile import profile_named
from tallystick.cli.terminal import Terminal
from tallystick.client import Client, Nodes
from tallystick.protocol.errors import Configuration, MalformedDocument, NotFound, SignerLocked
from tallystick.protocol.identity import Certificate
from tallystick.signing import Signer, require_private, signer_from_uri

NAMES = ("rpc_url", "deployment", "profile", "signer", "certificate", "key", "authority")
DEFAULTS = {
    "rpc_url": "http://127.0.0.1:8545",
    "deployment": "contracts/deployments/31337.json",
    "profile": "development",
}
MAX_DOCUMENT = 1 << 28
PIECE = 1 << 20


@dataclass
class Session:
    """One run of the command line."""

    terminal: Terminal
    config: Path | None = None
    password_file: Path | None = None
    _settings: dict[str, Any] = field(default_factory=dict)
    _password: str | None = None

    @property
    def config_path(self) -> Path:
        """Where the settings file is, or would be."""
        return self.config or _named(os.environ.get("TALLY_CONFIG")) or Path("tally.toml")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings, read once. Paths in the file are relative to it. Raises Configuration."""
        if self._settings:
            return self._settings
        path = self.config_path
        found: dict[str, Any] = dict(DEFAULTS)
        if path.exists():
            try:
                given = tomllib.loads(path.read_text())
            except (OSError, ValueError) as error:
                raise Configuration(f"the settings cannot be read: {type(error).__name__}", party=str(path)) from None
            unknown = sorted(given.keys() - {*NAMES, "nodes"})
            if unknown:
                raise Configuration(
                    f"unknown setting {unknown[0]!r}", party=str(path), remedy=f"settings are {', '.join(NAMES)}, nodes"
                )
            for name in ("deployment", "certificate", "key", "authority"):
                if isinstance(given.get(name), str):
                    given[name] = str(path.parent / given[name])
            scheme, _, rest = str(given.get("signer", "")).partition(":")
            if scheme == "keystore":
                given["signer"] = f"keystore:{path.parent / Path(rest).expanduser()}"
            found |= given
        elif self.config is not None or os.environ.get("TALLY_CONFIG"):
            raise Configuration("there is no such settings file", party=str(path), remedy="check --config and TALLY_CONFIG")
        found |= {name: os.environ[f"TALLY_{name.upper()}"] for name in NAMES if f"TALLY_{name.upper()}" in os.environ}
        self._settings = found
        return found

    def setting(self, name: str) -> str:
        """A setting that must be there. Raises Configuration."""
        value = self.settings.get(name)
        if not isinstance(value, str) or not value:
            raise Configuration(f"the setting {name!r} is missing", remedy=f"put it into tally.toml or set TALLY_{name.upper()}")
        return value

    def password(self, *, confirm: bool = False) -> str:
        """The password, from ``--password-file``, ``TALLY_PASSWORD_FILE`` or a prompt, once. Raises SignerLocked."""
        if self._password is None:
            self._password = self._ask(confirm=confirm)
        return self._password

    def _ask(self, *, confirm: bool) -> str:
        path = self._password_path()
        if path is not None:
            try:
                require_private(path)
                return path.read_text().rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise SignerLocked(f"the password file cannot be read: {type(error).__name__}", party=str(path)) from None
        if not sys.stdin.isatty():
            raise SignerLocked("a password is needed and nobody is there to type it", remedy="use --password-file")
        given = getpass.getpass("Password: ")
        if confirm and getpass.getpass("Again: ") != given:
            raise SignerLocked("the two passwords differ", remedy="run it again")
        return given

    def _password_path(self) -> Path | None:
        return self.password_file or _named(os.environ.get("TALLY_PASSWORD_FILE"))

    def signer(self) -> Signer:
        """The configured signer."""
        return signer_from_uri(self.setting("signer"), self.password)

    def chain(self, *, signing: bool = False) -> Chain:
        """A connection to the configured chain, checked. Raises ChainUnreachable or WrongChain."""
        deployment = Deployment.load(Path(self.setting("deployment")))
        signer = self.signer() if signing else None
        profile = profile_named(self.setting("profile"))
        return Chain(self.setting("rpc_url"), deployment, signer=signer, profile=profile)

    def events(self, chain: Chain, *names: str) -> list[Event]:
        """The chain's events of these names (all without any), from the first block to the head."""
        with self.index(chain) as index:
            return index.events(*names)

    def index(self, chain: Chain) -> EventIndex:
        """The chain's events up to the head, kept below ``XDG_CACHE_HOME`` (``~/.cache``) for the next command;
        where that cannot be written, in memory."""
        kept = index_path(Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "tallystick", chain)
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            found = EventIndex(kept if os.access(kept.parent, os.W_OK) else IN_MEMORY, chain)
        except OSError:
            found = EventIndex(IN_MEMORY, chain)
        found.catch_up()
        return found

    def nodes(self, *, prompt: bool = True) -> Nodes:
        """The nodes in the settings, and the certificate to call them with; without ``prompt`` nobody is asked for a password.
        Raises Configuration or SignerLocked."""
        paths = {name: Path(self.setting(name)) for name in ("certificate", "key", "authority")}
        if paths["key"].exists():
            require_private(paths["key"])
        return Nodes(
            self.addresses(),
            certificate=paths["certificate"],
            key=paths["key"],
            authority=paths["authority"],
            password=self.password if prompt or self._password is not None or self._password_path() is not None else None,
        )

    def addresses(self) -> dict[str, str]:
        """The nodes' addresses: account, EIP-55, to host:port. Raises Configuration."""
        found = self.settings.get("nodes", {})
        if not isinstance(found, dict) or not all(isinstance(where, str) and is_address(who) for who, where in found.items()):
            raise Configuration("the setting 'nodes' is not a table of account = \"host:port\"", remedy="see docs/how-to/join.md")
        return {str(to_checksum_address(who)): where for who, where in found.items()}

    def account(self) -> str:
        """The account that the configured certificate is for: who the nodes take this caller to be."""
        return Certificate.parse(read(Path(self.setting("certificate")))).account

    def client(self) -> Client:
        """The client, for what needs a node. Raises Configuration."""
        return Client(self.chain(signing=True), self.nodes())


def of(context: typer.Context) -> Session:
    """The session of this run."""
    return cast("Session", context.find_root().obj)


def read(path: Path) -> bytes:
    """A file's bytes. Raises NotFound or MalformedDocument."""
    try:
        if path.stat().st_size > MAX_DOCUMENT:
            raise MalformedDocument(f"the file is larger than {MAX_DOCUMENT} bytes", party=str(path))
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def read_pieces(path: Path) -> Iterator[bytes]:
    """A file's bytes in pieces, for a file of any size. Raises NotFound."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from None

    def pieces() -> Iterator[bytes]:
        with file:
            while piece := file.read(PIECE):
                yield piece

    return pieces()


def _unreadable(path: Path, error: OSError) -> NotFound:
    return NotFound(f"the file cannot be read: {error.strerror}", party=str(path), remedy="check the path and its permissions")


def read_json(path: Path) -> Any:
    """A JSON file. Raises NotFound or MalformedDocument."""
    try:
        return flat_json.parse(read(path))
    except ValueError:
        raise MalformedDocument("the file is not JSON, or nested too deep", party=str(path)) from None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file. Raises NotFound or MalformedDocument."""
    try:
        return tomllib.loads(read(path).decode())
    except (ValueError, RecursionError):
        raise MalformedDocument("the file is not TOML", party=str(path)) from None


def write(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a new file; ``private`` ones with mode 0600. Raises Configuration when it exists or cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
    except OSError as error:
        raise Configuration(f"the file cannot be made: {error.strerror}", party=str(path), remedy="choose another name") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def address(value: str) -> str:
    """An account on the command line, EIP-55. Raises MalformedDocument."""
    if not is_address(value):
        raise MalformedDocument("not an account of 0x and 40 hex digits", party=value[:80])
    return str(to_checksum_address(value))


def hex32(value: str) -> bytes:
    """The 32 bytes of an id on the command line. Raises MalformedDocument."""
    text = value.lower().removeprefix("0x")
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32 or len(text) != 64:
        raise MalformedDocument("not an id of 0x and 64 hex digits", party=value[:80])
    return found


def _named(value: str | None) -> Path | None:
    return Path(value) if value else None
