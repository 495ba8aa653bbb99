"""Objects that are nearly good, changed at random places into what the schema allows and what it does not.

Whatever comes of them, it is an answer in upstream's words: never a 500, and never bytes that are no JSON.
"""

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from knarr.api import schema
from knarr.api.scheme import BUILT_IN
from tests.apiserver.conftest import Api

Object = dict[str, Any]
Place = tuple[str | int, ...]

TEXTS = (
    "", "a", "A b", "-", "a.b/c", "10.96.0.5", "::1", "None", "0", "x" * 300, "\u00e9", "Always", "80%", "*", "ClusterIP", "NodePort",
    "ExternalName", "In", "Exists", "Local", "Recreate", "OnDelete", "ReadWriteOnce", "Never", "2026-01-01T00:00:00Z",
)  # fmt: skip
SCALARS: dict[str, tuple[Any, ...]] = {
    "bool": (True, False),
    "float64": (0.5, -1e9),
    "[]uint8": ("", "YQ==", "!!"),
    "string": TEXTS,
}
NUMBERS = (0, 1, 2, -1, 80, 30080, 65536, 2**31 - 1)
SELECTOR: Object = {"matchLabels": {"a": "b"}}
POD: Object = {
    "containers": [
        {"name": "c", "image": "i", "ports": [{"containerPort": 80}], "resources": {"requests": {"cpu": "1"}}}
    ],
    "initContainers": [{"name": "i", "image": "i"}],
    "volumes": [{"name": "v", "emptyDir": {}}],
    "tolerations": [{"key": "a", "operator": "Exists"}],
}
TEMPLATE: Object = {"metadata": {"labels": {"a": "b"}}, "spec": POD}
WORKLOAD: Object = {"selector": SELECTOR, "template": TEMPLATE}
METRIC: Object = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}},
}
TARGET: Object = {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"}
GOOD: dict[tuple[str, str], Object] = {
    ("v1", "Pod"): {"spec": POD},
    ("v1", "Service"): {"spec": {"type": "NodePort", "selector": {"a": "b"}, "ports": [{"port": 80, "name": "x"}]}},
    ("v1", "ConfigMap"): {"data": {"a": "b"}},
    ("v1", "Secret"): {"data": {"a": "YQ=="}},
    ("v1", "Namespace"): {},
    ("v1", "Node"): {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}, "status": {"capacity": {"cpu": "1"}}},
    ("v1", "Event"): {"involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "r"},
    ("apps/v1", "Deployment"): {"spec": WORKLOAD},
    ("apps/v1", "StatefulSet"): {"spec": {**WORKLOAD, "serviceName": "x"}},
    ("batch/v1", "Job"): {"spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}},
    ("autoscaling/v1", "HorizontalPodAutoscaler"): {"spec": {"scaleTargetRef": TARGET, "maxReplicas": 3}},
    ("autoscaling/v2", "HorizontalPodAutoscaler"): {
        "spec": {"scaleTargetRef": TARGET, "maxReplicas": 3, "metrics": [METRIC]}
    },
    ("policy/v1", "PodDisruptionBudget"): {"spec": {"minAvailable": "50%", "selector": SELECTOR}},
    ("coordination.k8s.io/v1", "Lease"): {"spec": {"holderIdentity": "x", "leaseDurationSeconds": 4}},
}
ACCEPT = ("", "application/json;as=Table;v=v1;g=meta.k8s.io", "application/vnd.kubernetes.protobuf", "application/yaml")
PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml")


class Maker:
    """Makes values of a type, most of them fitting."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def value(self, type_: schema.Type, depth: int = 6) -> Any:
        random = self.random
        if random.random() < 0.02:
            return random.choice([None, {}, [], 5, "x", True])
        match type_.kind:
            case "object":
                likely = 0.35 if depth < 9 else 0.0
                return {
                    name: self.value(field, depth + 1)
                    for name, field in type_.fields.items()
                    if random.random() < likely
                }
            case "list" | "map":
                assert type_.element is not None
                made = [self.value(type_.element, depth + 1) for _ in range(random.randrange(3))]
                return made if type_.kind == "list" else {random.choice(TEXTS): one for one in made}
            case "quantity":
                return random.choice(["1", "100m", "-5", "1Gi", 3, "1e3", "99999999999999999999"])
            case "intstr":
                return random.choice([0, 80, "http", "25%", -1, 70000])
            case "time":
                return random.choice(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", None])
        return random.choice(SCALARS.get(type_.scalar, NUMBERS))

    def changed(self, obj: Object, type_: schema.Type) -> Object:
        """Return a copy with up to three places changed."""
        obj = copy.deepcopy(obj)
        for _ in range(self.random.randrange(4)):
            where, field = self.random.choice([one for one in self._places(obj, type_, ()) if one[0]])
            holder: Any = obj
            for step in where[:-1]:
                holder = holder[step]
            if where not in {("metadata",), ("kind",), ("apiVersion",)}:
                holder[where[-1]] = self.value(field)
        return obj

    def _places(self, value: Any, type_: schema.Type, where: Place) -> Iterator[tuple[Place, schema.Type]]:
        yield where, type_
        if type_.kind == "object" and isinstance(value, dict):
            for name, field in type_.fields.items():
                if name in value:
                    yield from self._places(value[name], field, (*where, name))
                elif self.random.random() < 0.3:
                    yield (*where, name), field
        elif type_.kind == "list" and isinstance(value, list) and type_.element is not None:
            for index, one in enumerate(value):
                yield from self._places(one, type_.element, (*where, index))


@pytest.mark.parametrize("seed", range(3))
async def test_nearly_good_objects_are_taken_or_refused(api: Api, seed: int) -> None:
    maker, random = Maker(seed), Random(seed)
    accepted = 0
    for number in range(250):
        (api_version, kind), rest = random.choice(list(GOOD.items()))
        resource = BUILT_IN.find_kind(api_version, kind)
        assert resource is not None
        type_, name = schema.built_in().get(resource.definition), f"n{number}"
        good = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": {"a": "b"}}, **rest}
        prefix = f"/apis/{api_version}" if resource.group else "/api/v1"
        path = (
            f"{prefix}/namespaces/default/{resource.plural}" if resource.namespaced else f"{prefix}/{resource.plural}"
        )
        accepted += await send(api, random, "POST", path, maker.changed(good, type_), "application/json") < 300
        await send(api, random, "POST", path, good, "application/json")
        for _ in range(4):
            sub = random.choice(
                ["", "", "/status", *(f"/{one.name}" for one in resource.subresources if one.name != "log")]
            )
            body, content_type = maker.changed(good, type_), random.choice(PATCHES)
            method = random.choice(["PUT", "PATCH", "PATCH", "GET", "DELETE"])
            await send(api, random, method, f"{path}/{name}{sub}", body, content_type)
        await send(api, random, "GET", path, None, "")
    assert accepted > 25


async def send(api: Api, random: Random, method: str, path: str, body: Any, content_type: str) -> int:
    """Send a request that must not fail by the server's fault; return the status code."""
    kind = content_type if method == "PATCH" else "application/json"
    query = "?fieldManager=m&force=true" if "apply" in kind else ""
    data = body if method in ("POST", "PUT", "PATCH") else None
    accept = random.choice(ACCEPT)
    response = await api.call(method, path + query, data, content_type=kind, accept=accept)
    assert response.status != 500, (method, path, kind, body, response.body)
    assert isinstance(response.body, bytes)
    if "json" in (response.headers.get("content-type") or ""):
        json.loads(response.body)
    return response.status
