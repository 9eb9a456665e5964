"""Intel's TCB evaluation: which level a platform has, and how the levels of platform, TDX module and quoting enclave combine.

Source: Intel PCS API v4, "Get TCB Info" (algorithms for SGX and TDX), and steps 4.1.2.4.15 and .17 of Intel's quote verification
library. Combining is a table, not an order: *OutOfDate* with *ConfigurationNeeded* is *OutOfDateConfigurationNeeded*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from tallystick.attestation.quote import TdReport
from tallystick.attestation.reading import Fields
from tallystick.attestation.rules import EvidenceRefused, Rule, require


class TcbStatus(Enum):
    """Intel's words for the state of a platform's trusted computing base."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    TD_RELAUNCH_ADVISED = "TDRelaunchAdvised"
    TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED = "TDRelaunchAdvisedConfigurationNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"


S = TcbStatus
_NEEDS_CONFIGURATION = {
    S.CONFIGURATION_NEEDED,
    S.CONFIGURATION_AND_SW_HARDENING_NEEDED,
    S.OUT_OF_DATE_CONFIGURATION_NEEDED,
}
CURRENT = frozenset({S.UP_TO_DATE, S.SW_HARDENING_NEEDED, S.CONFIGURATION_NEEDED, S.CONFIGURATION_AND_SW_HARDENING_NEEDED})
"""Statuses of platforms that have the latest TCB; of all others but *Revoked* a part is out of date."""

_STATED = {status.value: status for status in S if not status.name.startswith("TD_")}  # relaunch is concluded, never stated
_PART_STATUSES = {S.UP_TO_DATE, S.OUT_OF_DATE, S.REVOKED}  # of a TDX module or a quoting enclave


@dataclass(frozen=True)
class TcbLevel:
    """One level of TCB info: minimal SVNs, a status, its date, and the advisories that it leaves open."""

    sgx: bytes
    pce_svn: int
    tdx: bytes | None
    status: TcbStatus
    date: int
    advisories: tuple[str, ...]


@dataclass(frozen=True)
class PartLevel:
    """One level of a TDX module or a quoting enclave: a minimal ISVSVN."""

    isv_svn: int
    status: TcbStatus
    date: int
    advisories: tuple[str, ...]


@dataclass(frozen=True)
class PlatformTcb:
    """What a PCK certificate states: sixteen SVNs and the PCE's."""

    components: bytes
    pce_svn: int


@dataclass(frozen=True)
class ModuleIdentity:
    """A TDX module's identity: ``name`` is ``TDX_01`` and so on, or empty for the first generation, which has no levels."""

    name: str
    mr_signer: bytes
    attributes: bytes
    mask: bytes
    levels: tuple[PartLevel, ...]


@dataclass(frozen=True)
class Evaluation:
    """The combined status, the date of the oldest level that led to it, and every open advisory, sorted."""

    status: TcbStatus
    date: int
    advisories: tuple[str, ...]


def read_status(fields: Fields) -> TcbStatus:
    """The ``tcbStatus`` of a level; an unknown word is refused."""
    status = _STATED.get(fields.text("tcbStatus"))
    if status is None:
        raise EvidenceRefused(Rule.DCAP_STATUS, "a TCB status is not a known word")
    return status


def read_advisories(fields: Fields) -> tuple[str, ...]:
    """The ``advisoryIDs`` of a level, if there are any."""
    if not fields.has("advisoryIDs"):
        return ()
    found = fields.items("advisoryIDs", 256)
    require(
        all(isinstance(item, str) and 0 < len(item) <= 64 for item in found), Rule.ENDORSEMENT, "an advisory id is not a short text"
    )
    return tuple(found)


def read_level(value: object, tdx: bool) -> TcbLevel:  # noqa: FBT001 - which of two formats
    """One entry of ``tcbLevels`` of TCB info, version 3."""
    fields = Fields(value, "tcbLevels")
    tcb = fields.inner("tcb")
    return TcbLevel(
        sgx=_components(tcb, "sgxtcbcomponents"),
        pce_svn=tcb.integer("pcesvn", 0xFFFF),
        tdx=_components(tcb, "tdxtcbcomponents") if tdx else None,
        status=read_status(fields),
        date=fields.time("tcbDate"),
        advisories=read_advisories(fields),
    )


def read_part_level(value: object) -> PartLevel:
    """One entry of ``tcbLevels`` of a TDX module's or a quoting enclave's identity."""
    fields = Fields(value, "tcbLevels")
    status = read_status(fields)
    require(status in _PART_STATUSES, Rule.DCAP_STATUS, "a module or enclave has a status that only platforms have")
    return PartLevel(fields.inner("tcb").integer("isvsvn", 0xFFFF), status, fields.time("tcbDate"), read_advisories(fields))


def _components(tcb: Fields, key: str) -> bytes:
    entries = tcb.items(key, 16)
    require(len(entries) == 16, Rule.ENDORSEMENT, f"{key} has not sixteen entries")
    return bytes(Fields(entry, key).integer("svn", 255) for entry in entries)


def _reaches(have: bytes, need: bytes) -> bool:
    return all(ours >= theirs for ours, theirs in zip(have, need, strict=True))


def part_level(levels: Sequence[PartLevel], isv_svn: int, rule: Rule) -> PartLevel:
    """The first level, from the newest down, that ``isv_svn`` reaches; rule ``rule`` refuses where there is none."""
    for level in sorted(levels, key=lambda item: item.isv_svn, reverse=True):
        if isv_svn >= level.isv_svn:
            return level
    raise EvidenceRefused(rule, "no TCB level matches: the version is not supported")


def module_identity(report: TdReport, first: ModuleIdentity, others: Sequence[ModuleIdentity]) -> ModuleIdentity:
    """The identity of the module that made ``report``: by the major version in the second SVN, the first generation for zero."""
    version = report.tee_tcb_svn[1]
    if version == 0:
        return first
    name = f"TDX_{version:02X}"
    for identity in others:
        if identity.name.upper() == name:
            return identity
    raise EvidenceRefused(Rule.DCAP_MODULE, f"TCB info has no identity {name}")


def evaluate(
    levels: Sequence[TcbLevel],
    platform: PlatformTcb,
    qe: PartLevel,
    report: TdReport | None = None,
    modules: tuple[ModuleIdentity, Sequence[ModuleIdentity]] | None = None,
) -> Evaluation:
    """The status of a platform with its quoting enclave; with ``report`` and ``modules`` (first generation, others), of a TD.

    ``levels`` come in Intel's order, best first. Raises by rules 226, 227 or 217 where nothing matches.
    """
    reached = [level for level in levels if _reaches(platform.components, level.sgx) and platform.pce_svn >= level.pce_svn]
    if not reached:
        raise EvidenceRefused(Rule.DCAP_TCB_LEVEL, "no TCB level matches the platform")
    if report is None or modules is None:
        chosen = reached[0]
        return Evaluation(
            _with_part(chosen.status, qe.status),
            min(chosen.date, qe.date),
            tuple(sorted({*chosen.advisories, *qe.advisories})),
        )
    start = 2 if report.tee_tcb_svn[1] else 0
    for level in reached:
        if level.tdx is not None and _reaches(report.tee_tcb_svn[start:], level.tdx[start:]):
            break
    else:
        raise EvidenceRefused(Rule.DCAP_TCB_LEVEL, "no TCB level matches the trust domain")
    identity = module_identity(report, *modules)
    module = part_level(identity.levels, report.tee_tcb_svn[0], Rule.DCAP_MODULE_LEVEL) if identity.name else None
    status = level.status
    if module is not None:
        status = _with_part(status, module.status)
        if report.tee_tcb_svn_2 is not None and _relaunch_suffices(
            report.tee_tcb_svn_2, levels[0], reached[0].status, status, module.status, qe.status, modules
        ):
            needs = reached[0].status in _NEEDS_CONFIGURATION or status in _NEEDS_CONFIGURATION
            status = S.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED if needs else S.TD_RELAUNCH_ADVISED
    parts = (qe,) if module is None else (qe, module)
    return Evaluation(
        _with_part(status, qe.status),
        min(level.date, *(part.date for part in parts)),
        tuple(sorted({*level.advisories, *(advisory for part in parts for advisory in part.advisories)})),
    )


def _with_part(status: TcbStatus, part: TcbStatus) -> TcbStatus:
    """A status together with that of a TDX module or quoting enclave (relaunch is advised only where the latter is current)."""
    if S.REVOKED in (status, part):
        return S.REVOKED
    if part is S.OUT_OF_DATE and status in CURRENT:
        return S.OUT_OF_DATE_CONFIGURATION_NEEDED if status in _NEEDS_CONFIGURATION else S.OUT_OF_DATE
    return status


def _relaunch_suffices(
    current: bytes,
    latest: TcbLevel,
    platform: TcbStatus,
    status: TcbStatus,
    module: TcbStatus,
    qe: TcbStatus,
    modules: tuple[ModuleIdentity, Sequence[ModuleIdentity]],
) -> bool:
    """Whether only the TD is old: it started under an outdated module, and the platform has the latest since (TDX 1.5)."""
    if qe is not S.UP_TO_DATE or platform not in CURRENT or module is not S.OUT_OF_DATE:
        return False
    if status not in (S.OUT_OF_DATE, S.OUT_OF_DATE_CONFIGURATION_NEEDED) or latest.tdx is None:
        return False
    if current[1] == 0:
        return current[0] >= latest.tdx[0] and current[2] >= latest.tdx[2]
    for identity in modules[1]:
        if identity.name.upper() == f"TDX_{current[1]:02X}" and identity.levels:
            return current[0] >= max(level.isv_svn for level in identity.levels) and current[2] >= latest.tdx[2]
    raise EvidenceRefused(Rule.DCAP_MODULE, "TCB info has no identity of the module that runs now")
