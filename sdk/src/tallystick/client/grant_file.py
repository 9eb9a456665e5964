"""A grant with its terms, as one file: what an owner hands to a grantee."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.grant import Grant, GrantTerms


@dataclass(frozen=True)
class GrantFile:
    """A grant with its terms, as its owner hands it to the grantee."""

    grant: Grant
    terms: GrantTerms

    def to_bytes(self) -> bytes:
        """Canonical bytes."""
        terms = canonical.decode(self.terms.to_bytes(), 1 << 20)
        return canonical.encode({"grant": self.grant.to_json(), "terms": terms})

    @classmethod
    def parse(cls, data: bytes) -> GrantFile:
        """Read a grant file. Raises MalformedDocument."""
        value = canonical.decode(data, 1 << 20)
        if not isinstance(value, dict) or set(value) != {"grant", "terms"}:
            raise MalformedDocument("a grant file has the members grant and terms")
        made = cls(Grant.from_json(value["grant"]), GrantTerms.parse(canonical.encode(value["terms"])))
        if made.terms.root() != made.grant.terms:
            raise MalformedDocument("a grant file's terms are not those of its grant", remedy="ask the owner for the file again")
        return made
