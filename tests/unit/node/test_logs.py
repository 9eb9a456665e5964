"""What a log line may not hold."""

from __future__ import annotations

import json

import pytest
import structlog
from tallystick_node import logs


@pytest.mark.parametrize("name", ["password", "dataset_secret", "mnemonic", "private_key", "salt", "blinding", "api_token"])
def test_a_field_that_is_called_secret_is_withheld(name: str) -> None:
    assert logs.withhold(None, "info", {name: "hunter22"})[name] == logs.WITHHELD
    assert logs.withhold(None, "info", {"detail": {name: "hunter22"}})["detail"] == {name: logs.WITHHELD}


def test_content_is_withheld_and_digests_are_not() -> None:
    digest = "0x" + "ab" * 32
    event = {"task": digest, "content": "cd" * 65, "raw": b"hunter22", "url": "https://me:hunter22@host/x", "n": [b"x", 5]}
    found = logs.withhold(None, "info", dict(event))
    assert found == {"task": digest, "content": logs.WITHHELD, "raw": "[8 bytes]", "url": "https://host/x", "n": ["[1 bytes]", 5]}


def test_a_traceback_is_cleaned_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.write_json()
    try:
        raise ValueError("https://me:hunter22@host " + "ef" * 40)
    except ValueError:
        structlog.get_logger().exception("failed", password="hunter22")
    line = capsys.readouterr().err
    assert "hunter22" not in line
    assert "efef" not in line
    assert json.loads(line)["event"] == "failed"
