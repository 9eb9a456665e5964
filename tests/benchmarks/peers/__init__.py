"""Peer systems, each in an environment of its own under ``.venvs``, outside this project's lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def python_with(name: str, *requirements: str) -> Path:
    """The interpreter of an environment with these pinned requirements, made at the first call."""
    folder = ROOT / ".venvs" / name
    interpreter, stamp = folder / "bin" / "python", folder / ".installed"
    wanted = "\n".join(requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        sys.stderr.write(f"installing {', '.join(requirements)} into {folder.relative_to(ROOT)} ...\n")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, stdout=sys.stderr)
        install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        subprocess.run(install, check=True, stdout=sys.stderr)
        stamp.write_text(wanted)
    return interpreter
