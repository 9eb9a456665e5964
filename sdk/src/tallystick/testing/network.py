"""A whole network on one machine: a chain, an authority, institutions with their own keys, folders and node processes.

For demonstrations and tests. Everything that it makes is real (keys, certificates, processes), but all of it lies on one
machine and the chain's accounts are public, so nothing here protects anything.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from web3 import HTTPProvider, Web3

from tallystick.chain.connection import Chain
from tallystick.chain.deployment import Deployment, ensure
from tallystick.chain.profile import PROFILES
from tallystick.client import Client, Nodes
from tallystick.client.nodes import server_name
from tallystick.protocol.errors import Deadline, TallystickError
from tallystick.protocol.identity import Certificate, issue_authority, issue_certificate
from tallystick.signing import Signer, create_keystore, signer_from_uri
from tallystick.testing.local_chain import LocalChain, free_port
from tallystick.wire import node_pb2

ROLES = ("data-provider", "compute", "result-receiver", "requester")
YEAR = 365 * 86400
NODE_SECONDS = 180.0
FAST_SCRYPT = 1 << 12  # a throw-away keystore need not resist anybody


@dataclass
class Institution:
    """One participant: its folder, account, certificate and, if it runs one, node process."""

    name: str
    folder: Path
    signer: Signer
    certificate: Certificate
    key: ec.EllipticCurvePrivateKey
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def account(self) -> str:
        """The account, EIP-55."""
        return self.signer.address

    @property
    def address(self) -> str:
        """Where its node listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        """The folder of its data files."""
        return self.folder / "data"


class Network:
    """A chain with the contracts deployed, an authority accepted, and institutions enrolled."""

    def __init__(self, folder: Path, *, kind: str = "anvil", chain: LocalChain | None = None) -> None:
        self.folder = folder
        self.kind = kind
        self.local = chain or LocalChain(folder / "chain", kind=kind)
        self.profile = PROFILES["development" if kind == "anvil" else "ganache"]
        self.institutions: dict[str, Institution] = {}
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._issued = 0

    def start(self) -> Network:
        """Start the chain, deploy the contracts, make the authority and have it accepted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.local.process is None:
            self.local.start()
        web3 = Web3(HTTPProvider(self.local.url))
        self.deployment: Deployment = ensure(web3, signer_from_uri("mnemonic:0"), self.deployment_file)
        self.governor = Client(self.connect(signer_from_uri("mnemonic:0")))
        now = self.governor.chain.now()
        self.authority = issue_authority("Demonstration Consortium CA", self._ca_key, (now - 3600, now + 10 * YEAR))
        self.authority_file.write_bytes(self.authority.pem)
        receipt = self.governor.chain.participants.add_authority(
            self.authority.subject_x,
            self.authority.subject_y,
            self.authority.not_before,
            self.authority.not_after,
        )
        self.authority_number = int(receipt.event("AuthorityAdded")["authority"])
        return self

    @property
    def deployment_file(self) -> Path:
        """The deployment of the network's contracts."""
        return self.folder / "deployment.json"

    @property
    def authority_file(self) -> Path:
        """The authority's certificate."""
        return self.folder / "authority.pem"

    def connect(self, signer: Signer | None = None) -> Chain:
        """A connection to the chain."""
        return Chain(self.local.url, self.deployment, signer=signer, profile=self.profile)

    def join(self, name: str, roles: Iterable[str] = ROLES) -> Institution:
        """Make an institution's keys and certificate, fund its account and enrol it."""
        folder = self.folder / name.lower().replace(" ", "-")
        (folder / "data").mkdir(parents=True, exist_ok=True)
        password = secrets.token_urlsafe(16)
        _private(folder / "password", password.encode())
        create_keystore(folder / "keystore.json", password, iterations=FAST_SCRYPT)
        signer = signer_from_uri(f"keystore:{folder / 'keystore.json'}", lambda: password)
        self._fund(signer.address)
        institution = Institution(name, folder, signer, *self._certify(name, signer.address, tuple(roles)))
        self.institutions[name] = institution
        self._enrol(institution)
        return institution

    def rotate(self, institution: Institution) -> None:
        """Give an institution a new key and certificate, and enrol it with them."""
        certificate, key = self._certify(institution.name, institution.account, institution.certificate.roles)
        institution.certificate, institution.key = certificate, key
        self._enrol(institution)

    def _certify(self, name: str, account: str, roles: tuple[str, ...]) -> tuple[Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        self._issued += 1  # certificates succeed one another: each starts later than the one before
        begin = self.governor.chain.now() - 3600 + self._issued
        certificate = issue_certificate(
            self.authority,
            self._ca_key,
            key.public_key(),
            account,
            name,
            ["127.0.0.1", "localhost", server_name(account)],
            list(roles),
            (begin, begin + YEAR),
        )
        return certificate, key

    def _enrol(self, institution: Institution) -> None:
        pem = institution.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _private(institution.folder / "tls.key", pem)
        (institution.folder / "tls.pem").write_bytes(institution.certificate.pem)
        client = Client(self.connect(institution.signer))
        client.enrol(self.authority_number, institution.certificate, institution.key, self._ca_key)

    def client(self, institution: Institution) -> Client:
        """An institution's client, which knows every node."""
        nodes = Nodes(
            {other.account: other.address for other in self.institutions.values()},
            certificate=institution.folder / "tls.pem",
            key=institution.folder / "tls.key",
            authority=self.authority_file,
        )
        return Client(self.connect(institution.signer), nodes)

    def write_settings(self, institution: Institution, **changes: object) -> Path:
        """Write a node's settings file, and a settings file for `tally`."""
        peers = {o.account: o.address for o in self.institutions.values() if o is not institution}
        settings: dict[str, object] = {
            "signer": "keystore:keystore.json",
            "password_file": "password",
            "certificate": "tls.pem",
            "key": "tls.key",
            "authority": str(self.authority_file),
            "rpc_url": self.local.url,
            "chain_profile": self.profile.name,
            "deployment": str(self.deployment_file),
            "listen": institution.address,
            "metrics": f"127.0.0.1:{free_port()}",
            "spare_workers": 0,  # all nodes share this machine
            "link_seconds": 120,  # and wait for one another when it is busy
            **changes,
        }
        lines = [f"{name} = {_toml(value)}" for name, value in settings.items()]
        lines += ["[peers]", *(f'"{account}" = "{address}"' for account, address in peers.items())]
        path = institution.folder / "node.toml"
        path.write_text("\n".join(lines) + "\n")
        every = {o.account: o.address for o in self.institutions.values()}
        tally = [
            f'rpc_url = "{self.local.url}"',
            f'deployment = "{self.deployment_file}"',
            f'profile = "{self.profile.name}"',
            f'signer = "keystore:{institution.folder / "keystore.json"}"',
            'certificate = "tls.pem"',
            'key = "tls.key"',
            f'authority = "{self.authority_file}"',
            "[nodes]",
            *(f'"{account}" = "{address}"' for account, address in every.items()),
        ]
        (institution.folder / "tally.toml").write_text("\n".join(tally) + "\n")
        return path

    def launch(self, *institutions: Institution, **changes: object) -> None:
        """Start node processes and wait until all serve. Raises Deadline with the end of the log of one that does not."""
        for institution in institutions:
            config = self.write_settings(institution, **changes)
            with (institution.folder / "node.log").open("ab") as log:
                institution.process = subprocess.Popen(
                    [sys.executable, "-m", "tallystick_node.app", "run", "--config", str(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        for institution in institutions:
            self._await(institution)

    def _await(self, institution: Institution) -> None:
        client, process = self.client(institution), institution.process
        give_up = time.monotonic() + NODE_SECONDS
        while True:
            try:
                client.nodes.call(institution.account, "GetInfo", node_pb2.InfoRequest(), 10)
                return
            except TallystickError:
                if process is None or process.poll() is not None or time.monotonic() > give_up:
                    log = institution.folder / "node.log"
                    raise Deadline(
                        f"the node of {institution.name} does not serve:\n{log.read_text()[-2000:]}", party=str(log)
                    ) from None
            time.sleep(0.2)

    def halt(self, institution: Institution, *, by: int = signal.SIGTERM) -> None:
        """End a node: SIGTERM as an operator does, SIGKILL as a power cut."""
        if institution.process is not None:
            institution.process.send_signal(by)
            try:
                institution.process.wait(20)
            except subprocess.TimeoutExpired:
                institution.process.kill()
                institution.process.wait(10)
            institution.process = None

    def stop(self) -> None:
        """End every process."""
        for institution in self.institutions.values():
            if institution.process is not None:
                institution.process.send_signal(signal.SIGTERM)  # to all first: they end side by side
        for institution in self.institutions.values():
            self.halt(institution)
        self.local.stop()

    def __enter__(self) -> Network:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _fund(self, account: str) -> None:
        web3 = Web3(HTTPProvider(self.local.url))
        rich = list(web3.eth.accounts)[1]
        sent = web3.eth.send_transaction({"from": rich, "to": Web3.to_checksum_address(account), "value": Web3.to_wei(10, "ether")})
        web3.eth.wait_for_transaction_receipt(sent, timeout=30, poll_latency=0.02)


def _private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else f'"{value}"'
