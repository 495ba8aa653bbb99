"""A definition of one's own, as a user of kubectl meets it."""

from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import Cluster, wait_until

pytestmark = pytest.mark.live

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: boats.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{plural: boats, singular: boat, kind: Boat, shortNames: [bt], categories: [all]}}
  versions:
    - name: v1
      served: true
      storage: true
      subresources:
        status: {{}}
        scale: {{specReplicasPath: .spec.oars, statusReplicasPath: .status.oars}}
      additionalPrinterColumns:
        - {{name: Oars, type: integer, jsonPath: .spec.oars}}
        - {{name: Color, type: string, jsonPath: .spec.color}}
      selectableFields: [{{jsonPath: .spec.color}}]
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              description: What the boat is like.
              required: [oars]
              x-kubernetes-validations:
                - {{rule: "self.oars % 2 == 0", message: oars come in pairs}}
                - {{rule: "self.oars >= oldSelf.oars", message: no oar may be lost}}
              properties:
                oars: {{type: integer, minimum: 2, description: How many oars there are.}}
                color: {{type: string, default: brown}}
            status: {{type: object, properties: {{oars: {{type: integer}}}}}}
"""
BOAT = """
apiVersion: {group}/v1
kind: Boat
metadata: {{name: skiff}}
spec: {{oars: {oars}{more}}}
"""


def test_a_kind_of_ones_own(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    group = f"{namespace}.example.com"

    def kubectl(*words: str, **more: Any) -> str:
        # What kubectl remembers of other clusters at this address would mislead it.
        return cluster.kubectl("-n", namespace, "--cache-dir", str(tmp_path), *words, **more)

    def apply(oars: int, more: str = "", *words: str) -> str:
        return kubectl("apply", *words, "-f", "-", stdin=BOAT.format(group=group, oars=oars, more=more), check=False)

    cluster.kubectl("apply", "-f", "-", stdin=CRD.format(group=group))
    try:
        cluster.kubectl("wait", "--for=condition=Established", f"crd/boats.{group}", "--timeout=10s")
        assert "No resources found" in kubectl("get", "boats", check=False)
        assert "created" in apply(4)
        assert kubectl("get", "bt").split() == ["NAME", "OARS", "COLOR", "skiff", "4", "brown"]
        assert f"boat.{group}/skiff" in kubectl("get", "all", "-o", "name")
        assert "How many oars there are." in kubectl("explain", f"boats.{group}.spec.oars")
        assert "oars come in pairs" in apply(5)
        assert "no oar may be lost" in apply(2)
        assert 'unknown field "spec.mast"' in apply(6, ", mast: 1")
        assert "spec.oars: Invalid value" in apply(0)
        assert "configured" in apply(6)
        assert "scaled" in kubectl("scale", "--replicas=8", "boat/skiff")
        kubectl("patch", "boat", "skiff", "--subresource=status", "--type=merge", "-p", '{"status": {"oars": 8}}')
        assert kubectl("get", "boat", "skiff", "-o", "jsonpath={.spec.oars} {.status.oars}") == "8 8"
        assert "skiff" in kubectl("get", "boats", "--field-selector=spec.color=brown")
        assert "skiff" not in kubectl("get", "boats", "--field-selector=spec.color=red", check=False)
        assert "serverside-applied" in apply(8, ", color: blue", "--server-side", "--force-conflicts")
        kubectl("delete", "boat", "skiff")
        assert "created" in apply(4)
    finally:
        cluster.kubectl("delete", "crd", f"boats.{group}", "--timeout=30s")
    assert "the server doesn't have a resource type" in kubectl("get", f"boats.{group}", check=False)


def test_a_namespace_takes_its_objects_along(cluster: Cluster, namespace: str) -> None:
    group = f"{namespace}.example.com"
    cluster.kubectl("apply", "-f", "-", stdin=CRD.format(group=group))
    try:
        cluster.kubectl("wait", "--for=condition=Established", f"crd/boats.{group}", "--timeout=10s")
        other = f"{namespace}x"
        cluster.kubectl("create", "namespace", other)
        cluster.kubectl("apply", "-n", other, "-f", "-", stdin=BOAT.format(group=group, oars=2, more=""))
        cluster.kubectl("delete", "namespace", other, "--timeout=60s")
        wait_until(lambda: not cluster.get(f"boats.{group}", "-A")["items"], what="the boat to be gone")
    finally:
        cluster.kubectl("delete", "crd", f"boats.{group}", "--timeout=30s")
