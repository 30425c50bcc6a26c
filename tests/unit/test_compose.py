"""docker-compose.yml, as far as it can be checked without Docker: what it says, and to whom."""

import re
from pathlib import Path

import pytest
import yaml

from qa_system.config import load_settings
from qa_system.telemetry import OFF

PINNED = re.compile(r"[\w./-]+:\d+\.\d+\.\d+(-[\w-]+)?(@sha256:[0-9a-f]{64})?")


@pytest.fixture(scope="module")
def services(root: Path) -> dict:
    compose = yaml.safe_load((root / "docker-compose.yml").read_text(encoding="utf-8"))
    assert set(compose) == {"services", "volumes"}
    mounted = {
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", ())
    }
    assert mounted == set(compose["volumes"])
    return compose["services"]


def test_every_image_is_pinned(services: dict, root: Path) -> None:
    base = re.findall(
        r"^FROM (\S+)", (root / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    images = [service["image"] for service in services.values() if "image" in service]
    assert all("@sha256:" in image for image in base)
    assert base
    for image in (*base, *images):
        assert PINNED.fullmatch(image), image
    assert ":8.19." in services["elasticsearch"]["image"]


def test_the_server_is_bounded_healthy_and_for_this_machine(services: dict) -> None:
    server = services["elasticsearch"]
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])
    assert server["mem_limit"] == "2g"
    assert server["environment"]["ES_JAVA_OPTS"] == "-Xms1g -Xmx1g"
    kind, command = server["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    assert "/_cluster/health" in command
    assert {"interval", "timeout", "retries"} <= set(server["healthcheck"])
    # Compose replaces ${NAME} itself, and YAML reads a bare true or a number as no text.
    for service in services.values():
        assert all(isinstance(value, str) for value in service["environment"].values())


def test_the_job_waits_and_its_settings_exist(services: dict, root: Path) -> None:
    job = services["index"]
    assert job["depends_on"] == {"elasticsearch": {"condition": "service_healthy"}}
    *command, config = job["command"]
    assert command == ["qa-index", "run", "--config"]
    settings = load_settings(root / config, environ=job["environment"])
    assert settings.store.url == "http://elasticsearch:9200"
    assert settings.indexing.state in {volume.split(":")[1] for volume in job["volumes"]}
    for source in settings.indexing.sources:
        assert source.startswith("bundled:") or (root / source).exists()


def test_the_job_sends_no_telemetry(services: dict, root: Path) -> None:
    image = (root / "Dockerfile").read_text(encoding="utf-8")
    [variables] = re.findall(r"^ENV ((?:.*\\\n)*.*)", image, re.MULTILINE)
    assert dict(re.findall(r"(\w+)=(\w+)", variables)).items() >= OFF.items()
    for name in ("index", "serve"):
        assert services[name]["environment"].items() >= OFF.items()


def test_the_configuration_fits_the_server(services: dict, root: Path) -> None:
    store = load_settings(root / "configs" / "elasticsearch.yaml", environ={}).store
    [port] = services["elasticsearch"]["ports"]
    assert store.url == f"http://localhost:{port.split(':')[1]}"
    assert services["elasticsearch"]["environment"]["discovery.type"] == "single-node"
    assert store.replicas == 0


def test_the_image_gets_what_it_installs(root: Path) -> None:
    ignored = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored
    for name in kept:
        assert (root / name).exists(), name
    build = (root / "pyproject.toml").read_text(encoding="utf-8")
    for needed in re.findall(r'^"([\w/.]+)" = "qa_system/bundled', build, re.MULTILINE):
        assert any(needed == name or needed.startswith(f"{name}/") for name in kept), needed
