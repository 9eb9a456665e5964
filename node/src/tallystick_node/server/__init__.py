"""The gRPC services of a node: thin, over mutual TLS, the caller known from its certificate alone."""
