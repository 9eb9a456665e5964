"""Our events in a file: read from the chain once, asked for as often as one likes.

A question about one task of ten thousand costs a scan of the whole chain when it is put to a node, and a look into a table when it
is put here. The file belongs to one chain and one deployment; what it holds is what the node said, page by page, each page with the
hash of its last block. A page is one transaction: whoever is killed in the middle goes on behind the last whole page. Where the
chain no longer has a page's last block, the pages from there on are dropped and read again.

Trusted: the node behind the connection, and whoever may write the file.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.ethereum import keccak
from tallystick.protocol.errors import ChainUnreachable, Configuration

SCHEMA = """
create table if not exists pages (last integer primary key, hash text not null);
create table if not exists events (
    id integer primary key, block integer not null, name text not null, log text not null);
create index if not exists events_by_block on events (block);
create index if not exists events_by_name on events (name);
create table if not exists topics (
    topic text not null, name text not null, event integer not null, primary key (topic, name, event)) without rowid;
create table if not exists blocks (block integer primary key, at integer not null);
"""
ALL = "select log from events order by id"
NAMED = "select log from events where name in (select value from json_each(?)) order by id"
ABOUT = "select log from topics join events on id = event where topic = ? order by id"
ABOUT_NAMED = (
    "select log from topics join events on id = event"
    " where topic = ? and topics.name in (select value from json_each(?)) order by id"
)
IN_MEMORY = Path(":memory:")
KEPT = 512  # last pages whose hashes are kept: how deep a re-organisation is followed page by page
WAIT = 60  # seconds that another process may hold the file
ROUNDS = 20  # in which a chain may be another one each time, or lack the block that it calls its last, and nothing be gained
Row = tuple[int, str, str, list[str]]  # block, name, log and indexed topics of an event
T = TypeVar("T")
_MEMBERS = ("address", "topics", "data", "blockNumber", "blockHash", "transactionHash", "logIndex")


class EventIndex:
    """The events of ``chain``'s deployment in the file at ``path``, which is made when it is missing; its folder must be there.

    Several processes may use one file, also for chains that began alike: who asks gets the events of the chain that it caught up
    with. Raises Configuration when it is not an index.
    """

    def __init__(self, path: Path, chain: Chain) -> None:
        self._chain = chain
        self._place: tuple[int, str] | None = None  # the last block that was caught up with, and its hash
        try:
            self._file = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise Configuration(
                f"the event index cannot be opened: {error}", party=str(path), remedy="name another folder"
            ) from None
        try:
            self._write_ahead()
            self._file.execute("pragma synchronous=normal")  # what a power cut takes is read again
            self._file.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            self._file.close()
            raise Configuration(f"the event index cannot be used: {error}", party=str(path), remedy="delete the file") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> EventIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """How many events are here."""
        return int(self._file.execute("select count(*) from events").fetchone()[0])

    @property
    def last(self) -> int:
        """The last block that was caught up with; before that the last one whose events are here, -1 for none."""
        return self._place[0] if self._place else self._newest()[0]

    def catch_up(self) -> int:
        """Read on to the last block that is final by the profile; how many events came. Raises ChainUnreachable, also where the
        chain keeps changing or lacks the block that it calls its last."""
        came, furthest, rounds = 0, self._newest()[0], ROUNDS
        while True:
            more, done = self._read_to(self._chain.head())
            came += more
            if done:
                return came
            reached = self._newest()[0]
            rounds = ROUNDS if reached > furthest else rounds - 1
            furthest = max(furthest, reached)
            if not rounds:
                raise ChainUnreachable(
                    "the chain did not stay the same while it was read",
                    party=self._chain.shown_url,
                    remedy="wait, or ask an endpoint that has the blocks that it names",
                )
            time.sleep(self._chain.profile.poll_seconds)

    def events(self, *names: str, about: bytes | str | None = None) -> list[Event]:
        """The events of these names (all without any), in the order of the chain; with ``about`` those that have the task, the
        dataset, the grant, the account or whatever else is indexed, as bytes or as ``0x…``, among their topics. Of blocks up to
        :attr:`last`."""
        wanted = [json.dumps(names)] if names else []
        if about is None:
            query, values = NAMED if names else ALL, wanted
        else:
            query, values = ABOUT_NAMED if names else ABOUT, [_topic(about), *wanted]
        rows = self._asked(lambda: self._file.execute(query, values).fetchall())
        found = (self._chain.event_of(json.loads(log)) for (log,) in rows)
        last = self.last  # behind it may be what another process has read meanwhile
        return [event for event in found if event is not None and event.block <= last]

    def times(self, blocks: Iterable[int]) -> dict[int, int]:
        """When blocks were made, in seconds since 1970: each is asked of the node once. Raises ChainUnreachable."""
        wanted = list(blocks)
        query = "select block, at from blocks where block in (select value from json_each(?))"
        found = dict(self._asked(lambda: self._file.execute(query, (json.dumps(wanted),)).fetchall()))
        known = {block: found[block] if block in found else int(self._chain.block(block)["timestamp"], 16) for block in wanted}
        with self._writing():
            if self._stands():
                self._file.executemany("insert or ignore into blocks values (?, ?)", known.items())
        return known

    def _asked(self, ask: Callable[[], T]) -> T:
        """What one state of the file answers: one in which what was caught up with still stands, or else is caught up with again.
        Another process may have read another chain meanwhile."""
        while True:
            with self._transaction("begin"):
                if self._stands():
                    return ask()
            self.catch_up()

    def _stands(self) -> bool:
        held = self._file.execute("select 1 from pages where last = ? and hash = ?", self._place or (-1, "")).fetchone()
        return self._place is None or held is not None

    # -- pages

    def _read_to(self, head: int) -> tuple[int, bool]:
        """Read pages up to a block; how many events came, and whether the chain up to there stayed the same meanwhile.

        While the hash of ``head`` is the same, so is every block before it: a page is kept when it was so before and after.
        """
        anchor, came = self._chain.hash_at(head), 0
        place = self._common()
        while place[0] < head:
            until, logs = next(self._chain.log_pages(place[0] + 1, head))
            rows = [row for log in logs if (row := self._row(log, place[0], until)) is not None]
            found = self._chain.hash_at(until)
            if not (anchor and found) or self._chain.hash_at(head) != anchor:
                return came, False
            with self._writing():
                first = self._newest() == place
                if first:
                    came += self._keep(rows, until, found)
            place = (until, found) if first else self._common()  # another process may have read another chain
        self._place = place
        return came, True

    def _newest(self) -> tuple[int, str]:
        found = self._file.execute("select last, hash from pages order by last desc limit 1").fetchone()
        return (int(found[0]), str(found[1])) if found else (-1, "")

    def _common(self) -> tuple[int, str]:
        """The last block that this file and the chain have in common, after pages that the chain no longer has are dropped."""
        while True:
            last, known = self._newest()
            if last < 0 or self._chain.hash_at(last) == known:
                return last, known
            with self._writing():
                if self._newest() != (last, known):
                    continue
                self._file.execute("delete from pages where last = ?", (last,))
                self._cut(self._newest()[0])

    def _cut(self, after: int) -> None:
        """Forget every event and block behind ``after``."""
        self._file.execute("delete from topics where event in (select id from events where block > ?)", (after,))
        self._file.execute("delete from events where block > ?", (after,))
        self._file.execute("delete from blocks where block > ?", (after,))

    def _row(self, log: Any, after: int, until: int) -> Row | None:
        """None for a log of no event of ours. Raises ChainUnreachable for what is no log of these blocks."""
        try:
            name = self._chain.event_name(log)
            if name is None:
                return None
            block = int(log["blockNumber"], 16)
            topics = [str(topic) for topic in log["topics"][1:]]
            kept = json.dumps({member: log[member] for member in _MEMBERS}, separators=(",", ":"))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ChainUnreachable("the chain's answer to eth_getLogs does not make sense", party=self._chain.shown_url) from None
        if not after < block <= until:
            raise ChainUnreachable("the chain answered eth_getLogs for other blocks", party=self._chain.shown_url)
        return block, name, kept, topics

    def _keep(self, rows: Sequence[Row], until: int, found: str) -> int:
        (first,) = self._file.execute("select coalesce(max(id), -1) + 1 from events").fetchone()
        numbered = list(enumerate(rows, first))
        self._file.executemany("insert into events values (?, ?, ?, ?)", ((i, *row[:3]) for i, row in numbered))
        keys = ((topic, row[1], i) for i, row in numbered for topic in row[3])
        self._file.executemany("insert or ignore into topics values (?, ?, ?)", keys)
        self._file.execute("insert into pages values (?, ?)", (until, found))
        self._file.execute("delete from pages where last not in (select last from pages order by last desc limit ?)", (KEPT,))
        return len(numbered)

    def _write_ahead(self) -> None:
        """Keep a log of what is written, which readers do not wait for. SQLite itself does not wait here for a process that makes
        the same file at the same moment."""
        give_up = time.monotonic() + WAIT
        while True:
            try:
                self._file.execute("pragma journal_mode=wal")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
            time.sleep(0.02)

    def _writing(self) -> AbstractContextManager[None]:
        return self._transaction("begin immediate")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._file.execute(begin)
        try:
            yield
        except BaseException:
            self._file.execute("rollback")
            raise
        self._file.execute("commit")


def index_path(folder: Path, chain: Chain) -> Path:
    """Where below ``folder`` the index of ``chain`` lies: by chain id, first block and deployment, so that a development chain that
    was reset has a file of its own, and a contract that came later is not missed in blocks that were read without it."""
    first: Mapping[str, Any] = chain.block(0)
    contracts = keccak("".join(sorted(contract.address for contract in chain.contracts.values())).encode())
    return folder / f"{chain.deployment.chain_id}-{str(first['hash'])[2:18]}-{contracts.hex()[:16]}.db"


def _topic(value: bytes | str) -> str:
    digits = value.hex() if isinstance(value, bytes) else value.lower().removeprefix("0x")
    return "0x" + digits.rjust(64, "0")
