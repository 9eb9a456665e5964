"""Sessions with the nodes of other parties: mutual TLS, identity from the certificate, checked against the chain."""
