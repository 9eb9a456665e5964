"""CKKS beside NumPy, within the stated errors, and hostile bytes refused."""

import contextlib
import sys

import numpy as np
import pytest
import tenseal
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.he.ckks import FLOOD_BITS, PRODUCTS, SUMS, Parameters, PrivateContext, PublicContext, security
from tallystick_node.engines.he.errors import HomomorphicError, InvalidCiphertext, InvalidKey, MissingLibrary, PlaintextOverflow


@pytest.fixture(scope="module")
def sums():
    private = PrivateContext(SUMS)
    return private, PublicContext.from_bytes(SUMS, private.public())


@pytest.fixture(scope="module")
def products():
    private = PrivateContext(PRODUCTS, rotations=True)
    return private, PublicContext.from_bytes(PRODUCTS, private.public())


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 4096), st.integers(1, 6), st.sampled_from([1.0, 40.0]), st.integers(0, 2**32))
def test_sums_are_within_the_stated_error(sums, size, terms, largest, seed):
    private, public = sums
    vectors = np.random.default_rng(seed).uniform(-largest, largest, (terms, size))
    total = public.encrypt(vectors[0])
    for vector in vectors[1:]:
        total += public.read(public.encrypt(vector).to_bytes(), size)
    found = private.decrypt(private.read(total.to_bytes(), size))
    assert np.abs(found - vectors.sum(axis=0)).max() <= SUMS.sum_error(terms, largest)


@pytest.mark.parametrize("size", [3, 1000])
def test_products_are_within_the_stated_error(products, size):
    private, public = products
    rng = np.random.default_rng(size)
    x, w, matrix = rng.normal(size=size), rng.normal(size=size), rng.normal(size=(size, 3))
    vector = public.encrypt(x)
    single = private.decrypt(private.read_product((vector * w).to_bytes(), size, 1))
    assert (np.abs(single - x * w) <= PRODUCTS.product_error(np.abs(x * w), np.abs(w), 1)).all()
    dot = private.decrypt(private.read_product(vector.dot(w).to_bytes(), 1, 1))
    assert abs(dot[0] - x @ w) <= PRODUCTS.product_error(np.abs(x * w).sum(), np.abs(w).sum(), size)
    if size < 100:
        found = private.decrypt(vector @ matrix)
        assert (
            np.abs(found - x @ matrix) <= PRODUCTS.product_error(np.abs(x) @ np.abs(matrix), np.abs(matrix).sum(axis=0), size)
        ).all()
        with pytest.raises(PlaintextOverflow, match="at most 2 products"):
            vector * w * w * w


def test_a_release_hides_the_noise(sums):
    private, public = sums
    error = SUMS.sum_error(1)
    noise = private.release(public.encrypt(np.full(4000, 0.5)), error) - 0.5
    assert noise.std() == pytest.approx(2.0**FLOOD_BITS * error, rel=0.1)
    assert security().statistical_bits == FLOOD_BITS


def test_parameters_beyond_the_standard_are_refused():
    for degree, moduli, scale in (
        (2048, (27, 27), 20),
        (4096, (60, 60), 40),
        (8192, (60, 60, 60, 60), 40),
        (8192, (60,), 40),
        (8192, (40, 40), 40),
    ):
        with pytest.raises(InvalidKey):
            Parameters(degree, moduli, scale)


def test_a_context_without_the_form_agreed_is_refused(sums):
    private, _ = sums
    good = private.public()
    other = Parameters(8192, (60, 50), 40)
    secret = private._raw.serialize(save_secret_key=True)
    bare = private._raw.serialize(save_public_key=False, save_secret_key=False)
    scaled = tenseal.context_from(good)
    scaled.global_scale = 2.0**30
    for data in (
        b"",
        b"x" * 100,
        good[:-7],
        good[:3000] + b"\xff" * 50 + good[3050:],
        secret,
        bare,
        PrivateContext(other).public(),
        scaled.serialize(),
    ):
        with pytest.raises(InvalidKey):
            PublicContext.from_bytes(SUMS, data)
    with pytest.raises(InvalidKey, match="at most"):
        PublicContext.from_bytes(SUMS, bytes(SUMS.context_limit + 1))
    assert len(good) <= SUMS.context_limit


def test_the_public_context_cannot_decrypt(sums):
    _, public = sums
    with pytest.raises(ValueError, match="secret"):
        public.encrypt(np.ones(3)).raw.decrypt()


def test_hostile_ciphertexts_are_refused(sums, products):
    _, public = sums
    good = public.encrypt(np.ones(3)).to_bytes()
    scaled = tenseal.ckks_vector(public._raw, [1.0] * 3, scale=2.0**30).serialize()
    foreign = products[1].encrypt(np.ones(3)).to_bytes()
    for data in (
        b"",
        b"x" * 100,
        good[:-5],
        good[:100] + b"\xff" * 50 + good[150:],
        scaled,
        foreign,
        good + bytes(SUMS.ciphertext_limit),
    ):
        with pytest.raises(InvalidCiphertext):
            public.read(data, 3)
    for size in (2, 4):
        with pytest.raises(InvalidCiphertext):
            public.read(good, size)
    with pytest.raises(InvalidCiphertext):
        products[1].read_product(foreign, 3, 1)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_spoiled_bytes_never_escape_as_another_error(sums, data):
    private, public = sums
    good = bytearray(public.encrypt(np.ones(2)).to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, 200))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(HomomorphicError):
        private.decrypt(private.read(bytes(good), 2))


def test_numbers_that_do_not_fit_are_refused(products):
    _, public = products
    for numbers in (np.zeros(0), np.zeros(4097), np.zeros((2, 2)), np.array([np.nan]), np.array([PRODUCTS.largest])):
        with pytest.raises(PlaintextOverflow):
            public.encrypt(numbers)
    vector = public.encrypt(np.ones(2))
    for work in (lambda: vector * np.ones(3), lambda: vector.dot(np.array([1, np.inf])), lambda: vector @ np.ones((3, 2))):
        with pytest.raises(PlaintextOverflow):
            work()
    with pytest.raises(ValueError, match="one length"):
        vector + public.encrypt(np.ones(3))


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "tenseal", None)
    with pytest.raises(MissingLibrary, match=r"tallystick-node\[ckks\]"):
        PrivateContext(SUMS)
