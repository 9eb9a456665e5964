"""The manifests of confidential nodes and of the key service: nothing is privileged, whatever an overlay adds, and commands, ports
and settings are the code's. They are JSON, which is YAML."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick_node import app
from tallystick_node.settings import Settings

DEPLOY = Path(__file__).parents[3] / "node/deploy"
OVERLAYS = sorted(folder.name for folder in (DEPLOY / "overlays").iterdir())
KINDS = ("Namespace", "ServiceAccount", "ConfigMap", "Service", "NetworkPolicy", "StatefulSet", "PodDisruptionBudget")


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def resources(folder: Path) -> list[Any]:
    """What ``kubectl kustomize`` gives of a folder, as far as ours use it: resources, and patches of RFC 6902 that add members."""
    kustomization, found = read(folder / "kustomization.yaml"), []
    for name in kustomization["resources"]:
        path = (folder / name).resolve()
        made = resources(path) if path.is_dir() else [read(path)]
        found += [item for each in made for item in (each["items"] if each["kind"] == "List" else [each])]
    for patch in kustomization.get("patches", []):
        target = patch["target"]
        (resource,) = [each for each in found if (each["kind"], each["metadata"]["name"]) == (target["kind"], target["name"])]
        for step in read(folder / patch["path"]):
            add(resource, **step)
    return copy.deepcopy(found)


def add(resource: Any, op: str, path: str, value: Any) -> None:
    assert op == "add"
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    for part in way:
        resource = resource[int(part)] if isinstance(resource, list) else resource[part]
    if isinstance(resource, list):
        assert last == "-"
        resource.append(value)
    else:
        assert last not in resource, "an overlay replaces nothing that the base has"
        resource[last] = value


ALL = {"base": DEPLOY / "base", "keys": DEPLOY / "keys", **{name: DEPLOY / "overlays" / name for name in OVERLAYS}}


def broken(resource: Any) -> list[str]:
    """Which rules a resource breaks."""
    if "template" not in resource.get("spec", {}):
        return []
    pod, found = resource["spec"]["template"]["spec"], []

    def rule(holds: object, name: str) -> None:
        if not holds:
            found.append(name)

    context = pod.get("securityContext", {})
    rule(context.get("runAsNonRoot") and context.get("runAsUser", 0) > 0, "not root")
    rule(context.get("seccompProfile") == {"type": "RuntimeDefault"}, "seccomp")
    rule(pod.get("automountServiceAccountToken") is False, "no token of the cluster")
    rule(not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), "no namespace of the host")
    rule(not any("hostPath" in volume for volume in pod["volumes"]), "no path of the host")
    mounts = [volume.get("emptyDir", {"sizeLimit": ""}) for volume in pod["volumes"]]
    rule(all("sizeLimit" in each for each in mounts), "bounded scratch")
    for container in pod.get("initContainers", []) + pod["containers"]:
        security = container.get("securityContext", {})
        rule(not security.get("privileged"), "not privileged")
        rule(security.get("allowPrivilegeEscalation") is False, "no escalation")
        rule(security.get("readOnlyRootFilesystem") is True, "read-only root")
        rule(security.get("capabilities") == {"drop": ["ALL"]}, "no capabilities")
        rule("memory" in container.get("resources", {}).get("limits", {}), "memory limit")
        rule({"cpu", "memory"} <= set(container.get("resources", {}).get("requests", {})), "requests")
        image = container["image"]
        rule(re.fullmatch(r"[a-z0-9./-]+(:set-a-digest|@sha256:[0-9a-f]{64})", image), "image by digest")
        known = {volume["name"] for volume in pod["volumes"]}
        known |= {claim["metadata"]["name"] for claim in resource["spec"].get("volumeClaimTemplates", [])}
        rule({mount["name"] for mount in container["volumeMounts"]} <= known, "mounts are volumes")
    return found


@pytest.mark.parametrize("name", ALL)
def test_no_manifest_breaks_a_rule(name: str) -> None:
    made = resources(ALL[name])
    assert {each["kind"] for each in made} <= {*KINDS, "HorizontalPodAutoscaler"}
    assert sum("template" in each.get("spec", {}) for each in made) == 1
    assert [broken(each) for each in made] == [[] for _ in made]


def stateful_set(name: str) -> Any:
    (found,) = [each for each in resources(ALL[name]) if each["kind"] == "StatefulSet"]
    return found


def test_a_manifest_that_breaks_a_rule_is_found() -> None:
    changes = {
        "not privileged": lambda pod: pod["containers"][0]["securityContext"].update(privileged=True),
        "no escalation": lambda pod: pod["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
        "read-only root": lambda pod: pod["containers"][0]["securityContext"].update(readOnlyRootFilesystem=False),
        "no capabilities": lambda pod: pod["containers"][0]["securityContext"].update(capabilities={"add": ["SYS_ADMIN"]}),
        "memory limit": lambda pod: pod["containers"][0]["resources"].pop("limits"),
        "requests": lambda pod: pod["containers"][0]["resources"].pop("requests"),
        "image by digest": lambda pod: pod["containers"][0].update(image="tallystick-node:latest"),
        "not root": lambda pod: pod["securityContext"].update(runAsUser=0),
        "seccomp": lambda pod: pod["securityContext"].pop("seccompProfile"),
        "no path of the host": lambda pod: pod["volumes"].append({"name": "host", "hostPath": {"path": "/sys"}}),
        "no namespace of the host": lambda pod: pod.update(hostPID=True),
        "bounded scratch": lambda pod: pod["volumes"].append({"name": "more", "emptyDir": {}}),
        "mounts are volumes": lambda pod: pod["containers"][0]["volumeMounts"].append({"name": "none", "mountPath": "/x"}),
        "no token of the cluster": lambda pod: pod.pop("automountServiceAccountToken"),
    }
    for rule, change in changes.items():
        made = stateful_set("keys")
        change(made["spec"]["template"]["spec"])
        assert broken(made) == [rule]


def test_every_file_of_the_key_service_is_listed() -> None:
    listed = set(read(DEPLOY / "keys/kustomization.yaml")["resources"])
    assert listed == {file.name for file in (DEPLOY / "keys").iterdir()} - {"kustomization.yaml"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_asks_for_its_device_and_its_settings_are_the_nodes(name: str, tmp_path: Path) -> None:
    spec = stateful_set(name)["spec"]
    node = spec["template"]["spec"]["containers"][0]
    assert spec["replicas"] == 1  # a node is one process, in an environment too
    device = {"tdx": "squat.ai/tsm-report", "snp": "squat.ai/sev-guest"}[name]
    assert node["resources"]["limits"][device] == "1"
    given = {each["name"].removeprefix("TALLYSTICK_").lower(): each["value"] for each in node["env"]}
    needed = {"signer": "mnemonic:0", "rpc_url": "http://localhost"}
    needed |= dict.fromkeys(("certificate", "key", "authority", "deployment"), "file")
    found = Settings(home=tmp_path, **needed, **given)
    assert (found.enclave_device, str(found.enclave_endorsements)) == (name, "/endorsements/endorsements.json")
    assert any(mount["mountPath"] == "/endorsements" and mount["readOnly"] for mount in node["volumeMounts"])


def test_the_key_service_is_the_nodes_command_and_its_replicas_keep_logs_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = stateful_set("keys")
    pod, by_kind = made["spec"]["template"]["spec"], {each["kind"]: each for each in resources(ALL["keys"])}
    settings = tomllib.loads(by_kind["ConfigMap"]["data"]["node.toml"])
    Settings(home=tmp_path, **settings)
    (keys,) = pod["containers"]
    asked: list[Any] = []
    monkeypatch.setattr(app.sys, "argv", ["tallystick-node", *keys["args"]])
    loaded = SimpleNamespace(signer="keystore:file", home=tmp_path, password=str)
    monkeypatch.setattr(app.Settings, "load", lambda path: asked.append(path) or loaded)
    monkeypatch.setattr(app, "signer_from_uri", lambda *_: None)
    monkeypatch.setattr(app.key_server, "run", lambda settings, signer, *given: asked.extend(given))
    app.main()
    options = dict(zip(keys["args"][1::2], keys["args"][2::2], strict=True))
    assert list(map(str, asked)) == [options[name] for name in ("--config", "--keys", "--listen", "--log")]
    assert options["--listen"].endswith(f":{keys['ports'][0]['containerPort']}")
    assert by_kind["Service"]["spec"]["ports"][0]["port"] == keys["ports"][0]["containerPort"]
    policy = by_kind["NetworkPolicy"]["spec"]
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": keys["ports"][0]["containerPort"]}]
    assert "replicas" not in made["spec"]  # the autoscaler's
    assert by_kind["HorizontalPodAutoscaler"]["spec"]["minReplicas"] >= 2 > by_kind["PodDisruptionBudget"]["spec"]["minAvailable"]
    (claim,) = made["spec"]["volumeClaimTemplates"]  # one for each replica
    (mount,) = [each for each in keys["volumeMounts"] if each["name"] == claim["metadata"]["name"]]
    assert options["--log"].startswith(mount["mountPath"] + "/")
    private = next(each for each in keys["volumeMounts"] if each["name"] == "private")["mountPath"]
    assert options["--keys"].startswith(private + "/")
    assert next(each for each in pod["volumes"] if each["name"] == "private")["emptyDir"]["medium"] == "Memory"
