"""Products by encryption: the arithmetic against Python's integers, the scheme at its limits, and hostile messages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.channel import ProtocolViolation, local_sessions
from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.beaver.lattice import numbers, scheme
from tallystick_node.engines.mpc.beaver.lattice.blocks import Blocks
from tallystick_node.engines.mpc.beaver.lattice.modular import reduced, times
from tallystick_node.engines.mpc.beaver.lattice.numbers import PRIMES, RING, SLOT_PRIMES, SMALL, Q
from tallystick_node.engines.mpc.beaver.lattice.products import Products, _below
from tallystick_node.engines.mpc.beaver.lattice.transform import Modulus, N
from tallystick_node.engines.mpc.prss import Stream
from unit.engines.conftest import CorruptingChannel, run_parties

ORDER = np.random.default_rng(3)


def words(*shape: int) -> np.ndarray:
    return ORDER.integers(0, 2**64, shape, np.uint64)


def is_prime(n: int) -> bool:
    """Miller and Rabin's test; these bases decide below 3.3 * 10^24 (Sorenson and Webster, 2015)."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41):
        power = pow(base, odd, n)
        if power not in (1, n - 1) and all((power := power * power % n) != n - 1 for _ in range(twos - 1)):
            return False
    return True


def test_the_moduli_are_what_the_security_argument_needs() -> None:
    assert all(is_prime(p) and p % (2 * N) == 1 for p in (*PRIMES, *SLOT_PRIMES))
    assert len({*PRIMES, *SLOT_PRIMES}) == 10
    assert all(p < 2**48 for p in PRIMES)
    assert Q.bit_length() <= 218  # Homomorphic Encryption Standard, 2018: dimension 8192, ternary secret, 128 bits
    assert Q // 2**65 > 2**126  # the noise that drowns, and as much again, stays below half a step


@compiled
def _times(a: float, b: float, p: float) -> float:
    return times(a, b, p, 1 / p)


@compiled
def _reduced(a: float, p: float) -> float:
    return reduced(a, p, 1 / p)


@given(st.sampled_from([*PRIMES, *SLOT_PRIMES]), st.integers(-10, 10), st.fractions(-1, 1), st.fractions(-1, 1))
@settings(max_examples=200)
def test_modular_arithmetic(p, multiple, first, second) -> None:
    a, b = int(first * p) + multiple * p, int(second * p)
    product = _times(float(a), float(b), float(p))
    assert (int(product) - a * b) % p == 0
    assert abs(product) <= 0.5 * p + abs(a * b) / 2**51
    small = _reduced(float(a), float(p))
    assert (int(small) - a) % p == 0
    assert abs(small) <= 0.51 * p


@pytest.mark.parametrize("p", [PRIMES[0], PRIMES[3], SLOT_PRIMES[0]])
def test_transforms_multiply_polynomials(p) -> None:
    modulus = Modulus.of(p)
    dense = ORDER.integers(0, p, N)
    sparse = {0: p - 1, 1: 12345678901 % p, 5: p // 2, N - 1: p - 2}
    wanted = [0] * N
    for place, factor in sparse.items():
        for i, value in enumerate(dense.tolist()):
            wanted[(i + place) % N] += value * factor * (-1 if i + place >= N else 1)
    polynomials = np.zeros((2, N))
    polynomials[0] = dense
    polynomials[1, list(sparse)] = list(sparse.values())
    modulus.forward(polynomials)
    values = np.array([[int(a) * int(b) % p for a, b in zip(*polynomials, strict=True)]], np.float64)
    modulus.backward(values)
    assert all((int(found) - value) % p == 0 for found, value in zip(values[0], wanted, strict=True))
    modulus.backward(polynomials)
    assert all((int(found) - value) % p == 0 for found, value in zip(polynomials[0], dense.tolist(), strict=True))


def test_numbers_put_together_from_residues() -> None:
    total = 1
    for t in SLOT_PRIMES:
        total *= t
    half = (total - 1) // 2
    chosen = [0, 1, -1, half, -half, 1 << 127, -(1 << 127), SLOT_PRIMES[0], SLOT_PRIMES[0] // 2 + 1]
    chosen += [int.from_bytes(ORDER.bytes(24), "little") % total - half for _ in range(200)]
    residues = np.zeros((len(SLOT_PRIMES), 1, len(chosen)))
    for number, t in enumerate(SLOT_PRIMES):
        residues[number, 0] = [value % t for value in chosen]
    found = numbers.slot_sum(residues)
    assert found[0].tolist() == [value % 2**64 for value in chosen]


def test_lifting_and_scaling_down() -> None:
    u = words(1, N).view(np.int64)
    u[0, :4] = [0, -1, 2**63 - 1, -(2**63)]
    lifted = numbers.lift(u, 1 << 63)
    for number, p in enumerate(PRIMES):
        assert all((int(lifted[number, 0, i]) - (int(u[0, i]) << 63)) % p == 0 for i in range(0, N, 37))
    value = [int.from_bytes(ORDER.bytes(24), "little") % Q for _ in range(N)]
    residues = np.array([[[v % p for v in value]] for p in PRIMES], np.float64)
    small = scheme._scaled_down(residues)
    for i in range(0, N, 37):
        for number, p in enumerate(PRIMES[:2]):
            nearest = (value[i] * SMALL + Q // 2) // Q
            assert min((int(small[number, 0, i]) - nearest) % p, (nearest - int(small[number, 0, i])) % p) <= 1


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2), (1, 300, 1), (100, 1, 90), (17, 40, 23), (2, 900, 3)])
def test_blocks_hold_matrix_products(shape) -> None:
    """With polynomials multiplied coefficient by coefficient, modulo 2^64."""
    rows, inner, columns = shape
    layout = Blocks.of(*shape)
    assert layout.m * layout.k * layout.n == N
    x, y = words(rows, inner), words(inner, columns)
    left, right = layout.left(x), layout.right(y)
    total = np.zeros((layout.results, N), np.uint64)
    for i, j, k in layout.products():
        for place in np.flatnonzero(right[k]):
            moved = np.roll(left[j], place) * right[k, place]
            moved[:place] = np.uint64(0) - moved[:place]
            total[i] += moved
    assert (layout.result(total) == x @ y).all()


def test_what_is_drawn_is_what_it_says() -> None:
    ternary = scheme._ternary(Stream(bytes(16)), 4)
    assert set(np.unique(ternary)) == {-1, 0, 1}
    assert abs((ternary**2).mean() - 2 / 3) < 0.02
    errors = scheme._errors(Stream(bytes(16)), 8)
    assert abs(errors.mean()) < 0.1
    assert abs(errors.var() - 10.5) < 0.3
    assert 10 < np.abs(errors).max() <= 21
    uniform = scheme._uniform(bytes(16), 2)
    for number, p in enumerate(PRIMES):
        assert uniform[number].min() >= 0
        assert uniform[number].max() < p
        assert abs(uniform[number].mean() / p - 0.5) < 0.02


def two(first, second) -> list:
    answers = run_parties(local_sessions(2), lambda session: (first, second)[session.index](session))
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def test_decryption_at_the_limits() -> None:
    """The largest plaintexts and factors there are, with as many products in a sum as a tile has."""
    m = np.full((1, N), 2**63, np.uint64)
    y = np.zeros((1, N), np.uint64)
    y[0, :] = 2**63
    masks = words(1, N)
    many = 64

    def holder(session):
        key = scheme.KeyHolder(session, 1)
        key.encrypt(RING, numbers.ring_scale(m))
        return numbers.ring_result(key.answer(1))

    def multiplier(session):
        other = scheme.Multiplier(session, 0)
        given = other.ciphertexts(1)
        sums = np.zeros_like(given[0]), np.zeros_like(given[1])
        by = scheme.transformed(y.view(np.int64))
        for _ in range(many):
            for total, part in zip(sums, given, strict=True):
                scheme.add_products(total, part, by, np.zeros((1, 3), np.int64))
        other.reply(sums, RING, numbers.ring_scale(masks))

    found, _ = two(holder, multiplier)
    # 2^63 times 2^63 is 0 modulo 2^64, so only the masks are left: any carry from the noise would show.
    assert (found == masks).all()


def noise_of(y: np.ndarray, m: np.ndarray) -> np.ndarray:
    """The noise, in units of a plaintext's step, in the answer that multiplies m by y."""

    def holder(session):
        key = scheme.KeyHolder(session, 1)
        key.encrypt(RING, numbers.ring_scale(m))
        rho, rounding = RING.phases(key.answer(1))
        return sum(part / p for part, p in zip(rho, PRIMES[:2], strict=True)) - rounding

    def multiplier(session):
        other = scheme.Multiplier(session, 0)
        given = other.ciphertexts(1)
        sums = np.zeros_like(given[0]), np.zeros_like(given[1])
        for total, part in zip(sums, given, strict=True):
            scheme.add_products(total, part, scheme.transformed(y.view(np.int64)), np.zeros((1, 3), np.int64))
        other.reply(sums, RING, numbers.ring_scale(words(1, N)))

    return two(holder, multiplier)[0]


@pytest.mark.parametrize("y", [np.zeros((1, N), np.uint64), words(1, N)], ids=["zero", "random"])
def test_the_key_holder_sees_uniform_noise_whatever_it_was_multiplied_by(y) -> None:
    noise = noise_of(y, words(1, N))
    limit = 2.0**125 * 2.0**64 / Q
    assert np.abs(noise).max() <= limit * 1.001
    assert abs(noise.std() - limit / 3**0.5) < 0.02 * limit
    assert abs(noise.mean()) < 0.05 * limit  # nearly 8 standard deviations


@pytest.fixture(scope="module")
def triples():
    def engine(session):
        products = Products(session)
        first = [products.triples(count) for count in (3, 0, N, 17)]
        return first, [products.matrices(*shape) for shape in ((1, 1, 1), (300, 2, 5), (2, 600, 3), (33, 17, 29))]

    return two(engine, engine)


def test_triples(triples) -> None:
    for mine, theirs in zip(triples[0][0], triples[1][0], strict=True):
        a, b, c = (getattr(mine, name) + getattr(theirs, name) for name in "abc")
        assert (c == a * b).all()
    assert [len(each.a) for each in triples[0][0]] == [3, 0, N, 17]


def test_matrix_triples(triples) -> None:
    for mine, theirs in zip(triples[0][1], triples[1][1], strict=True):
        a, b, c = (getattr(mine, name) + getattr(theirs, name) for name in "abc")
        assert (c == a @ b).all()


def test_parts_are_uniform(triples) -> None:
    for party in triples:
        large = party[0][2]
        for part in (large.a, large.b, large.c):
            assert len(np.unique(part)) == N
            assert abs(np.unpackbits(part.view(np.uint8)).mean() - 0.5) < 0.005


def too_large(message: bytes) -> bytes:
    return b"\xff" * 6 + message[6:]


# Party 0 sends a seed and the public key, then six times a seed and a ciphertext; party 1 three times two parts of an answer.
@pytest.mark.parametrize(("sender", "number"), [(0, 1), (0, 3), (1, 0), (1, 5)])
@pytest.mark.parametrize("change", [lambda m: m[:-1], lambda m: m + b"\0", too_large], ids=["short", "long", "too large"])
def test_hostile_messages(sender, number, change) -> None:
    sessions = local_sessions(2)
    channels = sessions[sender].channels
    channels[1 - sender] = CorruptingChannel(channels[1 - sender], number, change)

    def engine(session):
        try:
            return Products(session).triples(1)
        except ProtocolViolation:
            session.channels[1 - session.index].send(b"")  # let the other end too
            raise

    error = run_parties(sessions, engine)[1 - sender]
    assert isinstance(error, ProtocolViolation)
    assert (error.peer, error.step) == (sender, scheme.STEP)


@pytest.mark.parametrize("number", [0, 2])
def test_seeds_of_the_wrong_length(number) -> None:
    sessions = local_sessions(2)
    sessions[0].channels[1] = CorruptingChannel(sessions[0].channels[1], number, lambda m: m + b"\0")
    error = run_parties(sessions, lambda session: Products(session).triples(1))[1]
    assert isinstance(error, ProtocolViolation)
    assert error.step == scheme.STEP


@pytest.mark.parametrize("bound", [3, SLOT_PRIMES[0], SLOT_PRIMES[-1]])
def test_a_mask_is_the_rest_of_128_random_bits(bound) -> None:
    """64 bits would leave a bias that millions of masks add up."""
    high, low = Stream(bytes(16)).elements((2, 2, 50))
    expected = [(int(h) * 2**64 + int(rest)) % bound for h, rest in zip(high.flat, low.flat, strict=True)]
    assert _below(Stream(bytes(16)), bound, (2, 50)).ravel().tolist() == expected
