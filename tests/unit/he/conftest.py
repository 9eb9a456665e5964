"""One key for all tests of a module: the sizes are those of real use."""

import pytest
from tallystick_node.engines.he.paillier.ciphertexts import Encryptor
from tallystick_node.engines.he.paillier.keys import PrivateKey, generate


@pytest.fixture(scope="session")
def private() -> PrivateKey:
    return generate(2048)


@pytest.fixture(scope="session")
def encryptor(private: PrivateKey) -> Encryptor:
    return Encryptor(private.public)
