import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USAGE = Path(__file__).with_name("usage.py")


def check(*files: Path) -> list[str]:
    """What pyright finds in these files, as the project has it configured."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(
        [*command, *map(str, files)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] >= len(files), done.stderr
    return [
        f"{Path(found['file']).name}:{found['range']['start']['line'] + 1}: {found['message']}"
        for found in report["generalDiagnostics"]
    ]


@pytest.mark.slow
def test_usage_is_accepted_and_mistakes_are_found():
    assert check(USAGE) == []


@pytest.mark.slow
def test_a_mistake_that_is_not_pinned_would_be_reported(tmp_path: Path):
    wrong = USAGE.read_text().replace(
        'await add.delay("1")  # pyright: ignore[reportArgumentType]', 'await add.delay("1")'
    )
    needless = wrong.replace(
        "await add.delay(1, 2), AsyncResult[int])",
        "await add.delay(1, 2), AsyncResult[int])  # pyright: ignore[reportArgumentType]",
    )
    copy = tmp_path / "usage.py"
    copy.write_text(needless)

    found = check(copy)

    assert len(found) == 2, found
    assert any("Unnecessary" in one for one in found)
    assert any("\"Literal['1']\"" in one or "not assignable" in one for one in found)
