"""Scenarios: `cases/*.input.yaml` lists writes, `*.output.yaml` what each leaves behind: owners, data, or the error."""

import copy
from pathlib import Path

import pytest
import yaml

from knarr.api import errors, managedfields
from knarr.api.schema import built_in

CASES = Path(__file__).parent / "cases"
KINDS = {
    "Deployment": ("apps", "apps/v1", "io.k8s.api.apps.v1.Deployment"),
    "Pod": ("", "v1", "io.k8s.api.core.v1.Pod"),
    "ConfigMap": ("", "v1", "io.k8s.api.core.v1.ConfigMap"),
    "Service": ("", "v1", "io.k8s.api.core.v1.Service"),
}


def merged(obj, changes):
    result = dict(obj)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key) or {}, value) if isinstance(value, dict) else value
    return result


def described(obj):
    owners = {}
    for entry in obj["metadata"].get("managedFields", ()):
        name = " ".join(
            text
            for text in (entry["operation"], entry["manager"], entry.get("subresource"), entry["time"][-3:-1])
            if text
        )
        owners[name] = entry["fieldsV1"]
    data = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
    data["metadata"] = {key: value for key, value in obj["metadata"].items() if key not in ("managedFields", "name")}
    return {"owners": owners, "object": data}


def run(steps, kind):
    group, version, name = KINDS[kind]
    definition, live, found = built_in().get(name), None, []
    for second, step in enumerate(steps):
        ((operation, body),) = (
            (key, value) for key, value in step.items() if key not in ("by", "force", "subresource")
        )
        subresource = step.get("subresource", "")
        rest = {
            "manager": step["by"],
            "definition": definition,
            "api_version": version,
            "now": f"2026-01-01T00:00:{second:02}Z",
            "subresource": subresource,
            "reset": managedfields.reset_fields(group, kind, subresource),
        }
        base = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}}
        before = copy.deepcopy(live)
        try:
            if operation == "apply":
                body = merged(base, body)
                after = managedfields.apply(live, body, force=step.get("force", False), **rest)
            else:
                after = managedfields.update(live, merged(live or base, body), **rest)
        except errors.StatusError as err:
            found.append(f"{err.code} {err.message}")
        else:
            assert live == before
            live = after
            found.append(described(copy.deepcopy(live)))
    return found


@pytest.mark.parametrize("source", sorted(CASES.glob("*.input.yaml")), ids=lambda path: path.name.split(".")[0])
def test_scenarios(source, refresh):
    scenarios = yaml.safe_load(source.read_text())
    found = {name: run(scenario["steps"], scenario["kind"]) for name, scenario in scenarios.items()}
    target = source.with_name(source.name.replace(".input.", ".output."))
    if refresh:
        target.write_text(yaml.safe_dump(found, sort_keys=False, width=120))
    assert found == yaml.safe_load(target.read_text())
