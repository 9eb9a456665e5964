// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IAttestationVerifier} from "../interfaces/IAttestationVerifier.sol";
import {IParticipantRegistry} from "../interfaces/IParticipantRegistry.sol";
import {AnyS} from "../libraries/AnyS.sol";
import {PckCertificate} from "../libraries/PckCertificate.sol";
import {P256Signature, Result} from "../types/Types.sol";
import {EnclaveVerifier} from "./EnclaveVerifier.sol";
import {SignedByAllVerifier} from "./SignedByAllVerifier.sol";

/// @title The result was computed in an enclave: every party signed it, and a DCAP quote names it.
/// @notice Who may certify platforms decides how strong that is, so each strength is a contract and a kind of its own.
/// @dev Proof bytes, one after the other: the input commitment of each party (32 bytes, zero without an input), the
/// algorithm's digest, the output's digest, the platform's key x, y, the quote's header and report body as they are signed
/// (48 bytes, from version 5 on 6 more, and 384 of SGX, 584 of TDX, 648 of TDX 1.5), and from there to the end the endorsement. `result.inputs` is keccak256 over the commitments,
/// `result.output` over all proof bytes.
/// Offsets: Intel SGX ECDSA QuoteLibReference DCAP API, appendix A; Intel TDX DCAP Quoting Library API, appendix A.3.
abstract contract AttestationVerifier is EnclaveVerifier, IAttestationVerifier {
    mapping(bytes32 platform => Platform) private _platforms;

    uint256 private constant HEADER = 48;
    uint256 private constant DESCRIBED = 54; // from version 5 on: type and size of the body follow the header
    uint256 private constant REPORT = 384;
    uint256 private constant DOMAIN = 584;
    uint256 private constant DOMAIN_15 = 648;
    bytes16 private constant QE_VENDOR = 0x939a7233f79c4ca9940a0db3957f0607; // Intel's, also in simulated quotes
    bytes private constant IDENTITY = "tallystick/tee/identity/v1";

    constructor(IParticipantRegistry participants_) EnclaveVerifier(participants_) {}

    /* PLATFORMS */

    /// @inheritdoc IAttestationVerifier
    function registerPlatform(bytes calldata tbs, P256Signature calldata signature, bytes32 issuerX, bytes32 issuerY)
        external
        returns (bytes32 platform)
    {
        if (!isIssuer(issuerX, issuerY)) revert UnknownIssuer(issuerX, issuerY);
        if (!AnyS.verify(sha256(tbs), signature.r, signature.s, issuerX, issuerY)) revert BadCertificateSignature();
        PckCertificate.Facts memory facts = PckCertificate.read(tbs);
        if (block.timestamp < facts.notBefore || block.timestamp > facts.notAfter) {
            revert CertificateOutsideValidity(facts.notBefore, facts.notAfter);
        }
        platform = _idOf(facts.x, facts.y);
        if (_platforms[platform].revoked) revert PlatformIsRevoked(platform);
        if (_platforms[platform].notAfter >= facts.notAfter) revert PlatformExists(platform);

        _platforms[platform] = Platform(facts.notBefore, facts.notAfter, false);
        emit PlatformRegistered(platform, facts.x, facts.y, issuerX, issuerY, facts.notBefore, facts.notAfter);
    }

    /// @inheritdoc IAttestationVerifier
    function revokePlatform(bytes32 platform, bytes32 reason) external {
        _onlyGovernor();
        if (_platforms[platform].revoked) revert PlatformIsRevoked(platform);

        _platforms[platform].revoked = true;
        emit PlatformRevoked(platform, reason);
    }

    /* RESULTS */

    /// @inheritdoc SignedByAllVerifier
    /// @dev The caller is the registry that the report data are bound to. A task is proved once there, so a quote serves once.
    function verify(
        address[] calldata parties,
        Result calldata result,
        bytes32 digest,
        bytes[] calldata signatures,
        bytes calldata proof
    ) external view override returns (uint16) {
        _requireSignatures(parties, digest, signatures, 0);
        uint256 inputs = parties.length * 32;
        if (proof.length < inputs + 128 + HEADER) revert BadProof("the proof is too short");
        if (keccak256(proof) != result.output) revert BadProof("the proof is not the one signed");
        if (keccak256(proof[:inputs]) != result.inputs) revert BadProof("input commitments are not those signed");
        _requireRun(result, proof[:inputs], proof[inputs:inputs + 128], proof[inputs + 128:]);
        return 0;
    }

    /// @inheritdoc IAttestationVerifier
    function appraise(bytes32 x, bytes32 y, bytes calldata signed, bytes calldata endorsement)
        public
        view
        returns (Quoted memory quoted)
    {
        Platform storage platform = _platforms[_idOf(x, y)];
        if (platform.revoked) revert BadProof("the platform is revoked");
        if (block.timestamp < platform.notBefore || block.timestamp > platform.notAfter) {
            revert BadProof("the platform is not registered, or outside its certificate's validity");
        }
        if (endorsement.length < 576 || endorsement.length > 640) revert BadProof("the endorsement is of another size");
        (uint256 start, uint256 size, bool sgx) = _layoutOf(signed);
        if (signed.length != start + size) revert BadProof("the quote's body is of another size");
        if (bytes16(signed[12:28]) != QE_VENDOR) revert BadProof("the quote is not by Intel's quoting enclave");
        _requireQuotingEnclave(x, y, endorsement, sgx);
        bytes calldata key = endorsement[64:128];
        if (
            !AnyS.verify(
                sha256(signed),
                bytes32(endorsement[:32]),
                bytes32(endorsement[32:64]),
                bytes32(key[:32]),
                bytes32(key[32:])
            )
        ) revert BadProof("the quote is not signed by the attestation key");
        return _read(signed[start:], sgx);
    }

    /// @inheritdoc IAttestationVerifier
    function isIssuer(bytes32 x, bytes32 y) public view virtual returns (bool);

    /// @inheritdoc IAttestationVerifier
    function platformAt(bytes32 platform) external view returns (Platform memory) {
        return _platforms[platform];
    }

    /* RULES */

    /// @dev MRSIGNER of the quoting enclave for SGX, or for TDX.
    function _quotingSigner(bool sgx) internal pure virtual returns (bytes32);

    /// @dev The quote is of an allowed enclave, about this attempt, these inputs and, in words, algorithm and output.
    function _requireRun(Result calldata result, bytes calldata commitments, bytes calldata words, bytes calldata quote)
        private
        view
    {
        (uint256 start, uint256 length,) = _layoutOf(quote);
        uint256 size = start + length;
        if (quote.length < size) revert BadProof("the proof is too short");
        Quoted memory quoted = appraise(bytes32(words[64:96]), bytes32(words[96:128]), quote[:size], quote[size:]);
        _requireAllowed(quoted.identity);
        bytes32 expected =
            _taskDigest(result.task, result.attempt, bytes32(words[:32]), commitments, bytes32(words[32:64]));
        if (quoted.reportData != expected) {
            revert BadProof("the report data are not of this task, attempt, algorithm, inputs and output");
        }
    }

    function _idOf(bytes32 x, bytes32 y) private pure returns (bytes32) {
        return keccak256(abi.encode(x, y));
    }

    /// @dev Where the body starts and how long it is, by header and description: ECDSA with P-256, of SGX (version 3, 4 or 5)
    /// or TDX (version 4 or 5).
    function _layoutOf(bytes calldata quote) private pure returns (uint256 start, uint256 size, bool sgx) {
        if (quote.length >= DESCRIBED) {
            bytes8 head = bytes8(quote[:8]);
            bytes6 body = bytes6(quote[HEADER:DESCRIBED]); // little-endian: type, then size
            if (head == 0x0300020000000000 || head == 0x0400020000000000) return (HEADER, REPORT, true);
            if (head == 0x0400020081000000) return (HEADER, DOMAIN, false);
            if (head == 0x0500020000000000 && body == 0x010080010000) return (DESCRIBED, REPORT, true);
            if (head == 0x0500020081000000 && body == 0x020048020000) return (DESCRIBED, DOMAIN, false);
            if (head == 0x0500020081000000 && body == 0x030088020000) return (DESCRIBED, DOMAIN_15, false);
        }
        revert BadProof("the quote is of an unknown version or type");
    }

    /// @dev What a body says. Where MR_SERVICETD exists (TDX 1.5) a service domain could change the guest, so there must be none.
    function _read(bytes calldata body, bool sgx) private pure returns (Quoted memory quoted) {
        uint256 dataAt = sgx ? 320 : 520;
        quoted.reportData = bytes32(body[dataAt:dataAt + 32]);
        quoted.reportDataRest = bytes32(body[dataAt + 32:dataAt + 64]);
        if (sgx) {
            if (body[48] & 0x02 != 0) revert BadProof("the enclave can be debugged");
            quoted.identity = sha256(bytes.concat(IDENTITY, hex"00", body[64:96], body[192:256])); // MRENCLAVE, CONFIGID
        } else {
            if (keccak256(body[64:120]) != keccak256(new bytes(56))) revert BadProof("the TDX module is not Intel's");
            if (body[120] != 0) revert BadProof("the enclave can be debugged");
            if (body.length == DOMAIN_15 && keccak256(body[600:]) != keccak256(new bytes(48))) {
                revert BadProof("a service domain could change the enclave");
            }
            quoted.identity = sha256(bytes.concat(IDENTITY, hex"81", body[120:dataAt])); // attributes, XFAM, MRTD to RTMR 3
        }
    }

    function _requireQuotingEnclave(bytes32 x, bytes32 y, bytes calldata endorsement, bool sgx) private view {
        bytes calldata report = endorsement[128:128 + REPORT];
        if (!AnyS.verify(sha256(report), bytes32(endorsement[512:544]), bytes32(endorsement[544:576]), x, y)) {
            revert BadProof("the quoting enclave's report is not signed by the platform");
        }
        bytes2 product = sgx ? bytes2(0x0100) : bytes2(0x0200);
        if (bytes32(report[128:160]) != _quotingSigner(sgx) || bytes2(report[256:258]) != product) {
            revert BadProof("the quoting enclave is not the vendor's");
        }
        // INIT and PROVISION_KEY, not DEBUG; MODE64BIT either way; MISCSELECT zero: as in Intel's QE identity.
        if (bytes8(report[48:56]) & 0xfbffffffffffffff != 0x1100000000000000 || bytes4(report[16:20]) != 0) {
            revert BadProof("the quoting enclave has other attributes");
        }
        bytes32 binding = sha256(bytes.concat(endorsement[64:128], endorsement[576:]));
        if (bytes32(report[320:352]) != binding || bytes32(report[352:384]) != 0) {
            revert BadProof("the quoting enclave does not vouch for the attestation key");
        }
    }
}
