// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Result} from "../types/Types.sol";
import {SignedByAllVerifier} from "./SignedByAllVerifier.sol";

/// @title The committed aggregate is the sum of the parties' committed vectors, shown at four random points.
/// @notice For vectors too long to commit to by points of a curve: all the masked updates of a training task. Party i
/// committed to its vector y_i by a root R_i, and everybody to the aggregate Y by a root R*. From all roots follow four
/// points c_1 to c_4 of the field with p = 2^61 - 1 elements, which nobody could choose or foresee before the roots
/// stood (Fiat and Shamir). P_j(v) = sum of v_k c_j^(k+1) mod p is linear in v, so the parties' projections must add
/// up to the aggregate's. Entries are below p.
///
/// What it catches: a coordinator that drops, changes or invents an update, or gives two parties different aggregates.
/// Each party vouches with its signature that it computed its own projection from its own vector, and the aggregate's
/// from the aggregate that it used; the contract checks that these words fit one another. For vectors of d entries
/// and a false sum, they do so for one choice of roots with probability at most (9 d / 2^64)^4, about (1.13 d / p)^4;
/// whoever tries t choices of roots gains a factor t.
///
/// What it does not catch: a party that sent another vector than its data give (a lying input); a coordinator with a
/// party that announces a false projection, which is as if this party had sent another vector, except that its root
/// convicts it once it opens; and parties that all collude.
/// @dev Proof bytes: abi.encode(bytes32[] roots, bytes32 aggregateRoot, uint256[4][] projections,
/// uint256[4] aggregateProjection), in the order of the proposal's parties. A party without input has root and
/// projections zero. `result.inputs` is keccak256(abi.encode(roots)); `result.output` is
/// keccak256(abi.encode(challenge, keccak256(proof))), so that what every party signed binds each projection and the
/// challenge it was computed for.
contract ProjectionVerifier is SignedByAllVerifier {
    /// @notice p, a Mersenne prime.
    uint256 public constant MODULUS = (1 << 61) - 1;
    bytes32 private constant TAG = keccak256("tallystick/projection/v1");

    /// @dev What a proof's bytes say.
    struct Projections {
        bytes32[] roots;
        bytes32 aggregateRoot;
        uint256[4][] projections;
        uint256[4] aggregate;
    }

    /// @inheritdoc SignedByAllVerifier
    /// @dev The caller is the registry that the challenge is bound to.
    function verify(
        address[] calldata parties,
        Result calldata result,
        bytes32 digest,
        bytes[] calldata signatures,
        bytes calldata proof
    ) external view virtual override returns (uint16) {
        _requireSignatures(parties, digest, signatures, 0);
        Projections memory said;
        (said.roots, said.aggregateRoot, said.projections, said.aggregate) =
            abi.decode(proof, (bytes32[], bytes32, uint256[4][], uint256[4]));
        _requireSum(parties.length, result, keccak256(proof), said);
        return 0;
    }

    function _requireSum(uint256 parties, Result calldata result, bytes32 proof, Projections memory said)
        internal
        view
    {
        if (said.roots.length != parties) revert BadProof("one root for each party");
        if (said.projections.length != parties) revert BadProof("four projections for each party");
        if (keccak256(abi.encode(said.roots)) != result.inputs) revert BadProof("roots are not those signed");
        bytes32 hash = challenge(context(msg.sender, result.task, result.attempt), said.roots, said.aggregateRoot);
        if (keccak256(abi.encode(hash, proof)) != result.output) {
            revert BadProof("projections or aggregate are not those signed, or for another challenge");
        }

        for (uint256 j; j < 4; ++j) {
            uint256 total;
            for (uint256 i; i < parties; ++i) {
                uint256 projection = said.projections[i][j];
                if (projection >= MODULUS) revert BadProof("a projection is not below 2^61 - 1");
                if (said.roots[i] == 0 && projection != 0) revert BadProof("a party without input has a projection");
                total += projection;
            }
            if (total % MODULUS != said.aggregate[j]) {
                revert BadProof("the projections do not add up to the aggregate's");
            }
        }
    }

    /// @notice What a challenge is bound to: this chain, the proof registry, the task and the attempt.
    function context(address registry, bytes32 task, uint8 attempt) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, registry, task, attempt));
    }

    /// @notice The hash whose four 64-bit words, most significant first, are the points c_1 to c_4 modulo p.
    function challenge(bytes32 context_, bytes32[] memory roots, bytes32 aggregateRoot) public pure returns (bytes32) {
        return keccak256(abi.encode(TAG, context_, roots, aggregateRoot));
    }

    /// @inheritdoc SignedByAllVerifier
    function name() public view virtual override returns (string memory) {
        return "projection-verified";
    }
}
