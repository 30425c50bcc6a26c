"""What deploys the service, as far as it can be checked without running it.

Kubernetes objects by the schemas of its API, systemd units by systemd, the Dockerfile by a parser;
and all of them by whether they name commands, ports, paths and variables that are there.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml
from dockerfile_parse import DockerfileParser

from image import context, ignored
from qa_system.config import Settings, load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
KUBERNETES = ("1.29", "1.37")
SPARE_SECONDS = 5
"""Between the end of the service's own time for requests and its being killed."""


def documents(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(text) if each]


@pytest.fixture(scope="module", params=["files", "base", "embedded"])
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The objects of Kubernetes as they are written, and as each kustomization has them."""
    if request.param == "files":
        files = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
        return [each for name in files for each in documents((BASE / name).read_text())]
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl, which builds a kustomization")
    built = subprocess.run(
        ["kubectl", "kustomize", DEPLOY / "kubernetes" / request.param],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return documents(built.stdout)


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


def pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in of_kind(objects, "Deployment"):
        yield each["spec"]["template"]["spec"]
    for each in of_kind(objects, "CronJob"):
        yield each["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def settings_of(objects: list[dict[str, Any]]) -> Settings:
    maps = of_kind(objects, "ConfigMap")
    text = maps[0]["data"]["settings.yaml"] if maps else (BASE / "settings.yaml").read_text()
    return settings_from(text)


def settings_from(text: str) -> Settings:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "settings.yaml"
        path.write_text(text)
        return load_settings(path, environ={})


def refuse_unknown_flags(command: list[str]) -> None:
    """Parse a command line of ours, without running it."""
    import indexing.cli
    import qa_system.cli

    program, name, *flags = command
    apps = {"qa": qa_system.cli.app, "qa-index": indexing.cli.app}
    group = typer.main.get_command(apps[Path(program).name])
    group.commands[name].make_context(name, flags)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def image() -> DockerfileParser:
    return DockerfileParser(fileobj=(ROOT / "Dockerfile").open("rb"))


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_objects_fit_the_schemas_of_kubernetes(
    objects: list[dict[str, Any]], version: str
) -> None:
    assert {each["kind"] for each in objects} >= {
        *("Namespace", "Deployment", "Service", "PodDisruptionBudget", "CronJob"),
        *("PersistentVolumeClaim", "NetworkPolicy"),
    }
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)


def test_a_wrong_object_is_noticed() -> None:
    [service] = documents((BASE / "service.yaml").read_text())
    service["spec"]["prots"] = service["spec"].pop("ports")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, KUBERNETES[0], strict=True)


def test_containers_are_confined(objects: list[dict[str, Any]], image: DockerfileParser) -> None:
    user, group = (
        int(part)
        for part in next(
            each["value"] for each in image.structure if each["instruction"] == "USER"
        ).split(":")
    )
    for pod in pods(objects):
        context_ = pod["securityContext"]
        assert context_["runAsNonRoot"] is True
        assert (context_["runAsUser"], context_["runAsGroup"]) == (user, group)
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] is True
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert {"requests", "limits"} <= container["resources"].keys()
            mounted = {each["mountPath"] for each in container["volumeMounts"]}
            assert "/tmp" in mounted
            # Secrets by name only.
            assert all(each.keys() == {"name", "valueFrom"} for each in container.get("env", ()))
    assert not of_kind(objects, "Secret")


def test_objects_and_settings_agree(objects: list[dict[str, Any]]) -> None:
    settings = settings_of(objects)
    serving = settings.serving
    [pod], [service] = pods(of_kind(objects, "Deployment")), of_kind(objects, "Service")
    [job] = pods(of_kind(objects, "CronJob"))
    [container] = pod["containers"]
    [port] = container["ports"]
    assert port["containerPort"] == serving.port
    [served] = service["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness")}
    assert {probe["path"] for probe in probes.values()} == {"/health/ready", "/health/live"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    least = pause + serving.drain_seconds + SPARE_SECONDS
    assert pod["terminationGracePeriodSeconds"] >= least

    for each in (pod, job):
        for container in each["containers"]:
            command = container["args"]
            refuse_unknown_flags(command)
            mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert str(Path(command[command.index("--config") + 1]).parent) in mounts
            volumes = {volume["name"] for volume in each["volumes"]}
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
            variables = {variable["name"] for variable in container.get("env", ())}
            needed = {settings.store.api_key_env} if settings.store.is_server else set()
            if command[0] == "qa":
                needed |= {key.env for key in serving.keys}
            assert variables == needed
            if not settings.store.is_server:
                assert str(Path(settings.store.path).parent) in mounts
    mounts = {mount["mountPath"] for mount in job["containers"][0]["volumeMounts"]}
    assert {settings.indexing.state, *(str(Path(s).parent) for s in settings.indexing.sources)} < (
        mounts
    )

    for policy in of_kind(objects, "NetworkPolicy"):
        ports = [
            each["port"] for rule in policy["spec"].get("ingress", ()) for each in rule["ports"]
        ]
        assert set(ports) <= {serving.port}
    labels = [
        each["spec"]["template"]["metadata"]["labels"] for each in of_kind(objects, "Deployment")
    ]
    for selected in (
        service["spec"]["selector"],
        of_kind(objects, "PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"],
    ):
        assert selected.items() <= labels[0].items()
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]["name"]
        assert target == of_kind(objects, "Deployment")[0]["metadata"]["name"]
        assert "replicas" not in of_kind(objects, "Deployment")[0]["spec"]


def test_the_image_is_made_of_what_git_has(image: DockerfileParser, tmp_path: Path) -> None:
    there = context(ROOT, tmp_path)
    stages = 0
    for each in image.structure:
        if each["instruction"] == "FROM":
            stages += 1
        if each["instruction"] == "COPY" and "--from" not in each["value"]:
            source, _ = each["value"].split()
            assert (there / source).exists(), source
    assert stages == 2
    assert (there / "models" / "reader" / "model.onnx").is_file()
    assert not (there / "tests").exists()
    assert ignored(ROOT, "qa_system/cli/__pycache__/ask.pyc")


def test_the_image_serves_where_everything_looks_for_it(image: DockerfileParser) -> None:
    instructions = {each["instruction"]: each["value"] for each in image.structure}
    command = yaml.safe_load(instructions["CMD"])
    refuse_unknown_flags(command)
    port = command[command.index("--port") + 1]
    assert instructions["EXPOSE"] == port
    assert f"http://127.0.0.1:{port}/health/live" in instructions["HEALTHCHECK"]
    probe = yaml.safe_load(instructions["HEALTHCHECK"].partition("CMD ")[2])
    compile(probe[-1], "HEALTHCHECK", "exec")
    assert probe[:2] == ["python", "-c"]

    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    serve = services["serve"]
    refuse_unknown_flags(serve["command"])
    refuse_unknown_flags(services["index"]["command"])
    [published] = serve["ports"]
    assert published == f"127.0.0.1:8000:{port}"
    assert serve["command"][serve["command"].index("--port") + 1] == port
    assert serve["depends_on"] == {
        "elasticsearch": {"condition": "service_healthy"},
        "index": {"condition": "service_completed_successfully"},
    }
    least = settings_from("{}").serving.drain_seconds + SPARE_SECONDS
    assert int(serve["stop_grace_period"].removesuffix("s")) >= least
    for name in ("serve", "index"):
        assert services[name]["read_only"] is True
        assert services[name]["tmpfs"] == ["/tmp"]


def test_the_image_has_no_torch() -> None:
    pinned = (ROOT / "requirements" / "image.txt").read_text()
    assert re.search(r"^fastapi==", pinned, re.MULTILINE)
    assert re.search(r"^elasticsearch==", pinned, re.MULTILINE)
    assert not re.search(r"^(torch|nvidia|transformers)\b", pinned, re.MULTILINE)


UNITS = sorted((DEPLOY / "systemd").iterdir())


def settings_of_unit(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_the_units_of_systemd(path: Path, tmp_path: Path) -> None:
    unit = settings_of_unit(path)
    if path.suffix == ".service":
        refuse_unknown_flags(unit["ExecStart"].split())
        assert "--config /etc/qa-system/settings.yaml" in unit["ExecStart"]
    if path.stem == "qa-serve":
        assert unit["ExecReload"] == "/bin/kill -HUP $MAINPID"
        drain = settings_from("{}").serving.drain_seconds
        assert int(unit["TimeoutStopSec"]) >= drain + SPARE_SECONDS
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    for each in UNITS:
        programs = str(Path(sys.executable).parent)
        text = each.read_text().replace("/opt/qa-system/bin", programs)
        (tmp_path / each.name).write_text(text)
    checks = [["verify", "--man=no"]]
    if path.suffix == ".service":
        checks.append(["security", "--offline=true", "--no-pager", "--threshold=20"])
    for check in checks:
        done = subprocess.run(
            ["systemd-analyze", *check, tmp_path / path.name],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert path.name not in done.stderr, done.stderr
