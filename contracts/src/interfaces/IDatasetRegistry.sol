// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @title Which datasets exist, whose they are, and what their rows were committed to.
/// @notice Salted digests only: no name, column or row count is legible here.
interface IDatasetRegistry {
    struct Dataset {
        address owner;
        uint32 version; // 1 at first publication
        bool withdrawn;
        bytes32 descriptor; // digest of the canonical dataset descriptor, which holds the schema
        bytes32 rows; // root of the salted Merkle tree over the rows
    }

    event Published(
        bytes32 indexed dataset, address indexed owner, uint32 version, bytes32 descriptor, bytes32 rows, bytes32 schema
    );
    event Withdrawn(bytes32 indexed dataset, address indexed owner);

    error UnknownDataset(bytes32 dataset);
    error DatasetExists(bytes32 dataset);
    error DatasetWithdrawn(bytes32 dataset);
    error NotTheOwner(bytes32 dataset, address caller);
    error EmptyCommitment();

    /// @notice Publishes a dataset; the caller, a data provider, owns it. Its id is keccak256(abi.encode(owner, descriptor)).
    function publish(bytes32 descriptor, bytes32 rows, bytes32 schema) external returns (bytes32 dataset);

    /// @notice Replaces the commitments by those of a new version. Owner only.
    function revise(bytes32 dataset, bytes32 descriptor, bytes32 rows, bytes32 schema) external;

    /// @notice Ends all use of a dataset, for good. Owner only; allowed also when suspended, so that an owner can always withdraw.
    function withdraw(bytes32 dataset) external;

    function datasetAt(bytes32 dataset) external view returns (Dataset memory);
    /// @notice The owner of a dataset that is in use; reverts when unknown or withdrawn.
    function requireUsable(bytes32 dataset) external view returns (address owner);
}
