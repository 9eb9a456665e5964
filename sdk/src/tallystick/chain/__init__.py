"""The chain as data at a block: one class per contract, typed events and errors, deployments, transactions."""
