"""What both ends of lookups keep on disk between runs: the owner its table, so that the next run begins at once and a new version
of the data changes little; the asker what it holds of the table.

A folder (:mod:`~tallystick_node.engines.folders`) is for one table: one dataset, read in one way. What cannot be read, or is in
another :data:`FORMAT`, is made, or asked for, again. The owner's folder holds the keys of F, which open nothing that its data does
not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines import folders
from tallystick_node.engines.pir.lookup import MAX_PATCHES, Offer
from tallystick_node.engines.pir.public import Layout, NotATable, Patch, Public
from tallystick_node.engines.pir.table import Table, build, renew

Rows = tuple[Sequence[bytes], Sequence[bytes]]  # keys and values

FORMAT = "tallystick/v1/pir/kept/1"
"""What ``facts.json`` says that the files are. Another number whenever a table is laid out, hashed or sealed otherwise."""

_PUBLIC = ("hint", "digests", "stash")
_TABLE = ("names", "prints", "places", "matrix")


def offer_of(folder: Path, version: bytes, row_bytes: int, rows: Callable[[], Rows]) -> Offer:
    """The table of a version of the data: as it was kept, else by changing the one that was, else made anew. ``rows`` reads the
    data. Raises as :func:`~.table.build`."""
    with folders.turn(folder) as current:
        kept = _read_offer(current)
        if kept is not None and kept.version == version:
            return kept
        items, values = rows()
        renewed = renew(kept.table, items, values, row_bytes) if kept is not None else None
        if kept is not None and renewed is not None:
            offer = Offer(version, renewed[0], (*kept.patches, renewed[1].to_bytes())[-MAX_PATCHES:])
        else:
            offer = Offer(version, build(items, values, row_bytes))
        _write(
            current,
            _of_table(offer.table),
            {"version": version.hex(), **_facts(offer.table.public), **_secrets(offer.table)},
            offer.patches,
        )
        return offer


def held_public(folder: Path) -> Public | None:
    """What an asker kept of a table, None for nothing."""
    with folders.turn(folder) as current:
        try:
            arrays, facts, _ = _read(current, _PUBLIC)
            return _public(arrays, facts)
        except (OSError, ValueError, KeyError, TypeError, EOFError, NotATable):
            return None


def keep_public(folder: Path, public: Public) -> None:
    """Keep what an asker holds of a table, in place of what it held."""
    with folders.turn(folder) as current:
        _write(current, _of_public(public), _facts(public))


def _read_offer(current: Path) -> Offer | None:
    try:
        arrays, facts, patches = _read(current, (*_PUBLIC, *_TABLE))
        public, keys = _public(arrays, facts), tuple(bytes.fromhex(key) for key in facts["secret_keys"])
        table = Table(keys, bytes.fromhex(facts["secret"]), **{name: arrays[name] for name in _TABLE}, public=public)
        for patch in patches:
            Patch.parse(patch, public.layout)
        if table.matrix.shape != (public.layout.rows, public.layout.columns) or len(keys) != public.keys:
            return None
        return Offer(bytes.fromhex(facts["version"]), table, patches)
    except (OSError, ValueError, KeyError, TypeError, EOFError, NotATable):
        return None


def _public(arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Public:
    layout = Layout(facts["columns"], facts["bands"], facts["width"])
    seed, check = bytes.fromhex(facts["seed"]), bytes.fromhex(facts["check"])
    return Public(layout, seed, facts["keys"], check, *(arrays[name] for name in _PUBLIC))


def _of_public(public: Public) -> dict[str, NDArray[Any]]:
    return {name: getattr(public, name) for name in _PUBLIC}


def _of_table(table: Table) -> dict[str, NDArray[Any]]:
    return {**_of_public(table.public), **{name: getattr(table, name) for name in _TABLE}}


def _facts(public: Public) -> dict[str, Any]:
    layout = public.layout
    shape = {"columns": layout.columns, "bands": layout.bands, "width": layout.width}
    return {**shape, "seed": public.seed.hex(), "keys": public.keys, "check": public.check.hex()}


def _secrets(table: Table) -> dict[str, Any]:
    return {"secret": table.secret.hex(), "secret_keys": [key.hex() for key in table.keys]}


def _read(current: Path, names: Sequence[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any], tuple[bytes, ...]]:
    facts: dict[str, Any] = json.loads((current / "facts.json").read_text())
    if facts["format"] != FORMAT:
        raise ValueError("files in another format")
    arrays = {name: np.load(current / f"{name}.npy", mmap_mode="r") for name in names}
    return arrays, facts, tuple((current / f"patch{number}").read_bytes() for number in range(facts["patches"]))


def _write(current: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], patches: Sequence[bytes] = ()) -> None:
    with folders.replacing(current) as fresh:
        for name, array in arrays.items():
            np.save(fresh / f"{name}.npy", array)
        for number, patch in enumerate(patches):
            (fresh / f"patch{number}").write_bytes(patch)
        (fresh / "facts.json").write_text(json.dumps({"format": FORMAT, **facts, "patches": len(patches)}))
