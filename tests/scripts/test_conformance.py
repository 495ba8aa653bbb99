"""What scripts/conformance makes of the reports of a suite."""

import importlib.machinery
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "conformance"
FAILURE = "<failure type='Failure'>/a/b.go:1\nNov 25 14:40:39.296: no pod\nExpected\n  &lt;int&gt;: 0</failure>"


@pytest.fixture(scope="module")
def conformance() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("knarr_conformance", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


def write(path: Path, cases: dict[str, str]) -> None:
    inner = "".join(f"<testcase name='{name}'>{content}</testcase>" for name, content in cases.items())
    path.write_text(f"<testsuite>{inner}</testsuite>")


def read(conformance: Any, folder: Path) -> list[Any]:
    skipped = "<skipped/>"
    first, second, third = "[sig-apps] a [Conformance]", "[k8s.io] b [Conformance]", "[sig-apps] c [Conformance]"
    write(folder / "junit_01.xml", {first: "", second: skipped, third: skipped, "[sig-apps] other": skipped})
    write(folder / "junit_02.xml", {first: skipped, second: FAILURE, third: skipped})
    found: list[Any] = conformance.read_report(folder, re.compile(r"\[Conformance\]"), None)
    return found


def test_a_test_has_the_outcome_of_the_process_that_ran_it(conformance: Any, tmp_path: Path) -> None:
    found = {test.name[1:].replace("]", "")[:10]: test.outcome for test in read(conformance, tmp_path)}
    assert found == {"sig-apps a": "passed", "k8s.io b [": "failed", "sig-apps c": "skipped"}


def test_figures_are_by_sig_and_name_each_failure(conformance: Any, tmp_path: Path) -> None:
    text = conformance.table(read(conformance, tmp_path), ["parallel: now"])
    assert "| sig-apps | 1 | 0 | 0 | 1 | 2 |" in text
    assert "| sig-node | 0 | 0 | 1 | 0 | 1 |" in text
    assert "| **all** | 1 | 0 | 1 | 1 | 3 |" in text
    assert "- [k8s.io] b [Conformance]\n  `Nov 25 14:40:39.296: no pod Expected`" in text


def test_what_failed_beside_others_may_pass_alone(conformance: Any, tmp_path: Path) -> None:
    tests = read(conformance, tmp_path)
    name = "[k8s.io] b [Conformance]"
    focus = re.compile(conformance.exactly([name]))
    assert focus.search(f"Kubernetes e2e suite [Top Level] {name}")
    assert not focus.search(f"Kubernetes e2e suite {name} and more")
    text = conformance.table(conformance.judge(tests, [conformance.Test(name, "passed")]), [])
    assert "| sig-node | 0 | 1 | 0 | 0 | 1 |" in text
    assert "None failed." in text
    assert f"passed when run again alone:\n\n- {name}" in text


def test_figures_take_the_place_of_those_before(conformance: Any, tmp_path: Path) -> None:
    path = tmp_path / "figures.md"
    path.write_text(f"# Title\n\n{conformance.BEGIN}\nold\n{conformance.END}\n\nProse.\n")
    for _ in range(2):
        conformance.write_figures(path, "new\n")
    text = path.read_text()
    assert text == f"# Title\n\n{conformance.BEGIN}\n\nnew\n\n{conformance.END}\n\nProse.\n"
