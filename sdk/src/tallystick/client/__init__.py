"""What people call: publish, grant, submit, wait, fetch, look at the record. Start with :class:`Client`."""

from tallystick.client.aio import AsyncClient
from tallystick.client.client import Client
from tallystick.client.grant_file import GrantFile
from tallystick.client.nodes import Nodes

__all__ = ["AsyncClient", "Client", "GrantFile", "Nodes"]
