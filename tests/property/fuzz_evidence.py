"""Hostile evidence by the million: every parser and verifier of attestation answers, or refuses with its own error.

    cd tests && python -m property.fuzz_evidence --cases 1000000 [--seed N] [--only NAME]

Starts from simulated evidence of every family, and from genuine evidence where TALLYSTICK_TEE_VECTORS names its folder. A case
changes bytes, lengths, integers, DER, CBOR or JSON of evidence, endorsements or documents; every third is then signed again
by the simulation's keys, so that it reaches what lies behind the signatures. Prints counts by target and verdict; a case that ends
otherwise is printed with its number, which with the seed makes it again (``--first``) but for the simulation's keys, which are new
in each run, and the run ends with 1.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from tallystick.attestation import documents
from tallystick.attestation.cbor import Tagged, decode, encode
from tallystick.attestation.cca import CcaEndorsements, verify_cca
from tallystick.attestation.collateral import DcapCollateral
from tallystick.attestation.dcap import verify_dcap
from tallystick.attestation.hygon import verify_csv
from tallystick.attestation.nitro import verify_nitro
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import SGX, TDX, read_quote
from tallystick.attestation.references import Identified, ReferenceValues
from tallystick.attestation.rules import EvidenceRefused
from tallystick.attestation.simulation.authority import sign
from tallystick.attestation.simulation.platform import sgx_report, td_report
from tallystick.attestation.snp import SnpEndorsements, verify_snp
from tallystick.attestation.task_quote import HARDWARE, SIMULATED, TaskQuote
from tallystick.attestation.verifier import Endorsements, Evidence, appraise
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.attested import AttestedRun
from tallystick.protocol.proof.quorum import QuorumRun
from tallystick.protocol.proof.vouching import RunClaim, Vouching
from unit.attestation import vectors
from unit.attestation.aws import sign1
from unit.attestation.test_cca import arm, signed
from unit.attestation.test_csv import endorsements as hygon_endorsements
from unit.attestation.test_csv import hygon
from unit.attestation.test_dcap import DATA, DOMAIN, ENCLAVE, NOW, world
from unit.attestation.test_nitro import nitro
from unit.attestation.test_snp import amd

MAX_BYTES = 70_000  # a little more than evidence may have
_ELEMENT = re.compile(rb"[\x30\x31\x02-\x04\xa0][\x02-\xff]", re.DOTALL)
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF, 2**63, 2**64 - 1)
WORDS: tuple[Any, ...] = (None, True, 0, -1, 2**63, 2**64, "", "0" * 64, "UpToDate", "2031-01-01T00:00:00Z", [], {}, [[]], b"", 1.5)


@dataclass(frozen=True)
class Target:
    """Good bytes by part, and what reads them. ``again`` signs a part anew after it was changed."""

    name: str
    parts: Sequence[bytes]
    read: Callable[[Sequence[bytes]], object]
    again: Callable[[random.Random], Sequence[bytes]] | None = None


# -- changes


def mutated(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """``data`` with one to four changes."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = rng.choice(_CHANGES)(rng, data, others)[:MAX_BYTES]
    return data


def _flip(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) or 1)
    return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]


def _integer(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """An integer, as a length may be, at one of the bounds or a little off."""
    width, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    at = rng.randrange(len(data) or 1)
    found = int.from_bytes(data[at : at + width], order)  # type: ignore[arg-type]
    value = rng.choice((*EDGES, found + 1, found - 1, found ^ 1 << rng.randrange(8 * width), len(data)))
    return data[:at] + (value % (1 << 8 * width)).to_bytes(width, order) + data[at + width :]  # type: ignore[arg-type]


def _cut(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:a] + data[b:] if rng.random() < 0.5 else data[: a + 1]


def _repeat(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:b] + data[a:b] * rng.choice((1, 1, 2, 30)) + data[b:]


def _splice(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    a, b, at = rng.randrange(len(other) + 1), rng.randrange(len(other) + 1), rng.randrange(len(data) + 1)
    piece = other[min(a, b) : max(a, b)]
    return data[:at] + piece + data[at + (len(piece) if rng.random() < 0.5 else 0) :]


def _fill(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    a, size = rng.randrange(len(data) + 1), rng.choice((1, 8, 32, 48, 64, 4096))
    return data[:a] + bytes([rng.choice((0, 0xFF, 0x30, 0x80, 0x9F, 0x5B))]) * size + data[a + rng.choice((0, size)) :]


def _der(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Tag or length of something that looks like a DER element."""
    found = _ELEMENT.search(data, rng.randrange(len(data) + 1))
    if found is None:
        return data
    at = found.start()
    head = rng.choice((b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x02\x00", b"\x31\x81\x05", bytes([data[at], data[at + 1] ^ 1])))
    return data[:at] + head + data[at + rng.choice((1, 2)) :]


def _json(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):  # an earlier change nested it too deep for this reader
        return data
    text = json.dumps(_tree(rng, value), default=lambda raw: raw.hex()).encode()
    if rng.random() < 0.1:
        text = text.replace(b"{", b'{"issueDate":1,', 1) if rng.random() < 0.5 else b"[" * 20_000 + text
    return text


def _cbor(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    try:
        return encode(_tree(rng, decode(data)))
    except (EvidenceRefused, TypeError, ValueError, OverflowError):
        return data


def _tree(rng: random.Random, value: Any) -> Any:
    """A value with one of its members changed."""
    if isinstance(value, Tagged):
        return Tagged(rng.choice((value.tag, value.tag + 1)), _tree(rng, value.value))
    if isinstance(value, dict) and value:
        key, changed = rng.choice(list(value)), dict(value)
        kind = rng.randrange(4)
        if kind == 0:
            del changed[key]
        elif kind == 1:
            changed[rng.choice((0, "more", -1))] = rng.choice(WORDS)
        else:
            changed[key] = _tree(rng, value[key])
        return changed
    if isinstance(value, list) and value:
        at, items = rng.randrange(len(value)), list(value)
        items[at : at + 1] = rng.choice(([], [items[at]] * 2, [_tree(rng, items[at])], [_tree(rng, items[at])]))
        return items
    if isinstance(value, bytes) and rng.random() < 0.7:
        return mutated(rng, value, [value])
    return rng.choice(WORDS)


_CHANGES = (_flip, _flip, _integer, _integer, _cut, _repeat, _splice, _fill, _der, _json, _cbor)


# -- what is read


def _dcap(name: str, quote: bytes, given: DcapCollateral, at: int, roots: frozenset[bytes], again: Any = None) -> Target:
    names = [each.name for each in fields(given)]

    def read(parts: Sequence[bytes]) -> object:
        return verify_dcap(parts[0], DcapCollateral(**dict(zip(names, parts[1:], strict=True))), at, roots)

    return Target(name, [quote, *(getattr(given, each) for each in names)], read, again)


def _dcap_again(tee: int) -> Callable[[random.Random], Sequence[bytes]]:
    """A body, TCB info or QE identity that is changed and signed."""
    w = world()
    given = w.collateral[tee]

    def again(rng: random.Random) -> Sequence[bytes]:
        body = sgx_report(ENCLAVE, DATA) if tee == SGX else td_report(DOMAIN, DATA, extended=True)
        collateral, which = given, rng.randrange(3)
        if which == 0:
            changed = _flip(rng, body, [])
            return [w.platform.quote(5, tee, changed), *(getattr(given, each.name) for each in fields(given))]
        member = ("tcb_info", "qe_identity")[which - 1]
        data = rng.choice((_json, _flip, _repeat))(rng, getattr(given, member), [])
        collateral = replace(given, **{member: data, f"{member}_signature": sign(w.authority.tcb_key, data)})
        return [w.platform.quote(5, tee, body), *(getattr(collateral, each.name) for each in fields(collateral))]

    return again


def _simulated() -> list[Target]:
    w, a, host = world(), amd(), arm()
    quotes = {f"sgx-{version}": (SGX, w.quote(version)) for version in (3, 4, 5)}
    quotes |= {"tdx-5": (TDX, w.platform.quote_domain(DOMAIN, DATA, 5, extended=True))}
    found = [_dcap(name, raw, w.collateral[tee], NOW, w.roots, _dcap_again(tee)) for name, (tee, raw) in quotes.items()]
    found += [_snp("snp", a.report(), a.endorsements(), NOW, frozenset({a.root}))]
    csv, csv_names = hygon_endorsements(), ("hrk", "hsk", "cek")

    def read_csv(parts: Sequence[bytes]) -> object:
        given = replace(csv, **dict(zip(csv_names, parts[1:], strict=True)))
        return verify_csv(parts[0], given, frozenset({hygon().fingerprint}))

    found.append(Target("csv", [hygon().report(), *(getattr(csv, name) for name in csv_names)], read_csv))
    found.append(
        Target(
            "nitro",
            [nitro().document(NOW)],
            lambda parts: verify_nitro(parts[0], frozenset({nitro().fingerprint})),
            lambda rng: [sign1(nitro().key, _cbor(rng, encode(nitro().fields(NOW)), []))],
        )
    )

    def cca_again(rng: random.Random) -> Sequence[bytes]:
        claims = [host.realm(), host.platform(host.realm())]
        which = rng.randrange(2)
        claims[which] = _tree(rng, claims[which])
        try:
            tokens = [signed(key, each) for key, each in zip((host.realm_key, host.key), claims, strict=True)]
        except (EvidenceRefused, TypeError, ValueError, OverflowError):
            return [host.token(), host.endorsements.platform_key]
        return [encode(Tagged(399, {44234: tokens[1], 44241: tokens[0]})), host.endorsements.platform_key]

    def read_cca(parts: Sequence[bytes]) -> object:
        return verify_cca(parts[0], CcaEndorsements(parts[1]), frozenset(), frozenset({host.fingerprint}))

    found.append(Target("cca", [host.token(), host.endorsements.platform_key], read_cca, cca_again))
    return found


def _snp(name: str, report: bytes, given: SnpEndorsements, at: int, roots: frozenset[bytes]) -> Target:
    names = [each.name for each in fields(given) if getattr(given, each.name) is not None]

    def read(parts: Sequence[bytes]) -> object:
        return verify_snp(parts[0], replace(given, **dict(zip(names, parts[1:], strict=True))), at, roots)

    return Target(name, [report, *(getattr(given, each) for each in names)], read)


def _parsers() -> list[Target]:
    """What reads bytes without verifying them, and documents."""
    w = world()
    quote = w.platform.quote_domain(DOMAIN, DATA, 5, extended=True)
    cut = TaskQuote.cut(quote)
    policy = AppraisalPolicy("fuzz", simulations=w.roots)
    given: Endorsements = w.collateral[TDX]
    references = ReferenceValues((Identified(bytes(32)),))
    claim = RunClaim(1, "0x" + "00" * 20, bytes(32), 1, bytes(32), (bytes(32),), bytes(32), bytes(32))
    words = [bytes([at]) * 32 for at in range(7)]
    run = QuorumRun(*words, family="snp", threshold=2, verifiers=("0x" + "00" * 20,))
    vouching = Vouching(
        1, "0x" + "00" * 20, *words[:1], 1, "snp", *words[:2], bytes(64), *words[:2], 1, "0x" + "00" * 20, bytes(65)
    )

    def whole(parts: Sequence[bytes]) -> object:
        evidence = documents.read_evidence(parts[0])
        kept = documents.read_references(parts[1]), documents.read_policy(parts[2])
        return appraise(evidence, *kept, DATA, NOW)

    evidence = documents.write_evidence(Evidence(quote, given))
    return [
        Target("quote", [quote], lambda parts: read_quote(parts[0])),
        Target("task quote", [quote], lambda parts: TaskQuote.cut(parts[0]).verify(SIMULATED)),
        Target("cut", [cut.platform, cut.signed, cut.endorsement], lambda parts: TaskQuote(*parts).verify(SIMULATED)),
        Target("cut as hardware", [cut.platform, cut.signed, cut.endorsement], lambda parts: TaskQuote(*parts).verify(HARDWARE)),
        Target("cbor", [encode(nitro().fields(NOW)), host_claims()], lambda parts: [decode(each) for each in parts]),
        Target("documents", [evidence, documents.write_references(references), documents.write_policy(policy)], whole),
        Target("attested run", [AttestedRun(*words[:2], cut).to_bytes()], lambda parts: AttestedRun.parse(parts[0])),
        Target("quorum run", [run.to_bytes()], lambda parts: QuorumRun.parse(parts[0])),
        Target("run claim", [claim.to_bytes()], lambda parts: RunClaim.parse(parts[0])),
        Target("vouching", [vouching.to_bytes()], lambda parts: Vouching.parse(parts[0])),
    ]


def host_claims() -> bytes:
    """A realm's claims."""
    return encode(arm().realm())


def _genuine() -> list[Target]:
    """Genuine evidence under the vendors' roots, as far as its folder is there."""
    if not vectors.FOLDER:
        return []
    from unit.attestation import test_genuine_dcap, test_genuine_nitro, test_genuine_snp

    found = []
    for file, load, day, *_ in test_genuine_dcap.ROWS[:16]:
        found.append(_dcap(f"genuine {file}", vectors.read(file), load(), vectors.at(day), frozenset()))
    for report, leaf, product, _ in test_genuine_snp.ROWS[:5]:
        given = test_genuine_snp.endorsements(leaf, product, vlek="vlek" in leaf)
        found.append(_snp(f"genuine {report}", vectors.read(report), given, vectors.at("2026-03-01"), frozenset()))
    for name in test_genuine_nitro.NAMES:
        raw = test_genuine_nitro.document(name)
        found.append(Target(f"genuine {name}", [raw], lambda parts: verify_nitro(parts[0])))
    return found


# -- the run


def case(target: Target, rng: random.Random, others: Sequence[bytes]) -> Sequence[bytes]:
    """The parts of one case."""
    if target.again is not None and rng.random() < 0.34:
        return target.again(rng)
    parts = list(target.parts)
    at = 0 if rng.random() < 0.6 else rng.randrange(len(parts))
    parts[at] = mutated(rng, parts[at], others)
    return parts


def fuzz(cases: int, seed: int, first: int = 0, only: str = "") -> tuple[Counter[tuple[str, str]], float]:
    """How often each target gave each verdict, and the processor seconds of the slowest case. Raises what a case raised."""
    groups = [[each for each in group if only in each.name] for group in (_parsers(), [*_simulated(), *_genuine()])]
    groups = [group for group in groups if group]
    targets = [each for group in groups for each in group]
    others = [part for each in targets for part in each.parts]
    for target in targets:
        if not target.name.startswith("genuine"):
            try:
                target.read(target.parts)
            except (EvidenceRefused, MalformedDocument):
                assert target.name in ("cut as hardware", "documents"), target.name
    counts: Counter[tuple[str, str]] = Counter()
    slowest = 0.0
    for number in range(first, first + cases):
        rng = random.Random(f"{seed}/{number}")
        group = groups[number % len(groups)]  # parsers take half of the cases: they are quick
        target = group[number // len(groups) % len(group)]
        parts = case(target, rng, others)
        began = time.process_time()
        try:
            target.read(parts)
            counts[target.name, "accepted"] += 1
        except (EvidenceRefused, MalformedDocument):
            counts[target.name, "refused"] += 1
        except BaseException:
            print(f"case {number} of seed {seed}, target {target.name}", file=sys.stderr)
            raise
        slowest = max(slowest, time.process_time() - began)
        if (number + 1) % 50_000 == 0:
            print(f"{number + 1} cases, slowest {slowest:.3f} s", flush=True)
    return counts, slowest


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", default="", help="only targets whose name holds this")
    given = parser.parse_args()
    try:
        counts, slowest = fuzz(given.cases, given.seed, given.first, given.only)
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None
    for (name, verdict), count in sorted(counts.items()):
        print(f"{name}: {count} {verdict}")
    print(f"{sum(counts.values())} cases, {slowest:.3f} s for the slowest")


if __name__ == "__main__":
    main()
