"""The gate between any request and any data: numbered rules, each checked against the chain, each refusal on record."""
