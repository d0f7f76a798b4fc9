"""The files of the deployment page: they parse, and what they run is what the command takes."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from chicory.cli.main import command
from chicory.cli.options import Course, Settings, check
from chicory.config import WorkerConfig
from chicory.supervision.child import GRACE

PAGE = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()
FILES = dict(re.findall(r"^```\w+\n# (\S+)\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL))
HEALTH = "8080"


class Unit(configparser.RawConfigParser):
    """A unit of systemd, as far as no key is needed twice."""

    def __init__(self, text: str) -> None:
        super().__init__(strict=False)
        self.optionxform = str
        self.read_string(text)


COMPOSE = yaml.safe_load(FILES["docker-compose.yml"])
UNIT = Unit(FILES["/etc/systemd/system/chicory-worker.service"])
DEPLOYMENT = yaml.safe_load(FILES["kubernetes.yml"])
POD = DEPLOYMENT["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
WORKER = COMPOSE["services"]["worker"]
COMMANDS = {
    "compose": shlex.split(WORKER["command"]),
    "systemd": shlex.split(UNIT["Service"]["ExecStart"]),
    "kubernetes": [*CONTAINER["command"], *CONTAINER["args"]],
}
PATIENCE = {
    "compose": float(WORKER["stop_grace_period"].removesuffix("s")),
    "systemd": float(UNIT["Service"]["TimeoutStopSec"]),
    "kubernetes": float(POD["terminationGracePeriodSeconds"]),
}


def parsed(words: list[str]) -> tuple[Course, Settings]:
    _, bound, _ = command.parse_args(words, exit_on_error=False, print_error=False)
    found = bound.arguments
    return found.get("course", Course()), found.get("settings", Settings())


@pytest.mark.parametrize("where", COMMANDS)
def test_each_command_is_one_that_chicory_takes_and_whoever_stops_it_waits_long_enough(where):
    program, *words = COMMANDS[where]

    course, settings = parsed(words)

    assert Path(program).name == "chicory"
    check(course, settings)
    assert PATIENCE[where] >= settings.over(WorkerConfig()).shutdown_timeout + GRACE


def test_systemd_signals_the_supervisor_alone_and_reloads_by_hangup():
    service = UNIT["Service"]

    assert (service["KillMode"], service["KillSignal"]) == ("mixed", "SIGTERM")
    assert service["ExecReload"].endswith("kill -HUP $MAINPID")
    assert service["Type"] == "exec"


def test_systemd_takes_the_unit(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd here")
    text = FILES["/etc/systemd/system/chicory-worker.service"]
    # it looks for the program and the user, which are not here
    text = re.sub(r"(?<=ExecStart=)\S+", "/bin/true", text).replace("User=myapp\n", "")
    unit = tmp_path / "chicory-worker.service"
    unit.write_text(text)

    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)

    assert "chicory-worker.service" not in done.stderr
    assert done.returncode == 0, done.stderr


def test_the_secrets_are_files_that_are_there():
    secret = COMPOSE["secrets"]["redis_password"]["file"]
    variables = {entry["name"]: entry["value"] for entry in CONTAINER["env"]}
    folder = CONTAINER["volumeMounts"][0]["mountPath"]

    for name, value in WORKER["environment"].items():
        assert not name.endswith("PASSWORD")
        assert not name.endswith("_FILE") or value == f"/run/secrets/{WORKER['secrets'][0]}"
    assert f"> {Path(secret).name}" in PAGE
    assert variables["CHICORY_BROKER_REDIS_PASSWORD_FILE"] == f"{folder}/redis-password"
    assert "--from-file=redis-password=" in PAGE
    assert f"generic {POD['volumes'][0]['secret']['secretName']} " in PAGE
    assert CONTAINER["volumeMounts"][0]["name"] == POD["volumes"][0]["name"]
    assert variables.keys() == WORKER["environment"].keys()


def test_the_probes_ask_where_the_worker_answers():
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    probes = {name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("liveness", "readiness")}

    assert ports == {"health": int(HEALTH)}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "liveness": "/live",
        "readiness": "/ready",
    }
    assert {probe["port"] for probe in probes.values()} == {"health"}
    assert f"127.0.0.1:{HEALTH}/live" in str(WORKER["healthcheck"]["test"])
    served = {where: parsed(COMMANDS[where][1:])[1] for where in ("compose", "kubernetes")}
    assert {settings.health_port for settings in served.values()} == {int(HEALTH)}
    assert served["kubernetes"].health_host == "0.0.0.0"  # the probes come from outside of the pod


def test_a_deployment_selects_its_own_pods():
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]

    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    assert (DEPLOYMENT["apiVersion"], DEPLOYMENT["kind"]) == ("apps/v1", "Deployment")


def test_the_program_of_the_page_makes_an_app():
    (program,) = re.findall(r"```python\n# myapp/tasks.py\n(.+?)```", PAGE, re.DOTALL)
    found: dict[str, object] = {}

    exec(program, found)

    assert found["app"].broker_url == "redis://localhost:6379/0"
