"""`cases/strategic.yaml`: original, patch and result or error, with the schema of real kinds."""

import copy
from pathlib import Path

import pytest
import yaml

from knarr.api import errors
from knarr.api.patch import strategic_merge_patch
from knarr.api.schema import built_in

CASES = yaml.safe_load((Path(__file__).parent / "cases" / "strategic.yaml").read_text())
KINDS = {
    "PodSpec": "io.k8s.api.core.v1.PodSpec",
    "DeploymentSpec": "io.k8s.api.apps.v1.DeploymentSpec",
    "ObjectMeta": "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
    "ServiceSpec": "io.k8s.api.core.v1.ServiceSpec",
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name):
    case = CASES[name]
    definition = built_in().get(KINDS[case["kind"]]) if "kind" in case else None
    before = copy.deepcopy((case["original"], case["patch"]))
    if "error" in case:
        with pytest.raises(errors.StatusError) as caught:
            strategic_merge_patch(case["original"], case["patch"], definition)
        assert f"{caught.value.code} {caught.value.message}".strip() == case["error"].strip()
    else:
        assert strategic_merge_patch(case["original"], case["patch"], definition) == case["result"]
    assert (case["original"], case["patch"]) == before


def test_unchanged_parts_are_shared():
    original = {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}], "volumes": [{"name": "v"}]}
    patch = {"containers": [{"name": "b", "image": "z"}]}
    merged = strategic_merge_patch(original, patch, built_in().get(KINDS["PodSpec"]))
    assert merged["volumes"] is original["volumes"]
    assert next(one for one in merged["containers"] if one["name"] == "a") is original["containers"][0]
