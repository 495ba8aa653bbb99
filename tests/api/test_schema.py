from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knarr.api import schema
from knarr.api.scheme import BUILT_IN
from knarr.apiserver import tables

DEFINITIONS = schema.built_in()
CORE, APPS = "io.k8s.api.core.v1", "io.k8s.api.apps.v1"
DEPLOYMENT = DEFINITIONS.get(f"{APPS}.Deployment")
SECRET = DEFINITIONS.get(f"{CORE}.Secret")


def container(**fields):
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", **fields}]}}}}


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        ({"spec": {"replicas": "3"}},
         "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"spec": {"replicas": 3.5}},
         "json: cannot unmarshal number 3.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"spec": {"replicas": 3_000_000_000}},
         "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"spec": {"replicas": True}},
         "json: cannot unmarshal bool into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"spec": {"template": {"spec": "x"}}},
         "json: cannot unmarshal string into Go struct field PodTemplateSpec.spec.template.spec of type v1.PodSpec"),
        ({"spec": {"template": {"spec": {"containers": {}}}}},
         "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"),
        (container(env=[{"name": "a", "value": 5}]), "json: cannot unmarshal number into Go struct field "
         "EnvVar.spec.template.spec.containers.env.value of type string"),
        (container(imagePullPolicy=5), "json: cannot unmarshal number into Go struct field "
         "Container.spec.template.spec.containers.imagePullPolicy of type v1.PullPolicy"),
        ({"metadata": {"labels": {"a": 5}}},
         "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"),
        ({"metadata": {"labels": ["a"]}},
         "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string"),
        ({"spec": {"strategy": {"rollingUpdate": {"maxSurge": True}}}}, "json: cannot unmarshal bool into Go struct field "
         "RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge of type int32"),
        (container(resources={"limits": {"cpu": "abc"}}),
         "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
        ({"metadata": {"creationTimestamp": "abc"}},
         'parsing time "abc" as "2006-01-02T15:04:05Z07:00": cannot parse "abc" as "2006"'),
        ({"metadata": {"creationTimestamp": "2020-13-01T00:00:00Z"}}, 'parsing time "2020-13-01T00:00:00Z": month out of range'),
        ({"metadata": {"creationTimestamp": 5}},
         "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string"),
    ],
)  # fmt: skip
def test_wrong_types_in_the_words_of_go(obj, words):
    with pytest.raises(schema.DecodeError) as caught:
        schema.convert(obj, DEPLOYMENT)
    assert str(caught.value) == words


@pytest.mark.parametrize(("text", "at"), [("!!!", 0), ("YWI", 0), ("YWJj!", 4), ("YW I=", 2), ("YWI=x", 4)])
def test_bad_base64_is_located(text, at):
    with pytest.raises(schema.DecodeError, match=f"^illegal base64 data at input byte {at}$"):
        schema.convert({"data": {"a": text}}, SECRET)


def test_unknown_fields_are_named_and_dropped():
    obj = container(imag="x", ports=[{"containerPort": 80, "foo": 1}])
    obj["spec"]["replica"] = 3
    converted = schema.convert(obj, DEPLOYMENT)
    assert converted.unknown == (
        'unknown field "spec.template.spec.containers[0].imag"',
        'unknown field "spec.template.spec.containers[0].ports[0].foo"',
        'unknown field "spec.replica"',
    )
    assert "replica" not in converted.object["spec"]


def test_unknown_fields_are_counted_up_to_a_hundred():
    assert len(schema.check({f"x{i}": 1 for i in range(200)}, DEPLOYMENT)) == 100


def test_what_go_drops_and_adds():
    pod = {
        "metadata": {"name": "p", "creationTimestamp": None, "labels": {}},
        "spec": {
            "hostNetwork": False,
            "nodeName": "",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "c", "env": [{"name": "A", "value": ""}], "resources": {"limits": {"cpu": 1}}}],
        },
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert schema.normalize(pod, DEFINITIONS.get(f"{CORE}.Pod")) == {
        "metadata": {"name": "p"},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "c", "env": [{"name": "A"}], "resources": {"limits": {"cpu": "1"}}}],
        },
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": None, "lastTransitionTime": None}]
        },
    }


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (f"{APPS}.Deployment", {"metadata": {}, "status": {},
                                "spec": {"strategy": {}, "template": {"metadata": {}, "spec": {}}}}),
        (f"{CORE}.Service", {"metadata": {}, "spec": {}, "status": {"loadBalancer": {}}}),
        (f"{CORE}.ConfigMap", {"metadata": {}}),
        (f"{APPS}.StatefulSet", {"metadata": {}, "status": {"replicas": 0, "availableReplicas": 0},
                                 "spec": {"serviceName": "", "template": {"metadata": {}, "spec": {}}, "updateStrategy": {}}}),
        ("io.k8s.api.policy.v1.PodDisruptionBudget", {"metadata": {}, "spec": {}, "status": {
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}}),
    ],
)  # fmt: skip
def test_structs_that_are_always_written(definition, expected):
    assert schema.normalize({}, DEFINITIONS.get(definition)) == expected


@pytest.mark.parametrize(
    ("definition", "given", "expected"),
    [
        # Pointers keep their zero, plain values lose it.
        (f"{CORE}.PersistentVolumeClaimSpec", {"storageClassName": "", "volumeName": ""},
         {"storageClassName": "", "resources": {}}),
        (f"{CORE}.PersistentVolumeSpec", {"storageClassName": ""}, {}),
        (f"{CORE}.EndpointPort", {"name": "", "port": 0, "appProtocol": ""}, {"port": 0, "appProtocol": ""}),
        ("io.k8s.api.discovery.v1.EndpointPort", {"name": "", "port": 0}, {"name": "", "port": 0}),
        ("io.k8s.api.batch.v1.CronJobSpec", {"concurrencyPolicy": "", "timeZone": "", "suspend": False, "schedule": ""},
         {"timeZone": "", "suspend": False, "schedule": "",
          "jobTemplate": {"metadata": {}, "spec": {"template": {"metadata": {}, "spec": {}}}}}),
        (f"{CORE}.Container", {"name": "", "restartPolicy": "", "terminationMessagePolicy": "", "stdin": False},
         {"name": "", "restartPolicy": "", "resources": {}}),
        ("io.k8s.api.networking.v1.ServiceBackendPort", {"number": 0, "name": ""}, {}),
        ("io.k8s.api.resource.v1.DeviceAttribute", {"string": "", "int": 0, "bool": False},
         {"string": "", "int": 0, "bool": False}),
        # Always there: plain values without omitempty, structs, quantities, times.
        (f"{CORE}.ResourceFieldSelector", {"resource": "limits.cpu"}, {"resource": "limits.cpu", "divisor": "0"}),
        ("io.k8s.api.scheduling.v1.PriorityClass", {}, {"metadata": {}, "value": 0}),
        (f"{APPS}.ControllerRevision", {}, {"metadata": {}, "revision": 0}),
        ("io.k8s.api.events.v1.Event", {"eventTime": None},
         {"metadata": {}, "eventTime": None, "regarding": {}, "deprecatedSource": {},
          "deprecatedFirstTimestamp": None, "deprecatedLastTimestamp": None}),
        # Never there: pointers without omitempty, which Go writes as null.
        (f"{APPS}.ReplicaSetSpec", {"selector": None}, {"template": {"metadata": {}, "spec": {}}}),
        (f"{CORE}.TypedLocalObjectReference", {"kind": "A", "name": "b"}, {"kind": "A", "name": "b"}),
    ],
)  # fmt: skip
def test_zeros(definition, given, expected):
    assert schema.normalize(given, DEFINITIONS.get(definition)) == expected


@pytest.mark.parametrize(
    ("definition", "given", "message"),
    [
        (f"{CORE}.Pod", {"spec": {"restartPolicy": 1}},
         "json: cannot unmarshal number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy"),
        (f"{CORE}.PersistentVolumeClaim", {"spec": {"accessModes": [1]}},
         "json: cannot unmarshal number into Go struct field PersistentVolumeClaimSpec.spec.accessModes of type "
         "v1.PersistentVolumeAccessMode"),
        (f"{CORE}.PersistentVolumeClaim", {"spec": {"accessModes": "x"}},
         "json: cannot unmarshal string into Go struct field PersistentVolumeClaimSpec.spec.accessModes of type "
         "[]v1.PersistentVolumeAccessMode"),
        (f"{CORE}.Node", {"status": {"capacity": 1}},
         "json: cannot unmarshal number into Go struct field NodeStatus.status.capacity of type v1.ResourceList"),
        ("io.k8s.api.networking.v1.NetworkPolicy", {"spec": {"policyTypes": {}}},
         "json: cannot unmarshal object into Go struct field NetworkPolicySpec.spec.policyTypes of type []v1.PolicyType"),
    ],
)  # fmt: skip
def test_named_types_in_errors(definition, given, message):
    with pytest.raises(schema.DecodeError) as caught:
        schema.normalize(given, DEFINITIONS.get(definition))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-12-01T00:00:00Z", "2020-12-01T00:00:00Z"),
        ("2020-12-01T00:00:00.999+02:00", "2020-11-30T22:00:00Z"),
    ],
)
def test_times_are_cut_to_seconds_in_utc(text, expected):
    obj = schema.normalize({"metadata": {"creationTimestamp": text}}, SECRET)
    assert obj["metadata"]["creationTimestamp"] == expected


def test_micro_times_keep_six_digits():
    lease = DEFINITIONS.get("io.k8s.api.coordination.v1.Lease")
    obj = schema.normalize({"spec": {"renewTime": "2020-12-01T01:00:00.000001+01:00"}}, lease)
    assert obj["spec"]["renewTime"] == "2020-12-01T00:00:00.000001Z"
    with pytest.raises(schema.DecodeError, match=r'cannot parse "Z" as ".000000"$'):
        schema.normalize({"spec": {"renewTime": "2020-12-01T00:00:00Z"}}, lease)


def test_what_comes_out_stays_as_it_is():
    obj = container(image="x", ports=[{"containerPort": 80}], resources={"limits": {"memory": "1024Mi"}})
    once = schema.normalize(obj, DEPLOYMENT)
    assert schema.normalize(once, DEPLOYMENT) == once


def test_how_lists_merge():
    spec = DEFINITIONS.get(f"{CORE}.PodSpec").fields
    containers, ports = spec["containers"], spec["containers"].element.fields["ports"]
    assert (containers.patch_strategy, containers.patch_merge_key) == ("merge", "name")
    assert (containers.list_type, containers.list_map_keys) == ("map", ("name",))
    assert ports.list_map_keys == ("containerPort", "protocol")
    assert ports.element.fields["protocol"].default == "TCP"
    assert spec["volumes"].patch_strategy == "merge,retainKeys"
    assert spec["tolerations"].is_atomic
    assert DEPLOYMENT.fields["spec"].fields["selector"].is_atomic
    assert not DEPLOYMENT.fields["metadata"].fields["labels"].is_atomic


def test_schemas_may_refer_to_themselves():
    crd = DEFINITIONS.get("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition")
    inner = {"type": "object", "properties": {"a": {"type": "integer", "default": 0, "x": 1}}}
    obj = {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": inner}}]}}
    converted = schema.convert(obj, crd)
    assert converted.unknown == ('unknown field "spec.versions[0].schema.openAPIV3Schema.properties.a.x"',)
    kept = converted.object["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["a"]
    assert kept == {"type": "integer", "default": 0}


def test_every_served_kind_compiles():
    seen = set()

    def walk(type_):
        if type_.name in seen:
            return
        if type_.name:
            seen.add(type_.name)
        for field in type_.fields.values():
            walk(field)
        if type_.element is not None:
            walk(type_.element)

    for resource in BUILT_IN:
        walk(DEFINITIONS.get(resource.definition))
    assert len(seen) > 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def objects(draw, type_, depth=0):
    """Draw something that has the shape of a type, but for what hypothesis puts elsewhere."""
    if draw(st.integers(0, 12)) == 0 or depth > 6:
        return draw(JSON)
    if type_.kind == "object":
        names = draw(st.lists(st.sampled_from(sorted(type_.fields) or [""]), max_size=3))
        return {name: draw(objects(type_.fields[name], depth + 1)) for name in names if name}
    if type_.kind == "list":
        return draw(st.lists(objects(type_.element, depth + 1), max_size=2))
    if type_.kind == "map":
        return draw(st.dictionaries(st.text(max_size=3), objects(type_.element, depth + 1), max_size=2))
    return draw(st.sampled_from(["", "a", "YQ==", "2020-01-01T00:00:00Z", "1Gi", 0, 1, -1, True, False, 1.5]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_comes_is_converted_for_good_or_refused(data):
    resource = data.draw(st.sampled_from(list(BUILT_IN)))
    type_ = DEFINITIONS.get(resource.definition)
    obj = data.draw(objects(type_))
    try:
        once = schema.normalize(obj, type_)
    except schema.DecodeError:
        return
    assert schema.check(once, type_) == ()
    assert schema.normalize(once, type_) == once
    tables.to_table(resource, [once], now=datetime(2026, 1, 1, tzinfo=UTC))
