"""Keys: the modulus n that encrypts and adds, and its factors that decrypt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tallystick_node.engines.he.errors import InvalidCiphertext, InvalidKey, PlaintextOverflow
from tallystick_node.engines.he.paillier.integers import ARITHMETIC
from tallystick_node.engines.he.paillier.primes import SMALL_PRODUCT, blum_prime, is_prime
from tallystick_node.engines.security import SecurityStatement

STRENGTH = {2048: 112, 3072: 128}  # bits of n -> bits of security (NIST SP 800-57 part 1, table 2)
EXPONENT = {2048: 256, 3072: 320}  # bits of the short exponents: more than twice the strength, a multiple of 8


@dataclass(frozen=True)
class PublicKey:
    """The modulus ``n`` of 2048 or 3072 bits. Whoever has it can encrypt and compute with ciphertexts.

    Raises :class:`InvalidKey` for an n of another size, even, or with a prime factor below 2^16. That n is a product of two large
    primes that only the key's holder knows cannot be seen from n: the holder is trusted for it.
    """

    n: int

    def __post_init__(self) -> None:
        if not isinstance(self.n, int) or self.n.bit_length() not in STRENGTH:
            raise InvalidKey(f"the modulus must have one of {', '.join(map(str, STRENGTH))} bits: generate a new key")
        if math.gcd(self.n, SMALL_PRODUCT) != 1:
            raise InvalidKey("the modulus has a prime factor below 2^16: generate a new key")

    @property
    def bits(self) -> int:
        """The size of n."""
        return self.n.bit_length()

    @property
    def size(self) -> int:
        """Bytes of one ciphertext."""
        return self.bits // 4

    @cached_property
    def modulus(self) -> int:
        """n in the form that computes fast."""
        return ARITHMETIC.integer(self.n)

    @cached_property
    def square(self) -> int:
        """n^2, modulo which ciphertexts are."""
        return self.modulus * self.modulus

    @cached_property
    def largest(self) -> int:
        """Plaintexts are from -largest to largest, the limits of ``phe``; the third of n between them shows overflow."""
        return self.n // 3 - 1

    def to_bytes(self) -> bytes:
        """n, big-endian."""
        return self.n.to_bytes(self.bits // 8, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> PublicKey:
        """The key of :meth:`to_bytes`. Raises :class:`InvalidKey` for anything else, a shorter key with zeros before it too: who
        takes so many bytes gets a key of so many."""
        if len(data) * 8 not in STRENGTH:
            raise InvalidKey(f"a public key of {len(data)} bytes; it has {' or '.join(str(bits // 8) for bits in STRENGTH)}")
        key = cls(int.from_bytes(data, "big"))
        if key.bits != len(data) * 8:
            raise InvalidKey(f"a key of {key.bits} bits in {len(data)} bytes: it is shorter than agreed")
        return key

    def check(self, ciphertexts: Sequence[int]) -> None:
        """Raises :class:`InvalidCiphertext` unless each is in (0, n^2) and coprime to n: a unit, so that every operation, inversion
        too, is defined, and decryption is."""
        product = ARITHMETIC.integer(1)
        for number, ciphertext in enumerate(ciphertexts):
            if not 0 < ciphertext < self.square:
                raise InvalidCiphertext(f"ciphertext {number} is not between 0 and n^2")
            product = product * ciphertext % self.modulus
        if math.gcd(int(product), self.n) != 1:  # one gcd for all; only who fails pays for the search
            number = next(i for i, ciphertext in enumerate(ciphertexts) if math.gcd(int(ciphertext), self.n) != 1)
            raise InvalidCiphertext(f"ciphertext {number} has a factor in common with n")

    def residue(self, plaintext: int) -> int:
        """The plaintext modulo n. Raises :class:`PlaintextOverflow` unless it is from -largest to largest."""
        if not -self.largest <= plaintext <= self.largest:
            raise PlaintextOverflow("a plaintext is beyond a third of n: use smaller numbers or a longer key")
        return plaintext % self.n

    def signed(self, residue: int) -> int:
        """What :meth:`residue` encoded. Raises :class:`PlaintextOverflow` for the third in the middle."""
        if residue <= self.largest:
            return residue
        if residue >= self.n - self.largest:
            return residue - self.n
        raise PlaintextOverflow("a decrypted number is beyond a third of n: the computation overflowed or the input was no sum")


@dataclass(frozen=True, repr=False)
class PrivateKey:
    """The factors ``p`` and ``q`` of n. Raises :class:`InvalidKey` unless they are distinct primes that make a key.

    The factors never appear in a representation or an error. Decryption uses GMP's exponentiation with secret exponents
    (``mpz_powm_sec``) where gmpy2 is; the recombination around it and Python's own arithmetic are not constant-time: decrypt where
    no adversary measures time or shares the processor's caches.
    """

    p: int
    q: int
    public: PublicKey = field(init=False)

    def __post_init__(self) -> None:
        n = self.p * self.q
        if self.p == self.q or not (is_prime(self.p) and is_prime(self.q)):
            raise InvalidKey("the factors must be two distinct primes")
        if math.gcd(n, (self.p - 1) * (self.q - 1)) != 1:
            raise InvalidKey("n has a factor in common with the order of its group: generate a new key")
        object.__setattr__(self, "public", PublicKey(n))

    def decrypt(self, ciphertexts: Sequence[int]) -> list[int]:
        """The plaintexts of ciphertexts under this key, as integers from -largest to largest.

        By the Chinese remainder theorem (Paillier 1999, section 7). Raises :class:`InvalidCiphertext` for what no key could
        have made and :class:`PlaintextOverflow` for a plaintext between the limits.

        Security: not against chosen ciphertexts. Never tell whoever sent a ciphertext what it decrypts to, nor whether it
        overflowed, unless that is what the protocol releases.
        """
        self.public.check(ciphertexts)
        p, q = ARITHMETIC.integer(self.p), ARITHMETIC.integer(self.q)
        inverse = ARITHMETIC.inverse(q, p)
        plaintexts = []
        for of_p, of_q in zip(_half(ciphertexts, p, q), _half(ciphertexts, q, p), strict=True):
            plaintexts.append(self.public.signed(int(of_q + q * ((of_p - of_q) * inverse % p))))
        return plaintexts


def _half(ciphertexts: Sequence[int], prime: int, other: int) -> list[int]:
    """The plaintexts modulo ``prime``."""
    square = prime * prime
    scale = ARITHMETIC.inverse(-other % prime, prime)  # of L((1 + n)^(prime - 1)) = (prime - 1) other
    powers = ARITHMETIC.secret_powers([ciphertext % square for ciphertext in ciphertexts], prime - 1, square)
    return [(power - 1) // prime * scale % prime for power in powers]


def generate(bits: int = 3072) -> PrivateKey:
    """A new key whose n has ``bits`` bits, 2048 or 3072, from the operating system's randomness.

    n = pq for primes 3 mod 4 with gcd(p - 1, q - 1) = 2, as Damgard, Jurik and Nielsen (2010) ask, and free of small factors
    in (p - 1)/2 (module ``primes``); safe primes are needed only for threshold decryption.
    """
    if bits not in STRENGTH:
        raise InvalidKey(f"a key has one of {', '.join(map(str, STRENGTH))} bits")
    while True:
        p, q = blum_prime(bits // 2), blum_prime(bits // 2)
        if abs(p - q).bit_length() > bits // 2 - 100 and math.gcd(p - 1, q - 1) == 2:
            return PrivateKey(p, q)


def security(bits: int) -> SecurityStatement:
    """What the encryption promises under a key of ``bits`` bits: the basis that protocols add their roles to."""
    return SecurityStatement(
        adversary="semi-honest",
        corruptions=1,
        parties=2,
        computational_bits=STRENGTH[bits],
        statistical_bits=STRENGTH[bits],
        trusted=(),
        learns={
            "holder of the private key": "every plaintext that it decrypts; it must not decrypt for others what the protocol"
            " does not release, since the scheme is not secure against chosen ciphertexts",
            "others": "nothing: ciphertexts are indistinguishable (IND-CPA) under the decisional composite residuosity assumption"
            f" in the group that h generates and the assumption that its powers of {EXPONENT[bits]}-bit exponents are"
            " indistinguishable from its uniform elements",
        },
        references=("Paillier, EUROCRYPT 1999", "Damgard, Jurik and Nielsen, International Journal of Information Security, 2010"),
    )
