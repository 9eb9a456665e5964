"""The files that lie beside a result file, and the way from one of them back to its result file.

A result file names each file beside it by its digest, and the task's statement names the result file by its own: so every party
signed, through both, for a model's bytes. What a file says about itself is only a hint at where to look.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tallystick import flat_json
from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument, NotFound, VerificationFailed
from tallystick.protocol.result import LIMIT, NAME, ResultFile

MAX_HEADER = 1 << 20  # of a safetensors file, as far as it is read for its task


def digest_of(path: Path) -> str:
    """The plain SHA-256 of a file of any size, ``sha256:…``. Raises NotFound."""
    try:
        with path.open("rb") as file:
            return canonical.text(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise _unreadable(path, error) from None


def beside(result: Path, content: bytes) -> dict[str, str]:
    """The digests of those files that a result file names and that lie beside it; none where it does not parse."""
    try:
        named = ResultFile.parse(content).files
    except MalformedDocument:
        return {}
    return {name: digest_of(result.parent / name) for name in named if (result.parent / name).exists()}


def source_of(path: Path, others: Iterable[bytes] = ()) -> bytes:
    """The result file that a file belongs to: itself where it is one, the one beside it, or one of ``others``.

    Raises VerificationFailed by rule 18 when the file is said to be one that a result file names and has other bytes, and
    NotFound when no result file names it; what the file itself says about its task is then told as no more than that.
    """
    own, beside_it = _content(path), path.parent / NAME
    if _parsed(own) is not None:
        return own
    digest, claimed = digest_of(path), task_in(path)
    changed: ResultFile | None = None
    for content in (*([_content(beside_it)] if beside_it.exists() else []), *others):
        found = _parsed(content)
        if found is None:
            continue
        if digest in found.files.values():
            return content
        if path.name in found.files or found.task == claimed:
            changed = found
    if changed is not None:
        raise VerificationFailed(
            f"rule 18: {path.name} is not the file that the result of task {changed.task} names: it was changed",
            rule=18,
            party=changed.receiver,
            remedy="do not use it; fetch the result again from the node of the party named",
        )
    if claimed is not None:
        raise NotFound(
            f"no result file names this file; it says itself that it is of task {claimed}, which shows nothing",
            party=str(path),
            remedy=f"put it beside the {NAME} that it came with: `tally result fetch {claimed}`",
        )
    raise NotFound("no result file names this file", party=str(path), remedy=f"put it beside the {NAME} that it came with")


def task_in(path: Path) -> str | None:
    """The task that a safetensors file of ours says it is from, ``0x…``; None for any other file. Nothing shows that it is true."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            content = file.read(length) if 2 <= length <= MAX_HEADER else b""
        header = flat_json.parse(content)["__metadata__"]["header"]
        said = flat_json.parse(header.encode())["task"]
        return canonical.hex32(canonical.unhex32(said))
    except OSError as error:
        raise _unreadable(path, error) from None
    except (ValueError, KeyError, TypeError, AttributeError, MalformedDocument):
        return None


def _parsed(content: bytes) -> ResultFile | None:
    try:
        return ResultFile.parse(content)
    except MalformedDocument:
        return None


def _content(path: Path) -> bytes:
    """A file as far as it may be a result file: of any other that begins with no brace, nothing is read on."""
    try:
        with path.open("rb") as file:
            first = file.read(1)
            return first + file.read(LIMIT) if first == b"{" else first
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> NotFound:
    return NotFound(f"the file cannot be read: {error.strerror}", party=str(path), remedy="check the path and its permissions")
