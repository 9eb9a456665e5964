"""Where a party's own work is done: the setting ``local_work``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from tallystick.protocol.errors import Configuration

AHEAD = 4  # pieces for each process that are under way
OF_CLUSTER = 64  # pieces that are under way at a cluster
MOST = 64  # processes


@dataclass(frozen=True)
class Place:
    """Where local work is done: ``kind`` is worker, processes or dask."""

    kind: str
    processes: int = 0
    scheduler: str = ""

    @classmethod
    def parse(cls, text: str) -> Place:
        """From the setting ``local_work``. Raises Configuration."""
        if text == "worker":
            return cls("worker")
        if (found := re.fullmatch(r"processes:([0-9]{1,2})", text)) and 1 <= int(found[1]) <= MOST:
            return cls("processes", int(found[1]))
        if found := re.fullmatch(r"dask:(tls|tcp)://(\[[0-9a-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})", text):
            if found[1] == "tcp" and not _local(found[2]):
                raise Configuration(
                    "local_work: pieces hold keys and secrets, and would travel in the clear",
                    remedy="name the scheduler by tls://, with Dask's own configuration of certificates",
                )
            return cls("dask", scheduler=text.removeprefix("dask:"))
        raise Configuration(
            f"local_work: {text!r} is no place for work", remedy=f"worker, processes:1 to processes:{MOST}, or dask:tls://HOST:PORT"
        )

    @property
    def ahead(self) -> int:
        """How many pieces may be under way."""
        return OF_CLUSTER if self.kind == "dask" else AHEAD * self.processes


def _local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
