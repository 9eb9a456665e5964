"""Who is at the other end: the certificate of the mutual-TLS session, as enrolled on chain and active now.

gRPC metadata is never read for identity: anybody can write it. A certificate names its account; the account's enrolled
fingerprint must be that certificate's, so that a superseded or copied certificate of another account does not pass.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import grpc
from tallystick.chain.connection import Chain
from tallystick.client.nodes import server_name
from tallystick.protocol.errors import ContractRefused, PeerFailed, Refused
from tallystick.protocol.identity import Certificate
from tallystick.protocol.reasons import Reason


def require_enrolled(chain: Chain, certificate: Certificate) -> str:
    """The certificate's account. Raises Refused unless it is enrolled with this very certificate and active now."""
    account = certificate.account
    try:
        chain.participants.require_active(account, 0)
        enrolled = chain.participants.participant(account)["fingerprint"]
    except ContractRefused as error:
        raise Refused(
            f"the certificate's account is not active on chain ({error.error})",
            rule="participant-active",
            party=account,
            remedy=error.remedy,
        ) from None
    if enrolled != certificate.fingerprint:
        raise Refused(
            "the certificate is not the one enrolled on chain for its account",
            rule="participant-certificate",
            party=account,
            remedy="use the certificate that was enrolled last",
        )
    return account


def certificate_of(context: grpc.aio.ServicerContext) -> Certificate:  # type: ignore[type-arg]
    """The caller's certificate. Raises Refused when the session has none of ours."""
    found = context.auth_context().get("x509_pem_cert")
    if not found:
        raise Refused("the caller showed no certificate", rule="participant-certificate")
    certificate = Certificate.parse(bytes(next(iter(found))))
    if not certificate.account:
        raise Refused("the caller's certificate names no account", rule="participant-certificate")
    return certificate


def require_server(chain: Chain, account: str, target: str, key: Path, certificate: Path, authority: Path) -> Certificate:
    """The certificate that a peer's node serves, checked before anything is sent to it. Raises PeerFailed or Refused."""
    host, _, port = target.rpartition(":")
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(certificate, key)
    try:
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=server_name(account)) as secure,
        ):
            der = secure.getpeercert(binary_form=True) or b""
    except (OSError, ValueError) as error:
        raise PeerFailed(
            f"no TLS session with the node at {target} ({type(error).__name__})",
            party=account,
            remedy="check that the node runs and serves this account's certificate",
            reason=Reason.PEER_SILENT,
        ) from None
    shown = Certificate.parse(der)
    require_enrolled(chain, shown)
    return shown


MESSAGE_LIMIT = 8 << 20  # bytes of one gRPC message
SERVER_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.so_reuseport", 0),  # a port in use is an error, not a share of it
]


def server_credentials(key: Path, certificate: Path, authority: Path) -> grpc.ServerCredentials:
    """Credentials of a server that only talks to callers with a certificate of the consortium's authority."""
    return grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())],
        root_certificates=authority.read_bytes(),
        require_client_auth=True,
    )


def channel(target: str, account: str, key: Path, certificate: Path, authority: Path, *, seconds: float) -> grpc.aio.Channel:
    """A channel to the node of ``account`` at ``target``: TLS fails unless the server holds a certificate for it. It breaks when
    no ping was answered for ``seconds``."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=authority.read_bytes(),
        private_key=key.read_bytes(),
        certificate_chain=certificate.read_bytes(),
    )
    options = [
        ("grpc.ssl_target_name_override", server_name(account)),
        ("grpc.max_receive_message_length", MESSAGE_LIMIT),
        ("grpc.max_send_message_length", MESSAGE_LIMIT),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", round(1000 * seconds)),
        # A name that did not answer is asked again soon: nodes restart.
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    return grpc.aio.secure_channel(target, credentials, options=options)
