"""Trying code in an enclave on this machine, and naming the enclave that a task has to accept: ``python -m`` with this name.

A request as JSON on standard input: ``kind``, ``code`` in base64, ``limits`` as in a task's parameters, ``minimum_group``, and, to
try the code, ``tables``: of each its ``name`` and ``csv``. The answer on standard output: ``algorithm``, ``conditions``,
``measurement``, ``identity`` and ``in_force``; and, of a trial, ``output`` in base64 and ``seconds``; or ``error`` and ``remedy``.
The enclave is the one that a task would have, under the same limits; its authority exists for the trial only.

A request with ``platform`` instead (``exported``, ``password`` and ``secret`` in hexadecimal) is answered with the ``chain`` of
that platform in PEM.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tallystick.attestation import runs
from tallystick.attestation.quote import SgxReport, read_quote
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData, InvalidTask, MalformedDocument, TallystickError

from tallystick_node.engines.tee import learning_terms
from tallystick_node.engines.tee.enclave import Enclave, EnclaveFailed, EnclaveRefused
from tallystick_node.engines.tee.hosting import throw_away
from tallystick_node.engines.tee.manifest import EnclaveManifest
from tallystick_node.engines.tee.quoting import QuotingProcess
from tallystick_node.engines.tee.reasons import NoResult
from tallystick_node.engines.tee.tables import Column, Table, encode
from tallystick_node.workloads.enclave.parameters import PUBLISHER, read_limits
from tallystick_node.workloads.enclave.workload import named

CONTEXT = bytes(32)
_EPOCH = date(1970, 1, 1).toordinal()
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?[0-9]{1,12}\.[0-9]{1,6}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Launch the enclave; run it where there are tables. Raises TallystickError."""
    if "platform" in request:
        return {"chain": chain_of(**request["platform"])}
    kind, code = request["kind"], base64.b64decode(request["code"])
    limits = read_limits(request["limits"], kind, request["minimum_group"])
    manifest = EnclaveManifest(code, PUBLISHER, kind, limits=limits)
    tables = None if request.get("tables") is None else [encode(mock(each["name"], each["csv"])) for each in request["tables"]]
    if tables is not None:
        _inspect(kind, code, [each["name"] for each in request["tables"]])
    exported, password = throw_away()
    began = time.monotonic()
    try:
        with QuotingProcess(ProvisioningAuthority.restore(exported, password)) as quoting, Enclave(manifest, quoting) as enclave:
            body = read_quote(enclave.attest(CONTEXT)).body
            assert isinstance(body, SgxReport)
            found: dict[str, Any] = {
                "algorithm": canonical.text(hashlib.sha256(code).digest()),
                "measurement": manifest.measurement.hex(),
                "conditions": canonical.text(manifest.conditions),
                "identity": canonical.text(body.identity),
                "in_force": list(enclave.in_force),
            }
            if tables is not None:
                output = _computed(enclave, code, tables, limits.seconds)
                found |= {"output": base64.b64encode(output).decode(), "seconds": round(time.monotonic() - began, 2)}
            return found
    except EnclaveFailed as failed:
        raise named(failed.reason) from None
    except EnclaveRefused as refused:
        raise InvalidTask(str(refused), remedy="see docs/how-to/attest.md") from None


def chain_of(exported: str, password: str, secret: str) -> str:
    """The certificates of a node's simulated platform. Raises InvalidTask for what is no authority, or another password."""
    try:
        authority = ProvisioningAuthority.restore(exported.encode(), password.encode())
    except ValueError as error:
        raise InvalidTask(f"no authority opens: {error}", remedy="check the file and the password") from None
    with QuotingProcess(authority, bytes.fromhex(secret)) as quoting:
        return authority.chain(quoting.pck).rstrip(b"\0").decode()


def _inspect(kind: str, code: bytes, names: Sequence[str]) -> None:
    """Say in words, here outside, why code may not run; an enclave only says that it may not."""
    try:
        if kind == "sql":
            from tallystick_node.engines.tee import sql

            sql.require_closed(code.decode(), {name.lower() for name in names})
        elif kind == "wasm":
            from tallystick_node.engines.tee import wasm

            wasm.loaded(code)
        elif kind == "learn":
            learning_terms.columns_of(learning_terms.read(code), names)
        else:
            compile(code, "code", "exec", dont_inherit=True)
    except (NoResult, SyntaxError, ValueError) as refused:
        raise InvalidTask(
            f"the algorithm is not one that may run: {refused}", remedy="see docs/how-to/compute-in-an-enclave.md"
        ) from None


def _computed(enclave: Enclave, code: bytes, tables: Sequence[bytes], seconds: float) -> bytes:
    receiver = X25519PrivateKey.generate()
    receivers, name = [receiver.public_key().public_bytes_raw()], CONTEXT + hashlib.sha256(code).digest()
    commitments = [runs.commitment(bytes(32), each) for each in tables]
    salted = [bytes(32) + runs.inputs_digest(commitments) + each for each in tables]
    sealed = [runs.seal(enclave.public_key, each, runs.input_context(name, receivers, place)) for place, each in enumerate(salted)]
    run = enclave.compute(sealed, receivers, CONTEXT, seconds + 60)
    return runs.unseal(receiver, run.outputs[0], runs.output_context(name, receivers, commitments))[32:]


def mock(name: str, text: str) -> Table:
    """A table of mock data from CSV with a line of names. A column is of whole numbers, decimals, dates or booleans where all its
    cells are, else of text; an empty cell is none. Raises InvalidData."""
    rows = list(csv.reader(io.StringIO(text)))
    if len(rows) < 2 or any(len(row) != len(rows[0]) for row in rows):
        raise InvalidData(f"the table {name!r} is no CSV with a line of names and rows as long", remedy="mend the file")
    cells = [[cell or None for cell in column] for column in zip(*rows[1:], strict=True)]
    return Table(name, len(rows) - 1, tuple(map(_column, rows[0], cells)))


def _column(name: str, cells: Sequence[str | None]) -> Column:
    there = [cell for cell in cells if cell is not None]
    if there and all(map(_INTEGER.fullmatch, there)):
        return Column(name, "int64", 0, [None if cell is None else int(cell) for cell in cells])
    if there and all(_DECIMAL.fullmatch(cell) or _INTEGER.fullmatch(cell) for cell in there):
        scale = max(len(cell.partition(".")[2]) for cell in there)
        return Column(name, "decimal", scale, [None if cell is None else int(Decimal(cell).scaleb(scale)) for cell in cells])
    if there and all(cell in ("true", "false") for cell in there):
        return Column(name, "bool", 0, [None if cell is None else int(cell == "true") for cell in cells])
    if there and all(map(_DATE.fullmatch, there)):
        try:
            return Column(
                name, "date", 0, [None if cell is None else date.fromisoformat(cell).toordinal() - _EPOCH for cell in cells]
            )
        except ValueError:
            pass
    return Column(name, "string", 0, list(cells))


def main() -> None:
    """Answer one request."""
    try:
        found = answer(json.load(sys.stdin))
    except TallystickError as error:
        found = {"error": error.message, "remedy": error.remedy}
    except MalformedDocument as error:
        found = {"error": error.message, "remedy": ""}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
