"""Every document of `cases/*.input.yaml`, defaulted, is the one in `cases/*.output.yaml`."""

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from knarr.api import defaults

CASES = Path(__file__).parent / "cases"


@dataclass
class Kind:
    group: str
    version: str
    kind: str


def resource_of(obj):
    group, _, version = obj["apiVersion"].rpartition("/")
    return Kind(group, version, obj["kind"])


@pytest.mark.parametrize("source", sorted(CASES.glob("*.input.yaml")), ids=lambda path: path.name.split(".")[0])
def test_defaults(source, refresh):
    objects = list(yaml.safe_load_all(source.read_text()))
    for obj in objects:
        defaults.apply(resource_of(obj), obj)
    target = source.with_name(source.name.replace(".input.", ".output."))
    if refresh:
        target.write_text(yaml.safe_dump_all(copy.deepcopy(objects), sort_keys=False))
    assert objects == list(yaml.safe_load_all(target.read_text()))


@pytest.mark.parametrize("source", sorted(CASES.glob("*.output.yaml")), ids=lambda path: path.name.split(".")[0])
def test_defaults_again_change_nothing(source):
    for obj in yaml.safe_load_all(source.read_text()):
        once = copy.deepcopy(obj)
        defaults.apply(resource_of(obj), obj)
        assert obj == once


def test_an_unknown_kind_is_left_alone():
    obj = {"apiVersion": "example.com/v1", "kind": "Pod", "spec": {}}
    defaults.apply(resource_of(obj), obj)
    assert obj == {"apiVersion": "example.com/v1", "kind": "Pod", "spec": {}}
