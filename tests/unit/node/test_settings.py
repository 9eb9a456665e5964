"""Settings: files, the environment, and every way to get them wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from tallystick.protocol.errors import Configuration
from tallystick_node.settings import Settings

GOOD = """
signer = "keystore:keystore.json"
certificate = "tls.pem"
key = "tls.key"
authority = "authority.pem"
rpc_url = "http://127.0.0.1:8545"
deployment = "deployment.json"
[policy]
minimum_group = 20
[peers]
"0xab" = "127.0.0.1:1"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tls.key").write_text("key")
    (tmp_path / "tls.key").chmod(0o600)
    for name in ("tls.pem", "authority.pem"):
        (tmp_path / name).write_text("certificate")
    (tmp_path / "node.toml").write_text(GOOD)
    return tmp_path


def load(folder: Path, text: str = "") -> Settings:
    if text:
        (folder / "node.toml").write_text(text)
    return Settings.load(folder / "node.toml")


def test_paths_are_relative_to_the_file(folder: Path) -> None:
    settings = load(folder)
    assert settings.certificate == folder / "tls.pem"
    assert settings.store == f"sqlite:///{folder / 'node.db'}"
    assert settings.data_dir == folder / "data"
    assert settings.policy.minimum_group == 20
    assert settings.peers == {"0xab": "127.0.0.1:1"}


def test_the_environment_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_RPC_URL", "http://10.0.0.1:1")
    monkeypatch.setenv("TALLYSTICK_LINK_SECONDS", "7.5")
    assert (load(folder).rpc_url, load(folder).link_seconds) == ("http://10.0.0.1:1", 7.5)


def test_a_store_elsewhere_stays_as_it_is(folder: Path) -> None:
    url = "postgresql+psycopg://node@db/tally"
    assert load(folder, f'store = "{url}"\n' + GOOD).store == url
    assert load(folder, 'store = "sqlite:////var/node.db"\n' + GOOD).store == "sqlite:////var/node.db"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("rpc_url", "rpc_ulr"), "rpc_"),
        (("signer = ", "# "), "signer"),
        (("minimum_group = 20", "minimum_group = 1"), "policy.minimum_group"),
        (("minimum_group = 20", 'minimum_group = "many"'), "policy.minimum_group"),
        (("[policy]", "link_seconds = 0\n[policy]"), "link_seconds"),
        (("[policy]", "link_seconds = 1.9\n[policy]"), "link_seconds"),
        (("[policy]", "link_seconds = nan\n[policy]"), "link_seconds"),
        (("[policy]", "[policy"), "TOML"),
        (("tls.key", "none.key"), "missing"),
        (("authority.pem", "none.pem"), "missing"),
    ],
)
def test_a_mistake_is_named(folder: Path, change: tuple[str, str], named: str) -> None:
    with pytest.raises(Configuration, match=named) as caught:
        load(folder, GOOD.replace(*change))
    assert caught.value.party


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(Configuration, match="cannot be read"):
        Settings.load(folder / "none.toml")


def test_a_file_that_is_no_text_is_named(folder: Path) -> None:
    (folder / "node.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Configuration):
        Settings.load(folder / "node.toml")


def test_a_key_open_to_others_is_refused(folder: Path) -> None:
    (folder / "tls.key").chmod(0o644)
    with pytest.raises(Configuration, match="open to others"):
        load(folder)


def test_a_signer_without_password_file_says_so(folder: Path) -> None:
    with pytest.raises(Configuration, match="password"):
        load(folder).password()
