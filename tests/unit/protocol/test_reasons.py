"""The reason codes are those of the specification, each with its words."""

from __future__ import annotations

import re
from pathlib import Path

from tallystick.protocol.reasons import WORDS, Reason, reason_words


def test_the_page_has_every_code_with_its_words() -> None:
    page = (Path(__file__).parents[3] / "docs/spec/task.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \| ([^|]+) \|$", page, re.MULTILINE)
    assert [(int(code), name, words) for code, name, words in rows] == [(each.value, each.name, WORDS[each]) for each in Reason]


def test_an_unknown_code_is_shown_as_its_number() -> None:
    assert reason_words(999) == "reason 999"
