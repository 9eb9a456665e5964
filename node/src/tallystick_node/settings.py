"""One typed settings object, from a TOML file and ``TALLYSTICK_*`` variables. Nothing else reads the environment."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator
from tallystick.attestation.documents import VERSION, read_policy
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.rules import EvidenceRefused
from tallystick.protocol.errors import Configuration, MalformedDocument
from tallystick.protocol.fields import address
from tallystick.signing import require_private

from tallystick_node.runs.place import Place

PREFIX = "TALLYSTICK_"
Adversary = Literal["semi-honest", "malicious-with-abort", "malicious-with-identifiable-abort"]


def _appraisal(value: object) -> AppraisalPolicy:
    """An appraisal policy from a table of its members."""
    if isinstance(value, AppraisalPolicy):
        return value
    if not isinstance(value, dict):
        raise ValueError("is a table of an appraisal policy's members")
    try:
        return read_policy(json.dumps({"name": "floor", **value, "document": "tallystick/policy", "version": VERSION}).encode())
    except (EvidenceRefused, TypeError) as error:
        raise ValueError(f"is no appraisal policy: {error}") from None


class Policy(BaseModel):
    """What the institution allows on its own node, whatever a grant says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum_group: int = Field(default=10, ge=2, le=1000, description="smallest group of people that a result may be about")
    workloads: tuple[str, ...] = Field(
        default=(
            "statistics",
            "intersection",
            "intersection-sum",
            "linked-statistics",
            "computation",
            "regression",
            "scorecard",
            "column-statistics",
            "aggregation",
            "ranking",
            "prediction",
            "training",
            "boosting",
            "shared-boosting",
            "vertical-regression",
            "split-training",
            "joint-prediction",
            "transfer",
        ),
        description="kinds of task that this node runs; `lookup`, which releases single rows, and `enclave`, which runs others' "
        "code, only where they are named",
    )
    lookups_per_day: int = Field(
        default=1000, ge=0, description="most lookups in this node's data, by tasks of one requester within 24 hours"
    )
    intersections_per_day: int = Field(
        default=24,
        ge=0,
        description="most attempts within 24 hours, by tasks of the kinds `intersection`, `intersection-sum` and "
        "`linked-statistics`, that compare one dataset of this node with data of one other owner",
    )
    answers_kept: int = Field(
        default=1000,
        ge=1,
        description="most answers of `statistics` tasks about one dataset that this node remembers, to refuse one whose rows "
        "differ in few from an earlier one's; beyond it, only what was answered before is answered again",
    )
    simulations: tuple[str, ...] = Field(
        default=(),
        description="simulated authorities of enclaves that this node accepts evidence of, `0x` and the fingerprint; their "
        "enclaves protect nothing from the host's operator",
    )
    environments: tuple[str, ...] = Field(
        default=(),
        description="hardware environments that this node accepts evidence of, `sha256:` and the identity of their image, which "
        "the operator has examined; for the proofs `attested-hardware` and `attested-hardware-quorum` the chain's list counts "
        "instead",
    )
    appraisal: Annotated[AppraisalPolicy, PlainValidator(_appraisal)] | None = Field(
        default=None,
        description="table `[policy.appraisal]`: the laxest appraisal policy of hardware evidence that this node accepts, whatever "
        'a task allows, by the members of docs/spec/attestation.md (as `tcb_statuses = ["SWHardeningNeeded"]`); what is not '
        "named is the strictest, products of SEV-SNP without `snp_minimum` are not accepted, and of Arm CCA only keys in "
        "`cca_platforms` count. Without the table any policy of a task will do that names no such keys",
    )
    vouches: bool = Field(
        default=False,
        description="whether this node vouches by itself, where the governor named its account a verifier, for evidence of running "
        "tasks of others that its own appraisal accepts, by the task's policy and no laxer than `appraisal`",
    )
    max_parties: int = Field(default=16, ge=2, le=16, description="largest number of parties of a task")
    adversary: Adversary = Field(default="semi-honest", description="weakest adversary that a task must withstand")
    minimum_fee: int = Field(
        default=0,
        ge=0,
        lt=2**128,
        description="least that this party's share of a task's fee comes to, in the smallest unit of the chain's own coin; an "
        "agreement in another token counts as no fee",
    )
    bond_of_others: int = Field(
        default=0,
        ge=0,
        lt=2**128,
        description="least bond, in the chain's own coin, that an agreement asks, and that every other party has staked before "
        "this node stakes or accepts; 0: none is asked",
    )
    largest_stake: int | None = Field(
        default=None,
        ge=0,
        lt=2**128,
        description="largest bond that this node stakes by itself for one task, in the chain's own coin; it refuses a task whose "
        "agreement asks "
        "for more, unless its operator has staked. Without this setting it leaves staking to its operator",
    )
    compute: tuple[str, ...] = Field(
        default=(),
        description="accounts that may compute on shares of this node's data, besides the owners and receivers of the same task",
    )
    approvals: int = Field(
        default=0,
        ge=0,
        le=64,
        description="how many participants have to have approved code, on chain, before it runs over this node's data in an "
        "enclave; 0: owners' grants alone decide",
    )
    reviewers: tuple[str, ...] = Field(
        default=(),
        description="accounts whose approvals count, and of whom none may reject the code; without any, the approvals of all "
        "participants but the author and the task's requester count, and no rejection does",
    )

    @model_validator(mode="after")
    def _reviewers_suffice(self) -> Policy:
        for each in self.reviewers:
            try:
                address(each, "reviewers")
            except MalformedDocument as error:
                raise ValueError(error.message) from None
        if self.reviewers and not 1 <= self.approvals <= len(set(self.reviewers)):
            raise ValueError(f"approvals: with reviewers named, from 1 to their number, {len(set(self.reviewers))}")
        return self


class Settings(BaseModel):
    """How one node runs. Paths are relative to the folder of the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Path = Field(exclude=True)
    signer: str = Field(
        description="the account's key: `keystore:FILE`, `env:VARIABLE`, or on development chains `mnemonic:NUMBER`"
    )
    password_file: Path | None = Field(
        None, description="file with the keystore's password, for its owner's eyes alone (mode 0600)"
    )
    certificate: Path = Field(description="the institution's certificate, PEM")
    key: Path = Field(description="the certificate's private key, PEM, mode 0600")
    authority: Path = Field(description="the consortium authority's certificate, PEM")
    rpc_url: str = Field(description="JSON-RPC endpoint of the chain")
    chain_profile: str = Field(
        "development", description="fees, finality and paging of the chain; see docs/reference/chain-profiles.md"
    )
    deployment: Path = Field(description="file with the contracts' addresses, `contracts/deployments/<chainId>.json`")
    listen: str = Field(default="127.0.0.1:0", description="host:port of the gRPC services (mutual TLS)")
    data_listen: str = Field(
        default="127.0.0.1:0",
        description="host:port of the direct connections of runs (TLS 1.3); peers use this port at the host of their `peers` entry",
    )
    metrics: str = Field(
        default="127.0.0.1:0", description="host:port of `/metrics`, `/healthz` and `/readyz` (plain HTTP, no data)"
    )
    store: str = Field(
        default="sqlite:///node.db", description="database URL; `postgresql+psycopg://...` with the extra `postgresql`"
    )
    data_dir: Path = Field(default=Path("data"), description="folder below which data files may be attached")
    peers: dict[str, str] = Field(default={}, description="host:port of the other institutions' nodes, by account")
    link_seconds: float = Field(
        default=30,
        ge=2,
        le=3600,
        allow_inf_nan=False,
        description="seconds, 2 to 3600, that a peer may be silent during a run before it is given up; "
        "who works for long says so twice a second",
    )
    spare_workers: int = Field(
        default=1,
        ge=0,
        le=16,
        description="worker processes that are started before there is a run for them, so that it begins at once; each sleeps in "
        "about 150 MB of memory of its own; 0: none",
    )
    local_work: str = Field(
        default="worker",
        description="where a run's work that needs no peer is done, as the tags of a large prepared set: in its `worker`; in "
        "`processes:N` beside it; or by the institution's own Dask cluster, `dask:tls://HOST:PORT`, which then sees the keys. Dask "
        "is not installed with the node: install the package `distributed`",
    )
    runs_days: int = Field(
        default=365, ge=1, le=36500, description="days for which the folder of a run that has ended stays in `runs` unchanged"
    )
    runs_bytes: int = Field(
        default=64 << 30,
        ge=0,
        description="most that the folders in `runs` take; beyond it, the oldest of runs that have ended keep the opening of "
        "this party's commitment only",
    )
    kept_days: int = Field(
        default=365, ge=1, le=36500, description="days without use after which a table or its hint leaves `kept`"
    )
    kept_bytes: int = Field(
        default=64 << 30, ge=0, description="most that `kept` takes; beyond it, what was used least recently goes and is made anew"
    )
    enclave_authority: Path | None = Field(
        None, description="file with the simulated authority under which this node launches enclaves; none: it launches none"
    )
    enclave_password_file: Path | None = Field(None, description="file with that authority's password (mode 0600)")
    enclave_device: Literal["simulation", "auto", "sgx", "tdx", "snp", "cca"] = Field(
        default="simulation",
        description="what vouches for enclaves that this node launches: the simulated authority; or the environment that the node "
        "itself runs in, of SGX (Gramine), TDX, SEV-SNP or Arm CCA, or whichever there is (`auto`). Where it is not there, none is "
        "launched",
    )
    enclave_endorsements: Path | None = Field(
        None,
        description="file with evidence of this machine and its endorsements, which go with all evidence of the environment; "
        "needed but for SEV-SNP whose host gives certificates along",
    )
    policy: Policy = Field(default_factory=Policy, description="see below")

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read a file and the environment. Raises Configuration naming the key."""
        try:
            raw: dict[str, Any] = tomllib.loads(path.read_text())
        except OSError as error:
            raise Configuration(f"the settings cannot be read: {error.strerror}", party=str(path)) from None
        except ValueError as error:  # of the syntax, or of the text's encoding
            raise Configuration(f"the settings are not TOML: {error}", party=str(path)) from None
        for name, value in os.environ.items():
            field = name.removeprefix(PREFIX).lower()
            if name.startswith(PREFIX) and field in cls.model_fields and field not in ("home", "peers", "policy"):
                raw[field] = value
        home = path.resolve().parent
        raw = {name: field.default for name, field in cls.model_fields.items() if name in ("data_dir", "store")} | raw
        enclaves = ("enclave_authority", "enclave_password_file", "enclave_endorsements")
        for field in ("password_file", "certificate", "key", "authority", "deployment", "data_dir", *enclaves):
            if raw.get(field):
                raw[field] = home / raw[field]
        if str(raw.get("store", "")).startswith("sqlite:///") and not str(raw["store"]).startswith("sqlite:////"):
            raw["store"] = f"sqlite:///{home / raw['store'].removeprefix('sqlite:///')}"
        try:
            settings = cls(home=home, **raw)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise Configuration(
                f"setting {key}: {first['msg']}", party=str(path), remedy="see docs/reference/settings.md"
            ) from None
        Place.parse(settings.local_work)
        secrets = (settings.key, settings.password_file, settings.enclave_authority, settings.enclave_password_file)
        for file in (*secrets, settings.certificate, settings.authority, settings.enclave_endorsements):
            if file is not None and not file.is_file():
                raise Configuration("a file named in the settings is missing", party=str(file))
        for secret in secrets:
            if secret is not None:
                require_private(secret)
        return settings

    @property
    def results(self) -> Path:
        """The folder with a folder of result files for each task."""
        return self.home / "results"

    def password(self) -> str:
        """The keystore's password. Raises Configuration when no file is configured."""
        if self.password_file is None:
            raise Configuration("the signer needs a password", remedy="set password_file")
        return self.password_file.read_text().strip()
