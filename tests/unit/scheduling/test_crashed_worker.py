"""The schedule of this test suite outlives a worker that a test kills."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEADLY = "import os\ndef test_deadly():\n    os.kill(os.getpid(), 9)\n"
HARMLESS = "import pytest\n@pytest.mark.parametrize('number', range(3))\ndef test_harmless(number):\n    pass\n"


@pytest.mark.parametrize("before, after", [(1, 1), (0, 0)])
def test_the_deadly_test_fails_once_and_all_others_run(tmp_path: Path, before: int, after: int) -> None:
    shutil.copy(Path(__file__).parents[2] / "conftest.py", tmp_path)
    for number in range(before):
        (tmp_path / f"test_a{number}.py").write_text(HARMLESS)
    (tmp_path / "test_b.py").write_text(DEADLY + "def test_next():\n    pass\n")
    for number in range(after):
        (tmp_path / f"test_c{number}.py").write_text(HARMLESS)
    command = [sys.executable, "-m", "pytest", "-n", "2", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert f"1 failed, {3 * (before + after) + 1} passed" in done.stdout, done.stdout + done.stderr
