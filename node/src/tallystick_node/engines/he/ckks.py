"""CKKS (Cheon, Kim, Kim and Song, ASIACRYPT 2017) over TenSEAL's vectors: approximate sums and products with known numbers.

Security: IND-CPA under ring-LWE with ternary secrets, 128 bits by the table of the HomomorphicEncryption.org standard (2018). A
decrypted number carries noise that depends on the key: whoever sees both ciphertexts and exact decryptions can find the key (Li and
Micciancio, EUROCRYPT 2021). So :meth:`PrivateContext.decrypt` is for the key's holder alone; to tell others, use
:meth:`PrivateContext.release`. Adversary: semi-honest; not secure against chosen ciphertexts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.dp.sampling import discrete_gaussian
from tallystick_node.engines.he.errors import InvalidCiphertext, InvalidKey, MissingLibrary, PlaintextOverflow
from tallystick_node.engines.security import SecurityStatement

STANDARD = {4096: 109, 8192: 218, 16384: 438}  # degree -> most bits of all moduli for 128 bits of security, ternary secret
FLOOD_BITS = 22  # the noise of a release is so many bits longer than the bound of CKKS's own, for a number of size 1
_NOISE_BITS = 15  # a fresh entry's error is below 2^(this - scale bits): twelve standard deviations and more at these degrees


@dataclass(frozen=True)
class Parameters:
    """The ring's ``degree``, the bits of its ``moduli`` (the last is the special one of key switching), and of the scale.

    A vector has up to degree / 2 numbers. Every product takes one modulus after the first.
    """

    degree: int
    moduli: tuple[int, ...]
    scale_bits: int

    def __post_init__(self) -> None:
        if self.degree not in STANDARD or sum(self.moduli) > STANDARD[self.degree]:
            raise InvalidKey("the parameters are not within the 128 bits of the HomomorphicEncryption.org standard")
        if len(self.moduli) < 2 or not 20 <= self.scale_bits < self.moduli[0]:
            raise InvalidKey("there are at least two moduli, and the scale is shorter than the first")

    @property
    def slots(self) -> int:
        """The most numbers of a vector."""
        return self.degree // 2

    @property
    def products(self) -> int:
        """How many products one after another a ciphertext takes."""
        return len(self.moduli) - 2

    @property
    def largest(self) -> float:
        """Numbers, before and after every computation, are to be less than this in size."""
        return 2.0 ** (self.moduli[0] - self.scale_bits - 2)

    @property
    def ciphertext_limit(self) -> int:
        """The most bytes of a ciphertext: two polynomials at the highest level, and headers."""
        return 2 * self.degree * 8 * (len(self.moduli) - 1) + 1024

    @property
    def context_limit(self) -> int:
        """The most bytes of a public context, rotation keys among them."""
        return 2 * self.degree * 8 * len(self.moduli) * (2 * self.degree.bit_length() * (len(self.moduli) - 1) + 1) + 4096

    def sum_error(self, terms: int, largest: float = 1.0) -> float:
        """How far an entry of a sum of ``terms`` fresh vectors, of numbers up to ``largest``, is off at most."""
        return terms * (2.0 ** (_NOISE_BITS - self.scale_bits) + largest * 2.0**-44)

    def product_error(self, sizes: float, weights: float, terms: int) -> float:
        """How far a sum of ``terms`` products with known weights is off at most, given ``sizes``, the sum of |x w|, and
        ``weights``, the sum of |w|: the moduli are not exactly the scale (2^-20), and the noise is multiplied, with that of each
        rotation."""
        return sizes * 2.0**-20 + (weights + terms + 1) * 2.0 ** (_NOISE_BITS + 4 - self.scale_bits)


SUMS = Parameters(8192, (60, 60), 50)
PRODUCTS = Parameters(8192, (60, 40, 40, 60), 40)


@dataclass(frozen=True, eq=False)
class CkksVector:
    """An encrypted vector of ``size`` numbers. Operators take known numbers as flat arrays."""

    parameters: Parameters
    raw: Any  # a CKKSVector of TenSEAL
    size: int

    def __add__(self, other: CkksVector) -> CkksVector:
        """Sums, element by element, of vectors that went through as many products."""
        if self.parameters != other.parameters or self.size != other.size:
            raise ValueError("vectors of one length and the same parameters add")
        return self._derived(lambda: self.raw + other.raw, self.size)

    def __mul__(self, weights: NDArray[np.float64]) -> CkksVector:
        """Products, element by element."""
        return self._derived(lambda: self.raw * self._known(weights, (self.size,)), self.size)

    def dot(self, weights: NDArray[np.float64]) -> CkksVector:
        """One number: the sum of the products. Needs a context with rotation keys."""
        return self._derived(lambda: self.raw.dot(self._known(weights, (self.size,))), 1)

    def __matmul__(self, matrix: NDArray[np.float64]) -> CkksVector:
        """The vector times a known matrix of shape (size, k). Needs a context with rotation keys."""
        return self._derived(lambda: self.raw.matmul(self._known(matrix, (self.size, matrix.shape[-1]))), matrix.shape[-1])

    def to_bytes(self) -> bytes:
        """TenSEAL's serialisation."""
        data: bytes = self.raw.serialize()
        return data

    def _known(self, numbers: NDArray[np.float64], shape: tuple[int, ...]) -> list[Any]:
        if numbers.shape != shape or not (np.abs(numbers) < self.parameters.largest).all():
            raise PlaintextOverflow(f"known numbers must be of shape {shape}, finite and below {self.parameters.largest:g}")
        plain: list[Any] = numbers.tolist()
        return plain

    def _derived(self, work: Callable[[], Any], size: int) -> CkksVector:
        try:
            return CkksVector(self.parameters, work(), size)
        except (ValueError, RuntimeError) as error:
            if isinstance(error, PlaintextOverflow):
                raise
            rule = f"at most {self.parameters.products} products in a row, and rotation keys for sums of products"
            raise PlaintextOverflow(f"the ciphertext cannot be computed with ({rule}): {error}") from None


class PublicContext:
    """Encrypts and computes. ``raw`` is a context of TenSEAL."""

    def __init__(self, parameters: Parameters, raw: Any) -> None:
        self.parameters = parameters
        self._raw = raw

    @classmethod
    def from_bytes(cls, parameters: Parameters, data: bytes) -> PublicContext:
        """The context of a peer. Raises :class:`InvalidKey` unless it has exactly these parameters, a public key, and no secret.
        Whether the public key is the one that the peer made, nothing in it shows: the channel must."""
        library = _library()
        if len(data) > parameters.context_limit:
            raise InvalidKey(f"a public context of {len(data)} bytes; it has at most {parameters.context_limit}")
        try:
            raw = library.context_from(data, n_threads=1)
            own = _context(parameters)
            same = raw.seal_context().data.key_parms_id() == own.seal_context().data.key_parms_id()
            fit = same and raw.global_scale == own.global_scale and raw.has_public_key() and not raw.has_secret_key()
        except Exception as error:  # noqa: BLE001 - whatever the C++ library throws for hostile bytes
            raise InvalidKey(f"bytes that are no context: {type(error).__name__}") from None
        if not fit:
            raise InvalidKey("a context with other parameters than agreed, without a public key, or with a secret one")
        return cls(parameters, raw)

    def encrypt(self, numbers: NDArray[np.float64]) -> CkksVector:
        """An encrypted vector. Raises :class:`PlaintextOverflow` unless it is flat, not empty, and fits."""
        if numbers.ndim != 1 or not 1 <= numbers.size <= self.parameters.slots:
            raise PlaintextOverflow(f"a vector to encrypt is flat, of 1 to {self.parameters.slots} numbers")
        if not (np.abs(numbers) < self.parameters.largest).all():
            raise PlaintextOverflow(f"numbers must be finite and below {self.parameters.largest:g} in size")
        return CkksVector(self.parameters, _library().ckks_vector(self._raw, numbers.tolist()), numbers.size)

    def read(self, data: bytes, size: int) -> CkksVector:
        """A peer's fresh encrypted vector or sum of such. Raises :class:`InvalidCiphertext` for what is none under these parameters
        (that it is under this key, nothing shows)."""
        return self._read(data, size, len(self.parameters.moduli) - 1)

    def read_product(self, data: bytes, size: int, products: int) -> CkksVector:
        """The same, after so many products in a row."""
        return self._read(data, size, len(self.parameters.moduli) - 1 - products)

    def _read(self, data: bytes, size: int, level: int) -> CkksVector:
        if len(data) > self.parameters.ciphertext_limit:
            raise InvalidCiphertext(f"an encrypted vector of {len(data)} bytes; it has at most {self.parameters.ciphertext_limit}")
        try:
            raw = _library().ckks_vector_from(self._raw, data)
            parts = raw.ciphertext()
            form = [(part.size(), part.coeff_modulus_size(), part.scale, part.is_transparent()) for part in parts]
            found = raw.size()
        except Exception as error:  # noqa: BLE001 - whatever the C++ library throws for hostile bytes
            raise InvalidCiphertext(f"bytes that are no encrypted vector: {type(error).__name__}") from None
        if found != size or form != [(2, level, 2.0**self.parameters.scale_bits, False)]:
            raise InvalidCiphertext(f"an encrypted vector of another form than {size} numbers at level {level}")
        return CkksVector(self.parameters, raw, size)


class PrivateContext(PublicContext):
    """Decrypts. Its secret key never leaves it."""

    def __init__(self, parameters: Parameters, rotations: bool = False) -> None:  # noqa: FBT001 - named by every caller
        super().__init__(parameters, _context(parameters))
        self._rotations = rotations
        if rotations:
            self._raw.generate_galois_keys()

    def public(self) -> bytes:
        """The context for others: parameters, public key, and rotation keys if it has them; no secret key."""
        data: bytes = self._raw.serialize(
            save_public_key=True, save_secret_key=False, save_galois_keys=self._rotations, save_relin_keys=False
        )
        return data

    def decrypt(self, vector: CkksVector) -> NDArray[np.float64]:
        """The numbers, with noise that depends on the key: for the holder's eyes only. Raises :class:`InvalidCiphertext` where the
        library cannot decrypt."""
        try:
            vector.raw.link_context(self._raw)
            return np.array(vector.raw.decrypt()[: vector.size])
        except Exception as error:  # noqa: BLE001 - whatever the C++ library throws for hostile ciphertexts
            raise InvalidCiphertext(f"a vector that cannot be decrypted: {type(error).__name__}") from None

    def release(self, vector: CkksVector, error: float) -> NDArray[np.float64]:
        """The numbers with discrete Gaussian noise of standard deviation 2^``FLOOD_BITS`` x ``error``, where ``error`` bounds the
        noise of the ciphertext (``sum_error``, ``product_error``), for others to see.

        Noise flooding (Li, Micciancio, Schultz and Sorrell, CRYPTO 2022): each number released moves the views with one key and
        another apart by at most 2^-(2 ``FLOOD_BITS`` + 1) in divergence, so that after t numbers an advantage is at most about
        sqrt(t) 2^-(``FLOOD_BITS`` + 1): see :func:`released_bits`. Renew the key before t is large.
        """
        steps = np.rint(self.decrypt(vector) / error)
        if not (np.abs(steps) < 2.0**52).all():
            raise PlaintextOverflow("a decrypted number is too large for what the parameters hold: the computation overflowed")
        noisy = steps.astype(np.int64) + discrete_gaussian(4**FLOOD_BITS, vector.size)
        return noisy.astype(np.float64) * error


def released_bits(numbers: int) -> int:
    """Statistical bits that are left after so many numbers were released under one key (:meth:`PrivateContext.release`): half a bit
    less each time that they double."""
    return max(0, FLOOD_BITS + 1 - (max(numbers - 1, 0).bit_length() + 1) // 2)


def security() -> SecurityStatement:
    """What the encryption promises for a single number released: the basis that protocols add their roles to, and from which they
    take what more numbers cost."""
    return SecurityStatement(
        adversary="semi-honest",
        corruptions=1,
        parties=2,
        computational_bits=128,
        statistical_bits=FLOOD_BITS,
        trusted=(),
        learns={"holder of the private key": "every plaintext that it decrypts", "others": "nothing, under ring-LWE"},
        references=(
            "Cheon, Kim, Kim and Song, ASIACRYPT 2017",
            "HomomorphicEncryption.org, security standard, 2018",
            "Li and Micciancio, EUROCRYPT 2021",
            "Li, Micciancio, Schultz and Sorrell, CRYPTO 2022",
        ),
    )


def _library() -> Any:
    try:
        return import_module("tenseal")
    except ImportError:
        raise MissingLibrary("CKKS needs TenSEAL: install the extra tallystick-node[ckks]") from None


def _context(parameters: Parameters) -> Any:
    library = _library()
    moduli = list(parameters.moduli)
    raw = library.context(library.SCHEME_TYPE.CKKS, parameters.degree, coeff_mod_bit_sizes=moduli, n_threads=1)
    raw.global_scale = 2.0**parameters.scale_bits
    return raw
