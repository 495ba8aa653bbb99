import base64
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from lightkube.models import core_v1

from knarr.node.pods.env import Facts, Sources, expand, field_value, make_environment, referenced, service_variables
from knarr.node.pods.errors import ConfigFailed
from tests.node.pods.builders import pod

FACTS = Facts("n1", ("192.0.2.1",), ("10.0.0.9",), {"cpu": Fraction(4), "memory": Fraction(1 << 30)})
CONFIG = msgspec.convert({"data": {"k": "v", "K2": "v2"}}, core_v1.ConfigMap)
SECRET = msgspec.convert({"data": {"pw": base64.b64encode(b"hunter2").decode()}}, core_v1.Secret)
SOURCES = Sources({"cm": CONFIG, "gone": None}, {"s": SECRET})


def environment(sources: Sources = SOURCES, **container: Any) -> dict[str, str]:
    made = pod(
        containers=[{"name": "c", **container}], metadata={"labels": {"b": '"2"', "a": "1"}}, enableServiceLinks=True
    )
    return make_environment(made, made.spec.containers[0], sources, FACTS)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(A", "$(A"),
        ("$A $", "$A $"),
        ("", ""),
        ("$()", "$()"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"configMapKeyRef": {"name": "cm", "key": "k"}}, "v"),
        ({"secretKeyRef": {"name": "s", "key": "pw"}}, "hunter2"),
        ({"fieldRef": {"fieldPath": "metadata.name"}}, "p"),
        ({"fieldRef": {"fieldPath": "metadata.labels['a']"}}, "1"),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, "10.0.0.9"),
        ({"fieldRef": {"fieldPath": "status.hostIP"}}, "192.0.2.1"),
        ({"fieldRef": {"fieldPath": "spec.nodeName"}}, "n1"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "4"),
        ({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}, "64"),
        ({"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}, "100"),
        ({"configMapKeyRef": {"name": "gone", "key": "k", "optional": True}}, None),
        ({"configMapKeyRef": {"name": "cm", "key": "nope", "optional": True}}, None),
    ],
)
def test_value_from(source: Any, expected: str | None) -> None:
    resources = {"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m"}}
    assert environment(env=[{"name": "X", "valueFrom": source}], resources=resources).get("X") == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "gone", "key": "k"}}, 'configmap "gone" not found'),
        ({"configMapKeyRef": {"name": "cm", "key": "nope"}}, "couldn't find key nope in ConfigMap ns/cm"),
        ({"secretKeyRef": {"name": "s", "key": "nope"}}, "couldn't find key nope in Secret ns/s"),
        ({"fieldRef": {"fieldPath": "spec.nope"}}, "unsupported fieldPath: spec.nope"),
    ],
)
def test_missing_reference(source: Any, message: str) -> None:
    with pytest.raises(ConfigFailed, match=message):
        environment(env=[{"name": "X", "valueFrom": source}])


def test_later_variables_see_and_win_over_earlier_ones() -> None:
    found = environment(
        envFrom=[{"configMapRef": {"name": "cm"}, "prefix": "P_"}],
        env=[{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(P_k)$(C)"}, {"name": "P_k", "value": "own"}],
    )
    assert found == {"P_k": "own", "P_K2": "v2", "A": "1", "B": "1v$(C)"}


def test_service_variables() -> None:
    def service(name: str, namespace: str, address: str = "10.96.0.7") -> core_v1.Service:
        ports = [{"port": 80, "name": "http"}, {"port": 53, "name": "dns", "protocol": "UDP"}]
        spec = {"clusterIP": address, "ports": ports}
        return msgspec.convert({"metadata": {"name": name, "namespace": namespace}, "spec": spec}, core_v1.Service)

    services = [service("my-web", "ns"), service("other", "elsewhere"), service("headless", "ns", "None")]
    found = service_variables(services, "ns", links=True)
    assert found == {
        "MY_WEB_SERVICE_HOST": "10.96.0.7",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP": "80",
        "MY_WEB_SERVICE_PORT_DNS": "53",
        "MY_WEB_PORT": "tcp://10.96.0.7:80",
        "MY_WEB_PORT_80_TCP": "tcp://10.96.0.7:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "10.96.0.7",
        "MY_WEB_PORT_53_UDP": "udp://10.96.0.7:53",
        "MY_WEB_PORT_53_UDP_PROTO": "udp",
        "MY_WEB_PORT_53_UDP_PORT": "53",
        "MY_WEB_PORT_53_UDP_ADDR": "10.96.0.7",
    }
    master = service("kubernetes", "default")
    assert set(service_variables([*services, master], "ns", links=False)) >= {"KUBERNETES_SERVICE_HOST"}
    assert "MY_WEB_SERVICE_HOST" not in service_variables([*services, master], "ns", links=False)


def test_whole_label_map_is_quoted_and_sorted() -> None:
    labelled = pod(metadata={"labels": {"b": 'x"y', "a": "1"}})
    assert field_value(labelled, "metadata.labels", FACTS) == 'a="1"\nb="x\\"y"'


def test_referenced() -> None:
    made = pod(
        containers=[
            {
                "name": "c",
                "envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "b"}}],
                "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "d", "key": "k"}}}],
            }
        ]
    )
    assert referenced(made.spec.containers[0]) == ({"a"}, {"b", "d"})  # type: ignore[union-attr]
