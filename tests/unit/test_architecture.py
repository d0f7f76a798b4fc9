import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = sorted(path.name for path in (ROOT / "transports").iterdir() if path.is_dir())
CODE = sorted([*(ROOT / "chicory").rglob("*.py"), *(ROOT / "transports").rglob("*.py")])
CONTRACTS = PROJECT["tool"]["importlinter"]["contracts"]
FORBIDDEN = {
    "pickle",
    "cPickle",
    "_pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "jsonpickle",
}
NAMES_OF_NOTHING = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}
NO_TRANSPORT_S_BUSINESS = {"app", "broker", "backend", "session", "task", "worker", "cli"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def contract(start: str) -> dict:
    (found,) = [one for one in CONTRACTS if one["name"].startswith(start)]
    return found


def test_there_are_transports_and_their_names_say_so():
    assert PACKAGES
    assert all(package.startswith("chicory_") for package in PACKAGES)


def test_every_transport_is_in_the_wheel():
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert sorted(packages) == ["chicory", *(f"transports/{package}" for package in PACKAGES)]


def test_every_transport_has_an_entry_point_of_its_scheme():
    points = PROJECT["project"]["entry-points"]["chicory.transports"]

    ours = {scheme: value for scheme, value in points.items() if scheme != "memory"}
    assert {value.partition(":")[0] for value in ours.values()} == set(PACKAGES)
    for package in PACKAGES:
        scheme = package.removeprefix("chicory_")
        assert ours[scheme].startswith(f"{package}:")
    assert points["memory"] == "chicory.testing.memory:MemoryTransport"


def test_every_transport_is_a_root_of_the_import_contracts():
    roots = PROJECT["tool"]["importlinter"]["root_packages"]

    assert sorted(roots) == ["chicory", *PACKAGES]


def test_the_core_is_kept_from_every_transport():
    core = contract("the core knows no transport")

    assert core["source_modules"] == ["chicory"]
    assert {*PACKAGES, "pickle"} <= set(core["forbidden_modules"])


def test_every_transport_is_kept_from_what_is_above_the_port():
    above = contract("transports know the port")

    assert sorted(above["source_modules"]) == PACKAGES
    assert {f"chicory.{one}" for one in NO_TRANSPORT_S_BUSINESS} <= set(above["forbidden_modules"])


def test_every_module_of_the_core_has_its_floor():
    layers = contract("arrows in the core")["layers"]

    floors = {one.strip() for layer in layers for one in layer.split("|")}

    modules = {path.stem for path in (ROOT / "chicory").iterdir() if path.suffix == ".py"}
    folders = {path.parent.name for path in (ROOT / "chicory").glob("*/__init__.py")}
    assert modules | folders <= floors | {"__init__"}


@pytest.mark.parametrize("path", CODE, ids=name)
def test_a_module_says_what_it_is_and_runs_no_foreign_code(path):
    tree = ast.parse(path.read_text())

    assert ast.get_docstring(tree), "a module has a docstring"
    assert path.stem not in NAMES_OF_NOTHING
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not {alias.name.partition(".")[0] for alias in node.names} & FORBIDDEN
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in FORBIDDEN
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec", "compile", "__import__"}


def test_the_scan_finds_what_it_is_for(tmp_path):
    for source in (
        "import pickle\n",
        '"""Doc."""\nfrom marshal import loads\n',
        '"""D."""\neval("1")\n',
    ):
        path = tmp_path / "module.py"
        path.write_text(source)

        with pytest.raises(AssertionError):
            test_a_module_says_what_it_is_and_runs_no_foreign_code(path)


def test_the_files_name_no_registry_and_no_folder_of_a_machine():
    places, registries = ("tmp/w", "work", "root"), (("pypi", "org"), ("pythonhosted", "org"))
    words = [f"/{place}/" for place in places] + [".".join(parts) for parts in registries]
    files = [path for path in ROOT.rglob("*") if path.suffix in {".py", ".md", ".toml", ".sql"}]

    mine = [path for path in files if not set(path.parts) & {".venv", "build", "dist", ".git"}]
    assert [name(path) for path in mine for word in words if word in path.read_text()] == []
