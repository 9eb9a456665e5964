"""What a task's evidence is about, byte for byte as the specification's page says, written out here a second time."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tallystick.attestation.quote import SgxReport
from tallystick.attestation.runs import commitment, inputs_digest, task_digest
from tallystick.attestation.simulation.platform import EnclaveIdentity, sgx_report

PAGE = (Path(__file__).parents[3] / "docs" / "spec" / "attested-task.md").read_text()
WORDS = st.binary(min_size=32, max_size=32)


def test_the_pages_vectors() -> None:
    one, two, three, four, five, six, eight = (bytes([number]) * 32 for number in (1, 2, 3, 4, 5, 6, 8))
    report = SgxReport.read(sgx_report(EnclaveIdentity(six, one, config_id=eight * 2), bytes(64)))
    digests = commitment(one, b"input"), inputs_digest([three, four]), task_digest(one, two, [three, four], five)
    for value in (*digests, report.identity):
        assert f"`{value.hex()}`" in PAGE


@given(WORDS, WORDS, st.lists(WORDS, min_size=1, max_size=4), WORDS)
def test_report_data_are_those_of_the_page(context: bytes, algorithm: bytes, inputs: list[bytes], output: bytes) -> None:
    listed = len(inputs).to_bytes(4, "big") + b"".join(sha256(each).digest() for each in inputs)
    result = sha256(b"tallystick/tee/result/v1" + listed + bytes([0, 0, 0, 1]) + sha256(output).digest()).digest()
    expected = sha256(b"tallystick/tee/task/v1" + context + algorithm + result).digest()
    assert task_digest(context, algorithm, inputs, output) == expected


@given(WORDS, st.binary(max_size=64))
def test_a_commitment_is_that_of_the_page(salt: bytes, data: bytes) -> None:
    assert commitment(salt, data) == sha256(b"tallystick/tee/commitment/v1" + salt + data).digest()


@given(WORDS, st.binary(min_size=64, max_size=64))
def test_an_identity_is_measurement_and_configuration(mrenclave: bytes, configuration: bytes) -> None:
    report = SgxReport.read(sgx_report(EnclaveIdentity(mrenclave, bytes(32), config_id=configuration), bytes(64)))
    assert report.identity == sha256(b"tallystick/tee/identity/v1\0" + mrenclave + configuration).digest()
