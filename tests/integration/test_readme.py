import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_example_of_the_readme_works_as_it_is_printed(tmp_path, monkeypatch):
    text = README.read_text()
    example = re.search(r"```python\n(# tasks\.py\n.*?)```", text, re.DOTALL)
    enqueue = re.search(r'^ +python -c "(.*?)" *#', text, re.MULTILINE)
    assert example is not None
    assert enqueue is not None
    (tmp_path / "tasks.py").write_text(example[1])
    command = [sys.executable, "-m", "chicory.cli", "worker", "tasks:app"]

    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        try:
            # a call waits for ten seconds, which a busy machine may take to start a worker
            while "consuming" not in worker.stderr.readline():
                assert worker.poll() is None
            printed = subprocess.run(
                [sys.executable, "-c", enqueue[1]],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=120,
                check=True,
            )
        finally:
            worker.terminate()

    assert printed.stdout == "5\n"
    assert worker.returncode == 0


def test_the_readme_is_short_and_names_the_two_commands():
    text = README.read_text()

    assert len(text.splitlines()) < 150
    assert "pip install uv && uv run chicory demo" in text
    assert "pip install uv && uv run pytest" in text


def test_the_example_of_the_readme_is_no_longer_than_it_says():
    example = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)

    assert example is not None
    assert len([line for line in example[1].splitlines() if line.strip()]) <= 15
