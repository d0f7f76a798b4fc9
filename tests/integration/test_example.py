"""The example project's tests, run as its user runs them."""

import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "example"


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *options]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_example_s_tests_pass(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "project")

    done = run(tmp_path / "project")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "17 passed" in done.stdout


def test_without_an_app_the_fixture_says_what_to_write(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_it(chicory_lab): ...\n")

    done = run(tmp_path)

    assert done.returncode == 1
    assert "which app? write chicory_app = package.module:app" in done.stdout


def test_who_does_not_use_the_plugin_pays_nothing(tmp_path):
    code = (
        "import sys\ndef test_it(): assert not {'anyio', 'msgspec', 'chicory.app'} & {*sys.modules}"
    )
    (tmp_path / "test_it.py").write_text(code)

    done = run(tmp_path, "-p", "no:anyio", "-p", "no:hypothesispytest", "-p", "no:xdist")

    assert done.returncode == 0, done.stdout
