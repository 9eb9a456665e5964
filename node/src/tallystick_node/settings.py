"""One typed settings object, from a TOML file and ``TALLYSTICK_*`` variables. Nothing else reads the environment."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tallystick.protocol.errors import Configuration
from tallystick.signing import require_private

PREFIX = "TALLYSTICK_"


class Policy(BaseModel):
    """What the institution allows on its own node, whatever a grant says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum_group: int = Field(default=10, ge=2, le=1000)
    workloads: tuple[str, ...] = ("statistics", "intersection")
    max_parties: int = Field(default=16, ge=2, le=16)


class Settings(BaseModel):
    """How one node runs. Paths are relative to the folder of the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Path
    signer: str
    password_file: Path | None = None
    certificate: Path
    key: Path
    authority: Path
    rpc_url: str
    chain_profile: str = "development"
    deployment: Path
    listen: str = "127.0.0.1:0"
    metrics: str = "127.0.0.1:0"
    store: str
    data_dir: Path
    peers: dict[str, str] = {}
    link_seconds: float = Field(default=30, gt=0, le=3600)
    policy: Policy = Policy()

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read a file and the environment. Raises Configuration naming the key."""
        try:
            raw: dict[str, Any] = tomllib.loads(path.read_text())
        except OSError as error:
            raise Configuration(f"the settings cannot be read: {error.strerror}", party=str(path)) from None
        except tomllib.TOMLDecodeError as error:
            raise Configuration(f"the settings are not TOML: {error}", party=str(path)) from None
        for name, value in os.environ.items():
            field = name.removeprefix(PREFIX).lower()
            if name.startswith(PREFIX) and field in cls.model_fields and field not in ("home", "peers", "policy"):
                raw[field] = value
        home = path.resolve().parent
        raw = {"data_dir": "data", "store": "sqlite:///node.db", **raw}
        for field in ("password_file", "certificate", "key", "authority", "deployment", "data_dir"):
            if raw.get(field):
                raw[field] = home / raw[field]
        if str(raw.get("store", "")).startswith("sqlite:///") and not str(raw["store"]).startswith("sqlite:////"):
            raw["store"] = f"sqlite:///{home / raw['store'].removeprefix('sqlite:///')}"
        try:
            settings = cls(home=home, **raw)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise Configuration(
                f"setting {key}: {first['msg']}", party=str(path), remedy="see docs/reference/settings.md"
            ) from None
        for secret in (settings.key, settings.password_file):
            if secret is not None:
                if not secret.exists():
                    raise Configuration("a file named in the settings is missing", party=str(secret))
                require_private(secret)
        return settings

    def password(self) -> str:
        """The keystore's password. Raises Configuration when no file is configured."""
        if self.password_file is None:
            raise Configuration("the signer needs a password", remedy="set password_file")
        return self.password_file.read_text().strip()
