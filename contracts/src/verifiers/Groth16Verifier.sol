// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IGroth16Verifier} from "../interfaces/IGroth16Verifier.sol";
import {IParticipantRegistry} from "../interfaces/IParticipantRegistry.sol";
import {Result} from "../types/Types.sol";
import {SignedByAllVerifier} from "./SignedByAllVerifier.sol";

/// @title Every party signed the result, and a proof of a registered circuit holds for the public inputs that they signed.
/// @notice Groth, "On the Size of Pairing-Based Non-interactive Arguments" (EUROCRYPT 2016, section 3.2) over BN254. The first
/// public input of every circuit is this attempt's: it follows from chain, registry, task, attempt and the inputs that all signed,
/// so that a proof for another task is none. What it shows: somebody knew values that satisfy the circuit. What it rests on: that
/// nobody kept the randomness of the circuit's set-up, for which its registrant answers; whoever has it proves anything.
/// @dev Proof bytes, in words: the number n of public inputs; registrant, circuit's digest and points of the key, as in its id;
/// the public inputs but the first; A (2), B (4), C (2). `result.output` is keccak256 over all of it.
contract Groth16Verifier is SignedByAllVerifier, IGroth16Verifier {
    uint256 private constant MAX_INPUTS = 32;
    IParticipantRegistry public immutable participants;

    mapping(bytes32 key => uint40) private _registeredAt;

    uint256 private constant FIELD = 21888242871839275222246405745257275088696311157297823662689037894645226208583;
    uint256 private constant ORDER = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    bytes32 private constant TAG = keccak256("tallystick/groth16/v1");
    uint256 private constant HEAD = 96; // bytes before the key's points
    uint256 private constant BETA = 64; // where the points begin, in the key's
    uint256 private constant GAMMA = 192;
    uint256 private constant DELTA = 320;
    uint256 private constant CONSTANT = 448; // the point for one; those of the inputs follow
    uint256 private constant TAIL = 256; // A, B, C
    uint256 private constant PROBE_GAS = 600_000; // a refused pairing takes all gas that it is given
    // The generator of G2, and a point of its curve that is not of its order.
    bytes private constant G2 =
        hex"198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c21800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa";
    bytes private constant OUTSIDE =
        hex"000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000010d1271953ed9ea0836846e70a1934187998c7f790cb4d7511b7f8da82de048a42869111d5381f072f8e2728fdb825a51aadd70e52c9830e9ab4b871c0531f1bb";

    constructor(IParticipantRegistry participants_) {
        participants = participants_;
        bytes memory generator = abi.encode(uint256(1), uint256(2));
        bytes memory negated = abi.encode(uint256(1), FIELD - 2);
        _probe(6, abi.encode(uint256(1), uint256(2), uint256(0), uint256(0)), generator);
        _probe(7, abi.encode(uint256(1), uint256(2), uint256(1)), generator);
        _probe(8, bytes.concat(generator, G2, negated, G2), abi.encode(uint256(1)));
        _probe(8, bytes.concat(generator, G2), abi.encode(uint256(0)));
        (bool taken,) = address(8).staticcall{gas: PROBE_GAS}(bytes.concat(generator, OUTSIDE));
        if (taken) revert PrecompileTooLenient(address(8));
    }

    /* KEYS */

    /// @inheritdoc IGroth16Verifier
    function register(bytes32 circuit, bytes calldata points) external returns (bytes32 key) {
        participants.requireActive(msg.sender, 0);
        key = keccak256(abi.encodePacked(uint256(uint160(msg.sender)), circuit, points));
        if (_registeredAt[key] != 0) revert KeyExists(key);
        _requireKey(points);

        _registeredAt[key] = uint40(block.timestamp);
        emit KeyRegistered(key, msg.sender, circuit, points);
    }

    /// @inheritdoc IGroth16Verifier
    function registeredAt(bytes32 key) external view returns (uint40) {
        return _registeredAt[key];
    }

    /* RESULTS */

    /// @inheritdoc SignedByAllVerifier
    function verify(
        address[] calldata parties,
        Result calldata result,
        bytes32 digest,
        bytes[] calldata signatures,
        bytes calldata proof
    ) external view override returns (uint16) {
        _requireSignatures(parties, digest, signatures, 0);
        if (keccak256(proof) != result.output) revert BadProof("the proof is not the one signed");
        _requireProof(_attemptInput(result), proof);
        return 0;
    }

    /// @inheritdoc SignedByAllVerifier
    function name() public pure override returns (string memory) {
        return "groth16";
    }

    /* RULES */

    /// @dev Points of their groups. At infinity alpha, beta, gamma or delta would free a prover of its terms, and the point of an
    /// input of that input. Whoever knows the ratio of gamma to delta proves anything.
    function _requireKey(bytes calldata points) private view {
        if (points.length < CONSTANT + 128 || points.length > CONSTANT + 64 * (MAX_INPUTS + 1) || points.length % 64 != 0) {
            revert BadKey("1 to 32 public inputs, each with a point");
        }
        if (_isZero(points[:BETA])) revert BadKey("a point is at infinity");
        for (uint256 at = BETA; at < CONSTANT; at += 128) {
            if (_isZero(points[at:at + 128])) revert BadKey("a point is at infinity");
        }
        for (uint256 at = CONSTANT; at < points.length; at += 64) {
            if (at != CONSTANT && _isZero(points[at:at + 64])) revert BadKey("a point is at infinity");
            (bool ok, bytes memory out) = address(6).staticcall(bytes.concat(points[at:at + 64], new bytes(64)));
            if (!ok || out.length != 64) revert BadKey("a point is none of the first group");
        }
        // Equal or each other's inverses: the set-up has no second phase.
        if (keccak256(points[GAMMA:GAMMA + 64]) == keccak256(points[DELTA:DELTA + 64])) {
            revert BadKey("gamma and delta are the same");
        }
        bytes memory pairs = bytes.concat(points[:GAMMA], points[:BETA], points[GAMMA:DELTA]);
        pairs = bytes.concat(pairs, points[:BETA], points[DELTA:CONSTANT]);
        (bool taken, bytes memory answer) = address(8).staticcall(pairs);
        if (!taken || answer.length != 32) revert BadKey("a point is none of its group");
    }

    function _requireProof(uint256 first, bytes calldata proof) private view {
        bytes calldata points = _requirePoints(proof);
        bytes calldata rest = proof[HEAD + points.length:];
        bytes memory sum = _sum(points, first, rest[:rest.length - TAIL]);
        _requireBalance(points, sum, rest[rest.length - TAIL:]);
    }

    /// @dev The points of the key, which is registered, in a proof that is of its length.
    function _requirePoints(bytes calldata proof) private view returns (bytes calldata points) {
        if (proof.length < HEAD) revert BadProof("the proof ends too soon");
        uint256 count = uint256(bytes32(proof[:32]));
        if (count == 0 || count > MAX_INPUTS) revert BadProof("1 to 32 public inputs");
        uint256 end = HEAD + CONSTANT + 64 * (count + 1);
        if (proof.length != end + 32 * (count - 1) + TAIL) revert BadProof("the proof is not of its length");
        if (_registeredAt[keccak256(proof[32:end])] == 0) revert BadProof("the verifying key is not registered");
        return proof[HEAD:end];
    }

    /// @dev The first public input. The caller of {verify} is the registry that it is bound to.
    function _attemptInput(Result calldata result) private view returns (uint256) {
        bytes32 context = keccak256(abi.encode(block.chainid, msg.sender, result.task, result.attempt));
        return uint256(keccak256(abi.encode(TAG, context, result.inputs))) % ORDER;
    }

    /// @dev The key's point for one, plus those of the inputs times the inputs.
    function _sum(bytes calldata points, uint256 first, bytes calldata inputs) private view returns (bytes memory sum) {
        sum = points[CONSTANT:CONSTANT + 64];
        uint256 input = first;
        for (uint256 k; k <= inputs.length / 32; ++k) {
            if (k != 0) input = uint256(bytes32(inputs[32 * (k - 1):32 * k]));
            if (input >= ORDER) revert BadProof("a public input is not reduced");
            uint256 at = CONSTANT + 64 * (k + 1);
            (bool scaled, bytes memory product) = address(7).staticcall(bytes.concat(points[at:at + 64], bytes32(input)));
            bool added;
            (added, sum) = address(6).staticcall(bytes.concat(sum, product));
            // An answer of no bytes would count as the point at infinity: as if the input were zero.
            if (!scaled || product.length != 64 || !added || sum.length != 64) revert BadProof("the public inputs do not add up");
        }
    }

    /// @dev e(A, B) = e(alpha, beta) e(sum, gamma) e(C, delta), with A negated.
    function _requireBalance(bytes calldata points, bytes memory sum, bytes calldata tail) private view {
        uint256 y = uint256(bytes32(tail[32:64]));
        if (y == 0 || y >= FIELD) revert BadProof("A is none of the proof's points");
        bytes memory pairs = bytes.concat(tail[:32], bytes32(FIELD - y), tail[64:192], points[:GAMMA]);
        pairs = bytes.concat(pairs, sum, points[GAMMA:DELTA], tail[192:], points[DELTA:CONSTANT]);
        (bool taken, bytes memory answer) = address(8).staticcall(pairs);
        if (!taken || answer.length != 32) revert BadProof("a point of the proof is none of its group");
        if (uint256(bytes32(answer)) != 1) revert BadProof("the proof does not hold");
    }

    function _isZero(bytes calldata words) private pure returns (bool) {
        for (uint256 at; at < words.length; at += 32) {
            if (bytes32(words[at:at + 32]) != 0) return false;
        }
        return true;
    }

    /// @dev A chain without the precompile answers with nothing at all.
    function _probe(uint160 precompile, bytes memory input, bytes memory expected) private view {
        (, bytes memory out) = address(precompile).staticcall{gas: PROBE_GAS}(input);
        if (keccak256(out) != keccak256(expected)) revert PrecompileMissing(address(precompile));
    }
}
