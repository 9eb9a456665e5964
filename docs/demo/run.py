"""The demonstration behind ``make demo``: a whole network on this machine, three audited computations over real data, the proofs,
the provenance, bonds and payments, and six attempts to cheat. Everything lies below ``.tallystick/demo`` afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import data
import money
from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console
from rich.table import Table
from tallystick.client import Client, GrantFile, Nodes, disputes
from tallystick.client.nodes import server_name
from tallystick.client.settlement import Deal
from tallystick.protocol.audit import AuditRecord
from tallystick.protocol.errors import ContractRefused, PeerFailed, Refused, TallystickError
from tallystick.protocol.identity import issue_authority, issue_certificate
from tallystick.protocol.task import TaskSpec
from tallystick.signing import signer_from_uri
from tallystick.testing.local_chain import LocalChain
from tallystick.testing.network import Network
from tallystick.wire import node_pb2

HERE = Path(__file__).resolve()
HOME = HERE.parents[2] / ".tallystick" / "demo"
PURPOSE = "health/research"
ANALYSED = ["mean radius", "mean texture", "mean smoothness"]
TALLY = str(Path(sys.executable).parent / "tally")
SCREEN = Console(highlight=False, soft_wrap=True)


def chapter(text: str) -> None:
    """The heading of a step."""
    SCREEN.print(f"\n[bold cyan]{text}[/]")


def say(text: str) -> None:
    """One line of progress."""
    SCREEN.print(f"  {text}")


def tally(*arguments: str, fail: bool = False, show: tuple[str, ...] = ()) -> None:
    """Run the command line as a person would, and show the command. ``fail``: it must fail. ``show``: only lines that begin so."""
    words = [f'"{word}"' if " " in word else word for word in arguments]
    shown = " ".join(words).replace(str(HERE.parents[2]) + "/", "")
    SCREEN.print(f"  [dim]$ tally {shown}[/]")
    done = subprocess.run(
        [TALLY, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "150"},
    )
    lines = (done.stdout + done.stderr).rstrip().splitlines()
    if fail:  # of a long table, what matters
        lines = [line for line in lines if any(word in line for word in ("failed", "VERIFIED", "error:", "next:"))]
    if show:
        lines = [line for line in lines if line.strip("│ ").startswith(show)]
    for line in lines:
        SCREEN.print(f"    {line}", markup=False)
    if (done.returncode != 0) is not fail:
        sys.exit(f"`tally {shown}` ended with status {done.returncode}")


class Demonstration:
    """The actors, and the acts in order."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.began = time.monotonic()

    def join(self) -> None:
        """Act 1: a chain, an authority, three hospitals and a regulator."""
        chapter("1  Join: a chain, a certificate authority, three institutions, a regulator")
        self.network.start()
        say(f"chain {self.network.deployment.chain_id} runs, {len(self.network.deployment.contracts)} contracts deployed")
        self.hospitals = [self.network.join(name) for name in ("Alder", "Birch", "Cedar")]
        self.regulator = self.network.join("Regulator", ["regulator"])
        for who in [*self.hospitals, self.regulator]:
            say(f"{who.name:10} {who.account}  certificate checked on chain; roles: {', '.join(who.certificate.roles)}")
        data.deal([who.data for who in self.hospitals])
        self.network.launch(*self.hospitals, policy={"largest_stake": money.BOND})
        say("three node processes serve over mutual TLS, each with its own keys, database and data")
        self.clients = [self.network.client(who) for who in self.hospitals]
        self.alder, self.birch, self.cedar = self.clients

    def publish(self) -> None:
        """Act 2: datasets and grants."""
        chapter("2  Publish and grant: real data, committed to but not shown")
        self.clinical = {}
        for who, client in zip(self.hospitals, self.clients, strict=True):
            dataset, descriptor = client.publish("clinical", "clinical.csv", data.CLINICAL)
            self.clinical[who.account] = dataset
            say(f"{who.name:10} publishes breast-cancer data, {descriptor.rows} rows; the chain sees {dataset[:18]}...")
        self.routes = {}
        for who, client in list(zip(self.hospitals, self.clients, strict=True))[:2]:
            dataset, descriptor = client.publish("routes", "routes.csv", data.ROUTES)
            self.routes[who.account] = dataset
            say(f"{who.name:10} publishes route-days of a carrier, {descriptor.rows} rows")
        receiver = self.hospitals[0].account
        names = [column.name for column in data.CLINICAL]
        self.grants = {
            client.account: client.grant(
                self.clinical[client.account],
                receiver,
                purpose=PURPOSE,
                algorithms=["statistics", "training"],
                columns=names,
                receivers=[receiver],
                uses=5,
            )
            for client in self.clients
        }
        self.route_grants = {
            client.account: client.grant(
                self.routes[client.account],
                receiver,
                purpose="transport/planning",
                algorithms=["intersection"],
                columns=["origin", "dest", "date"],
                receivers=[receiver],
                uses=1,
            )
            for client in self.clients[:2]
        }
        say(f"each owner grants Alder the use of its data for one purpose ({PURPOSE}; transport/planning), counted on chain")

    def statistics(self) -> None:
        """Act 3: the joint statistic."""
        chapter("3  Compute: means, deviations and correlations over all three hospitals, by diagnosis")
        self.task = self.run(self.statistics_spec(PURPOSE), list(self.grants.values()), "statistics")
        values = json.loads((HOME / "results" / "statistics" / "result.json").read_text())["values"]
        pooled = data.clinical().groupby("diagnosis")
        table = Table("diagnosis", "people", *(f"mean of {name}" for name in ANALYSED), "pandas on the pooled data")
        for group in values["groups"]:
            means = [group["mean"][name] for name in ANALYSED]
            expected = [pooled.get_group(group["group"])[name].mean() for name in ANALYSED]
            same = all(abs(float(m) - e) <= 1e-12 * abs(e) for m, e in zip(means, expected, strict=True))
            table.add_row(group["group"], str(group["count"]), *(f"{float(m):.6f}" for m in means), "equal" if same else "DIFFERS")
        SCREEN.print(table)

    def statistics_spec(self, purpose: str, minimum: int = 10, **options: int) -> TaskSpec:
        """The statistic's spec."""
        scales = {column.name: column.scale for column in data.CLINICAL}
        parameters = {
            "columns": [{"name": name, "scale": scales[name]} for name in ANALYSED],
            "compute": ["count", "mean", "std", "correlation"],
            "regression": {"target": "mean radius", "regressors": ["mean texture", "mean smoothness"]},
            "histograms": [],
            "where": [],
            "group_by": {"column": "diagnosis", "values": ["benign", "malignant"]},
            "minimum_group": minimum,
            "ddof": 1,
        }
        columns = {account: [*ANALYSED, "diagnosis"] for account in self.grants}
        receiver = [self.alder.account]
        return self.alder.draft(
            "statistics",
            parameters,
            self.grants,
            columns,
            receivers=receiver,
            purpose=purpose,
            proof="sum-verified",
            corruptions=2,
            **options,
        )

    def intersection(self) -> None:
        """Act 4: the private set intersection."""
        chapter("4  Compute: on which route-days do both carriers fly? Neither shows its schedule")
        spec = self.intersection_spec()
        self.run(spec, list(self.route_grants.values()), "intersection")
        values = json.loads((HOME / "results" / "intersection" / "result.json").read_text())["values"]
        keys = [set(map(tuple, data.routes(carrier)[["origin", "dest", "date"]].to_numpy())) for carrier in ("UA", "AA")]
        verdict = "equal" if values["cardinality"] == len(keys[0] & keys[1]) else "DIFFERS"
        say(f"{values['cardinality']} common route-days of {len(keys[0])} and {len(keys[1])}; in the open: {verdict}")

    def intersection_spec(self) -> TaskSpec:
        """The intersection's spec."""
        keys = ["origin", "dest", "date"]
        parameters = {
            "keys": [{"party": account, "columns": keys} for account in self.route_grants],
            "types": ["string", "string", "date"],
            "fold": False,
            "duplicates": "reject",
            "mode": "ids",
            "protocol": "automatic",
            "minimum_group": 10,
        }
        columns = dict.fromkeys(self.route_grants, keys)
        return self.alder.draft(
            "intersection",
            parameters,
            self.route_grants,
            columns,
            receivers=[self.alder.account],
            purpose="transport/planning",
            proof="signed-by-all",
        )

    def training(self) -> None:
        """Act 5: federated learning."""
        chapter("5  Train: one model of malignancy, each hospital on its own rows; only masked sums leave them")
        self.run(self.training_spec(), list(self.grants.values()), "training")
        folder = HOME / "results" / "training"
        card = json.loads((folder / "result.json").read_text())["values"]
        quality = {name: f"{float(value):.3f}" for name, value in card["validation"].items()}
        say(f"{card['rounds']} rounds; on rows that the hospitals held out: accuracy {quality['accuracy']}, AUC {quality['auc']}")
        say(f"the model: {shown(folder / 'model.safetensors')}; that its updates were added up honestly, the chain has checked:")
        bundle, result, sums = HOME / "bundles" / "training.zip", folder / "result.json", folder / "aggregate.bin"
        tally(
            "verify", str(bundle), "--result", str(result), "--aggregate", str(sums), *self.online(), show=("16", "19", "verified")
        )

    def training_spec(self, contribution: dict[str, object] | None = None) -> TaskSpec:
        """The training's spec, with what contributions are measured by."""
        scaled = zip(ANALYSED, ("14.1", "19.3", "0.096"), ("3.5", "4.3", "0.014"), strict=True)
        parameters = {
            "features": [{"column": name, "center": center, "scale": scale} for name, center, scale in scaled],
            "target": {"column": "diagnosis", "values": ["benign", "malignant"]},
            "model": {"name": "logistic", "penalty": "0.001"},
            "strategy": {"name": "fedavg", "weighting": "examples", "rate": "1"},
            "schedule": {
                "rounds": 10, "rows": 200, "epochs": 2, "batch": 16, "rate": "0.3", "momentum": "0", "seed": 1, "stop": None,
                "norm": "64", "entry": 3,
            },
            "aggregation": {"method": "secure"},
            "privacy": None,
            "held_out": 20,
            "minimum_group": 30,
            "contribution": contribution,
        }  # fmt: skip
        columns = {account: [*ANALYSED, "diagnosis"] for account in self.grants}
        return self.alder.draft(
            "training",
            parameters,
            self.grants,
            columns,
            receivers=[self.alder.account],
            purpose=PURPOSE,
            proof="projection-verified",
            corruptions=2,
        )

    def run(self, spec: TaskSpec, grants: list[GrantFile], name: str) -> str:
        """Submit, wait, fetch."""
        task = self.alder.submit(spec, grants)
        say(f"task {task[:18]}... proposed; every party's node checks its own rules and accepts on chain")
        state = self.alder.wait(task, 120, lambda now: say(f"on chain: {now}"))
        if state != "Proved":
            sys.exit(f"the task ended as {state}; see the node.log files below {HOME}")
        self.fetch(task, name)
        return task

    def fetch(self, task: str, name: str) -> None:
        """The result and the bundle, as soon as the own node has indexed the proof."""
        give_up = time.monotonic() + 20
        while True:
            try:
                self.alder.result(task, HOME / "results" / name)
                bundle = self.alder.bundle(task, self.birch.account, HOME / "bundles" / name)
                bundle.replace(HOME / "bundles" / f"{name}.zip")
                bundle.parent.rmdir()
                return
            except TallystickError:
                if time.monotonic() > give_up:
                    raise
            time.sleep(0.2)

    def prove(self) -> None:
        """Act 6: verification and provenance."""
        chapter("6  Verify and trace: from the bundle alone, anchored at a block hash")
        chain = self.network.governor.chain
        proved = [e for e in chain.events(0, chain.head()) if e.name == "ResultProved" and "0x" + e["task"].hex() == self.task]
        self.anchor = proved[0].block_hash
        result = str(HOME / "results" / "statistics" / "result.json")
        tally("verify", str(HOME / "bundles" / "statistics.zip"), "--result", result, *self.online())
        for form in ("svg", "prov"):
            ending = {"svg": "svg", "prov": "prov.json"}[form]
            self.provenance(form, HOME / f"provenance.{ending}")
        say(f"the provenance of the result: {shown(HOME / 'provenance.svg')} as a picture, provenance.prov.json as W3C PROV-JSON")

    def online(self) -> list[str]:
        """Options that let `tally verify` ask the chain itself."""
        return ["--deployment", str(self.network.deployment_file), "--rpc", self.network.local.url]

    def provenance(self, form: str, path: Path) -> None:
        """Write the provenance of the result file in one form."""
        config = str(self.hospitals[0].folder / "tally.toml")
        bundle = str(HOME / "bundles" / "statistics.zip")
        command = ["--config", config, "provenance", "task", self.task, "--bundle", bundle, "--format", form]
        done = subprocess.run([TALLY, *command], capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            sys.exit(done.stderr)
        path.write_text(done.stdout)

    def pay(self) -> None:
        """Act 7: a missed deadline, a measured contribution, a dispute."""
        chapter("7  Pay: who hangs loses its bond; the others are paid by what they contributed, and liable for what they gave")
        names = {who.account: who.name for who in self.hospitals}
        cedar, arbiter = self.hospitals[2], self.network.client(self.regulator)
        terms = f"a fee of {money.ether(money.FEE)}, a bond of {money.ether(money.BOND)} from everybody, the regulator as arbiter"
        say(f"Alder opens an agreement: {terms} (amounts in ether)")
        spec = self.statistics_spec(PURPOSE, accept_seconds=30, run_seconds=money.RUN_SECONDS, attempts=1)
        deal = money.agree(self.alder, spec, self.regulator.account)
        with money.going_on(cedar):
            self.alder.submit(spec, self.grants.values())
            money.hang_after_accepting(self.alder, deal, cedar)
            say(f"every node stakes by its own policy and accepts; then Cedar's node hangs, in a run of {money.RUN_SECONDS} s")
            late = money.late(self.alder, deal)
        say(
            f"the others say so on chain in time; after the run the contract finds late: [bold]{', '.join(map(names.get, late))}[/]"
        )

        say("the same terms again, for a training that measures what each hospital contributes, on rows that are public:")
        spec = self.training_spec({"floor": "1", "rows": money.public_rows(ANALYSED, "diagnosis")})
        agreed = money.agree(self.alder, spec, self.regulator.account)
        self.run(spec, list(self.grants.values()), "paid training")
        card = json.loads((HOME / "results" / "paid training" / "result.json").read_text())["values"]
        money.sign_and_measure(self.clients, agreed, card["contribution"]["shares"])
        evidence = HOME / "evidence.txt"
        evidence.write_text("Birch's rows are those of the year before last.\n")
        dispute = money.challenge(self.alder, agreed, self.birch.account, evidence)
        disputes.judge(arbiter.chain, agreed, dispute, uphold=True, reasons=bytes(32))
        say("all sign the measured shares. Alder challenges Birch over old rows; the regulator upholds: share and bond are lost")
        shares = dict(
            zip(agreed.proposal.accounts, (f"{each / 100:.2f} %" for each in card["contribution"]["shares"]), strict=True)
        )
        columns = {
            "run that stalled: owed": {account: money.ether(owed) for account, owed in self.settle(deal)},
            "contributed": shares,
        }
        paid = {account: money.ether(owed) for account, owed in self.settle(agreed)}
        SCREEN.print(money.account_table(names, {**columns, "training: owed": paid}))

    def settle(self, deal: Deal) -> list[tuple[str, int]]:
        """Settle when nothing can be disputed any more."""
        return list(money.settle(self.alder, deal).items())

    def cheat(self) -> None:
        """Act 8: attempts to cheat."""
        chapter("8  Cheat: each attempt is refused, and what a node refused is on its record")
        self.refused("an ungranted purpose (marketing)", self.marketing)
        self.refused("a grant that is used up", lambda: self.alder.submit(self.intersection_spec(), self.route_grants.values()))
        self.refused("a stranger who proposes a task", self.stranger_on_chain)
        self.refused("a participant whom the governor has suspended", self.suspended)
        self.turned_away()
        say("[bold]a changed result file[/]: one digit is changed, then it is verified again")
        original = HOME / "results" / "statistics" / "result.json"
        forged = HOME / "results" / "statistics" / "forged.json"
        forged.write_text(original.read_text().replace('"count":212', '"count":213'))
        tally("verify", str(HOME / "bundles" / "statistics.zip"), "--result", str(forged), *self.online(), fail=True)
        forged.unlink()
        self.records()

    def marketing(self) -> None:
        """The same statistic for another purpose."""
        self.alder.submit(self.statistics_spec("marketing"), self.grants.values())

    def stranger_on_chain(self) -> None:
        """An account that nobody enrolled."""
        signer = signer_from_uri("mnemonic:7")
        stranger = Client(self.network.connect(signer))
        spec = stranger.draft(
            "statistics",
            self.statistics_spec(PURPOSE).parameters,
            self.grants,
            {account: [*ANALYSED, "diagnosis"] for account in self.grants},
            receivers=[self.alder.account],
            purpose=PURPOSE,
            proof="sum-verified",
        )
        stranger.submit(spec, self.grants.values())

    def suspended(self) -> None:
        """Enrolled, and suspended before its next call."""
        dogwood = self.network.join("Dogwood")
        client = self.network.client(dogwood)
        client.nodes.call(self.birch.account, "GetInfo", node_pb2.InfoRequest(), 10)
        self.network.governor.chain.participants.suspend(dogwood.account, bytes(32))
        client.nodes.call(self.birch.account, "GetInfo", node_pb2.InfoRequest(), 10)

    def turned_away(self) -> None:
        """A stranger gets no connection to a node that answers Alder meanwhile."""
        what = "a stranger with a certificate of its own making"
        try:
            self.stranger_at_node()
        except PeerFailed:
            self.alder.nodes.call(self.birch.account, "GetInfo", node_pb2.InfoRequest(), 10)
            say(f"[bold]{what}[/]: [green]refused[/]. Birch's node opens no TLS connection to it, and answers Alder")
        else:
            sys.exit(f"{what} was not refused")

    def stranger_at_node(self) -> None:
        """A certificate for Alder's account, but by an authority that the consortium does not know."""
        folder = HOME / "stranger"
        folder.mkdir(exist_ok=True)
        key, now = ec.generate_private_key(ec.SECP256R1()), int(time.time())
        authority = issue_authority("Nobody", key, (now - 60, now + 3600))
        account = self.alder.account
        certificate = issue_certificate(
            authority,
            key,
            key.public_key(),
            account,
            "Nobody",
            [server_name(account)],
            ["requester"],
            (now - 60, now + 60),
        )
        from cryptography.hazmat.primitives import serialization as form

        pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        (folder / "key.pem").write_bytes(pem)
        (folder / "certificate.pem").write_bytes(certificate.pem)
        nodes = Nodes(
            {who.account: who.address for who in self.hospitals},
            certificate=folder / "certificate.pem",
            key=folder / "key.pem",
            authority=self.network.authority_file,
        )
        nodes.call(self.birch.account, "GetInfo", node_pb2.InfoRequest(), 10)

    def refused(self, what: str, attempt: object) -> None:
        """Show that an attempt is refused."""
        try:
            attempt()  # type: ignore[operator]
        except (Refused, ContractRefused) as error:
            SCREEN.print(f"  [bold]{what}[/]: [green]refused[/]. ", end="")
            SCREEN.print(error.message, markup=False)
            return
        sys.exit(f"{what} was not refused")

    def records(self) -> None:
        """What the regulator sees."""
        regulator = self.network.client(self.regulator)
        table = Table("node", "rule", "what was refused", title="The regulator reads the refusals from the nodes' logs")
        for who in self.hospitals:
            for raw in regulator.audit(who.account, "refusal"):
                record = AuditRecord.parse(raw)
                record.verify(self.network.deployment.chain_id, who.account, record.index)
                table.add_row(who.name, record.rule, record.message)
        SCREEN.print(table)
        settings = self.network.write_settings(self.regulator).with_name("tally.toml")
        say("and checks that a log is whole, against what its node anchored on chain:")
        tally("--config", str(settings), "audit", "check", self.birch.account)

    def end(self) -> None:
        """Where everything lies."""
        chapter(f"Done in {time.monotonic() - self.began:.0f} s. Everything lies in {shown(HOME)}:")
        say("results/       the result files, for their receiver only")
        say("bundles/       the evidence: verifies without any node")
        say("provenance.svg the picture from the result back to the certificates")
        say("alder/ ...     each institution's own keys, database, data and log")
        chapter("Try next")
        bundle = shown(HOME / "bundles" / "statistics.zip")
        deployment = shown(self.network.deployment_file)
        say(f".venv/bin/tally verify {bundle} --deployment {deployment} --trusted-block {self.anchor}")
        say("docs/tutorials/first-network.md does the same by hand; `make help` lists the rest")


def shown(path: Path) -> str:
    """A path as a person in the checkout writes it."""
    return str(path.relative_to(HERE.parents[2]))


def main() -> None:
    """Run the demonstration."""
    kind = os.environ.get("CHAIN", "anvil")
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    network = Network(HOME, kind=kind, chain=LocalChain(HOME / "chain", kind=kind))
    demonstration = Demonstration(network)
    try:
        demonstration.join()
        demonstration.publish()
        demonstration.statistics()
        demonstration.intersection()
        demonstration.training()
        demonstration.prove()
        demonstration.pay()
        demonstration.cheat()
        demonstration.end()
    except TallystickError as error:
        sys.exit(str(error))
    finally:
        network.stop()


if __name__ == "__main__":
    main()
