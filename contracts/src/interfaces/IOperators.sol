// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @title Keys that act for a participant in what its node does by itself, so that the node does not hold the participant's own key.
/// @notice The scopes are {Scopes} in `Types.sol`. Whatever is no scope stays with the participant's own key: enrolling, publishing,
/// granting and revoking, proposing, challenging, claiming coins, and authorising operators.
interface IOperators {
    struct Operator {
        uint16 scopes; // what it may do until `notAfter`; zero when it was revoked
        uint16 everScopes; // what it was ever allowed
        uint40 notAfter; // seconds since 1970, inclusive; of a revoked one, when that was
        uint32 nonce; // of the next signed authorisation
        uint40 signsUntil; // when the scope SIGN ends or ended, inclusive: what it signed till then stays the participant's word
    }

    event OperatorChanged(address indexed account, address indexed operator, uint16 scopes, uint40 notAfter);

    error BadOperator(address operator);
    error BadScopes(uint16 scopes);
    error BadExpiry(uint40 notAfter);
    error BadAuthorisation(address account);
    error InactiveParticipant(address account);
    error NotAnOperator(address account, address operator);
    error TooManyOperators(address account);
    error ServesAnother(address operator);

    /// @notice Says what an operator may do for the caller, in the place of what was said before. With scopes zero nothing, at once: also
    /// what was signed and not relayed yet is void then. An active participant only; any account takes back. A key serves the
    /// participant that authorised it first and no other: else whoever authorised it unasked would be meant by what it calls.
    function authorise(address operator, uint16 scopes, uint40 notAfter) external;

    /// @notice The same, signed by the participant (EIP-712; EOA or EIP-1271):
    /// Authorisation(address account,address operator,uint16 scopes,uint40 notAfter,uint32 nonce). Anyone may relay it, once.
    function authoriseSigned(
        address account,
        address operator,
        uint16 scopes,
        uint40 notAfter,
        bytes calldata signature
    ) external;

    /// @notice The calling operator acts no more for a participant: for a key that may be stolen, and without the participant's own.
    function resign(address account) external;

    /// @notice Whether `operator` may act for `account` now, in every bit of `scope`. An operator of a participant that is not active,
    /// or outside its validity, acts for nobody.
    function actsFor(address operator, address account, uint16 scope) external view returns (bool);

    /// @notice Whether `operator` could sign for `account` (scope SIGN) at a time from `since` on, be it revoked or expired meanwhile: what
    /// it signed then binds the participant.
    function couldSign(address operator, address account, uint40 since) external view returns (bool);

    function operatorAt(address account, address operator) external view returns (Operator memory);
    /// @notice Every operator that a participant ever had, in the order of their first authorisations.
    function operatorsOf(address account) external view returns (address[] memory);
    function authorisationDigest(address account, address operator, uint16 scopes, uint40 notAfter, uint32 nonce)
        external
        view
        returns (bytes32);
}
