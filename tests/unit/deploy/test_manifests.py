"""The container file and the manifests agree with the node's settings, probes and commands. They are JSON, which is YAML."""

import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from tallystick.signing import require_private
from tallystick_node.server import health
from tallystick_node.settings import Settings

ROOT = Path(__file__).parents[3]
BASE = ROOT / "node/deploy/base"


def manifest(name: str) -> Any:
    return json.loads((BASE / f"{name}.yaml").read_text())


def pod() -> Any:
    return manifest("stateful-set")["spec"]["template"]["spec"]


def settings() -> dict[str, Any]:
    return tomllib.loads(manifest("settings")["data"]["node.toml"])


def test_every_manifest_is_listed() -> None:
    assert set(manifest("kustomization")["resources"]) == {file.name for file in BASE.iterdir()} - {"kustomization.yaml"}


def test_settings_are_the_nodes(tmp_path: Path) -> None:
    Settings(home=tmp_path, **settings())  # an unknown name or a wrong type raises


def test_ports_agree() -> None:
    ports = {port["name"]: port["containerPort"] for port in pod()["containers"][0]["ports"]}
    listens = {"grpc": "listen", "data": "data_listen", "metrics": "metrics"}
    assert ports == {name: int(settings()[key].rpartition(":")[2]) for name, key in listens.items()}
    service = {port["name"]: port["port"] for port in manifest("service")["spec"]["ports"]}
    assert service == {name: ports[name] for name in ("grpc", "data")}
    everyone = manifest("network-policy")["items"][1]["spec"]["ingress"][0]["ports"]
    assert {port["port"] for port in everyone} == set(service.values())
    assert f":{ports['metrics']}/healthz" in (ROOT / "node/deploy/Containerfile").read_text()


def test_probes_are_served() -> None:
    served = Path(health.__file__).read_text()
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert f'self.path == "{pod()["containers"][0][kind]["httpGet"]["path"]}"' in served


def test_nothing_is_privileged_and_network_is_denied_by_default() -> None:
    spec = pod()
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec["automountServiceAccountToken"] and not manifest("service-account")["automountServiceAccountToken"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec) and not any("hostPath" in each for each in spec["volumes"])
    for container in spec["initContainers"] + spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    deny = manifest("network-policy")["items"][0]["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_one_process_has_the_database() -> None:
    spec = manifest("stateful-set")["spec"]
    assert spec["replicas"] == 1
    assert spec["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_container_file_installs_by_hash_and_runs_the_nodes_command() -> None:
    text = (ROOT / "node/deploy/Containerfile").read_text()
    user = pod()["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in text
    assert "--require-hashes -r requirements.lock" in text and "--no-deps --no-build-isolation ./sdk ./node" in text
    (command,) = tomllib.loads((ROOT / "node/pyproject.toml").read_text())["project"]["scripts"]
    assert f'ENTRYPOINT ["{command}"]' in text
    sources = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line]
    assert sources == [["requirements.lock"], ["sdk"], ["node"]]  # nothing else, so no key, reaches a layer


def test_secrets_are_private_after_the_first_container(tmp_path: Path) -> None:
    """Its script, run with other folders, makes files that the node accepts; and a restart does not open the volume's files."""
    folders = {
        name: tmp_path / name.rpartition("/")[2] for name in ("/var/lib/tallystick", "/run/tallystick", "/settings", "/secrets")
    }
    private = folders["/run/tallystick"] = tmp_path / "private"
    script = pod()["initContainers"][0]["command"][2]
    for path, folder in folders.items():
        folder.mkdir()
        script = script.replace(path, str(folder))
    (folders["/settings"] / "node.toml").write_text("")
    (folders["/secrets"] / "password").write_text("secret")
    (folders["/secrets"] / "password").chmod(0o640)
    subprocess.run(["sh", "-ec", script], check=True, timeout=60)
    require_private(private / "password")
    assert (folders["/var/lib/tallystick"] / "node.toml").is_file()
    assert pod()["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
