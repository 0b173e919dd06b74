"""Stand-ins for the images that `deploy/compose.yaml` names, made without a registry of images.

Each has Debian's package of its program, under the name of the image, and takes what the compose
file relies on: the user, the paths of the settings, the variables. There is none for Grafana, which
Debian does not have.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.container.engine import podman
from tests.support.container.image import BASE, build_image
from tests.support.paths import ROOT

_PARTS = "localhost/verve-parts"
_PACKAGES = "haproxy openssl openjdk-17-jre-headless prometheus redis-server"
_JARS = ROOT / ".cache" / "kafka"
_TOOLS = {
    "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
}
_KAFKA_START = """\
import os
import subprocess

properties = {
    name.removeprefix("KAFKA_").lower().replace("_", "."): value
    for name, value in os.environ.items()
    if name.startswith("KAFKA_")
}
with open("/tmp/server.properties", "w") as file:
    file.write("log.dirs=/tmp/kraft-combined-logs\\n")
    file.writelines(f"{name}={value}\\n" for name, value in properties.items())
java = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
java += ["-cp", "/opt/kafka/libs/*"]
storage = ["kafka.tools.StorageTool", "format", "--ignore-formatted"]
named = ["--cluster-id", "5L6g3nShT-eMCtK--X86sw", "--config", "/tmp/server.properties"]
subprocess.run([*java, *storage, *named], check=True)
os.execvp("java", [*java, "kafka.Kafka", "/tmp/server.properties"])
"""
_DOCKERFILES = {
    "docker.io/alpine/openssl:3.5.4": "",
    "docker.io/library/python:3.13-slim-bookworm": "RUN ln -s python3 /usr/bin/python\n",
    # The official image of Redis has no protected mode: its network is that of the containers.
    "docker.io/library/redis:8.2": """\
WORKDIR /data
RUN chown redis:redis /data
USER redis
ENTRYPOINT ["/bin/sh", "-c", "exec \\"$@\\" --protected-mode no", "--"]
""",
    "docker.io/library/haproxy:3.0": """\
USER 99:99
STOPSIGNAL SIGUSR1
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
ENV PATH=/usr/sbin:/usr/bin:/bin
""",
    "docker.io/prom/prometheus:v3.7.3": """\
WORKDIR /prometheus
RUN chown nobody:nogroup /prometheus
USER nobody
ENTRYPOINT ["prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
""",
    "docker.io/apache/kafka:4.1.1": """\
COPY kafka /opt/kafka
RUN chmod 755 /opt/kafka/bin/*
USER 1000
CMD ["python3", "/opt/kafka/start.py"]
""",
}


def build() -> None:
    """Build all of them; the packages are fetched once. `.cache/kafka` has the broker."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        if _PARTS not in podman("images", "--format", "{{.Repository}}"):
            install = f"apt-get install --yes --no-install-recommends {_PACKAGES}"
            _build(directory, f"FROM {BASE}\nRUN apt-get update && {install}\n", _PARTS)
        _copy_kafka(directory / "kafka")
        for image, lines in _DOCKERFILES.items():
            _build(directory, f"FROM {_PARTS}\n{lines}", image)


def names() -> frozenset[str]:
    """The images for which there is a stand-in."""
    return frozenset(_DOCKERFILES)


def _copy_kafka(directory: Path) -> None:
    (jars,) = (one for one in _JARS.iterdir() if any(one.glob("kafka_*.jar")))
    shutil.copytree(jars, directory / "libs")
    (directory / "start.py").write_text(_KAFKA_START)
    (directory / "bin").mkdir()
    for tool, name in _TOOLS.items():
        run = f"exec java -Xmx128m -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*' {name}"
        (directory / "bin" / f"{tool}.sh").write_text(f'#!/bin/sh\n{run} "$@"\n')


def _build(directory: Path, dockerfile: str, name: str) -> None:
    file = directory / "Dockerfile"
    file.write_text(dockerfile)
    build_image(directory, file, name, "--network", "host")
