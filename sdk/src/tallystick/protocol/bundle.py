"""The evidence bundle: the files that let anyone check one task attempt, as a directory or a zip archive.

Archives are hostile: names come from a fixed list, sizes are bounded while reading (not by what the archive claims),
and nothing is ever unpacked to disk. Every failure is a :class:`MalformedDocument`.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tallystick.protocol.errors import MalformedDocument

MAX_FILES = 512
MAX_FILE = 1 << 26
MAX_TOTAL = 1 << 28

SINGLE = {
    "spec.json": "spec",
    "grants.json": "grants",
    "authority.pem": "authority",
    "statement.dsse.json": "statement",
    "proof.bin": "proof",
    "chain.json": "chain",
}
"""Files that every bundle has, and the attribute that holds each."""

FOLDERS = {
    "terms": ("terms", re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\.json")),
    "certificates": ("certificates", re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\.pem")),
    "result": ("results", re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")),
}
"""Folders, the attribute that holds each, and what its files are called."""

_READING = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    LookupError,
    OverflowError,
)
# A fixed time makes equal bundles equal archives.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Bundle:
    """The files' bytes, unread. ``results`` only holds what a receiver chose to add."""

    spec: bytes
    grants: bytes
    authority: bytes
    statement: bytes
    proof: bytes
    chain: bytes
    terms: Mapping[str, bytes]
    certificates: Mapping[str, bytes]
    results: Mapping[str, bytes] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """Every file by its name in the bundle, sorted."""
        found = {name: getattr(self, attribute) for name, attribute in SINGLE.items()}
        for folder, (attribute, _) in FOLDERS.items():
            found |= {f"{folder}/{name}": data for name, data in getattr(self, attribute).items()}
        return dict(sorted(found.items()))

    @classmethod
    def of_files(cls, files: Mapping[str, bytes]) -> Bundle:
        """The bundle with these files.

        Raises :class:`MalformedDocument` for a missing or unknown name, or too much data.
        """
        if len(files) > MAX_FILES or sum(map(len, files.values())) > MAX_TOTAL:
            raise MalformedDocument(f"bundle: more than {MAX_FILES} files or {MAX_TOTAL} bytes")
        missing = sorted(SINGLE.keys() - files.keys())
        if missing:
            raise MalformedDocument(f"bundle: misses {missing[0]}", remedy="ask the party for a complete bundle")
        folders: dict[str, dict[str, bytes]] = {attribute: {} for attribute, _ in FOLDERS.values()}
        for name, data in files.items():
            _check_name(name)
            if len(data) > MAX_FILE:
                raise MalformedDocument(f"bundle: {name} has more than {MAX_FILE} bytes")
            folder, slash, base = name.partition("/")
            if slash:
                folders[FOLDERS[folder][0]][base] = data
        return cls(
            spec=files["spec.json"],
            grants=files["grants.json"],
            authority=files["authority.pem"],
            statement=files["statement.dsse.json"],
            proof=files["proof.bin"],
            chain=files["chain.json"],
            terms=folders["terms"],
            certificates=folders["certificates"],
            results=folders["results"],
        )

    def to_zip(self) -> bytes:
        """The bundle as a zip archive; equal bundles give equal bytes."""
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as archive:
            for name, data in self.files().items():
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, data)
        return sink.getvalue()

    @classmethod
    def of_zip(cls, data: bytes) -> Bundle:
        """Read a zip archive. Raises :class:`MalformedDocument`, and nothing else."""
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return cls.of_files(_unzip(archive))
        except _READING as error:
            raise MalformedDocument(f"bundle: not a readable zip archive: {type(error).__name__}") from None

    @classmethod
    def read(cls, path: Path) -> Bundle:
        """Read a directory or a ``.zip``. Raises :class:`MalformedDocument`; OSError when the path cannot be read."""
        if not path.is_dir():
            if path.stat().st_size > MAX_TOTAL:
                raise MalformedDocument(f"bundle: more than {MAX_TOTAL} bytes")
            return cls.of_zip(path.read_bytes())
        files: dict[str, bytes] = {}
        for found in sorted(path.rglob("*")):
            name = found.relative_to(path).as_posix()
            if found.is_symlink():
                raise MalformedDocument(f"bundle: {name[:100]!r} is a link", remedy="copy the file itself")
            if found.is_dir():
                continue
            _check_name(name)
            if len(files) >= MAX_FILES or found.stat().st_size > MAX_FILE:
                raise MalformedDocument(f"bundle: too many files, or {name} is too large")
            files[name] = found.read_bytes()
        return cls.of_files(files)

    def write(self, path: Path) -> None:
        """Write to ``path``: a zip archive when it ends in ``.zip``, else a directory, which must not exist."""
        if path.suffix == ".zip":
            path.write_bytes(self.to_zip())
            return
        path.mkdir(parents=True)
        for name, data in self.files().items():
            target = path / name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(data)


def _check_name(name: str) -> None:
    folder, slash, base = name.partition("/")
    known = folder in FOLDERS and FOLDERS[folder][1].fullmatch(base) if slash else name in SINGLE
    if not known:
        raise MalformedDocument(f"bundle: {name[:100]!r} is no file of a bundle", remedy="remove it from the bundle")


def _unzip(archive: zipfile.ZipFile) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    entries = [entry for entry in archive.infolist() if entry.filename not in {f"{folder}/" for folder in FOLDERS}]
    if len(entries) > MAX_FILES:
        raise MalformedDocument(f"bundle: more than {MAX_FILES} files")
    total = 0
    for entry in entries:
        _check_name(entry.filename)
        if entry.filename in files:
            raise MalformedDocument(f"bundle: {entry.filename} is there twice")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise MalformedDocument(f"bundle: {entry.filename} is neither stored nor deflated")
        with archive.open(entry) as stream:
            # The archive's own sizes are claims; the reader stops where the bound is.
            data = stream.read(min(MAX_FILE, MAX_TOTAL - total) + 1)
        total += len(data)
        if len(data) > MAX_FILE or total > MAX_TOTAL:
            raise MalformedDocument(f"bundle: {entry.filename} is larger than a bundle may be")
        files[entry.filename] = data
    return files
