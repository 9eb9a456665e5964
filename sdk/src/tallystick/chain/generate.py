"""Generate ``contracts.py``, one class for each contract, from the artefacts; ``--check`` fails when it is stale. Needs ruff."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tallystick.chain import artifacts
from tallystick.chain.contract import signature_of

TARGET = Path(__file__).resolve().parent / "contracts.py"
LEFT_OUT = {"eip712Domain", "debit", "prove", "verify", "kind", "name"}  # all but the first are for other contracts alone
HEADER = '''# ruff: noqa: FBT001 - the interfaces say where a truth value stands
"""The contracts as classes: what they answer, and what they carry out. Generated from the artefacts by ``generate.py``.

A reading method takes the block to read at. A writing method tries, sends and waits, as :meth:`Chain.send` does. Structs go in
as the objects of :mod:`tallystick.protocol` (whatever has ``as_tuple``) and come out as typed dictionaries. ``value`` is what is
paid in the chain's own coin, in wei.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, cast

if TYPE_CHECKING:
    from tallystick.chain.connection import Block, Chain, Receipt


class Struct(Protocol):
    """A struct that a contract takes."""

    def as_tuple(self) -> tuple[Any, ...]:
        """Its members in the order of the interface."""
'''


def module() -> str:
    """The whole file."""
    parts = [HEADER]
    written: set[str] = set()
    called = (*artifacts.LEDGERS, *artifacts.ENFORCEMENT, *artifacts.REVIEWS, *artifacts.ATTESTATION, *artifacts.CIRCUITS)
    for name in called:  # contracts alone call the other verifiers
        artifact = artifacts.load(name)
        functions = [entry for entry in artifact.abi if entry["type"] == "function" and entry["name"] not in LEFT_OUT]
        structs = {_struct(entry["outputs"][0]): entry["outputs"][0] for entry in functions if _returns_struct(entry)}
        parts += [_typed_dict(struct, member) for struct, member in sorted(structs.items()) if struct not in written]
        written |= structs.keys()
        lines = [f"class {name}:", f'    """`{name}` at the address of a connection\'s deployment."""', ""]
        lines += ["    def __init__(self, chain: Chain) -> None:", "        self._chain = chain", ""]
        for entry in functions:
            lines += [*_method(name, entry, artifact.notices), ""]
        parts.append("\n".join(lines))
    parts.append("""def _plain(value: Struct | tuple[Any, ...]) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else value.as_tuple()
""")
    command = [sys.executable, "-m", "ruff", "format", "--line-length", "132", "-"]
    return subprocess.run(command, input="\n\n".join(parts), capture_output=True, text=True, check=True).stdout


def _method(contract: str, entry: Mapping[str, Any], notices: Mapping[str, str]) -> Iterator[str]:
    reads = entry["stateMutability"] in ("view", "pure")
    names = [_snake(member["name"]) for member in entry["inputs"]]
    given = [f"{name}: {_python(member)}" for name, member in zip(names, entry["inputs"], strict=True)]
    passed = [f"_plain({name})" if member["type"] == "tuple" else name for name, member in zip(names, entry["inputs"], strict=True)]
    pays = entry["stateMutability"] == "payable"
    named = ['block: Block = "latest"'] if reads else ["value: int"] if pays else []
    heading = ["self", *given, *(["*", *named] if named else [])]
    answer = _answer(entry) if reads else "Receipt"
    yield f"    def {_snake(entry['name'])}({', '.join(heading)}) -> {answer}:"
    notice = " ".join(notices.get(signature_of(entry), f"`{signature_of(entry)}`.").split())
    yield textwrap.fill(f'"""{notice}"""', 128, initial_indent=" " * 8, subsequent_indent=" " * 8)
    arguments = ", ".join(
        [f'"{contract}"', f'"{entry["name"]}"', *passed, *(["block=block"] if reads else ["value=value"] if pays else [])]
    )
    if not reads:
        yield f"        return self._chain.send({arguments})"
    elif answer == "None":
        yield f"        self._chain.call({arguments})"
    else:
        yield f'        return cast("{answer}", self._chain.call({arguments}))'


def _typed_dict(struct: str, member: Mapping[str, Any]) -> str:
    lines = [
        f"class {struct}(TypedDict):",
        f'    """What `{member["internalType"].removeprefix("struct ").removesuffix("[]")}` holds."""',
        "",
    ]
    return "\n".join([*lines, *(f"    {each['name']}: {_python(each)}" for each in member["components"]), ""])


def _returns_struct(entry: Mapping[str, Any]) -> bool:
    return len(entry["outputs"]) == 1 and entry["outputs"][0]["type"].removesuffix("[]") == "tuple"


def _answer(entry: Mapping[str, Any]) -> str:
    if not entry["outputs"]:
        return "None"
    output = entry["outputs"][0]
    if not _returns_struct(entry):
        return _python(output)
    return f"Sequence[{_struct(output)}]" if output["type"].endswith("[]") else _struct(output)


def _struct(member: Mapping[str, Any]) -> str:
    """`struct ITaskLedger.Task` is `TaskFacts`: what the chain holds, beside the protocol's own objects."""
    return str(member["internalType"].removeprefix("struct ").removesuffix("[]").rpartition(".")[2]) + "Facts"


def _python(member: Mapping[str, Any]) -> str:
    kind = member["type"]
    if kind.endswith("[]"):
        return f"Sequence[{_python({**member, 'type': kind[:-2]})}]"
    if kind == "tuple":
        return "Struct | tuple[Any, ...]"
    names = {"address": "str", "string": "str", "bool": "bool"}
    return names.get(kind, "bytes" if kind.startswith("bytes") else "int")


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def main() -> None:
    """Command line."""
    if "--check" not in sys.argv:
        TARGET.write_text(module())
    elif TARGET.read_text() != module():
        raise SystemExit("stale contract classes. Run `make generate`.")


if __name__ == "__main__":
    main()
