"""The roots that evidence may end in: pinned keys of vendors, and roots of simulations that a policy names.

A vendor's root is a constant here and nowhere else: no argument can make another root count as hardware. Arm alone has no root:
there a policy names platform keys (:mod:`tallystick.attestation.cca`), though never a simulation's. What ends in any other root is
a *simulation*: it is refused unless the policy names the root's fingerprint, and its result says so on every surface.

Each fingerprint is SHA-256 of the root's SubjectPublicKeyInfo (of ``x || y``, big-endian, for Hygon, whose certificates are not
X.509). They can be recomputed from what the vendors publish: Intel's SGX Root CA (certificates.trustedservices.intel.com), AMD's
ARK, ASK and ASVK by product (kdsintf.amd.com, ``vcek/v1/<product>/cert_chain`` and ``vlek/v1/...``), Amazon's Nitro Enclaves root
(aws-nitro-enclaves.amazonaws.com, ``AWS_NitroEnclaves_Root-G1.zip``), Hygon's HRK (cert.hygon.cn).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tallystick.attestation.rules import Rule, require

SIMULATION_MARK = "SIMULATION ONLY"


@dataclass(frozen=True)
class Authority:
    """Who vouches for evidence: ``name`` of the root, and whether it is a vendor of hardware or a simulation."""

    name: str
    fingerprint: bytes
    hardware: bool

    @property
    def strength(self) -> str:
        """``hardware`` or ``simulated``."""
        return "hardware" if self.hardware else "simulated"


@dataclass(frozen=True)
class AmdKeys:
    """The pinned keys of one AMD product: the root (ARK), the issuer of VCEKs (ASK) and that of VLEKs (ASVK)."""

    ark: bytes
    ask: bytes
    asvk: bytes


def _pin(text: str) -> bytes:
    return bytes.fromhex(text)


INTEL_SGX_ROOT = _pin("a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e")
INTEL_QE_SIGNERS: Mapping[int, bytes] = MappingProxyType(
    {
        0x00: _pin("8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff"),
        0x81: _pin("dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5"),
    }
)
"""MRSIGNER of Intel's quoting enclaves, for SGX and for TDX. A full appraisal takes it from the signed QE identity instead."""

AMD: Mapping[str, AmdKeys] = MappingProxyType(
    {
        "Milan": AmdKeys(
            ark=_pin("9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9"),
            ask=_pin("42491669ccb851d627ea9846cd24eccbeb7de7c2a62740120fff88001d38ebb6"),
            asvk=_pin("66450a123ea5876206df67f2514a4fea224c0f63b18313423078b0edc4535e33"),
        ),
        "Genoa": AmdKeys(
            ark=_pin("429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831"),
            ask=_pin("0324d55bcd48ba877a8fd87c0e1b4934dec8448e3807a24384a34dc6a6c9ebb8"),
            asvk=_pin("7d1633252ebbadaa75f96e9b4e6f7d43a90ceb3f843937482630f8da2459264e"),
        ),
        "Turin": AmdKeys(
            ark=_pin("4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08"),
            ask=_pin("0000ead352025f208bf55297c4192c34cd1b878002107366d8f2065a9ae7d3a9"),
            asvk=_pin("bfc441408b2f806c5dbf180bd8920e6e60dd404d82141780d85dbf962954d386"),
        ),
    }
)

AWS_NITRO_ROOT = _pin("f2caf5ecc6190b4a8399b78bc58a2bbcd0382375db8a1bfd78a82743874fd225")

HYGON_ROOT = _pin("cfb7744bde61a72690c5d46410131a53ce3de8702f178c64d3152ea1e4194282")

_VENDORS: Mapping[bytes, str] = MappingProxyType(
    {
        INTEL_SGX_ROOT: "Intel SGX Root CA",
        AWS_NITRO_ROOT: "AWS Nitro Enclaves Root G1",
        HYGON_ROOT: "Hygon Root Key",
        **{keys.ark: f"AMD ARK-{product}" for product, keys in AMD.items()},
    }
)


def authority(root: bytes, subject: str, vendors: frozenset[bytes], simulations: frozenset[bytes], rule: Rule) -> Authority:
    """Who stands behind ``root``, the fingerprint of a chain's last key.

    ``vendors`` are the pinned keys that this family may end in; ``simulations`` those that the policy accepts. Rule ``rule``
    refuses any other. A simulation's root must carry the mark in its subject, so that no record of it can be mistaken.
    """
    if root in vendors:
        return Authority(_VENDORS[root], root, hardware=True)
    require(root in simulations, rule, "the root is neither the vendor's nor one of a simulation that the policy accepts")
    require(SIMULATION_MARK in subject, Rule.AUTHORITY, f"a simulation's root must say {SIMULATION_MARK}")
    return Authority(subject[:64], root, hardware=False)
