// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IDatasetRegistry} from "./interfaces/IDatasetRegistry.sol";
import {IParticipantRegistry} from "./interfaces/IParticipantRegistry.sol";
import {Roles} from "./types/Types.sol";

/// @title Which datasets exist, whose they are, and what their rows were committed to.
contract DatasetRegistry is IDatasetRegistry {
    IParticipantRegistry public immutable participants;

    mapping(bytes32 dataset => Dataset) private _datasets;

    constructor(IParticipantRegistry participants_) {
        participants = participants_;
    }

    /// @inheritdoc IDatasetRegistry
    function publish(bytes32 descriptor, bytes32 rows, bytes32 schema) external returns (bytes32 dataset) {
        participants.requireActive(msg.sender, Roles.DATA_PROVIDER);
        _requireCommitments(descriptor, rows, schema);
        dataset = keccak256(abi.encode(msg.sender, descriptor));
        if (_datasets[dataset].owner != address(0)) revert DatasetExists(dataset);

        _datasets[dataset] = Dataset(msg.sender, 1, false, descriptor, rows);
        emit Published(dataset, msg.sender, 1, descriptor, rows, schema);
    }

    /// @inheritdoc IDatasetRegistry
    function revise(bytes32 dataset, bytes32 descriptor, bytes32 rows, bytes32 schema) external {
        participants.requireActive(msg.sender, Roles.DATA_PROVIDER);
        _requireCommitments(descriptor, rows, schema);
        Dataset storage d = _owned(dataset);

        d.version += 1;
        d.descriptor = descriptor;
        d.rows = rows;
        emit Published(dataset, msg.sender, d.version, descriptor, rows, schema);
    }

    /// @inheritdoc IDatasetRegistry
    function withdraw(bytes32 dataset) external {
        Dataset storage d = _owned(dataset);

        d.withdrawn = true;
        emit Withdrawn(dataset, msg.sender);
    }

    /// @inheritdoc IDatasetRegistry
    function datasetAt(bytes32 dataset) external view returns (Dataset memory) {
        return _datasets[dataset];
    }

    /// @inheritdoc IDatasetRegistry
    function requireUsable(bytes32 dataset) external view returns (address owner) {
        owner = _datasets[dataset].owner;
        if (owner == address(0)) revert UnknownDataset(dataset);
        if (_datasets[dataset].withdrawn) revert DatasetWithdrawn(dataset);
    }

    function _owned(bytes32 dataset) private view returns (Dataset storage d) {
        d = _datasets[dataset];
        if (d.owner == address(0)) revert UnknownDataset(dataset);
        if (d.owner != msg.sender) revert NotTheOwner(dataset, msg.sender);
        if (d.withdrawn) revert DatasetWithdrawn(dataset);
    }

    function _requireCommitments(bytes32 descriptor, bytes32 rows, bytes32 schema) private pure {
        if (descriptor == 0 || rows == 0 || schema == 0) revert EmptyCommitment();
    }
}
