"""Evidence of a run: transcripts, the statement that all parties sign, and the bundle."""
