"""Definitions to play with."""

import asyncio
from copy import deepcopy
from typing import Any

from tests.apiserver.conftest import Api

Object = dict[str, Any]

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FOOS = "/apis/example.com/v1/namespaces/default/foos"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
SCHEMA: Object = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "x-kubernetes-validations": [{"rule": "self.size >= oldSelf.size", "message": "size only grows"}],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "description": "How large it is."},
                "replicas": {"type": "integer"},
                "color": {"type": "string", "default": "red"},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
                    },
                },
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
VERSION: Object = {
    "name": "v1",
    "served": True,
    "storage": True,
    "subresources": {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    },
    "additionalPrinterColumns": [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status', "priority": 1},
        {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ],
    "selectableFields": [{"jsonPath": ".spec.color"}],
    "schema": {"openAPIV3Schema": SCHEMA},
}
CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "foos.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "foos", "kind": "Foo", "shortNames": ["fo"], "categories": ["all"]},
        "versions": [VERSION],
    },
}


def crd(**spec: Any) -> Object:
    made = deepcopy(CRD)
    made["spec"].update(deepcopy(spec))
    return made


def foo(name: str, version: str = "v1", **spec: Any) -> Object:
    return {
        "apiVersion": f"example.com/{version}",
        "kind": "Foo",
        "metadata": {"name": name},
        "spec": {"size": 2, **spec},
    }


def conditions(obj: Object) -> dict[str, str]:
    return {
        one["type"]: f"{one['status']} {one['reason']}" for one in (obj.get("status") or {}).get("conditions") or ()
    }


async def settle() -> None:
    """Let the server's own tasks do what they have to."""
    for _ in range(50):
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)


async def define(api: Api, definition: Object = CRD) -> Object:
    await api.ok("POST", CRDS, definition)
    await settle()
    return await api.ok("GET", f"{CRDS}/{definition['metadata']['name']}")
