"""What people call: publish, grant, submit, wait, fetch, look at the record. Start with :class:`Client`."""

from tallystick.client.client import Client, GrantFile
from tallystick.client.nodes import Nodes

__all__ = ["Client", "GrantFile", "Nodes"]
