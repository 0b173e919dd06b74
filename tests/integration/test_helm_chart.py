from __future__ import annotations

import ipaddress
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

import verve
from tests.support.deploy import helm
from tests.support.deploy.helm import CHART, SETS, one, render, rendered, template, values_of
from tests.support.paths import ROOT
from verve.config import load
from verve.config.settings import TABLE
from verve.serving import timers

if TYPE_CHECKING:
    from pathlib import Path

    from verve.config import Settings

OLDEST, NEWEST = "1.27", "1.37"
"""Versions of Kubernetes, as `kubeVersion` of the chart and kubernetes-validate have them."""
OF_AN_OPERATOR = {"PrometheusRule", "ServiceMonitor"}


def _pod(name: str) -> dict[str, Any]:
    found: dict[str, Any] = one(rendered(name), "StatefulSet")["spec"]["template"]["spec"]
    return found


def _container(name: str) -> dict[str, Any]:
    (found,) = _pod(name)["containers"]
    return dict(found)


def _env(name: str) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in _container(name)["env"]}


def _settings(name: str, tmp_path: Path) -> Settings:
    """The settings as the service of the pod reads them."""
    found = _env(name)
    for variable in found.keys() & {"VERVE_REDIS_TLS_CA"}:
        del found[variable]  # a file of another volume
    for variable, path in found.items():
        if variable.endswith("_FILE"):
            secret = tmp_path / path.rpartition("/")[2]
            text = "redis://redis" if "REDIS" in variable else "whsec_" + "c2VjcmV0" * 4
            secret.write_text(text, encoding="utf-8")
            found[variable] = str(secret)
    return load({}, found)


def _value(name: str, key: str, default: Any) -> Any:  # noqa: ANN401 - of any type
    return (yaml.safe_load(values_of(name).read_text(encoding="utf-8")) or {}).get(key, default)


def test_there_are_sets_of_values() -> None:
    assert len(SETS) == 7


@pytest.mark.parametrize("name", SETS)
def test_lint_finds_nothing(name: str) -> None:
    done = helm.run("lint", CHART, "--strict", "--quiet", "--values", values_of(name))
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.mark.parametrize("name", SETS)
def test_every_object_is_valid(name: str) -> None:
    objects = rendered(name)
    for found in objects:
        assert found["metadata"]["labels"]["app.kubernetes.io/instance"] == "shop"
        if found["kind"] in OF_AN_OPERATOR:
            continue
        for version in (OLDEST, NEWEST):
            kubernetes_validate.validate(found, version, strict=True)
    kinds = [found["kind"] for found in objects]
    assert kinds.count("StatefulSet") == 1
    assert kinds.count("Service") == 2


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    broken = json.loads(json.dumps(one(rendered("single-host"), "StatefulSet")))
    broken["spec"]["template"]["spec"]["gracePeriod"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, NEWEST, strict=True)


@pytest.mark.parametrize("name", SETS)
def test_the_service_understands_its_settings(name: str, tmp_path: Path) -> None:
    settings = _settings(name, tmp_path)
    assert settings.warnings == ()
    written = {name.removeprefix("VERVE_").removesuffix("_FILE").lower() for name in _env(name)}
    assert written <= set(TABLE)
    assert settings.workers == _value(name, "workers", 1)


def test_values_reach_the_service_as_they_are(tmp_path: Path) -> None:
    settings = _settings("cluster", tmp_path)
    assert settings.max_ids_per_window == 5_000_000
    assert settings.cluster == "shop"
    assert settings.callback_drain == 60
    assert settings.redis_url is not None
    settings = _settings("kafka", tmp_path)
    assert settings.kafka_tls
    assert settings.sinks == ("log", "kafka")
    assert settings.kafka_brokers == ("kafka-0.kafka:9093", "kafka-1.kafka:9093")


@pytest.mark.parametrize("name", SETS)
def test_a_stop_has_time_for_the_drain_and_the_kill_timeout(name: str, tmp_path: Path) -> None:
    command = _container(name)["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:-1] == ["verve", "drain", "--wait", "--timeout"]
    needed = int(command[-1]) + timers.kill_timeout(_settings(name, tmp_path))
    grace = _pod(name)["terminationGracePeriodSeconds"]
    assert needed < grace <= needed + 10


@pytest.mark.parametrize("name", SETS)
def test_the_segment_is_in_memory_that_the_limit_covers(name: str) -> None:
    volumes = {volume["name"]: volume for volume in _pod(name)["volumes"]}
    segment = volumes["segment"]["emptyDir"]
    assert segment["medium"] == "Memory"
    mounts = {mount["name"]: mount["mountPath"] for mount in _container(name)["volumeMounts"]}
    assert _env(name)["VERVE_SEGMENT"].startswith(mounts["segment"] + "/")
    assert _env(name)["VERVE_STATE_DIR"] == mounts["state"]
    resources = _container(name)["resources"]
    processes = int(_env(name)["VERVE_WORKERS"]) + 1
    limit = _mebibytes(resources["limits"]["memory"])
    assert limit >= _mebibytes(segment["sizeLimit"]) + processes * 64
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    (claim,) = one(rendered(name), "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "state"


def _mebibytes(text: str) -> int:
    assert text.endswith("Mi")
    return int(text.removesuffix("Mi"))


@pytest.mark.parametrize("name", SETS)
def test_the_pod_has_no_rights_that_it_does_not_need(name: str) -> None:
    pod = _pod(name)
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert _container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_secrets_come_from_files_and_not_from_the_environment() -> None:
    assert {name: value for name, value in _env("cluster").items() if "FILE" in name} == {
        "VERVE_ADMIN_TOKEN_FILE": "/run/secrets/verve/admin_token",
        "VERVE_CALLBACK_SECRET_FILE": "/run/secrets/verve/callback_secret",
        "VERVE_REDIS_URL_FILE": "/run/secrets/verve/redis_url",
    }
    (volume,) = [one for one in _pod("cluster")["volumes"] if one["name"] == "secrets"]
    sources = [source["secret"] for source in volume["projected"]["sources"]]
    signing = {"key": "signing", "path": "callback_secret"}
    assert {"name": "verve-callbacks", "items": [signing]} in sources
    assert len(sources) == 3
    assert "secrets" not in {volume["name"] for volume in _pod("single-host")["volumes"]}


@pytest.mark.parametrize("name", SETS)
def test_probes_ask_routes_that_exist(name: str) -> None:
    container = _container(name)
    paths = {
        probe: container[f"{probe}Probe"]["httpGet"]["path"]
        for probe in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert str(ports["http"]) == _env(name)["VERVE_PORT"]


def test_every_selector_finds_the_pods() -> None:
    for name in SETS:
        template = one(rendered(name), "StatefulSet")["spec"]["template"]
        labels = template["metadata"]["labels"].items()
        for found in rendered(name):
            spec = found.get("spec", {})
            if found["kind"] == "Service":
                assert spec["selector"].items() <= labels
            elif found["kind"] in {"PodDisruptionBudget", "StatefulSet"}:
                assert spec["selector"]["matchLabels"].items() <= labels
            elif found["kind"] == "NetworkPolicy":
                assert spec["podSelector"]["matchLabels"].items() <= labels


def test_more_than_one_replica_needs_redis() -> None:
    done = template("--set", "replicas=2")
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr
    for value in ("/redis/url", "/redis/secret/name"):
        reason = "does not match pattern '^(more than one replica needs Redis|.+)$'"
        assert f"at '{value}': '' {reason}" in done.stderr
    done = template("--set", "replicas=2", "--skip-schema-validation")
    assert "more than one replica needs Redis: set redis.url or redis.secret.name" in done.stderr
    render("--set", "replicas=2", "--set", "redis.url=redis://redis")
    render("--set", "replicas=2", "--set", "redis.secret.name=verve-redis")


@pytest.mark.parametrize(
    "setting",
    [
        "replica=2",
        "redis.uri=redis://redis",
        "redis.url=redis.example",
        "settings.redis_url=redis://redis",
        "settings.admin_token=secret",
        "settings.VERVE_WINDOW=60",
        "resources.limits.memory=1Gi",
        "segment.sizeMiB=1",
        "adminPort=8000",
        "listener=nginx",
        "service.ipFamilies={IPv5}",
        "drainSeconds=1",
        "serviceMonitor.enabled=true",
    ],
)
def test_the_schema_refuses(setting: str) -> None:
    done = template("--set", setting)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr


def test_every_value_is_described_by_the_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert values.keys() | {"global"} == schema["properties"].keys()
    refused = schema["properties"]["settings"]["propertyNames"]["not"]["enum"]
    secrets = {name for name, setting in TABLE.items() if setting.secret} - {"callback_proxy"}
    secrets -= {"kafka_tls_key_password"}
    assert secrets <= set(refused) <= set(TABLE)


@pytest.mark.parametrize(
    ("name", "address"),
    [("single-host", "0.0.0.0"), ("ipv6", "::"), ("dual-stack", "::")],  # noqa: S104 - in a pod
)
def test_the_service_listens_in_the_families_of_its_cluster(name: str, address: str) -> None:
    assert _env(name)["VERVE_HOST"] == address
    families = _value(name, "service", {})
    for service in ("shop-verve", "shop-verve-hosts"):
        spec = one(rendered(name), "Service", service)["spec"]
        assert spec.get("ipFamilyPolicy") == families.get("ipFamilyPolicy")
        assert spec.get("ipFamilies") == families.get("ipFamilies")


def test_the_admin_address_has_a_port_of_its_own() -> None:
    assert _env("native")["VERVE_ADMIN_LISTEN"] == "0.0.0.0:9000"
    assert _env("native")["VERVE_LISTENER"] == "native"
    assert _env("ipv6")["VERVE_ADMIN_LISTEN"] == "[::]:9000"
    ports = one(rendered("native"), "Service")["spec"]["ports"]
    assert ports == [{"name": "http", "port": 80, "targetPort": "http"}]
    hosts = one(rendered("native"), "Service", "shop-verve-hosts")["spec"]
    assert hosts["clusterIP"] == "None"
    assert {port["name"] for port in hosts["ports"]} == {"http", "admin"}


def test_callbacks_leave_the_pod_for_public_addresses_only() -> None:
    egress = one(rendered("dual-stack"), "NetworkPolicy")["spec"]["egress"]
    blocks = [peer["ipBlock"] for rule in egress if "ports" not in rule for peer in rule["to"]]
    assert [block["cidr"] for block in blocks] == ["0.0.0.0/0", "::/0"]
    for address in ("10.1.2.3", "127.0.0.1", "169.254.169.254", "fd00:ec2::254", "::1"):
        assert not _reaches(blocks, address)
    for address in ("8.8.8.8", "2001:4860:4860::8888"):
        assert _reaches(blocks, address)
    assert {"port": 443} in [port for rule in egress for port in rule.get("ports", ())]

    egress = one(rendered("ipv6"), "NetworkPolicy")["spec"]["egress"]
    blocks = [peer["ipBlock"] for rule in egress if "ports" not in rule for peer in rule["to"]]
    assert blocks == [{"cidr": "2001:db8::/32"}, {"cidr": "fd00::7/128"}]


def _reaches(blocks: list[dict[str, Any]], address: str) -> bool:
    found = ipaddress.ip_address(address)
    return any(
        found in ipaddress.ip_network(block["cidr"])
        and not any(found in ipaddress.ip_network(network) for network in block["except"])
        for block in blocks
        if ipaddress.ip_network(block["cidr"]).version == found.version
    )


def test_prometheus_scrapes_with_the_token_and_gets_the_rules() -> None:
    objects = rendered("monitored")
    monitor = one(objects, "ServiceMonitor")["spec"]
    hosts = one(objects, "Service", "shop-verve-hosts")
    assert monitor["selector"]["matchLabels"].items() <= hosts["metadata"]["labels"].items()
    # The label gives the name of the job, which the rules ask for.
    assert hosts["metadata"]["labels"][monitor["jobLabel"]] == "verve"
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in hosts["spec"]["ports"]}
    assert endpoint["port"] == "admin"
    assert endpoint["authorization"]["credentials"] == {"name": "verve-token", "key": "token"}
    rules = (ROOT / "deploy" / "monitoring" / "rules.yaml").read_text(encoding="utf-8")
    assert one(objects, "PrometheusRule")["spec"] == yaml.safe_load(rules)


def test_the_notes_tell_what_a_replaced_pod_loses(tmp_path: Path) -> None:
    notes = _notes("single-host", tmp_path)
    assert "without Redis, a pod that is replaced" in notes
    assert "loses its\nrunning minute" in notes
    assert "256 MiB of the memory limit of 512 MiB" in notes
    assert "Metrics and history answer on the pod's loopback only" in notes
    notes = _notes("cluster", tmp_path)
    assert "WARNING" not in notes
    assert "3 hosts with 4 workers each" in notes


def _notes(name: str, directory: Path) -> str:
    """The notes, in an object: `helm template` leaves them out, `helm install` asks a cluster."""
    chart = shutil.copytree(CHART, directory / name)
    text = (chart / "templates" / "NOTES.txt").read_text(encoding="utf-8")
    (chart / "templates" / "notes.yaml").write_text(
        f'{{{{ define "notes" }}}}{text}{{{{ end }}}}\nkind: Notes\nmetadata: {{name: notes}}\n'
        'text: {{ include "notes" . | toJson }}\n',
        encoding="utf-8",
    )
    done = helm.run("template", "shop", chart, "--values", values_of(name))
    assert done.returncode == 0, done.stderr
    return str(one(list(yaml.safe_load_all(done.stdout)), "Notes", "notes")["text"])


def test_the_chart_has_the_version_of_the_service() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == verve.__version__
    assert re.match(r">=([0-9]+\.[0-9]+)", chart["kubeVersion"])[1] == OLDEST  # type: ignore[index]


def test_the_chart_can_be_packed(tmp_path: Path) -> None:
    done = helm.run("package", CHART, "--destination", tmp_path)
    assert done.returncode == 0, done.stderr
    (packed,) = tmp_path.iterdir()
    objects = helm.run("template", "shop", packed, "--values", values_of("monitored"))
    assert objects.returncode == 0, objects.stderr
    assert "kind: PrometheusRule" in objects.stdout
