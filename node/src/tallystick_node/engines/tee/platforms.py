"""Which platform vouches for the enclaves of a launcher: a simulated one, or the environment that the launcher itself runs in.

In an environment (a confidential VM of TDX, SEV-SNP or Arm CCA) the launcher asks the device of that environment. Its evidence
measures the VM: its image with this very software, which launches and confines enclaves as it does elsewhere; algorithm and limits
are bound by the report data (:func:`~.manifest.fresh`, :func:`~tallystick.attestation.runs.task_digest`). So the identity that a
task names is that of an image, which has to fix everything that runs in it. Nothing falls back: a platform that was asked for and
is not there launches nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tallystick.attestation.cca import CcaEndorsements
from tallystick.attestation.collateral import DcapCollateral
from tallystick.attestation.documents import read_evidence, write_evidence
from tallystick.attestation.quote import SGX
from tallystick.attestation.rules import EvidenceRefused
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.attestation.simulation.platform import EnclaveIdentity
from tallystick.attestation.snp import SnpEndorsements
from tallystick.attestation.verifier import Endorsements, Evidence

from tallystick_node.engines.tee.devices import (
    ARK,
    ASK,
    VCEK,
    VLEK,
    AttesterFailed,
    GramineAttester,
    RawEvidence,
    SevGuestAttester,
    TsmAttester,
    certificate_table,
)
from tallystick_node.engines.tee.enclave import EnclaveFailed, EnclaveRefused
from tallystick_node.engines.tee.frames import StreamBroken
from tallystick_node.engines.tee.quoting import Quoting, QuotingProcess
from tallystick_node.engines.tee.reasons import NoSealingKey

DAY = 86_400
_PROBE = bytes(64)  # report data that stand for nothing that anybody accepts
KINDS = ("sgx", "tdx", "snp", "cca")
_ENDORSED = {"snp": SnpEndorsements, "cca": CcaEndorsements}  # and DCAP's, of the others


class Attester(Protocol):
    """A device of an environment."""

    def attest(self, report_data: bytes) -> RawEvidence:
        """Evidence over 64 bytes. Raises :class:`AttesterFailed`."""


Devices = dict[str, Callable[[], Attester]]
DEVICES: Devices = {"gramine": GramineAttester, "tsm": TsmAttester, "sev-guest": SevGuestAttester}
"""The devices of a machine by name, in the order in which they are tried."""


@dataclass(frozen=True)
class Platform:
    """``quoting``: what vouches; ``endorsed``: evidence with its endorsements, as a document."""

    quoting: Quoting
    endorsed: Callable[[bytes], bytes]


@contextmanager
def simulated(exported: bytes, password: bytes, secret: bytes) -> Iterator[Platform]:
    """A simulated platform. Raises :class:`EnclaveRefused` where the authority does not open, or the process does not start."""
    try:
        authority = ProvisioningAuthority.restore(exported, password)
    except ValueError as error:
        raise EnclaveRefused(f"the simulated authority does not open: {error}") from None

    def endorsed(quote: bytes) -> bytes:
        now = int(time.time())
        window = max(now - 60, authority.window[0]), min(now + DAY, authority.window[1])
        return write_evidence(Evidence(quote, authority.collateral(SGX, window)))

    try:
        process = QuotingProcess(authority, secret)
    except StreamBroken as broken:
        raise EnclaveRefused(f"the process of the simulated platform did not start: {broken.reason}") from None
    with process as quoting:
        yield Platform(quoting, endorsed)


@contextmanager
def hardware(asked: str, endorsements: bytes | None, devices: Devices = DEVICES) -> Iterator[Platform]:
    """The environment that this process runs in: ``asked`` is one of :data:`KINDS`, or ``auto`` for whichever there is.

    ``endorsements``: a document ``tallystick/evidence`` of this platform, whose endorsements go with all evidence; None where the
    device gives certificates along (SEV-SNP). Raises :class:`EnclaveRefused`, naming each device that was tried, where there is no
    such environment.
    """
    found, tried = None, []
    for name, make in devices.items():
        try:
            attester = make()
            kind = attester.attest(_PROBE).kind
        except AttesterFailed as failed:
            tried.append(f"{name}: {failed}")
            continue
        if kind in KINDS and asked in (kind, "auto"):
            found = _Device(attester, kind, _read(endorsements))
            break
        tried.append(f"{name}: the evidence is of {kind}")
    if found is None:
        wanted = "no environment" if asked == "auto" else f"no environment of {asked}"
        raise EnclaveRefused(f"this machine is {wanted} that gives evidence, and nothing is simulated instead ({'; '.join(tried)})")
    yield Platform(found, found.endorsed)


def _read(document: bytes | None) -> Endorsements | None:
    try:
        return None if document is None else read_evidence(document).endorsements
    except EvidenceRefused as refused:
        raise EnclaveRefused(f"the endorsements are refused by {refused}") from None


class _Device:
    """The quoting side of an environment, for one launcher."""

    def __init__(self, attester: Attester, kind: str, endorsements: Endorsements | None) -> None:
        self._attester, self._kind, self._endorsements = attester, kind, endorsements
        self._table = b""

    def quote(self, enclave: EnclaveIdentity, report_data: bytes) -> bytes:
        """Raw evidence of the environment: what runs in it besides, ``enclave``, is for the environment's software to vouch for."""
        try:
            found = self._attester.attest(report_data)
        except AttesterFailed as failed:
            raise EnclaveRefused(f"the environment gives no evidence: {failed}") from None
        if found.kind != self._kind:
            raise EnclaveRefused(f"the environment was {self._kind} and gives evidence of {found.kind}")
        self._table = found.auxiliary
        return found.raw

    def sealing_key(self, enclave: EnclaveIdentity, public_key: bytes) -> bytes:
        """Environments give no keys for sealing here. Raises :class:`EnclaveFailed`."""
        raise EnclaveFailed(NoSealingKey.__name__)

    def endorsed(self, raw: bytes) -> bytes:
        """The document. Raises :class:`EnclaveRefused` where endorsements are missing, or of another family."""
        endorsements = self._endorsements
        if endorsements is None and self._kind == "snp" and self._table:
            endorsements = _along(self._table)
        if endorsements is None or not isinstance(endorsements, _ENDORSED.get(self._kind, DcapCollateral)):
            raise EnclaveRefused(f"there are no endorsements for evidence of {self._kind}: set enclave_endorsements")
        return write_evidence(Evidence(raw, endorsements))


def _along(table: bytes) -> SnpEndorsements:
    """The endorsements that the host gave along with a report."""
    try:
        given = certificate_table(table)
        leaf = given.get(VCEK) or given[VLEK]
        chain = [x509.load_der_x509_certificate(given[each]).public_bytes(Encoding.PEM) for each in (ASK, ARK)]
    except (AttesterFailed, KeyError, ValueError):
        raise EnclaveRefused("the host gives no certificates along that make a chain: set enclave_endorsements") from None
    return SnpEndorsements(leaf, b"".join(chain))
