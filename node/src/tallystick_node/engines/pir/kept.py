"""What both ends of lookups keep on disk between runs: the owner its table, so that the next run begins at once and a new version
of the data changes little; the asker what it holds of the table.

A folder is for one table: one dataset, read in one way. It belongs to the node's user alone, and runs that use it take turns. What
cannot be read is made, or asked for, again. The owner's folder holds the keys of F, which open nothing that its data does not.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.pir.lookup import MAX_PATCHES, Offer
from tallystick_node.engines.pir.public import Layout, NotATable, Patch, Public
from tallystick_node.engines.pir.table import Table, build, renew

Rows = tuple[Sequence[bytes], Sequence[bytes]]  # keys and values

_CURRENT, _FRESH = "current", "fresh-"
_PUBLIC = ("hint", "digests", "stash")
_TABLE = ("names", "prints", "places", "matrix")


def offer_of(folder: Path, version: bytes, row_bytes: int, rows: Callable[[], Rows]) -> Offer:
    """The table of a version of the data: as it was kept, else by changing the one that was, else made anew. ``rows`` reads the
    data. Raises as :func:`~.table.build`."""
    with _turn(folder):
        kept = _read_offer(folder)
        if kept is not None and kept.version == version:
            return kept
        items, values = rows()
        renewed = renew(kept.table, items, values, row_bytes) if kept is not None else None
        if kept is not None and renewed is not None:
            offer = Offer(version, renewed[0], (*kept.patches, renewed[1].to_bytes())[-MAX_PATCHES:])
        else:
            offer = Offer(version, build(items, values, row_bytes))
        _write(
            folder,
            _of_table(offer.table),
            {"version": version.hex(), **_facts(offer.table.public), **_secrets(offer.table)},
            offer.patches,
        )
        return offer


def held_public(folder: Path) -> Public | None:
    """What an asker kept of a table, None for nothing."""
    with _turn(folder):
        try:
            arrays, facts, _ = _read(folder, _PUBLIC)
            return _public(arrays, facts)
        except (OSError, ValueError, KeyError, TypeError, EOFError, NotATable):
            return None


def keep_public(folder: Path, public: Public) -> None:
    """Keep what an asker holds of a table, in place of what it held."""
    with _turn(folder):
        _write(folder, _of_public(public), _facts(public))


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read_offer(folder: Path) -> Offer | None:
    try:
        arrays, facts, patches = _read(folder, (*_PUBLIC, *_TABLE))
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


def _read(folder: Path, names: Sequence[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any], tuple[bytes, ...]]:
    current = folder / _CURRENT
    facts: dict[str, Any] = json.loads((current / "facts.json").read_text())
    arrays = {name: np.load(current / f"{name}.npy", mmap_mode="r") for name in names}
    return arrays, facts, tuple((current / f"patch{number}").read_bytes() for number in range(facts["patches"]))


def _write(folder: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], patches: Sequence[bytes] = ()) -> None:
    for left in folder.glob(f"{_FRESH}*"):  # by a run that was ended as it wrote
        shutil.rmtree(left)
    fresh = Path(tempfile.mkdtemp(prefix=_FRESH, dir=folder))  # of mode 0700
    for name, array in arrays.items():
        np.save(fresh / f"{name}.npy", array)
    for number, patch in enumerate(patches):
        (fresh / f"patch{number}").write_bytes(patch)
    (fresh / "facts.json").write_text(json.dumps({**facts, "patches": len(patches)}))
    shutil.rmtree(folder / _CURRENT, ignore_errors=True)  # files that are mapped stay readable
    fresh.rename(folder / _CURRENT)
