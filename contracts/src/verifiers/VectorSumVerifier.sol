// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Result} from "../types/Types.sol";
import {SignedByAllVerifier} from "./SignedByAllVerifier.sol";

/// @title The committed sum is the sum of the parties' committed vectors, shown by openings of KZG commitments at one point.
/// @notice Each party commits to its vector, cut into 1 to 4 chunks of at most 4096 elements of the scalar field of BLS12-381,
/// as EIP-4844 commits to a blob; so is the sum committed to. From the commitments, the task and the attempt follows the point z, which
/// nobody could choose or foresee before they stood (Fiat and Shamir). Every commitment is opened at z, which the precompile for point
/// evaluation checks, and the parties' values must add up to the sum's. Polynomials of degree below 4096 that do not add up do so at z
/// with a probability below 2^-241 (Schwartz and Zippel).
///
/// Unlike projections, values are bound to the commitments: no party's word stands behind them, but the binding of KZG commitments
/// under the public ceremony's set-up. What is not shown: that a vector is what a party's data give, and that its elements are in any
/// range. What hides the vectors, and how they are encoded, stands in docs/spec/vector-sum.md; neither a vector nor the sum is shown here.
/// @dev Proof bytes: the number of chunks in 32 bytes; the commitments, 48 bytes each, of each chunk of each party in the proposal's
/// order and then of the sum; in the same order the value at z and the opening's point, 32 and 48 bytes. A party without input
/// has zeros. `result.inputs` is keccak256 of all parties' commitments, `result.output` is keccak256(abi.encode(keccak256 of the sum's
/// commitments, keccak256(proof))), so that what every party signed binds each byte.
contract VectorSumVerifier is SignedByAllVerifier {
    /// @notice Chunks of one vector.
    uint256 public constant MAX_CHUNKS = 4;
    /// @notice r, the order of the scalar field of BLS12-381.
    uint256 public constant ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;
    address private constant POINT_EVALUATION = address(10); // EIP-4844, from Cancun on
    bytes32 private constant TAG = keccak256("tallystick/vector-sum/v1");
    bytes32 private constant HOLDS = keccak256(abi.encode(uint256(4096), ORDER)); // what the precompile answers to a true opening
    bytes32 private constant NO_POINT = keccak256(abi.encodePacked(uint256(0), uint128(0)));
    bytes32 private constant NO_OPENING = keccak256(abi.encodePacked(uint256(0), uint256(0), uint128(0)));
    uint256 private constant PROBE_GAS = 60_000; // more than the precompile takes, and lost with the probe
    uint256 private constant HEAD = 32;
    uint256 private constant POINT = 48;
    uint256 private constant OPENING = 80; // a value and a point

    error PrecompileMissing(address precompile);

    /// @dev How many there are, and where all are opened.
    struct Layout {
        uint256 parties;
        uint256 chunks;
        uint256 count; // of commitments, those of the sum among them
        uint256 z;
    }

    constructor() {
        // The precompile refuses input of another length before anything else; where there is none, the call succeeds.
        (bool ok,) = POINT_EVALUATION.staticcall{gas: PROBE_GAS}("");
        if (ok) revert PrecompileMissing(POINT_EVALUATION);
    }

    /// @inheritdoc SignedByAllVerifier
    /// @dev The caller is the registry that the challenge is bound to.
    function verify(
        address[] calldata parties,
        Result calldata result,
        bytes32 digest,
        bytes[] calldata signatures,
        bytes calldata proof
    ) external view override returns (uint16) {
        _requireSignatures(parties, digest, signatures, 0);
        Layout memory layout = _layout(parties.length, proof);
        layout.z = _requireSigned(layout, result, proof);
        for (uint256 k; k < layout.chunks; ++k) {
            _requireSum(proof, layout, k);
        }
        return 0;
    }

    /// @notice What a challenge is bound to: this chain, the proof registry, the task and the attempt.
    function context(address registry, bytes32 task, uint8 attempt) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, registry, task, attempt));
    }

    /// @notice The point z at which every commitment is opened.
    /// @param inputs keccak256 of all parties' commitments
    /// @param total keccak256 of the sum's commitments
    function challenge(bytes32 context_, bytes32 inputs, bytes32 total) public pure returns (uint256) {
        return uint256(keccak256(abi.encode(TAG, context_, inputs, total))) % ORDER;
    }

    /// @inheritdoc SignedByAllVerifier
    function name() public pure override returns (string memory) {
        return "vector-sum-verified";
    }

    function _layout(uint256 parties, bytes calldata proof) private pure returns (Layout memory layout) {
        if (proof.length < HEAD) revert BadProof("the proof ends too soon");
        layout.parties = parties;
        layout.chunks = uint256(bytes32(proof[:HEAD]));
        if (layout.chunks == 0 || layout.chunks > MAX_CHUNKS) revert BadProof("a vector has 1 to 4 chunks");
        layout.count = layout.chunks * (parties + 1);
        if (proof.length != HEAD + (POINT + OPENING) * layout.count) {
            revert BadProof("one commitment and one opening for each chunk of each party and of the sum");
        }
    }

    /// @dev Commitments and openings are those that all signed. Returns the challenge.
    function _requireSigned(Layout memory layout, Result calldata result, bytes calldata proof) private view returns (uint256) {
        uint256 end = HEAD + POINT * layout.parties * layout.chunks;
        bytes32 inputs = keccak256(proof[HEAD:end]);
        bytes32 total = keccak256(proof[end:end + POINT * layout.chunks]);
        if (inputs != result.inputs) revert BadProof("input commitments are not those signed");
        if (keccak256(abi.encode(total, keccak256(proof))) != result.output) {
            revert BadProof("the sum's commitment or an opening is not the one signed");
        }
        return challenge(context(msg.sender, result.task, result.attempt), inputs, total);
    }

    /// @dev In one chunk: every opening holds, and the parties' values add up to the sum's.
    function _requireSum(bytes calldata proof, Layout memory layout, uint256 chunk) private view {
        uint256 total;
        for (uint256 i; i < layout.parties; ++i) {
            total = addmod(total, _valueOf(proof, layout, i * layout.chunks + chunk, true), ORDER);
        }
        if (total != _valueOf(proof, layout, layout.parties * layout.chunks + chunk, false)) {
            revert BadProof("the parties' values do not add up to the sum's");
        }
    }

    /// @dev The value at z of the numbered commitment; 0 where there is none, which may be so.
    function _valueOf(bytes calldata proof, Layout memory layout, uint256 number, bool optional) private view returns (uint256) {
        uint256 at = HEAD + POINT * number;
        bytes calldata commitment = proof[at:at + POINT];
        at = HEAD + POINT * layout.count + OPENING * number;
        bytes calldata opening = proof[at:at + OPENING];
        if (optional && keccak256(commitment) == NO_POINT) {
            if (keccak256(opening) != NO_OPENING) revert BadProof("a party without input has a value");
            return 0;
        }
        return _open(commitment, opening, layout.z);
    }

    /// @dev The value at z that an opening shows.
    function _open(bytes calldata commitment, bytes calldata opening, uint256 z) private view returns (uint256 value) {
        value = uint256(bytes32(opening[:32]));
        if (value >= ORDER) revert BadProof("a value is not reduced");
        if (!_holds(commitment, z, opening[:32], opening[32:])) revert BadProof("an opening does not hold");
    }

    function _holds(bytes memory commitment, uint256 z, bytes memory value, bytes memory point) private view returns (bool) {
        uint256 hash = uint256(sha256(commitment));
        bytes32 versioned = bytes32((hash & (type(uint256).max >> 8)) | (1 << 248));
        (bool ok, bytes memory out) =
            POINT_EVALUATION.staticcall(abi.encodePacked(versioned, z, value, commitment, point));
        return ok && keccak256(out) == HOLDS;
    }
}
