"""Nitro documents of an authority of our own, in genuine format: each rule, the policy, and the CBOR beneath."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.attestation.cbor import Tagged, decode, encode
from tallystick.attestation.cose import ES256, read_key
from tallystick.attestation.nitro import NitroEndorsements, verify_nitro
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.references import NitroEnclave, ReferenceValues
from tallystick.attestation.result import Tier
from tallystick.attestation.rules import EvidenceRefused, Rule
from tallystick.attestation.verifier import Evidence, appraise
from unit.attestation.aws import NitroAuthority, certificate, sign1
from unit.attestation.test_dcap import DATA, NOW, WINDOW


def pcr(index: int) -> bytes:
    return bytes([index + 1]) * 48


@functools.cache
def nitro() -> NitroAuthority:
    return NitroAuthority(WINDOW)


def document(**changes: Any) -> Callable[[], bytes]:
    return lambda: nitro().document(NOW, **changes)


def edited(edit: Callable[[list[Any]], None]) -> Callable[[], bytes]:
    """A document whose four parts were changed."""

    def make() -> bytes:
        parts = decode(nitro().document(NOW))
        edit(parts)
        return encode(parts)

    return make


def der(item: Any) -> bytes:
    return bytes(item.public_bytes(Encoding.DER))


def refused(rule: Rule, raw: bytes, simulations: frozenset[bytes] | None = None) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        verify_nitro(raw, frozenset({nitro().fingerprint}) if simulations is None else simulations)
    assert caught.value.rule is rule, str(caught.value)


@pytest.mark.parametrize("tagged", [False, True])
def test_a_document_verifies_tagged_or_not(tagged: bool) -> None:
    facts = verify_nitro(nitro().document(NOW, tagged=tagged), frozenset({nitro().fingerprint}))
    assert (facts.timestamp, facts.report_data, facts.nonce, facts.pcrs[8]) == (NOW, DATA, b"nonce", pcr(8))
    assert not facts.authority.hardware


def test_absent_data_are_empty() -> None:
    facts = verify_nitro(nitro().document(NOW, user_data=None, nonce=None), frozenset({nitro().fingerprint}))
    assert (facts.report_data, facts.nonce, facts.public_key) == (b"", b"", b"")


OTHER = functools.cache(lambda: NitroAuthority(WINDOW))


def by_authority() -> bytes:
    """A document signed by a certificate of an authority's: one that may not sign documents."""
    n = nitro()
    key = generate_private_key(SECP384R1())
    leaf = certificate("enclave", "nitro intermediate", key, n.middle_key, WINDOW, ca=True)
    return sign1(key, encode(n.fields(NOW, certificate=der(leaf))))


def too_long() -> bytes:
    """A chain with one authority more than the intermediate allows."""
    n = nitro()
    below_key, key = generate_private_key(SECP384R1()), generate_private_key(SECP384R1())
    below = certificate("below", "nitro intermediate", below_key, n.middle_key, WINDOW)
    leaf = certificate("enclave", "below", key, below_key, WINDOW, ca=False)
    bundle = [der(n.root), der(n.middle), der(below)]
    return sign1(key, encode(n.fields(NOW, certificate=der(leaf), cabundle=bundle)))


CASES: list[tuple[Rule, Callable[[], bytes]]] = [
    (Rule.SIZE, lambda: bytes(70_000)),
    (Rule.CBOR, lambda: nitro().document(NOW)[:-1]),
    (Rule.CBOR, lambda: nitro().document(NOW) + b"\0"),
    (Rule.NITRO_COSE, lambda: encode([b"", {}, b"", b"", b""])),
    (Rule.NITRO_COSE, lambda: encode(Tagged(17, decode(nitro().document(NOW))))),
    (Rule.NITRO_COSE, lambda: sign1(nitro().key, encode(nitro().fields(NOW)), ES256)),
    (Rule.NITRO_COSE, lambda: sign1(nitro().key, encode(nitro().fields(NOW)), unprotected={4: b"x"})),
    (Rule.NITRO_COSE, edited(lambda parts: parts.__setitem__(0, encode({1: -35, 4: b"x"})))),
    (Rule.NITRO_COSE, edited(lambda parts: parts.__setitem__(0, b""))),
    (Rule.NITRO_COSE, edited(lambda parts: parts.__setitem__(2, None))),
    (Rule.NITRO_DOCUMENT, document(nonce=...)),
    (Rule.NITRO_DOCUMENT, document(more=1)),
    (Rule.NITRO_DOCUMENT, document(module_id="")),
    (Rule.NITRO_DOCUMENT, document(digest="SHA256")),
    (Rule.NITRO_DOCUMENT, document(timestamp=0)),
    (Rule.NITRO_DOCUMENT, document(timestamp=True)),
    (Rule.NITRO_DOCUMENT, document(pcrs={})),
    (Rule.NITRO_DOCUMENT, document(pcrs={32: pcr(0)})),
    (Rule.NITRO_DOCUMENT, document(pcrs={0: bytes(32)})),
    (Rule.NITRO_DOCUMENT, document(certificate=b"")),
    (Rule.NITRO_DOCUMENT, document(cabundle=[])),
    (Rule.NITRO_DOCUMENT, document(cabundle=[b"x"] * 9)),
    (Rule.NITRO_DOCUMENT, document(user_data=bytes(513))),
    (Rule.NITRO_DOCUMENT, document(public_key="text")),
    (Rule.CERTIFICATE, document(certificate=b"\x30\x00")),
    (Rule.NITRO_CHAIN, lambda: nitro().document(NOW, cabundle=[der(nitro().root)])),
    (Rule.NITRO_CHAIN, lambda: nitro().document(NOW, cabundle=[der(nitro().middle), der(nitro().root)])),
    (Rule.NITRO_CHAIN, lambda: nitro().document(NOW, cabundle=[der(OTHER().root), der(nitro().middle)])),
    (Rule.NITRO_CHAIN, by_authority),
    (Rule.NITRO_CHAIN, too_long),
    (Rule.NITRO_ROOT, lambda: OTHER().document(NOW)),
    (Rule.NITRO_VALIDITY, lambda: nitro().document(WINDOW[1] + 1)),
    (Rule.NITRO_SIGNATURE, edited(lambda parts: parts.__setitem__(2, encode(nitro().fields(NOW, nonce=b"other"))))),
    (Rule.NITRO_SIGNATURE, edited(lambda parts: parts.__setitem__(3, parts[3][:-1]))),
    (Rule.NITRO_SIGNATURE, lambda: sign1(OTHER().key, encode(nitro().fields(NOW)))),
]


@pytest.mark.parametrize(("rule", "make"), CASES, ids=[f"{case[0].code}-{n}" for n, case in enumerate(CASES)])
def test_one_thing_changed_is_refused_by_its_rule(rule: Rule, make: Callable[[], bytes]) -> None:
    refused(rule, make())


def test_every_rule_of_nitros_is_tested() -> None:
    assert {rule for rule in Rule if rule.code.startswith("nitro.")} <= {rule for rule, _ in CASES}


def test_a_named_root_without_the_mark_is_refused() -> None:
    bare = NitroAuthority(WINDOW, mark="")
    refused(Rule.AUTHORITY, bare.document(NOW), frozenset({bare.fingerprint}))


def result(at: int = NOW, reference: NitroEnclave | None = None, data: bytes = DATA, **changes: Any) -> Any:
    expected = reference or NitroEnclave(pcr(0), pcr(1), pcr(2), {8: pcr(8)})
    policy = AppraisalPolicy("nitro", simulations=frozenset({nitro().fingerprint}), max_age=120)
    evidence = Evidence(nitro().document(NOW, **changes), NitroEndorsements())
    return appraise(evidence, ReferenceValues((expected,)), policy, data, at)


def test_an_enclave_is_appraised_as_a_simulation() -> None:
    found = result()
    assert (found.kind, found.status, found.strength) == ("nitro", Tier.CONTRAINDICATED, "attested, simulated")
    assert found.measurement == pcr(0)


@pytest.mark.parametrize(
    ("rule", "given"),
    [
        (Rule.AGE, {"at": NOW + 121}),
        (Rule.AGE, {"at": NOW - 61}),
        (Rule.DEBUG, {"pcrs": {index: bytes(48) for index in range(3)}}),
        (Rule.DEBUG, {"pcrs": {0: pcr(0), 2: pcr(2)}}),
        (Rule.MEASUREMENT, {"reference": NitroEnclave(pcr(0), pcr(1), pcr(3))}),
        (Rule.MEASUREMENT, {"reference": NitroEnclave(pcr(0), pcr(1), pcr(2), {5: pcr(5)})}),
        (Rule.REPORT_DATA, {"data": DATA[:63]}),
    ],
)
def test_a_policy_decides(rule: Rule, given: dict[str, Any]) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        result(**given)
    assert caught.value.rule is rule


def test_no_result_has_ended_before_it_is_given() -> None:
    """An enclave's certificate lives for hours; a policy that takes older documents cannot make it last longer."""
    short = NitroAuthority(WINDOW, leaf_window=(NOW - 10, NOW + 10))
    policy = AppraisalPolicy("nitro", simulations=frozenset({short.fingerprint}), max_age=120)
    references = ReferenceValues((NitroEnclave(pcr(0), pcr(1), pcr(2)),))
    evidence = Evidence(short.document(NOW), NitroEndorsements())
    assert appraise(evidence, references, policy, DATA, NOW + 10).expires == NOW + 10
    with pytest.raises(EvidenceRefused) as caught:
        appraise(evidence, references, policy, DATA, NOW + 11)
    assert caught.value.rule is Rule.AGE


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 64), (1 << 64) - 1) | st.binary(max_size=300) | st.text(max_size=80),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(-50, 300) | st.text(max_size=5), inner, max_size=4)
        | st.builds(Tagged, st.integers(0, 1 << 40), inner)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_what_is_encoded_decodes_to_itself(value: object) -> None:
    assert decode(encode(value)) == value


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=80))
def test_bytes_either_are_the_one_encoding_of_a_value_or_are_refused(data: bytes) -> None:
    try:
        value = decode(data)
    except EvidenceRefused as error:
        assert error.rule is Rule.CBOR
    else:
        assert encode(value) == data


SHORT = "f8 f814 f816 f8ff fa00000016 18 1800 5803 9f01ff bf f7 f97e00 fb0000000000000000 a200000001 a1410000 a1f500 61ff 1c 0000"
LONG = ["81" * 20 + "00", "9b7fffffffffffffff00", "bb7fffffffffffffff00", "5b7fffffffffffffff00"]


@pytest.mark.parametrize("data", ["", *SHORT.split(), *LONG])
def test_everything_else_is_refused(data: str) -> None:
    with pytest.raises(EvidenceRefused) as caught:
        decode(bytes.fromhex(data))
    assert caught.value.rule is Rule.CBOR


def test_keys_are_checked() -> None:
    numbers = generate_private_key(SECP256R1()).public_key().public_numbers()
    x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
    good = {1: 2, -1: 1, -2: x, -3: y}
    assert read_key(good, Rule.CCA_BINDING).public_numbers() == numbers
    for bad, rule in (
        ([], Rule.CCA_BINDING),
        ({1: 2}, Rule.CCA_BINDING),
        (good | {1: 3}, Rule.CCA_BINDING),
        (good | {-1: 9}, Rule.CCA_BINDING),
        (good | {-2: 1}, Rule.CCA_BINDING),
        (good | {9: 1}, Rule.CCA_BINDING),
        (good | {-2: x[:31]}, Rule.KEY),
        (good | {-2: (x + y)[:31], -3: (x + y)[31:]}, Rule.KEY),
        (good | {-3: bytes(32)}, Rule.KEY),
    ):
        with pytest.raises(EvidenceRefused) as caught:
            read_key(bad, Rule.CCA_BINDING)
        assert caught.value.rule is rule


def test_each_step_of_the_chain_counts() -> None:
    n, stranger = nitro(), generate_private_key(SECP384R1())
    root, middle = n.root.subject.rfc4514_string().removeprefix("CN="), "nitro intermediate"
    bundles = {
        "the root is signed by another": [certificate(root, root, n.root_key, stranger, WINDOW), n.middle],
        "the root allows no intermediate": [certificate(root, root, n.root_key, n.root_key, WINDOW, 0), n.middle],
        "the intermediate is no authority": [n.root, certificate(middle, root, n.middle_key, n.root_key, WINDOW, ca=False)],
        "the intermediate is signed by another": [n.root, certificate(middle, root, n.middle_key, stranger, WINDOW, 0)],
    }
    for bundle in bundles.values():
        refused(Rule.NITRO_CHAIN, n.document(NOW, cabundle=[der(item) for item in bundle]))


def test_a_leaf_on_another_curve_is_refused() -> None:
    n, key = nitro(), generate_private_key(SECP256R1())
    leaf = certificate("enclave", "nitro intermediate", key, n.middle_key, WINDOW, ca=False)
    refused(Rule.KEY, sign1(key, encode(n.fields(NOW, certificate=der(leaf)))))


def test_a_signature_has_its_full_size_even_where_zeros_lead() -> None:
    n, payload = nitro(), encode(nitro().fields(NOW))
    while True:
        parts = decode(sign1(n.key, payload))
        if parts[3][48] == 0:
            break
    verify_nitro(encode(parts), frozenset({n.fingerprint}))
    refused(Rule.NITRO_SIGNATURE, encode([*parts[:3], parts[3][:48] + parts[3][49:]]))
