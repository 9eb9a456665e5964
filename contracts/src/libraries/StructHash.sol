// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {Enrolment, Grant, Party, Proposal, Result} from "../types/Types.sol";

/// @title EIP-712 struct hashes of everything that is signed.
/// @dev Every member of Enrolment, Grant and Result is a static word, so abi.encode of the struct is its EIP-712 encoding.
library StructHash {
    bytes32 internal constant ENROLMENT = keccak256(
        "Enrolment(address account,bytes32 fingerprint,bytes32 subjectX,bytes32 subjectY,uint16 roles,uint40 notBefore,uint40 notAfter)"
    );
    bytes32 internal constant POSSESSION = keccak256("Possession(address account,bytes32 fingerprint)");
    bytes32 internal constant CERTIFICATE_REVOCATION =
        keccak256("CertificateRevocation(address account,bytes32 fingerprint,bytes32 reason)");
    bytes32 internal constant GRANT = keccak256(
        "Grant(bytes32 dataset,address grantee,bytes32 terms,uint32 uses,uint64 epsilonMicros,uint40 notBefore,uint40 notAfter,bytes32 salt)"
    );
    bytes32 internal constant PARTY =
        keccak256("Party(address account,bytes32 dataset,bytes32 grant,uint64 epsilonMicros,uint32 uses)");
    bytes32 internal constant PROPOSAL = keccak256(
        "Proposal(address requester,bytes32 spec,Party[] parties,bytes4 proofKind,uint40 acceptBy,uint32 runSeconds,uint8 attempts,bytes32 salt)Party(address account,bytes32 dataset,bytes32 grant,uint64 epsilonMicros,uint32 uses)"
    );
    bytes32 internal constant ACCEPTANCE = keccak256("Acceptance(bytes32 task,bytes32 spec,uint8 attempt)");
    bytes32 internal constant RESULT = keccak256(
        "Result(bytes32 task,uint8 attempt,bytes32 statement,bytes32 inputs,bytes32 output,bytes4 proofKind)"
    );

    function structHash(Enrolment calldata e) internal pure returns (bytes32) {
        return keccak256(bytes.concat(ENROLMENT, abi.encode(e)));
    }

    function possession(address account, bytes32 fingerprint) internal pure returns (bytes32) {
        return keccak256(abi.encode(POSSESSION, account, fingerprint));
    }

    function certificateRevocation(address account, bytes32 fingerprint, bytes32 reason)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(CERTIFICATE_REVOCATION, account, fingerprint, reason));
    }

    function structHash(Grant calldata g) internal pure returns (bytes32) {
        return keccak256(bytes.concat(GRANT, abi.encode(g)));
    }

    function structHash(Proposal calldata p) internal pure returns (bytes32) {
        uint256 count = p.parties.length;
        bytes32[] memory members = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            Party calldata party = p.parties[i];
            members[i] = keccak256(
                abi.encode(PARTY, party.account, party.dataset, party.grant, party.epsilonMicros, party.uses)
            );
        }
        bytes32 parties = keccak256(abi.encodePacked(members));
        return keccak256(
            abi.encode(
                PROPOSAL, p.requester, p.spec, parties, p.proofKind, p.acceptBy, p.runSeconds, p.attempts, p.salt
            )
        );
    }

    function acceptance(bytes32 task, bytes32 spec, uint8 attempt) internal pure returns (bytes32) {
        return keccak256(abi.encode(ACCEPTANCE, task, spec, attempt));
    }

    function structHash(Result calldata r) internal pure returns (bytes32) {
        return keccak256(bytes.concat(RESULT, abi.encode(r)));
    }
}
