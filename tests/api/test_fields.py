import pytest

from knarr.api import fields
from knarr.api.scheme import BUILT_IN

PODS = BUILT_IN.find("", "v1", "pods")


def test_parsing_and_splitting():
    selector = fields.parse("spec.nodeName=n1,status.phase!=Failed,a==b\\,c")
    assert selector.terms == (("field", "spec.nodeName", "n1"), ("field", "a", "b,c"))
    assert str(selector.rest) == "status.phase!=Failed"
    assert selector.exact("spec.nodeName") == "n1"
    assert str(fields.parse(str(selector))) == str(selector)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "invalid selector: 'x'; can't understand 'x'"),
        ("a=b\\x", "invalid field selector: invalid escape sequence: \\x"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
    ],
)
def test_what_makes_no_sense(text, words):
    with pytest.raises(fields.FieldSelectorError) as caught:
        fields.parse(text)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("plural", "words"),
    [
        ("pods", "field label not supported: spec.foo"),
        ("configmaps", '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"'),
    ],
)
def test_fields_that_a_kind_does_not_have(plural, words):
    with pytest.raises(fields.FieldSelectorError) as caught:
        fields.bind(fields.parse("spec.foo=1"), BUILT_IN.find("", "v1", plural))
    assert str(caught.value) == words


def test_values_of_a_pod():
    found = fields.extract(PODS, {"metadata": {"name": "p", "namespace": "n"}, "spec": {"nodeName": "n1"}})
    assert found["spec.nodeName"] == "n1"
    assert found["spec.hostNetwork"] == "false"
    assert found["status.phase"] == ""
    assert fields.parse("metadata.name=p,status.phase!=Failed").matches(found)


def test_both_events_are_selected_by_what_is_stored():
    stored = {"metadata": {"name": "e"}, "involvedObject": {"name": "p"}, "reportingComponent": "kubelet"}
    found = fields.extract(BUILT_IN.find("", "v1", "events"), stored)
    assert found["source"] == "kubelet"
    selector = fields.parse("regarding.name=p,reportingController=kubelet")
    assert fields.bind(selector, BUILT_IN.find("events.k8s.io", "v1", "events")).matches(found)


@pytest.mark.parametrize(
    ("path", "obj", "field", "value"),
    [
        (("", "v1", "nodes"), {}, "spec.unschedulable", "false"),
        (("", "v1", "nodes"), {"spec": {"unschedulable": True}}, "spec.unschedulable", "true"),
        (("batch", "v1", "jobs"), {"status": {"succeeded": 2}}, "status.successful", "2"),
        (("apps", "v1", "replicasets"), {}, "status.replicas", "0"),
        (("", "v1", "secrets"), {"type": "Opaque"}, "type", "Opaque"),
    ],
)
def test_values_of_other_kinds(path, obj, field, value):
    assert fields.extract(BUILT_IN.find(*path), obj)[field] == value
