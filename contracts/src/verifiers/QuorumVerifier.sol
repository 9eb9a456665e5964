// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {IParticipantRegistry} from "../interfaces/IParticipantRegistry.sol";
import {IQuorumVerifier} from "../interfaces/IQuorumVerifier.sol";
import {Signatures} from "../libraries/Signatures.sol";
import {Result} from "../types/Types.sol";
import {EnclaveVerifier} from "./EnclaveVerifier.sol";
import {SignedByAllVerifier} from "./SignedByAllVerifier.sol";

/// @title Computed in an enclave of genuine hardware, as a quorum of verifiers says that appraised its evidence off chain.
/// @notice What it shows: every party signed the result, and at least as many verifiers as the task asks for, each of them
/// named by the task and by the governor, active now and no party of the task, vouch that an allowed enclave says this of this
/// attempt. What it does not show: that the verifiers are independent of one another, or right. That they name no simulation
/// is theirs to see: what they sign has no word for one.
/// @dev Proof bytes, one after the other: the input commitment of each party (32 bytes, zero without an input), the
/// algorithm's digest, the output's digest, identity, platform, second half of the report data, evidence, policy, family (1
/// byte), how many have to vouch (1), how many accounts the task names (1), and these (20 each). So far it is what all parties
/// sign: `result.inputs` is keccak256 over the commitments, `result.output` over all of it. Then the vouchings, ascending
/// by account: its place among those named (1), until when the appraisal holds (5), the length of the signature (2), the signature.
contract QuorumVerifier is EnclaveVerifier, IQuorumVerifier {
    mapping(address account => bool) private _named;
    uint8 public threshold;

    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant REGISTRY = keccak256("Tallystick ProofRegistry");
    bytes32 private constant RELEASE = keccak256("1");
    bytes32 private constant VOUCHING = keccak256(
        "Vouching(bytes32 task,uint8 attempt,uint8 family,bytes32 identity,bytes32 platform,bytes32 reportData,bytes32 reportDataRest,bool debug,bytes32 evidence,bytes32 policy,uint40 notAfter)"
    );
    uint256 private constant HEAD = 227;
    uint256 private constant LEAST = 2;
    uint8 private constant FAMILIES = 6;

    constructor(IParticipantRegistry participants_) EnclaveVerifier(participants_) {}

    /* VERIFIERS */

    /// @inheritdoc IQuorumVerifier
    function nameVerifier(address account) external {
        _onlyGovernor();
        participants.requireActive(account, 0);
        if (_named[account]) revert AlreadySo(bytes32(bytes20(account)));

        _named[account] = true;
        emit VerifierNamed(account);
    }

    /// @inheritdoc IQuorumVerifier
    function dropVerifier(address account, bytes32 reason) external {
        _onlyGovernor();
        if (!_named[account]) revert AlreadySo(bytes32(bytes20(account)));

        _named[account] = false;
        emit VerifierDropped(account, reason);
    }

    /// @inheritdoc IQuorumVerifier
    function setThreshold(uint8 least) external {
        _onlyGovernor();
        if (least < LEAST) revert BadThreshold(least);

        threshold = least;
        emit ThresholdSet(least);
    }

    /// @inheritdoc IQuorumVerifier
    function isVerifier(address account) external view returns (bool) {
        return _named[account];
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
        uint256 inputs = parties.length * 32;
        if (proof.length < inputs + HEAD) revert BadProof("the proof is too short");
        bytes calldata head = proof[inputs:inputs + HEAD];
        uint256 end = inputs + HEAD + uint256(uint8(head[226])) * 20;
        if (proof.length < end) revert BadProof("the proof is too short");
        if (keccak256(proof[:end]) != result.output) revert BadProof("the proof is not the one signed");
        if (keccak256(proof[:inputs]) != result.inputs) revert BadProof("input commitments are not those signed");
        _requireQuorum(
            parties, _vouching(result, proof[:inputs], head), uint8(head[225]), proof[inputs + HEAD:end], proof[end:]
        );
        return 0;
    }

    /// @inheritdoc SignedByAllVerifier
    function name() public pure override returns (string memory) {
        return "attested-hardware-quorum";
    }

    /* RULES */

    /// @dev What every verifier has to have signed, but for its time.
    function _vouching(Result calldata result, bytes calldata commitments, bytes calldata head)
        private
        view
        returns (Vouching memory said)
    {
        said.task = result.task;
        said.attempt = result.attempt;
        said.family = uint8(head[224]);
        if (said.family == 0 || said.family > FAMILIES) revert BadProof("the family is none of genuine hardware");
        said.identity = bytes32(head[64:96]);
        _requireAllowed(said.identity);
        said.platform = bytes32(head[96:128]);
        said.reportData =
            _taskDigest(result.task, result.attempt, bytes32(head[:32]), commitments, bytes32(head[32:64]));
        said.reportDataRest = bytes32(head[128:160]);
        said.evidence = bytes32(head[160:192]);
        said.policy = bytes32(head[192:224]);
    }

    function _requireQuorum(
        address[] calldata parties,
        Vouching memory said,
        uint256 demanded,
        bytes calldata named,
        bytes calldata vouchings
    ) private view {
        if (threshold == 0 || demanded < threshold) revert BadProof("the task asks for too few verifiers");
        bytes32 domain = keccak256(abi.encode(DOMAIN, REGISTRY, RELEASE, block.chainid, msg.sender));
        uint256 count;
        address previous;
        while (vouchings.length != 0) {
            if (vouchings.length < 8) revert BadProof("a vouching is cut off");
            uint256 place = uint256(uint8(vouchings[0])) * 20;
            if (place >= named.length) revert BadProof("a verifier is none that the task names");
            uint256 end = 8 + uint256(uint16(bytes2(vouchings[6:8])));
            if (vouchings.length < end) revert BadProof("a vouching is cut off");
            address account = address(bytes20(named[place:place + 20]));
            if (account <= previous) revert BadProof("the verifiers are not ascending, each once");

            said.notAfter = uint40(bytes5(vouchings[1:6]));
            if (block.timestamp > said.notAfter) revert BadProof("an appraisal has expired");
            _requireVerifier(parties, account);
            // Every member is a static word, so abi.encode of the struct is its EIP-712 encoding.
            bytes32 digest =
                MessageHashUtils.toTypedDataHash(domain, keccak256(bytes.concat(VOUCHING, abi.encode(said))));
            if (!Signatures.signed(account, digest, vouchings[8:end])) revert BadSignature(account);
            previous = account;
            vouchings = vouchings[end:];
            ++count;
        }
        if (count < demanded) revert BadProof("fewer verifiers vouch than the task asks for");
    }

    function _requireVerifier(address[] calldata parties, address account) private view {
        if (!_named[account]) revert BadProof("a verifier is none that the governor named");
        for (uint256 i; i < parties.length; ++i) {
            if (parties[i] == account) revert BadProof("a verifier is a party of the task");
        }
        participants.requireActive(account, 0);
    }
}
