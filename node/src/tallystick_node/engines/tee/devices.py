"""Attesters of real hardware: how code inside of a trusted execution environment asks it for evidence.

Sources: Gramine, "Attestation and Secret Provisioning" (/dev/attestation); Linux, Documentation/ABI/testing/configfs-tsm (TDX,
SEV-SNP, Arm CCA), include/uapi/linux/sev-guest.h and nsm.h. Nothing here verifies: what comes back goes to
:mod:`tallystick.attestation` as evidence, like a stranger's.

Every attester takes its files, or its ``ioctl``, as an argument, so that tests run it against fakes of the kernel's behaviour.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import secrets
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from tallystick.attestation.cbor import decode, encode
from tallystick.attestation.rules import EvidenceRefused

MAX_BLOB = 64 << 10
REPORT_DATA = 64

_KINDS = {"tdx_guest": "tdx", "sev_guest": "snp", "arm_cca_guest": "cca"}  # of configfs's providers
_ATTEMPTS = 3


class AttesterFailed(Exception):  # noqa: N818 - a verdict
    """The environment gave no evidence: the message says at which step, and what to look at."""


@dataclass(frozen=True)
class RawEvidence:
    """``raw`` bytes of ``kind`` (sgx, tdx, snp, nitro, cca), with what the host gave along (certificates; may be empty)."""

    kind: str
    raw: bytes
    auxiliary: bytes = b""


class Files(Protocol):
    """The few operations on special files: each read is whole, each write is one system call."""

    def make(self, path: Path) -> None:
        """Make a directory."""

    def remove(self, path: Path) -> None:
        """Remove a directory."""

    def read(self, path: Path) -> bytes:
        """All bytes of a file."""

    def write(self, path: Path, data: bytes) -> None:
        """Write all of ``data`` at once, or raise ``OSError``."""


class HostFiles:
    """The host's own files."""

    def make(self, path: Path) -> None:
        """Make a directory."""
        path.mkdir(mode=0o700)

    def remove(self, path: Path) -> None:
        """Remove a directory; in configfs its attributes go with it."""
        path.rmdir()

    def read(self, path: Path) -> bytes:
        """All bytes of a file, up to a limit."""
        with path.open("rb", buffering=0) as file:
            parts = bytearray()
            while part := file.read(MAX_BLOB + 1 - len(parts)):
                parts += part
        if len(parts) > MAX_BLOB:
            raise OSError("the file is longer than evidence can be")
        return bytes(parts)

    def write(self, path: Path, data: bytes) -> None:
        """Write at once: a special file takes a value in one piece."""
        descriptor = os.open(path, os.O_WRONLY)
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError("a value was written in part")
        finally:
            os.close(descriptor)


def _check(report_data: bytes) -> None:
    if len(report_data) != REPORT_DATA:
        raise ValueError(f"report data take {REPORT_DATA} bytes")


class GramineAttester:
    """SGX under Gramine: write the report data to a pseudo-file, read the quote from another."""

    def __init__(self, root: Path = Path("/dev/attestation"), files: Files | None = None) -> None:
        self._root = root
        self._files = files or HostFiles()

    def attest(self, report_data: bytes) -> RawEvidence:
        """An SGX quote over 64 bytes."""
        _check(report_data)
        try:
            kind = self._files.read(self._root / "attestation_type").strip()
            if kind != b"dcap":
                raise AttesterFailed(f"Gramine's attestation type is {kind[:16]!r}: set sgx.remote_attestation to dcap")
            self._files.write(self._root / "user_report_data", report_data)
            quote = self._files.read(self._root / "quote")
        except OSError as cause:
            raise AttesterFailed(f"{self._root}: {cause.strerror or cause}; is this process inside of Gramine with SGX?") from cause
        return RawEvidence("sgx", quote)


class TsmAttester:
    """TDX, SEV-SNP and CCA guests of a kernel from 6.7 on, by configfs.

    ``privilege`` is the SNP privilege level (VMPL) to ask at, not below the guest's floor.
    """

    def __init__(
        self, root: Path = Path("/sys/kernel/config/tsm/report"), files: Files | None = None, privilege: int | None = None
    ) -> None:
        self._root = root
        self._files = files or HostFiles()
        self._privilege = privilege

    def attest(self, report_data: bytes) -> RawEvidence:
        """Evidence over 64 bytes. An entry is made for it and removed; if another writer interferes, a new one is tried."""
        _check(report_data)
        try:
            for _ in range(_ATTEMPTS):
                entry = self._root / f"tallystick-{secrets.token_hex(8)}"
                self._files.make(entry)
                try:
                    found = self._ask(entry, report_data)
                finally:
                    with suppress(OSError):
                        self._files.remove(entry)
                if found is not None:
                    return found
        except OSError as cause:
            raise AttesterFailed(f"{self._root}: {cause.strerror or cause}; is this a guest with configfs?") from cause
        raise AttesterFailed("another writer changed the request each time: its generation advanced without us")

    def _ask(self, entry: Path, report_data: bytes) -> RawEvidence | None:
        provider = self._files.read(entry / "provider").strip().decode("ascii", "replace")
        kind = _KINDS.get(provider)
        if kind is None:
            raise AttesterFailed(f"the provider {provider[:32]!r} is not one that can be verified")
        before = self._generation(entry)
        writes = 1
        if self._privilege is not None:
            floor = int(self._files.read(entry / "privlevel_floor"))
            if self._privilege < floor:
                raise AttesterFailed(f"privilege level {self._privilege} is below the guest's floor {floor}")
            self._files.write(entry / "privlevel", str(self._privilege).encode())
            writes += 1
        self._files.write(entry / "inblob", report_data)
        raw = self._files.read(entry / "outblob")
        auxiliary = b""
        if kind == "snp":
            with suppress(FileNotFoundError):
                auxiliary = self._files.read(entry / "auxblob")
        return RawEvidence(kind, raw, auxiliary) if self._generation(entry) == before + writes else None

    def _generation(self, entry: Path) -> int:
        return int(self._files.read(entry / "generation"))


Ioctl = Callable[[int, int, ctypes.Structure], int]


def _ioctl(descriptor: int, request: int, argument: ctypes.Structure) -> int:
    return int(fcntl.ioctl(descriptor, request, argument))


class _Device:
    def __init__(self, path: Path, ioctl: Ioctl | None) -> None:
        self._path = path
        self._call = ioctl or _ioctl

    def _request(self, number: int, argument: ctypes.Structure) -> None:
        try:
            descriptor = os.open(self._path, os.O_RDWR)
            try:
                self._call(descriptor, number, argument)
            finally:
                os.close(descriptor)
        except OSError as cause:
            raise AttesterFailed(f"{self._path}: {cause.strerror or cause}; is this a guest with that device?") from cause


class _SevRequest(ctypes.Structure):
    _fields_ = (
        ("version", ctypes.c_uint8),
        ("request", ctypes.c_uint64),
        ("response", ctypes.c_uint64),
        ("firmware_error", ctypes.c_uint64),
    )


class SevGuestAttester(_Device):
    """SEV-SNP guests without configfs: one ``ioctl`` of /dev/sev-guest."""

    GET_REPORT = 0xC0205300

    def __init__(self, path: Path = Path("/dev/sev-guest"), ioctl: Ioctl | None = None, privilege: int = 0) -> None:
        super().__init__(path, ioctl)
        self._privilege = privilege

    def attest(self, report_data: bytes) -> RawEvidence:
        """A report over 64 bytes."""
        _check(report_data)
        asked = ctypes.create_string_buffer(report_data + struct.pack("<I", self._privilege) + bytes(28), 96)
        answered = ctypes.create_string_buffer(4000)
        argument = _SevRequest(1, ctypes.addressof(asked), ctypes.addressof(answered), 0)
        self._request(self.GET_REPORT, argument)
        status, size = struct.unpack_from("<II", answered)
        if argument.firmware_error or status or not 0 < size <= 4000 - 32:
            raise AttesterFailed(f"the firmware refused: error {argument.firmware_error:#x}, status {status:#x}, {size} bytes")
        return RawEvidence("snp", answered.raw[32 : 32 + size])


class _NsmMessage(ctypes.Structure):
    _fields_ = (
        ("request", ctypes.c_uint64),
        ("request_size", ctypes.c_uint64),
        ("response", ctypes.c_uint64),
        ("response_size", ctypes.c_uint64),
    )


class NsmAttester(_Device):
    """Nitro enclaves: a CBOR message to the Nitro secure module."""

    MESSAGE = 0xC0200A00
    _RESPONSE = 0x3000

    def __init__(self, path: Path = Path("/dev/nsm"), ioctl: Ioctl | None = None) -> None:
        super().__init__(path, ioctl)

    def attest(self, report_data: bytes) -> RawEvidence:
        """A document with 64 bytes of user data."""
        _check(report_data)
        message = encode({"Attestation": {"user_data": report_data, "nonce": None, "public_key": None}})
        asked, answered = ctypes.create_string_buffer(message, len(message)), ctypes.create_string_buffer(self._RESPONSE)
        argument = _NsmMessage(ctypes.addressof(asked), len(message), ctypes.addressof(answered), self._RESPONSE)
        self._request(self.MESSAGE, argument)
        try:
            answer = decode(answered.raw[: min(argument.response_size, self._RESPONSE)])
            document = answer["Attestation"]["document"]
        except (EvidenceRefused, TypeError, KeyError) as cause:
            raise AttesterFailed("the Nitro secure module gave no document") from cause
        if not isinstance(document, bytes):
            raise AttesterFailed("the Nitro secure module gave no document")
        return RawEvidence("nitro", document)


VCEK, VLEK, ASK, ARK, CRL = (
    UUID("63da758d-e664-4564-adc5-f4b93be8accd"),
    UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1"),
    UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782"),
    UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae"),
    UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea"),
)


def certificate_table(auxiliary: bytes) -> dict[UUID, bytes]:
    """The certificates that a host gave along with an SNP report (GHCB specification, "SNP Extended Guest Request").

    Entries of a GUID, an offset and a length (four bytes each, little-endian), up to one of zeros. What they name is together no
    longer than ``auxiliary``: no host makes more of it. Raises :class:`AttesterFailed`.
    """
    table: dict[UUID, bytes] = {}
    left = len(auxiliary)
    for at in range(0, len(auxiliary) - 23, 24):
        name, (offset, size) = auxiliary[at : at + 16], struct.unpack_from("<II", auxiliary, at + 16)
        if not any(name):
            return table
        left -= size
        if left < 0 or offset + size > len(auxiliary) or UUID(bytes=name) in table:
            raise AttesterFailed("the host's table of certificates is not well-formed")
        table[UUID(bytes=name)] = auxiliary[offset : offset + size]
    raise AttesterFailed("the host's table of certificates has no end")
