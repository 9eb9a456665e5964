"""Attesters of real hardware against fakes that behave as the kernel's interfaces do, with evidence that verifies."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path

import pytest
from tallystick.attestation.cbor import decode, encode
from tallystick.attestation.quote import SgxReport, read_quote
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.simulation.platform import DomainIdentity, EnclaveIdentity, SimulatedPlatform
from tallystick_node.engines.tee.devices import (
    ARK,
    ASK,
    VCEK,
    AttesterFailed,
    GramineAttester,
    HostFiles,
    NsmAttester,
    SevGuestAttester,
    TsmAttester,
    certificate_table,
)

DATA = bytes(range(64))
ROOT = Path("/sys/kernel/config/tsm/report")


@pytest.fixture(scope="module")
def platform() -> SimulatedPlatform:
    return SimulatedPlatform(ProvisioningAuthority((0, 2_000_000_000)))


class FakeTsm:
    """configfs-tsm as the kernel documents it: attributes come and go with the directory; each write advances the generation."""

    def __init__(self, provider: str = "tdx_guest", floor: int = 0, auxiliary: bytes | None = None) -> None:
        self.provider, self.floor, self.auxiliary = provider, floor, auxiliary
        self.entries: dict[Path, dict[str, bytes]] = {}
        self.interfere = 0  # how many further writes of others to slip in
        self.made = 0
        self.answer = lambda data: b"evidence over " + data

    def make(self, path: Path) -> None:
        assert path.parent == ROOT
        self.made += 1
        self.entries[path] = {
            "generation": b"0\n",
            "provider": f"{self.provider}\n".encode(),
            "privlevel_floor": f"{self.floor}\n".encode(),
        }

    def remove(self, path: Path) -> None:
        del self.entries[path]

    def read(self, path: Path) -> bytes:
        entry = self.entries[path.parent]
        if path.name == "outblob":
            if "inblob" not in entry:
                raise OSError(errno.EINVAL, "Invalid argument")
            if self.interfere:
                self.interfere -= 1
                self.write(path.parent / "inblob", bytes(64))
            return self.answer(entry["inblob"])
        if path.name == "auxblob":
            if self.auxiliary is None:
                raise FileNotFoundError(errno.ENOENT, "No such file")
            return self.auxiliary
        return entry[path.name]

    def write(self, path: Path, data: bytes) -> None:
        entry = self.entries[path.parent]
        if path.name == "inblob" and not 0 < len(data) <= 64:
            raise OSError(errno.EINVAL, "Invalid argument")
        entry[path.name] = data
        entry["generation"] = b"%d\n" % (int(entry["generation"]) + 1)


def test_a_trust_domain_asks_by_configfs_and_leaves_no_entry(platform: SimulatedPlatform) -> None:
    fake = FakeTsm()
    fake.answer = lambda data: platform.quote_domain(DomainIdentity(b"\x01" * 48), data)
    found = TsmAttester(files=fake).attest(DATA)
    assert found.kind == "tdx"
    assert read_quote(found.raw).body.report_data == DATA
    assert fake.entries == {}


def test_a_guest_of_sev_asks_at_its_privilege_level_and_gets_certificates_along() -> None:
    fake = FakeTsm("sev_guest", floor=2, auxiliary=b"table")
    found = TsmAttester(files=fake, privilege=2).attest(DATA)
    assert (found.kind, found.auxiliary) == ("snp", b"table")
    with pytest.raises(AttesterFailed, match="below the guest's floor 2"):
        TsmAttester(files=fake, privilege=1).attest(DATA)
    assert TsmAttester(files=FakeTsm("sev_guest")).attest(DATA).auxiliary == b""
    assert TsmAttester(files=FakeTsm("arm_cca_guest")).attest(DATA).kind == "cca"
    assert fake.entries == {}


def test_another_writer_is_noticed_by_the_generation() -> None:
    fake = FakeTsm()
    fake.interfere = 1
    assert TsmAttester(files=fake).attest(DATA).raw == b"evidence over " + DATA
    assert fake.made == 2
    fake.interfere = 3
    with pytest.raises(AttesterFailed, match="another writer"):
        TsmAttester(files=fake).attest(DATA)
    assert fake.entries == {}


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EINVAL, errno.EFBIG, errno.ENXIO])
def test_what_the_kernel_refuses_is_said_and_the_entry_is_removed(number: int) -> None:
    fake = FakeTsm()

    def refuse(_: bytes) -> bytes:
        raise OSError(number, os.strerror(number))

    fake.answer = refuse
    with pytest.raises(AttesterFailed, match=os.strerror(number)):
        TsmAttester(files=fake).attest(DATA)
    assert fake.entries == {}


def test_unknown_providers_and_hosts_without_configfs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AttesterFailed, match="provider"):
        TsmAttester(files=FakeTsm("other_guest")).attest(DATA)
    with pytest.raises(AttesterFailed, match="is this a guest with configfs"):
        TsmAttester(tmp_path / "absent").attest(DATA)
    with pytest.raises(ValueError, match="64 bytes"):
        TsmAttester(files=FakeTsm()).attest(DATA[:63])


class FakeGramine(HostFiles):
    """Gramine's pseudo-files over plain ones: the quote is made when it is read."""

    def __init__(self, platform: SimulatedPlatform) -> None:
        self.platform = platform

    def read(self, path: Path) -> bytes:
        if path.name == "quote":
            return self.platform.quote_enclave(
                EnclaveIdentity(b"\x01" * 32, b"\x02" * 32), super().read(path.parent / "user_report_data")
            )
        return super().read(path)


def test_an_enclave_under_gramine_asks_by_files(platform: SimulatedPlatform, tmp_path: Path) -> None:
    (tmp_path / "attestation_type").write_bytes(b"dcap")
    (tmp_path / "user_report_data").write_bytes(bytes(64))
    found = GramineAttester(tmp_path, FakeGramine(platform)).attest(DATA)
    body = read_quote(found.raw).body
    assert isinstance(body, SgxReport)
    assert (found.kind, body.report_data) == ("sgx", DATA)
    (tmp_path / "attestation_type").write_bytes(b"none")
    with pytest.raises(AttesterFailed, match="remote_attestation"):
        GramineAttester(tmp_path).attest(DATA)
    with pytest.raises(AttesterFailed, match="inside of Gramine"):
        GramineAttester(tmp_path / "absent").attest(DATA)


def sev(version_error: int = 0, status: int = 0, size: int = 1184):  # type: ignore[no-untyped-def]
    def call(_: int, request: int, argument: ctypes.Structure) -> int:
        assert request == 0xC0205300
        assert ctypes.sizeof(argument) == 32
        assert argument.version == 1
        asked = ctypes.string_at(argument.request, 96)
        report = (asked[:64] + asked[64:68]).ljust(max(size, 0), b"\x07")
        ctypes.memmove(argument.response, struct.pack("<II24x", status, size) + report[:3968], 32 + min(len(report), 3968))
        argument.firmware_error = version_error
        return 0

    return call


def test_a_guest_of_sev_asks_by_its_device() -> None:
    found = SevGuestAttester(Path(os.devnull), sev(), privilege=3).attest(DATA)
    assert (found.kind, len(found.raw)) == ("snp", 1184)
    assert found.raw[:68] == DATA + struct.pack("<I", 3)
    for refuse in (sev(0x16), sev(0, 0x27), sev(size=0), sev(size=3969)):
        with pytest.raises(AttesterFailed, match="the firmware refused"):
            SevGuestAttester(Path(os.devnull), refuse).attest(DATA)
    with pytest.raises(AttesterFailed, match="guest with that device"):
        SevGuestAttester(Path("/dev/absent")).attest(DATA)
    with pytest.raises(AttesterFailed, match="guest with that device"):
        SevGuestAttester(Path(os.devnull)).attest(DATA)


def nsm(answer: object, length: int | None = None):  # type: ignore[no-untyped-def]
    def call(_: int, request: int, argument: ctypes.Structure) -> int:
        assert request == 0xC0200A00
        assert ctypes.sizeof(argument) == 32
        asked = decode(ctypes.string_at(argument.request, argument.request_size))
        assert asked == {"Attestation": {"user_data": DATA, "nonce": None, "public_key": None}}
        encoded = encode(answer)
        ctypes.memmove(argument.response, encoded, len(encoded))
        argument.response_size = len(encoded) if length is None else length
        return 0

    return call


def test_a_nitro_enclave_asks_its_module() -> None:
    found = NsmAttester(Path(os.devnull), nsm({"Attestation": {"document": b"document"}})).attest(DATA)
    assert (found.kind, found.raw) == ("nitro", b"document")
    for call in (
        nsm({"Error": "InvalidArgument"}),
        nsm([]),
        nsm({"Attestation": {"document": 1}}),
        nsm({"Attestation": {}}, 1),
        nsm(1, 1 << 40),
    ):
        with pytest.raises(AttesterFailed, match="no document"):
            NsmAttester(Path(os.devnull), call).attest(DATA)


def table(*entries: tuple[bytes, int, int]) -> bytes:
    return b"".join(name + struct.pack("<II", offset, size) for name, offset, size in entries)


def test_the_hosts_certificates_are_read_from_its_table() -> None:
    data = table((VCEK.bytes, 96, 3), (ASK.bytes, 99, 2), (ARK.bytes, 101, 1), (bytes(16), 0, 0)) + b"vceaka"
    assert certificate_table(data) == {VCEK: b"vce", ASK: b"ak", ARK: b"a"}
    for bad in (
        b"",
        table((VCEK.bytes, 24, 1)),
        table((VCEK.bytes, 48, 9), (bytes(16), 0, 0)),
        table((VCEK.bytes, 0, 1), (VCEK.bytes, 0, 1), (bytes(16), 0, 0)),
        table((VCEK.bytes, 0, 48), (ASK.bytes, 0, 48), (bytes(16), 0, 0)),  # the same bytes again and again
    ):
        with pytest.raises(AttesterFailed, match="table of certificates"):
            certificate_table(bad)


def test_host_files_write_in_one_piece_and_read_whole(tmp_path: Path) -> None:
    files = HostFiles()
    files.make(tmp_path / "entry")
    target = tmp_path / "entry" / "blob"
    target.write_bytes(b"")
    files.write(target, b"x" * 1_000)
    assert files.read(target) == b"x" * 1_000
    target.write_bytes(bytes(70_000))
    with pytest.raises(OSError, match="longer than evidence"):
        files.read(target)
    target.unlink()
    files.remove(tmp_path / "entry")
    assert not (tmp_path / "entry").exists()
