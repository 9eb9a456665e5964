"""The schedule of this test suite outlives a worker that a test kills."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEADLY = "import os\ndef test_deadly():\n    os.kill(os.getpid(), 9)\n"
HARMLESS = "import pytest\n@pytest.mark.parametrize('number', range(3))\ndef test_harmless(number):\n    pass\n"


def run(folder: Path) -> str:
    """What a run of the folder's tests by two workers says."""
    shutil.copy(Path(__file__).parents[2] / "conftest.py", folder)
    command = [sys.executable, "-m", "pytest", "-n", "2", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=folder)
    return done.stdout + done.stderr


@pytest.mark.parametrize("before, after", [(1, 1), (0, 0)])
def test_the_deadly_test_fails_once_and_all_others_run(tmp_path: Path, before: int, after: int) -> None:
    for number in range(before):
        (tmp_path / f"test_a{number}.py").write_text(HARMLESS)
    (tmp_path / "test_b.py").write_text(DEADLY + "def test_next():\n    pass\n")
    for number in range(after):
        (tmp_path / f"test_c{number}.py").write_text(HARMLESS)
    said = run(tmp_path)
    assert f"1 failed, {3 * (before + after) + 1} passed" in said, said


def test_two_workers_that_die_at_once_are_replaced(tmp_path: Path) -> None:
    """Either new one may have read the tests before the other has."""
    for number in range(2):
        (tmp_path / f"test_b{number}.py").write_text(DEADLY + "def test_next():\n    pass\n")
    for number in range(2):
        (tmp_path / f"test_c{number}.py").write_text(HARMLESS)
    said = run(tmp_path)
    assert "2 failed, 8 passed" in said, said
