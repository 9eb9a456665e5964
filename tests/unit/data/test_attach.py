"""Attaching a file: only files below the data folder, only well-formed columns, and a descriptor that fits its content."""

import os

import pyarrow as pa
import pytest
from tallystick.protocol import canonical
from tallystick.protocol.dataset import Column, DatasetDescriptor
from tallystick.protocol.errors import InvalidData, MalformedDocument
from tallystick_node.data import attach as module
from tallystick_node.data.attach import attach
from tallystick_node.data.connect import open_table
from tallystick_node.store.database import Store
from unit.data import reference

OWNER = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
COLUMNS = (Column("age", "int64"), Column("mass", "decimal", 2, nullable=True))


def encoded(columns=COLUMNS):
    return canonical.encode([column.to_json() for column in columns])


@pytest.fixture
def store():
    return Store("sqlite://")


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "data"
    inside.mkdir()
    (inside / "people.csv").write_text("age,mass\n41,70.25\n42,\n")
    (tmp_path / "outside.csv").write_text("age,mass\n1,1\n")
    return inside


def test_the_descriptor_fits_the_content(store, folder):
    content = attach(store, folder, OWNER, "people", "people.csv", encoded())
    found = DatasetDescriptor.parse(content)
    assert (found.owner, found.name, found.columns, found.rows) == (OWNER, "people", COLUMNS, 2)
    row = store.dataset(found.digest())
    rows = [reference.row(each, COLUMNS) for each in ((41, 7025), (42, None))]
    assert found.root == canonical.text(reference.root(rows, row.secret))
    assert (row.path, row.descriptor) == (str(folder / "people.csv"), content)
    stat = (folder / "people.csv").stat()
    assert (row.size, row.modified_ns) == (stat.st_size, stat.st_mtime_ns)
    assert row.secret.hex() not in content.decode()


def test_each_attachment_has_its_own_secret_and_salt(store, folder):
    first, second = (DatasetDescriptor.parse(attach(store, folder, OWNER, "people", "people.csv", encoded())) for _ in range(2))
    assert first.salt != second.salt
    assert first.root != second.root
    assert store.dataset(first.digest()).secret != store.dataset(second.digest()).secret


def test_a_file_in_a_folder_below_and_a_link_within(store, folder):
    (folder / "year").mkdir()
    (folder / "people.csv").rename(folder / "year/people.csv")
    (folder / "link.csv").symlink_to("year/people.csv")
    for path in ("year/people.csv", "./year/../year/people.csv", "link.csv"):
        attach(store, folder, OWNER, "people", path, encoded())


def test_nothing_outside_the_folder_is_read(store, folder, tmp_path):
    (folder / "link.csv").symlink_to(tmp_path / "outside.csv")
    (folder / "up").symlink_to(tmp_path)
    (folder / "round.csv").symlink_to("round.csv")
    (tmp_path / "data-2").mkdir()
    (tmp_path / "data-2/people.csv").write_text("age,mass\n1,1\n")
    os.mkfifo(folder / "pipe.csv")
    for path in (
        "../outside.csv", str(tmp_path / "outside.csv"), "link.csv", "up/outside.csv", "round.csv", "../data-2/people.csv",
        "missing.csv", "people.csv/x", ".", "", "pipe.csv", "people\0.csv", "x" * 5000,
    ):  # fmt: skip
        with pytest.raises(InvalidData, match="below the node's data folder") as caught:
            attach(store, folder, OWNER, "people", path, encoded())
        assert str(tmp_path) not in str(caught.value)


def test_the_data_folder_may_be_a_link_itself(store, folder, tmp_path):
    (tmp_path / "alias").symlink_to(folder)
    attach(store, tmp_path / "alias", OWNER, "people", "people.csv", encoded())


@pytest.mark.parametrize(
    "columns",
    [
        b"", b"{", b"[]", b"{}", b"null", b'"age"', b"[1]", b"[[]]", b'[{"name":"age"}]', b"\xff", b"[" * 50, b" " + encoded(),
        b'[{"name":"age","nullable":false,"type":"float"}]',
        b'[{"name":"age","nullable":false,"type":"decimal"}]',
        b'[{"name":"age","nullable":false,"scale":1,"type":"int64"}]',
        b'[{"name":"age","nullable":false,"scale":19,"type":"decimal"}]',
        b'[{"name":"","nullable":false,"type":"int64"}]',
        b'[{"name":"age","nullable":0,"type":"int64"}]',
        b'[{"name":"age","nullable":false,"sort":1,"type":"int64"}]',
        encoded([COLUMNS[0], COLUMNS[0]]),
        b" " * ((1 << 20) + 1),
    ],
)  # fmt: skip
def test_malformed_columns(store, folder, columns):
    with pytest.raises(MalformedDocument):
        attach(store, folder, OWNER, "people", "people.csv", columns)


def test_a_malformed_column_is_named_by_its_place(store, folder):
    with pytest.raises(MalformedDocument, match=r"columns\[1\].type"):
        attach(store, folder, OWNER, "x", "people.csv", b'[{"name":"age","nullable":false,"type":"int64"},'
               b'{"name":"mass","nullable":false,"type":"real"}]')  # fmt: skip


@pytest.mark.parametrize(("owner", "name"), [("0x00", "people"), (OWNER.lower(), "people"), (OWNER, ""), (OWNER, "x" * 257)])
def test_a_malformed_owner_or_name(store, folder, owner, name):
    with pytest.raises(MalformedDocument):
        attach(store, folder, owner, name, "people.csv", encoded())


def test_content_that_breaks_a_rule_is_not_kept(store, folder, monkeypatch):
    (folder / "people.csv").write_text("age,mass\n41,70.255\n")
    monkeypatch.setattr(store, "put_dataset", lambda _: pytest.fail("kept"))
    with pytest.raises(InvalidData, match="'mass', row 1"):
        attach(store, folder, OWNER, "people", "people.csv", encoded())


def test_a_file_that_changes_while_it_is_read_is_seen_to_have_changed(store, folder, monkeypatch):
    path = folder / "people.csv"

    def read_and_change(file, columns) -> pa.Table:
        table = open_table(file, columns)
        path.write_text("age,mass\n1,1\n")
        os.utime(path, ns=(1, 1))
        return table

    monkeypatch.setattr(module, "open_table", read_and_change)
    found = DatasetDescriptor.parse(attach(store, folder, OWNER, "people", "people.csv", encoded()))
    row = store.dataset(found.digest())
    assert (row.size, row.modified_ns) != (path.stat().st_size, path.stat().st_mtime_ns)
