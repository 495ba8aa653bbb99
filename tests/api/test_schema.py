import pytest

from knarr.api import schema
from knarr.api.scheme import BUILT_IN

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
        (f"{APPS}.StatefulSet", {"metadata": {}, "status": {"replicas": 0},
                                 "spec": {"template": {"metadata": {}, "spec": {}}, "updateStrategy": {}}}),
        ("io.k8s.api.policy.v1.PodDisruptionBudget", {"metadata": {}, "spec": {}, "status": {
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}}),
    ],
)  # fmt: skip
def test_structs_that_are_always_written(definition, expected):
    assert schema.normalize({}, DEFINITIONS.get(definition)) == expected


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
