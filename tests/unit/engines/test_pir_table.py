"""Tables: what opens which row, what a change costs, and what is refused of a peer's."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tallystick_node.engines.pir import lwe, oprf
from tallystick_node.engines.pir.public import (
    HEADER,
    LABEL,
    MAX_KEYS,
    MAX_STASH,
    Layout,
    NotATable,
    Patch,
    column_digest,
    expected_stash,
    layout_for,
    read_header,
)
from tallystick_node.engines.pir.table import build, columns_of, labels_of, open_row, renew, sealed_width

WIDE = 12
DRAWN = st.dictionaries(st.binary(max_size=4), st.binary(max_size=WIDE), min_size=1, max_size=25)


def made(rows):
    return build(list(rows), list(rows.values()), WIDE)


def opened(table, key, keys=None):
    """The row that the outputs of F open, in the key's column and in the stash; None for none."""
    public = table.public
    outputs = [oprf.evaluate(each, [key])[0] for each in (keys or table.keys)]
    column = table.matrix[:, columns_of(outputs[0][None], public.layout)[0]].tobytes()
    slots = [np.frombuffer(column[i : i + public.layout.width], np.uint8) for i in range(0, len(column), public.layout.width)]
    for output in outputs:
        stashed = [entry[LABEL:] for entry in public.stash if (entry[:LABEL] == labels_of(output[None])[0]).all()]
        for slot in (*slots, *stashed):
            if (row := open_row(output, slot)) is not None:
                return row
    return None


def check(table, rows):
    for key, value in list(rows.items())[:: max(1, len(rows) // 40)]:
        assert opened(table, key) == value
    public = table.public
    assert (public.hint == lwe.hint(table.matrix, public.seed)).all()
    for column in (0, public.layout.columns - 1):
        assert public.digests[column].tobytes() == column_digest(table.matrix[:, column].tobytes())


@pytest.fixture(scope="module")
def crowd():
    """More rows than columns, so that some are in the stash."""
    rows = {number.to_bytes(2, "big"): b"%d" % number for number in range(700)}
    return rows, made(rows)


def test_every_row_opens_by_its_key_alone(crowd):
    rows, table = crowd
    assert len(table.public.stash) > 20
    check(table, rows)
    layout = table.public.layout
    slots = table.matrix[: layout.width].view(np.uint8)
    other = oprf.evaluate(oprf.random_key(), [b"\0\0"])[0]
    assert all(open_row(other, np.ascontiguousarray(slots[:, column])) is None for column in range(layout.columns))
    places = table.places[table.places >= 0]
    assert len(set(places.tolist())) == len(places)


@settings(max_examples=12, deadline=None)
@given(DRAWN, DRAWN)
def test_a_changed_table_is_the_table_made_anew(before, after):
    table = made(before)
    renewed = renew(table, list(after), list(after.values()), WIDE)
    assert renewed is not None
    fresh, patch = renewed
    check(fresh, after)
    received = Patch.parse(patch.to_bytes(), table.public.layout).applied(table.public)
    assert received.digest == fresh.public.digest != b""


def test_a_change_touches_only_its_slots(crowd):
    rows, table = crowd
    changed = {**rows, b"\0\7": b"other", b"new": b"row"}
    del changed[b"\0\5"]
    fresh, patch = renew(table, list(changed), list(changed.values()), WIDE)
    check(fresh, changed)
    assert len(patch.slots) + len(patch.places) <= 3
    assert (fresh.matrix != table.matrix).any(axis=0).sum() <= 3
    assert len(patch.to_bytes()) < table.public.size / 100
    same, nothing = renew(fresh, list(changed), list(changed.values()), WIDE)
    assert len(nothing.slots) == len(nothing.places) == 0
    assert (same.matrix == fresh.matrix).all()


def test_rows_that_went_away_do_not_open(crowd):
    rows, table = crowd
    for gone in (int(np.argmax(table.places < 0)), int(np.argmax(table.places >= 0))):
        key = list(rows)[gone]
        left = {each: value for each, value in rows.items() if each != key}
        fresh, _ = renew(table, list(left), list(left.values()), WIDE)
        assert opened(table, key) == rows[key]
        assert opened(fresh, key) is None


def test_who_looked_a_row_up_does_not_open_what_it_becomes(crowd):
    """Though the changes that it is sent make the row's new sealing known to it."""
    rows, table = crowd
    for place in (int(np.argmax(table.places < 0)), int(np.argmax(table.places >= 0))):
        key = list(rows)[place]
        for later in (b"changed", rows[key]):  # away, and back again
            held = table.keys
            rows = {**rows, key: later}
            table, _ = renew(table, list(rows), list(rows.values()), WIDE)
            assert opened(table, key, held) is None
            assert opened(table, key) == later


def test_a_table_that_grew_much_is_made_anew():
    table = made({b"a": b""})
    many = [number.to_bytes(2, "big") for number in range(5000)]
    assert renew(table, many, [b""] * len(many), WIDE) is None
    assert renew(table, [b"a"], [b""], WIDE + 1) is None
    full = dataclasses.replace(table, keys=table.keys * MAX_KEYS)
    assert renew(full, [b"a"], [b""], WIDE) is None


def test_local_misuse_is_refused():
    with pytest.raises(ValueError, match="13 bytes, more than 12"):
        build([b"a"], [bytes(13)], WIDE)
    with pytest.raises(ValueError, match="distinct"):
        build([b"a", b"a"], [b"", b""], WIDE)
    with pytest.raises(ValueError, match="a row for each"):
        build([b"a"], [], WIDE)


def test_layouts_hold_their_rows_at_about_the_least_size():
    for records in (0, 1, 10, 1000, 10**5, 1 << 20, 10**7):
        layout = layout_for(records, sealed_width(256))
        left = expected_stash(records, layout.columns, layout.bands)
        assert layout.columns * layout.bands + left >= records * 0.99
    million = layout_for(1 << 20, sealed_width(256))
    assert million.hint_bytes + 32 * million.columns + expected_stash(1 << 20, million.columns, million.bands) * 282 < 40e6
    with pytest.raises(NotATable, match="out of bounds"):
        layout_for(10**9, sealed_width(4096))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 24), st.integers(8, 4096))
@example(1 << 24, 256)
@example(15_056_902, 256)
def test_askers_take_every_stash_that_a_table_may_have_and_not_much_more(records, row_bytes):
    layout = layout_for(records, sealed_width(row_bytes))
    stash = 64 + 2 * expected_stash(records, layout.columns, layout.bands)  # from there on a table is made anew
    assert stash < MAX_STASH / 2
    assert MAX_STASH * (LABEL + layout.width) < 1.1 * 2**30


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=HEADER + 2))
def test_any_header_is_read_or_refused(data):
    try:
        layout, stash, keys, _, _ = read_header(data)
    except NotATable:
        return
    assert layout.rows <= 1 << 21
    assert stash <= MAX_STASH
    assert 1 <= keys <= MAX_KEYS


def test_headers_say_what_they_said(crowd):
    public = crowd[1].public
    assert read_header(public.header()) == (public.layout, len(public.stash), 1, public.seed, public.check)
    with pytest.raises(NotATable, match="out of bounds"):
        Layout(300, 1, 1)
    wrong = bytearray(public.header())
    wrong[12:16] = (MAX_STASH + 1).to_bytes(4, "little")
    with pytest.raises(NotATable, match="stash"):
        read_header(bytes(wrong))


def test_patches_that_do_not_fit_are_refused(crowd):
    rows, table = crowd
    changed = {
        **rows,
        list(rows)[int(np.argmax(table.places >= 0))]: b"other",
        list(rows)[int(np.argmax(table.places < 0))]: b"more",
    }
    patch = renew(table, list(changed), list(changed.values()), WIDE)[1]
    layout, data = table.public.layout, patch.to_bytes()
    for broken, rule in ((data[:-1], "length"), (data + b"\0", "length"), (data[:70], "cut off")):
        with pytest.raises(NotATable, match=rule):
            Patch.parse(broken, layout)
    outside = dataclasses.replace(patch, columns=patch.columns + np.uint32(layout.columns))
    with pytest.raises(NotATable, match="has not"):
        Patch.parse(outside.to_bytes(), layout)
    fresh = patch.applied(table.public)
    with pytest.raises(NotATable, match="another version"):
        patch.applied(fresh)
    with pytest.raises(NotATable, match="more changes"):
        dataclasses.replace(patch, before=dataclasses.replace(table.public, keys=MAX_KEYS).digest).applied(
            dataclasses.replace(table.public, keys=MAX_KEYS)
        )
    with pytest.raises(NotATable, match="shortens"):
        dataclasses.replace(patch, stash=0, places=patch.places[:0], entries=patch.entries[:0]).applied(table.public)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_are_a_patch_or_refused(data):
    with pytest.raises(NotATable):
        Patch.parse(data + b"\xff" * 9, Layout(256, 1, 30))
