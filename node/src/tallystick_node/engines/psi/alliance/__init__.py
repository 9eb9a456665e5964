"""ECDH-PSI with platforms of others, in the message flow that the Beijing Financial Technology Industry Alliance publishes."""
