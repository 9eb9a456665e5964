"""The parameters of an `intersection` task, and what its protocols rest on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields

from tallystick_node.engines.psi import multi_party
from tallystick_node.engines.psi.two_party import PROTOCOLS, VARIANTS, Protocol
from tallystick_node.workloads.intersection.labels import LabelTerms
from tallystick_node.workloads.intersection.openings import MOST
from tallystick_node.workloads.keys import KeyRules, key_columns
from tallystick_node.workloads.reading import TaskParameters

MODES = ("ids", "cardinality")
FORMATS = ("csv", "parquet")
MALICIOUS = "rr22-malicious"
UNBALANCED = "unbalanced"
MANY = "kmprt17"
LABELLED = ("rr22", MALICIOUS, UNBALANCED)  # that can give labels

#: What each protocol rests on, and where it is from.
ASSUMES = {
    "rr22": (
        "Rindal and Raghuraman, CCS 2022: dual learning parity with noise, AES as an ideal permutation, BLAKE2s as a random oracle",
        "Guo et al., EUROCRYPT 2023, and Roy, CRYPTO 2022: the evaluations beneath it",
    ),
    "rr22-malicious": (
        "Rindal and Schoppmann, EUROCRYPT 2021, figure 4, with the store of Rindal and Raghuraman, CCS 2022",
        "dual learning parity with noise over GF(2^128), AES as an ideal permutation, BLAKE2s and SHA-256 as random oracles",
        "Weng et al., S&P 2021, and Roy, CRYPTO 2022: the checked evaluation",
    ),
    "kmprt17": (
        "Kolesnikov et al., CCS 2017, section 5, augmented semi-honest; Rindal and Raghuraman, CCS 2022, for its functions",
        "dual learning parity with noise, AES as an ideal permutation and a pseudo-random function, BLAKE2s as a random oracle",
    ),
    "unbalanced": (
        "Jarecki, Kiayias and Krawczyk, ASIACRYPT 2014; Resende and Aranha, FC 2018",
        "RFC 7748 and RFC 9380: decisional Diffie-Hellman in Curve25519, the hash to the curve as a random oracle",
    ),
    "ecdh": (
        "Meadows 1986; Huberman, Franklin and Hogg 1999; De Cristofaro, Gasti and Tsudik 2012",
        "RFC 7748 and RFC 9380: decisional Diffie-Hellman in Curve25519, the hash to the curve as a random oracle",
    ),
}


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``keys``: for each owner its key columns, in the order of the rules' types. ``format``: of the file of matches. ``labels``:
    what one owner gives beside its keys that match; None where it is nothing. ``openings``: how many rows the receiver opens to
    the other owner, to show that it compared the keys that it registered; 0 where none."""

    keys: Mapping[str, tuple[str, ...]]
    rules: KeyRules
    mode: Literal["ids", "cardinality"]
    protocol: Protocol  # or UNBALANCED or MANY
    minimum_group: int
    format: Literal["csv", "parquet"]
    labels: LabelTerms | None
    openings: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        names = ("keys", "types", "fold", "duplicates", "mode", "protocol", "minimum_group")
        fields = Fields(dict(value), names, "parameters", optional=("format", "labels", "openings"))
        listed = fields.items("keys", 2, multi_party.MOST, key_columns)
        keys = dict(listed)
        rules = KeyRules.read(fields, value["types"], "parameters")
        if any(len(columns) != len(rules.types) for columns in keys.values()):
            raise MalformedDocument("parameters.keys: each owner names one column for each type")
        mode: Any = fields.choice("mode", MODES)
        protocol: Any = fields.choice("protocol", (*PROTOCOLS, UNBALANCED, MANY))
        if len(listed) > 2 and (mode != "ids" or protocol not in ("automatic", MANY)):
            raise MalformedDocument(f"parameters.protocol: of more than two owners {MANY}, or automatic, in mode ids")
        if len(listed) == 2 and protocol == MANY:
            raise MalformedDocument(f"parameters.protocol: {MANY} is for three owners and more")
        if protocol in (*VARIANTS, UNBALANCED) and mode != "ids":
            raise MalformedDocument(
                f"parameters.protocol: {protocol} tells which keys match: for a cardinality say ecdh or automatic"
            )
        if len(listed) != len(keys):
            raise MalformedDocument("parameters.keys: each owner stands there once")
        file: Any = fields.choice("format", FORMATS) if fields.has("format") else FORMATS[0]
        if fields.has("format") and mode != "ids":
            raise MalformedDocument("parameters.format: only mode ids has a file of matches")
        labels = LabelTerms.read(value["labels"], "parameters.labels") if fields.has("labels") else None
        openings = fields.integer("openings", 1, MOST) if fields.has("openings") else 0
        if openings and protocol not in VARIANTS:
            raise MalformedDocument(f"parameters.openings: of {' or '.join(VARIANTS)}, by its name")
        made = cls(keys, rules, mode, protocol, fields.integer("minimum_group", 2, 1000), file, labels, openings)
        made._require_labels_fit()
        return made

    def _require_labels_fit(self) -> None:
        if self.labels is None:
            return
        if self.labels.party not in self.keys or len(self.keys) != 2 or self.mode != "ids":
            raise MalformedDocument("parameters.labels: one of two owners gives them, in mode ids")
        if self.protocol not in ("automatic", *LABELLED):
            raise MalformedDocument(f"parameters.labels: given by {', '.join(LABELLED)}, or automatic, which is rr22 then")
        for columns in self.keys.values():
            if set(columns) & set(self.labels.names):
                raise MalformedDocument("parameters.labels: no key column of either owner, beside which they stand in the result")

    def may_run(self, protocol: str) -> bool:
        """Whether a task of these parameters can run by this protocol."""
        if len(self.keys) > 2:
            return protocol == MANY
        named = self.protocol if self.mode == "ids" else "ecdh"
        if self.labels is not None and named == "automatic":
            return protocol == "rr22"
        return named == protocol or (named == "automatic" and protocol in ("rr22", "ecdh"))

    def table_name(self, dataset: str, holder: str) -> str:
        """Names what is kept of a holder's keys: a dataset, read in one way."""
        rules = [list(self.rules.types), self.rules.fold, self.rules.duplicates]
        labels = [] if self.labels is None else [[each.name, each.type, each.scale, each.bytes] for each in self.labels.columns]
        content = canonical.encode([dataset, list(self.keys[holder]), rules, labels])
        return "intersection-" + hashlib.sha256(content).hexdigest()[:32]
