"""An authority's revocation list on chain: one signature for each certificate, which anyone may relay."""

from __future__ import annotations

from tallystick.protocol import typed

CERTIFICATE_REVOCATION_TYPE = "CertificateRevocation(address account,bytes32 fingerprint,bytes32 reason)"


def certificate_revocation_digest(domain: typed.Domain, account: str, fingerprint: bytes, reason: bytes) -> bytes:
    """What the authority's P-256 key signs to revoke a certificate; ``reason``: a digest. Domain of ParticipantRegistry."""
    values = (account, fingerprint, reason)
    return domain.digest(typed.struct_hash(CERTIFICATE_REVOCATION_TYPE, ("address", "bytes32", "bytes32"), values))
