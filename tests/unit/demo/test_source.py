from chicory.demo.source import Function, examine
from chicory.demo.tasks import LOST, stumbles
from chicory.demo.tour import library, percentile

SOURCE = b"""
import os, os.path, json
from collections import abc
from . import sibling
# TODO: more
class A:
    def method(self):
        if self:
            return [x for x in self if x]
        def inner():
            while True and False: pass

async def main(): pass
"""


def test_a_file_is_counted_and_its_functions_are_measured():
    report = examine("a.py", SOURCE, attempts=2)

    assert (report.lines, report.functions, report.classes, report.marks) == (13, 3, 1, 1)
    assert report.imports == ["collections", "json", "os"]
    assert report.notable == [
        Function("method", 7, 5, 2),
        Function("inner", 10, 2, 2),
        Function("main", 13, 1, 0),
    ]
    assert (report.syntax_error, report.attempts) == (None, 2)


def test_what_is_no_python_is_reported_as_such():
    assert examine("a.py", b"def (").syntax_error == "invalid syntax (<unknown>, line 1)"
    assert examine("a.py", b"x\0y").syntax_error is not None


def test_the_library_is_whole_and_without_what_others_installed():
    files = library()

    assert any(path.endswith("/asyncio/base_events.py") for path in files)
    assert not any("site-packages" in path for path in files)


def test_some_files_stumble_and_the_lost_one_does_not():
    failures = [stumbles(f"{number}.py") for number in range(1000)]

    assert set(failures) == {0, 1, 2}
    assert stumbles(LOST) == 0


def test_a_percentile_is_one_of_the_values():
    assert percentile([], 0.5) == 0
    assert percentile([1, 2, 3, 4], 0.5) == 3
    assert percentile([1, 2, 3, 4], 0.99) == 4
    assert percentile([1, 2, 3, 4], 1.0) == 4
