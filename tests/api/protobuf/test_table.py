"""Every field of every definition has a number, but for those that v1.37 added without one being known."""

from typing import Any

import msgspec
import pytest

from knarr.api import protobuf, scheme
from knarr.api.protobuf import decoding, encoding
from knarr.api.schema import definitions, messages

# What v1.37 added, as alpha or in kinds that are not served; published .proto files are from v1.36.
NO_NUMBER = {
    "api.authentication.v1.TokenRequestSpec": "attestations",
    "api.autoscaling.v2.HorizontalPodAutoscalerCondition": "observedGeneration",
    "api.batch.v1.JobSpec": "scheduling",
    "api.core.v1.ClusterTrustBundleProjection": "user",
    "api.core.v1.ConfigMapVolumeSource": "defaultUser",
    "api.core.v1.DownwardAPIVolumeFile": "user",
    "api.core.v1.DownwardAPIVolumeSource": "defaultUser",
    "api.core.v1.EmptyDirVolumeSource": "mode",
    "api.core.v1.GRPCAction": "mode",
    "api.core.v1.HTTPGetAction": "protocol",
    "api.core.v1.KeyToPath": "user",
    "api.core.v1.NodeAllocatableResourceClaimStatus": "mapping overhead",
    "api.core.v1.NodeSpec": "podPreemptionPolicy",
    "api.core.v1.NodeSystemInfo": "runningInUserNamespace",
    "api.core.v1.PersistentVolumeClaimStatus": "healthStatus",
    "api.core.v1.PodCertificateProjection": "user",
    "api.core.v1.PodSpec": "evictionResponders",
    "api.core.v1.PodStatus": "volumeHealth",
    "api.core.v1.ProjectedVolumeSource": "defaultUser",
    "api.core.v1.SecretVolumeSource": "defaultUser",
    "api.core.v1.ServiceAccountTokenProjection": "user",
    "api.core.v1.VolumeMount": "bindMountOptions",
    "api.resource.v1.Device": "nodeAllocatableResources",
    "api.resource.v1.DeviceCounterConsumption": "compatibilityGroups",
    "api.resource.v1.DeviceRequestAllocationResult": "skipNodeOperations",
    "api.resource.v1.DeviceSubRequest": "derivedAttributes",
    "api.resource.v1.ExactDeviceRequest": "derivedAttributes",
    "api.resource.v1.ResourceSliceSpec": "partitionTypeAttribute skipNodeOperations",
    "api.storage.v1.CSINode": "status",
}


def _names(message: str) -> set[str]:
    found = set()
    for field in messages.fields(message):
        found |= {field.name} if field.name else _names(field.type)
    return found


def _schemas() -> dict[str, Any]:
    document = msgspec.json.decode(definitions.definitions_path().read_bytes())
    found: dict[str, Any] = document["$defs"]
    return found


def test_every_field_of_what_is_served_has_a_number() -> None:
    schemas = _schemas()
    missing: dict[str, str] = {}
    todo = [resource.definition for resource in scheme.BUILT_IN]
    todo += [f"{resource.definition}List" for resource in scheme.BUILT_IN if resource.is_stored]
    for resource in scheme.BUILT_IN:
        for sub in resource.subresources:
            message = messages.message_of(f"{sub.group}/{sub.version}" if sub.group else sub.version, sub.kind)
            todo += [f"io.k8s.{message}"] if message and f"io.k8s.{message}" in schemas else []
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        short = name.removeprefix("io.k8s.")
        properties = schemas[name].get("properties", {})
        if not properties or short not in messages.lines():
            continue
        known = _names(short)
        unknown = [one for one in properties if one not in known and one not in ("kind", "apiVersion")]
        if unknown:
            missing[short] = " ".join(unknown)
        for field, schema in properties.items():
            if field in known:
                todo += [ref.rpartition("/")[2] for ref in _references(schema)]
    assert len(seen) > 500
    assert missing == NO_NUMBER


def _references(schema: dict[str, Any]) -> list[str]:
    found = [schema["$ref"]] if "$ref" in schema else []
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            found += _references(schema[inner])
    return found


@pytest.mark.parametrize(
    "resource", list(scheme.BUILT_IN), ids=lambda resource: f"{resource.api_version}.{resource.kind}"
)
def test_every_kind_and_its_list_have_a_message(resource: scheme.Resource) -> None:
    assert messages.message_of(resource.api_version, resource.kind) == resource.definition.removeprefix("io.k8s.")
    if resource.is_stored:
        assert protobuf.is_known(resource.api_version, resource.list_kind)
    for sub in resource.subresources:
        api_version = f"{sub.group}/{sub.version}" if sub.group else sub.version
        assert "Options" in sub.kind or protobuf.is_known(api_version, sub.kind)


def test_every_message_can_be_read_and_written() -> None:
    for message in messages.lines():
        if messages.fields(message) is not messages.STRINGS:
            empty = encoding.writer(message).write({})
            decoding.reader(message).read(empty, 0, len(empty), {})


@pytest.mark.parametrize(
    ("api_version", "kind", "is_known"),
    [
        ("v1", "Status", True),
        ("v1", "List", True),
        ("apps/v1", "DeleteOptions", True),
        ("example.com/v1", "DeleteOptions", True),
        ("example.com/v1", "Status", False),
        ("meta.k8s.io/v1", "PartialObjectMetadataList", True),
        ("meta.k8s.io/v1beta1", "PartialObjectMetadata", True),
        ("meta.k8s.io/v1", "Table", False),
        ("apps/v1", "Pod", False),
        ("v1", "", False),
    ],
)
def test_kinds(api_version: str, kind: str, is_known: bool) -> None:
    assert protobuf.is_known(api_version, kind) is is_known
