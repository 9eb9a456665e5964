"""Reading CSV and Parquet: exact numbers, one error for each broken rule, and never a cell's value in an error."""

import errno
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.protocol.dataset import Column
from tallystick.protocol.errors import InvalidData
from tallystick_node.data import connect
from tallystick_node.data.connect import LIMIT, open_table

AGE, MASS = Column("age", "int64"), Column("mass", "decimal", 2)
MAYBE = Column("mass", "decimal", 2, nullable=True)
NAME, ALIVE, SEEN = Column("name", "string"), Column("alive", "bool"), Column("seen", "date")


@pytest.fixture
def csv(tmp_path):
    def write(content, *columns, name="people.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return open_table(path, columns)

    return write


@pytest.fixture
def parquet(tmp_path):
    def write(table, *columns):
        path = tmp_path / "people.parquet"
        pq.write_table(pa.table(table) if isinstance(table, dict) else table, path)
        return open_table(path, columns)

    return write


def refused(read, *arguments, says, never=()):
    """The one error of a broken file: it has every text of ``says``, and none of ``never``."""
    with pytest.raises(InvalidData) as caught:
        read(*arguments)
    text = caught.value.message + caught.value.remedy
    assert "people" in text
    for part in (says,) if isinstance(says, str) else says:
        assert part in text
    for part in (never,) if isinstance(never, str) else never:
        assert part not in text
    return text


def test_a_csv_with_every_type_in_the_declared_order(csv):
    content = "seen,extra,age,mass,name,alive\n2022-01-08,x,-1,71.50,Zoë,true\n1969-12-31,y,42,,NULLIFY,FALSE\n"
    table = csv(content, AGE, MAYBE, NAME, ALIVE, SEEN)
    assert table.column_names == ["age", "mass", "name", "alive", "seen"]
    assert table.to_pydict() == {
        "age": [-1, 42],
        "mass": [7150, None],
        "name": ["Zoë", "NULLIFY"],
        "alive": [True, False],
        "seen": [date(2022, 1, 8), date(1969, 12, 31)],
    }
    assert [table.schema.field(name).metadata[b"scale"] for name in table.column_names] == [b"0", b"2", b"0", b"0", b"0"]


def test_a_parquet_with_every_type(parquet):
    table = parquet(
        {
            "seen": [date(2022, 1, 8), date(1969, 12, 31)],
            "age": pa.array([-1, 42], pa.int16()),
            "mass": pa.array([Decimal("71.500"), None], pa.decimal128(20, 3)),
            "name": pa.array(["Zoë", ""]).dictionary_encode(),
            "alive": [True, False],
            "extra": [1, 2],
        },
        AGE, MAYBE, NAME, ALIVE, SEEN,
    )  # fmt: skip
    assert table.to_pydict() == {
        "age": [-1, 42],
        "mass": [7150, None],
        "name": ["Zoë", ""],
        "alive": [True, False],
        "seen": [date(2022, 1, 8), date(1969, 12, 31)],
    }


@pytest.mark.parametrize("word", ["", "NA", "NULL", "null"])
def test_null_words(csv, word):
    assert csv(f"name,mass\n{word},1\nx,{word}\n", Column("name", "string", nullable=True), MAYBE).to_pydict() == {
        "name": [None, "x"],
        "mass": [100, None],
    }
    refused(csv, f"mass,x\n1,1\n{word},1\n", MASS, says=("'mass'", "row 2", "not nullable"))


@pytest.mark.parametrize("word", ["Null", "NaN", "nan", "None", "N/A"])
def test_other_words_are_no_null(csv, word):
    assert csv(f"name,x\n{word},1\n", NAME)["name"].to_pylist() == [word]
    refused(csv, f"mass,x\n1,1\n{word},1\n", MAYBE, says=("'mass'", "row 2", "not of type decimal"), never=word)


def test_a_missing_column_is_named(csv, parquet):
    refused(csv, "age\n1\n", AGE, MASS, says=("'mass'", "missing"))
    refused(parquet, {"age": [1]}, AGE, MASS, says=("'mass'", "missing"))


def test_a_duplicate_header_is_refused_where_it_is_declared(csv, parquet):
    refused(csv, "age,name,age\n1,x,2\n", AGE, says=("'age'", "twice"))
    refused(parquet, pa.table([[1], [2]], names=["age", "age"]), AGE, says=("'age'", "twice"))
    assert csv("age,x,x\n1,2,3\n", AGE)["age"].to_pylist() == [1]


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        (AGE, "12", "twelve"), (AGE, "12", "1.5"), (AGE, "12", "0x1F"), (AGE, "12", "1_000"), (AGE, "12", "٣"),
        (MASS, "1.5", "1,5"), (MASS, "1.5", "Infinity"), (MASS, "1.5", "1_0.5"), (MASS, "1.5", "."), (MASS, "1.5", "1e"),
        (ALIVE, "true", "yes"), (ALIVE, "1", "2"),
        (SEEN, "2020-02-29", "2021-02-29"), (SEEN, "2020-02-29", "29.02.2020"), (SEEN, "2020-02-29", "2020-02-29T00:00"),
    ],
)  # fmt: skip
def test_a_cell_of_another_type_names_its_row(csv, column, good, bad):
    content = f"x,{column.name}\n" + f"0,{good}\n" * 3 + f'0,"{bad}"\n' + f"0,{good}\n0,{bad}\n".replace(",5", "5")
    refused(
        csv, content, column, says=(f"'{column.name}'", "row 4", f"not of type {column.type}"), never=bad if len(bad) > 1 else ()
    )


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        (MASS, pa.array([1.5, 2.5])),
        (MASS, pa.array([float("nan"), 2.5], pa.float32())),
        (MASS, pa.array([True, False])),
        (MASS, pa.array([date(2020, 1, 1)])),
        (AGE, pa.array([1.5])),
        (AGE, pa.array([float("nan")])),
        (AGE, pa.array([[1]])),
        (AGE, pa.array([2**63], pa.uint64())),
        (ALIVE, pa.array([5])),
        (ALIVE, pa.array([[True]])),
        (SEEN, pa.array([datetime(2020, 1, 1, 13, tzinfo=UTC)])),
        (SEEN, pa.array([True])),
        (NAME, pa.array([{"first": "Zoë"}])),
        (NAME, pa.array([b"\xff\xfe"])),
    ],
)
def test_a_parquet_column_of_another_type_is_refused(parquet, column, cells):
    refused(parquet, {column.name: cells}, column, says=f"'{column.name}'", never=("2.5", "13", "Zoë"))


def test_what_loses_nothing_is_taken(parquet):
    assert parquet({"age": [1.0, -3.0]}, AGE)["age"].to_pylist() == [1, -3]
    assert parquet({"alive": [1, 0]}, ALIVE)["alive"].to_pylist() == [True, False]
    assert parquet({"seen": [datetime(2020, 1, 1)]}, SEEN)["seen"].to_pylist() == [date(2020, 1, 1)]  # noqa: DTZ001
    assert parquet({"mass": [3, -4]}, MASS)["mass"].to_pylist() == [300, -400]
    assert parquet({"mass": pa.nulls(2)}, MAYBE)["mass"].to_pylist() == [None, None]


def test_floats_are_no_decimals(parquet):
    refused(parquet, {"mass": [1.5]}, MASS, says="stored as floats", never="1.5")


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_text_of_parquet_is_checked_and_normalised(tmp_path, chunk):
    broken = pa.StringArray.from_buffers(
        4, pa.py_buffer(b"".join(i.to_bytes(4, "little") for i in (0, 1, 3, 5, 6))), pa.py_buffer(b"a\xc3\xab\xff\xfeb")
    )
    path = tmp_path / "people.parquet"
    pq.write_table(pa.table({"name": broken}), path, row_group_size=chunk)
    refused(open_table, path, (NAME,), says=("'name'", "row 3", "UTF-8"))


def test_text_is_read_in_nfc(csv, parquet):
    decomposed = "Zoe\u0308"
    assert csv(f"name,x\n{decomposed},1\nplain,2\n", NAME)["name"].to_pylist() == ["Zoë", "plain"]
    maybe = Column("name", "string", nullable=True)
    assert parquet({"name": [decomposed, None, "plain"]}, maybe)["name"].to_pylist() == ["Zoë", None, "plain"]


def test_csv_that_is_not_utf8_names_column_and_row(csv):
    refused(csv, b"age,name\n1,a\n2,\xff\n", AGE, NAME, says=("'name'", "row 2", "UTF-8"))
    refused(csv, b"age,na\xffme\n1,a\n", AGE, NAME, says=("'name'", "missing"))
    assert csv(b"age,na\xffme\n1,a\xff\n", AGE)["age"].to_pylist() == [1]
    assert csv(b"\xef\xbb\xbfage,name\n1,a\n", AGE)["age"].to_pylist() == [1]


def test_no_rows(csv, parquet):
    refused(csv, "age,mass\n", AGE, says="0 rows")
    refused(csv, "", AGE, says="missing")
    refused(csv, "\n\n", AGE, says="missing")
    refused(parquet, {"age": pa.array([], pa.int64())}, AGE, says="0 rows")


def test_too_many_rows(csv, monkeypatch):
    monkeypatch.setattr(connect, "MAX_ROWS", 2)
    assert csv("age\n1\n2\n", AGE).num_rows == 2
    refused(csv, "age\n1\n2\n3\n", AGE, says="3 rows")


@pytest.mark.parametrize("scale", [0, 2, 18])
@pytest.mark.parametrize("sign", ["", "-"])
def test_the_numeric_range_is_below_2_to_the_62(csv, scale, sign):
    def text(number):
        digits = str(number).rjust(scale + 1, "0")
        return sign + (f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits)

    column = Column("mass", "decimal", scale)
    greatest = csv(f"mass\n{text(LIMIT - 1)}\n", column)["mass"].to_pylist()
    assert greatest == [LIMIT - 1 if not sign else 1 - LIMIT]
    for number in (LIMIT, 2**63, 2**64, 10**19 * 10**scale - 1, 10**60):
        refused(csv, f"mass\n1\n{text(number)}\n", column, says=("'mass'", "row 2", "range"), never=text(number))


@pytest.mark.parametrize("text", [str(LIMIT), str(-LIMIT), str(2**63), "1e40", "9" * 400])
def test_integers_out_of_range(csv, parquet, text):
    refused(csv, f"age\n1\n{text}\n", AGE, says=("'age'", "row 2", "range"), never=text)
    if abs(Decimal(text)) <= LIMIT:
        refused(parquet, {"age": [1, int(text)]}, AGE, says=("'age'", "row 2", "range"), never=text)


def test_a_number_that_wraps_around_128_bits_is_out_of_range(csv):
    """Arrow's own cast to decimal(38, 18) turns this text into another number without a word."""
    text = "12345678901234567890123456789012345678"
    column = Column("mass", "decimal", 18)
    refused(csv, f"mass\n{text}\n", column, says=("row 1", "range"), never=text)


@pytest.mark.parametrize("text", ["1.005", "0.001", "1e-3", "1." + "0" * 30 + "1", "5e-999999999"])
def test_too_many_digits_after_the_point(csv, parquet, text):
    refused(csv, f"mass\n1.00\n{text}\n", MASS, says=("'mass'", "row 2", "more than 2 digits"), never=text)
    refused(parquet, {"mass": ["1.00", text]}, MASS, says=("'mass'", "row 2", "more than 2 digits"), never=text)


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("1", 100), ("-1.5", -150), ("+2.25", 225), (".5", 50), ("5.", 500), ("-0.00", 0), (" 3.10 ", 310), ("1e2", 10000),
        ("25E-2", 25), ("1.5000", 150), ("0" * 50 + "1", 100), ("1." + "0" * 50, 100), ("0e999999999", 0),
    ],
)  # fmt: skip
def test_every_way_to_write_a_decimal(csv, text, fixed):
    assert csv(f"mass,x\n{text},1\n7.00,1\n", MASS)["mass"].to_pylist() == [fixed, 700]


@settings(max_examples=60)
@given(st.lists(st.integers(1 - LIMIT, LIMIT - 1), min_size=1, max_size=30), st.integers(0, 18), st.booleans(), st.data())
def test_decimals_are_exact(tmp_path_factory, numbers, scale, odd, data):
    """Whatever is written with at most ``scale`` digits comes back, with or without an odd cell that takes the slow way."""
    column = Column("mass", "decimal", scale, nullable=True)
    texts = [f"{Decimal(number).scaleb(-scale):f}" if abs(number) < 10**27 else "" for number in numbers]
    expected: list = list(numbers)
    for place in data.draw(st.sets(st.integers(0, len(numbers) - 1), max_size=3)):
        texts[place], expected[place] = "NA", None
    if odd:
        texts.append("0e1")
        expected.append(0)
    folder = tmp_path_factory.mktemp("exact")
    (folder / "people.csv").write_text("mass,x\n" + "".join(f"{text},1\n" for text in texts))
    assert open_table(folder / "people.csv", [column])["mass"].to_pylist() == expected
    pq.write_table(pa.table({"mass": [None if text == "NA" else text for text in texts]}), folder / "people.parquet")
    assert open_table(folder / "people.parquet", [column])["mass"].to_pylist() == expected


NUMBER = st.from_regex(r"[+-]?[0-9]{0,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True, alphabet="0123456789+-.eE")


@settings(max_examples=300)
@given(NUMBER, st.integers(0, 18))
def test_a_decimal_is_its_exact_fraction_or_an_error(text, scale):
    """Against exact arithmetic in another representation."""
    column = Column("mass", "decimal", scale)
    try:
        exact = Decimal(text) if text else None
    except ArithmeticError:
        exact = None
    try:
        (got,) = connect._numbers(connect.Place("people.csv", 0), column, pa.chunked_array([[text]])).to_pylist()
    except InvalidData as error:
        assert text not in error.message or len(text) < 3
        got = None
    if exact is None:
        assert got is None
        return
    sign, digits, exponent = exact.as_tuple()
    fraction = int("".join(map(str, digits))), exponent + scale
    whole = fraction[0] * 10 ** max(fraction[1], 0)
    divisor = 10 ** max(-fraction[1], 0)
    allowed = whole % divisor == 0 and whole // divisor < LIMIT
    assert got == ((-1 if sign else 1) * (whole // divisor) if allowed else None)


def test_the_first_bad_row_counts_over_blocks(csv):
    rows = 200_000  # several of Arrow's blocks of 1 MiB
    content = "mass,name\n" + "12.25,somebody\n" * rows
    position = content.index("\n", 2_400_000) + 1
    row = content[:position].count("\n")
    for bad in ("1.234", "x", "9" * 19):
        refused(csv, content[:position] + bad + content[position + 5 :], MASS, NAME, says=f"row {row}:", never=bad + ",")
    refused(csv, content[:position] + "1,2,3\n" + content[position:], MASS, NAME, says=(f"row {row}:", "3 cells"))


def test_a_row_with_too_many_or_too_few_cells(csv):
    refused(csv, "age,name\n1,a\n2,b,secret\n", AGE, NAME, says=("row 2", "3 cells", "has 2"), never="secret")
    refused(csv, "age,name\n1,a\nsecret\n", AGE, NAME, says=("row 2", "1 cells", "has 2"), never="secret")


def test_a_huge_field(csv):
    content = "name,age\n" + "x" * 900_000 + ",1\n"
    assert len(csv(content, NAME)["name"][0].as_py()) == 900_000
    refused(csv, "name,age\na,1\n" + "x" * 5_000_000 + ",1\n", NAME, says="too long", never="xxx")
    refused(csv, "x" * 5_000_000 + ",age\na,1\n", AGE, says="cannot be read", never="xxx")


def test_a_quoted_line_break_stays_one_cell_across_blocks(csv):
    cell = "one\ntwo, three\n" * 20
    rows = 8_000
    table = csv("name,age\n" + f'"{cell}",1\n' * rows, NAME, AGE)
    assert table.num_rows == rows
    assert set(table["name"].to_pylist()) == {cell}


@pytest.mark.parametrize("name", ["people.txt", "people", "people.csv.gz", "people.parquet.bak"])
def test_neither_csv_nor_parquet(csv, name):
    with pytest.raises(InvalidData, match="neither .csv nor .parquet"):
        csv("age\n1\n", AGE, name=name)


def test_a_suffix_in_capitals(csv):
    assert csv("age\n1\n", AGE, name="PEOPLE.CSV").num_rows == 1


def test_a_file_that_is_not_there(tmp_path):
    for name in ("people.csv", "people.parquet"):
        refused(open_table, tmp_path / name, (AGE,), says="cannot be read")


def test_damaged_parquet(tmp_path):
    path = tmp_path / "people.parquet"
    pq.write_table(pa.table({"age": list(range(5000)), "name": [f"person {i}" for i in range(5000)]}), path)
    whole = path.read_bytes()
    for content in (b"", b"PAR1", whole[:100], whole[:-1], whole[:-100], b"age\n1\n", whole[: len(whole) // 2] + whole[-8:]):
        path.write_bytes(content)
        refused(open_table, path, (AGE, NAME), says="people.parquet: cannot be read", never="person")


def test_names_that_look_like_paths(parquet):
    """A point in a name is no way into a nested column, and a folder's name is no column."""
    assert parquet({"a.b": [1], "a": [2]}, Column("a.b", "int64")).to_pydict() == {"a.b": [1]}
    assert parquet({"a.b": [1], "a": [2]}, Column("a", "int64")).to_pydict() == {"a": [2]}
    refused(parquet, {"a": [{"b": 1}]}, Column("a.b", "int64"), says=("'a.b'", "missing"))


def long_table(rows: int, bad: int | None = None) -> pa.Table:
    """Rows of more than a batch of either reader; the cell of row ``bad`` is no number."""
    mass = [f"{number % 997}.25" for number in range(rows)]
    if bad is not None:
        mass[bad - 1] = "heavy"
    return pa.table({"mass": mass, "name": [f"person number {number} of many" for number in range(rows)]})


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_long_files_are_read_in_batches_and_kept_in_a_file_without_a_name(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(connect, "BATCH", 7000)
    monkeypatch.setattr(connect, "LARGE", 1000)
    path, folder, rows = tmp_path / f"people.{suffix}", tmp_path / "run", 60_000
    folder.mkdir()
    write = pq.write_table if suffix == "parquet" else pa.csv.write_csv
    write(long_table(rows), path)
    table = open_table(path, (MASS, NAME), folder)
    assert table.column("mass").num_chunks > 1 and table.schema.field("mass").metadata == {b"scale": b"2"}
    assert table.equals(open_table(path, (MASS, NAME)), check_metadata=True)
    assert table["mass"].to_pylist() == [number % 997 * 100 + 25 for number in range(rows)]
    assert not list(folder.iterdir())
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]
    assert len(mapped) == 1 and "(deleted)" in mapped[0]
    write(long_table(rows, bad=50_001), path)
    refused(open_table, path, (MASS, NAME), folder, says=("'mass'", "row 50001:"), never="heavy")
    monkeypatch.setattr(connect, "MAX_ROWS", rows - 1)
    refused(open_table, path, (NAME,), says="rows or more; from 1 to 59999 are allowed")


def test_a_full_disk_is_no_fault_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(connect, "LARGE", 0)
    path = tmp_path / "people.csv"
    path.write_text("age\n1\n")

    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(connect.tempfile, "TemporaryFile", full)
    refused(open_table, path, (AGE,), tmp_path, says="no room for its table", never="cannot be read")
