"""What a node must not forget: documents, runs, outbox, audit log, datasets and the indexer's cursor."""
