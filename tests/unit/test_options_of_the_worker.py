"""``chicory worker``: its options are over what the program, the environment and ``.env`` say."""

from dataclasses import fields

import pytest

from chicory.cli.main import command
from chicory.cli.options import Course, Settings, check
from chicory.config import ChicoryConfig, WorkerConfig
from chicory.errors import ConfigurationError

# setting: options, what they mean, what the program says, what the environment says, and a wrong
# value with what is told of it
OPTIONS = {
    "concurrency": (["-c", "3"], 3, 4, "5", "0", "--concurrency 0: must be a whole number from"),
    "use_dead_letter_queue": (["--no-dlq"], False, True, "true", None, None),
    "heartbeat_interval": (
        ["--heartbeat-interval", "3"], 3.0, 4.0, "5", "0", "--heartbeat-interval 0.0: must be a",
    ),
    "heartbeat_ttl": (
        ["--heartbeat-ttl", "33"], 33.0, 44.0, "55", "-1", "--heartbeat-ttl -1.0: must be a number",
    ),
    "shutdown_timeout": (
        ["--shutdown-timeout", "0"], 0.0, 4.0, "5", "-1", "--shutdown-timeout -1.0: must be",
    ),
    "log_level": (["--log-level", "debug"], "DEBUG", "ERROR", "INFO", None, None),
    "log_format": (["--log-format", "json"], "json", "text", "text", None, None),
    "health_port": (
        ["--health-port", "3"], 3, 4, "5", "65536", "--health-port 65536: must be a whole number",
    ),
    "health_host": (["--health-host", "::"], "::", "::1", "0.0.0.0", "", "--health-host : must be"),
    "max_tasks": (["--max-tasks", "3"], 3, 4, "5", None, None),
    "max_memory": (["--max-memory", "3"], 3, 4, "5", None, None),
    "threads": (["--threads", "3"], 3, 4, "5", "0", "--threads 0: must be a whole number, 1 or"),
    "processes": (["--processes", "3"], 3, 4, "5", "0", "--processes 0: must be a whole number, 1"),
    "max_process_memory": (
        ["--max-process-memory", "3"], 3, 4, "5", "0", "--max-process-memory 0: must be a whole",
    ),
}  # fmt: skip
CASES = [pytest.param(name, *values, id=name) for name, values in OPTIONS.items()]


def parsed(*words: str) -> tuple[Course, Settings]:
    _, bound, _ = command.parse_args(
        ["worker", "tasks:app", *words], exit_on_error=False, print_error=False
    )
    given = bound.arguments
    return given.get("course", Course()), given.get("settings", Settings())


def test_every_option_is_in_the_list_above():
    assert {field.name for field in fields(Settings)} == OPTIONS.keys()


@pytest.mark.parametrize(("name", "words", "means", "program", "variable", "bad", "told"), CASES)
def test_the_command_line_is_over_the_program_the_environment_and_dotenv(
    monkeypatch, tmp_path, name, words, means, program, variable, bad, told
):
    _, given = parsed(*words)
    _, nothing = parsed()

    assert getattr(given.over(WorkerConfig(**{name: program})), name) == means
    assert getattr(nothing.over(WorkerConfig(**{name: program})), name) == program

    (tmp_path / ".env").write_text(f"CHICORY_WORKER_{name.upper()}={variable}")
    assert getattr(given.over(ChicoryConfig().worker), name) == means
    (tmp_path / ".env").unlink()
    monkeypatch.setenv(f"CHICORY_WORKER_{name.upper()}", variable)
    assert getattr(given.over(ChicoryConfig().worker), name) == means
    assert getattr(nothing.over(ChicoryConfig().worker), name) != means


@pytest.mark.parametrize(("name", "words", "means", "program", "variable", "bad", "told"), CASES)
def test_a_wrong_value_is_named_with_its_option(name, words, means, program, variable, bad, told):
    if bad is None:
        return
    _, given = parsed(words[0], bad)

    with pytest.raises(ConfigurationError, match=f"^{told}"):
        given.over(WorkerConfig())


def test_the_settings_together_are_checked_again():
    _, given = parsed("--heartbeat-interval", "40")

    with pytest.raises(ConfigurationError, match="must be more than heartbeat_interval"):
        given.over(WorkerConfig())


@pytest.mark.parametrize(
    "words",
    [
        ["--max-tasks", "1", "--max-tasks-total", "1"],
        ["--burst", "--max-tasks", "1"],
        ["--burst", "--max-memory", "1"],
    ],
)
def test_options_that_contradict_each_other_are_refused(words):
    with pytest.raises(ConfigurationError):
        check(*parsed(*words))


WORDS = (
    "--workers 4 --concurrency 16 --queue default --dlq --heartbeat-interval 10.0 "
    "--heartbeat-ttl 30 --log-level INFO --shutdown-timeout 30.0"
)


def test_the_command_of_the_page():
    course, given = parsed(*WORDS.split())

    assert (course.workers, course.queue) == (4, ("default",))
    assert given.over(WorkerConfig()) == WorkerConfig(concurrency=16)
