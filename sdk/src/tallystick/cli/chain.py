"""`tally chain`: the deployment, its state and its events."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from tallystick.chain import deployment
from tallystick.chain.connection import Chain, Receipt
from tallystick.cli.session import address, of, read
from tallystick.protocol.errors import ChainUnreachable
from tallystick.protocol.identity import Certificate

app = typer.Typer(name="chain", help="Deploy and inspect the contracts.", no_args_is_help=True)
authority = typer.Typer(name="authority", help="Authorities that the consortium accepts.", no_args_is_help=True)
app.add_typer(authority)


@app.command("deploy")
def deploy(context: typer.Context) -> None:
    """Deploy the contracts, unless the deployment file already names a whole deployment."""
    session = of(context)
    url = session.setting("rpc_url")
    from web3 import HTTPProvider, Web3

    web3 = Web3(HTTPProvider(url, request_kwargs={"timeout": 15.0}, exception_retry_configuration=None))
    try:
        made = deployment.ensure(web3, session.signer(), Path(session.setting("deployment")))
    except OSError as error:
        raise ChainUnreachable(
            f"the chain does not answer ({type(error).__name__})", remedy="start it (`make chain`) or check rpc_url"
        ) from None
    session.terminal.record({"chain_id": made.chain_id, "block": made.block, "governor": made.governor, **made.contracts})


@app.command("status")
def status(context: typer.Context) -> None:
    """Show the chain, its head and the deployment, whose code is checked on the way."""
    session = of(context)
    chain = session.chain()
    session.terminal.record(
        {
            "url": chain.shown_url,
            "chain_id": chain.deployment.chain_id,
            "block": chain.head(),
            "time": chain.now(),
            "profile": chain.profile.name,
            "governor": chain.deployment.governor,
            "code": "as released",
        }
    )


@app.command("fund")
def fund(
    context: typer.Context,
    account: Annotated[str, typer.Argument(help="The account that shall be able to pay for its transactions.")],
    ether: Annotated[float, typer.Option(min=0.001, max=1000, help="How much.")] = 1.0,
) -> None:
    """Send the chain's own coin from the configured signer, where transactions cost something."""
    session = of(context)
    sent = transfer(session.chain(signing=True), address(account), int(Decimal(str(ether)) * 10**18))
    session.terminal.record({"account": address(account), "transaction": sent.transaction, "block": sent.block})


def transfer(chain: Chain, to: str, wei: int) -> Receipt:
    """Send ``wei`` to an account. Raises ChainUnreachable when the chain does not take it."""
    signer = chain.signer
    assert signer is not None
    transaction = {
        "chainId": chain.deployment.chain_id,
        "nonce": int(chain.request("eth_getTransactionCount", signer.address, "pending"), 16),
        "gas": 21_000,
        "gasPrice": int(chain.request("eth_gasPrice"), 16),
        "to": to,
        "value": wei,
        "data": "0x",
    }
    return chain.receipt(str(chain.request("eth_sendRawTransaction", "0x" + signer.sign_transaction(transaction).hex())))


@authority.command("add")
def authority_add(
    context: typer.Context, certificate: Annotated[Path, typer.Argument(help="The authority's certificate.")]
) -> None:
    """Accept an authority (governor)."""
    session = of(context)
    given = Certificate.parse(read(certificate))
    sent = session.chain(signing=True).participants.add_authority(
        given.subject_x, given.subject_y, given.not_before, given.not_after
    )
    number = sent.event("AuthorityAdded")["authority"]
    session.terminal.record({"authority": number, "name": given.common_name, "block": sent.block})


@app.command("events")
def events(context: typer.Context, name: Annotated[list[str] | None, typer.Option(help="Only these events.")] = None) -> None:
    """List the contracts' events, in order."""
    session = of(context)
    rows = [
        {
            "block": event.block,
            "contract": event.contract,
            "event": event.name,
            "arguments": {key: _plain(value) for key, value in event.arguments.items()},
            "transaction": event.transaction,
        }
        for event in session.events(session.chain(), *(name or ()))
    ]
    session.terminal.table(("block", "contract", "event", "arguments"), rows)


def _plain(value: object) -> object:
    return f"0x{value.hex()}" if isinstance(value, bytes) else value
