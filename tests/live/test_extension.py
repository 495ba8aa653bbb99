"""A webhook and an aggregated API server in one pod of plain Python, behind a Service with TLS, seen through the real kubectl."""

import base64
import datetime
import json
from dataclasses import dataclass
from typing import Any

import pytest

from knarr.kit import pki
from tests.live.conftest import Cluster, wait_until

pytestmark = pytest.mark.live

Object = dict[str, Any]

GROUP, VERSION = "fjord.example.com", "v1"
SERVER = """
import base64, http.server, json, ssl

GROUP, VERSION = "fjord.example.com", "v1"
BOAT = {"kind": "Boat", "apiVersion": f"{GROUP}/{VERSION}"}

def review(path, request):
    if path == "/deny":
        labels = (request["object"] or {}).get("metadata", {}).get("labels") or {}
        return {"allowed": "forbidden" not in labels, "status": {"message": "boats only", "code": 403}, "warnings": ["seen"]}
    patch = [{"op": "add", "path": "/data", "value": {"by": request["userInfo"]["username"]}}]
    return {"allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = {"uid": asked["request"]["uid"], **review(self.path.partition("?")[0], asked["request"])}
        self.send({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": answer})

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == f"/apis/{GROUP}/{VERSION}":
            boats = {"name": "boats", "singularName": "boat", "namespaced": True, "kind": "Boat", "verbs": ["get", "list"]}
            return self.send({"kind": "APIResourceList", "groupVersion": f"{GROUP}/{VERSION}", "resources": [boats]})
        if path.endswith("/boats"):
            return self.send({**BOAT, "kind": "BoatList", "metadata": {}, "items": []})
        if "/boats/" in path:
            metadata = {"name": path.rpartition("/")[2], "annotations": {"asked-by": self.headers["x-remote-user"]}}
            return self.send({**BOAT, "metadata": metadata})
        self.send({"kind": "Status", "status": "Failure", "code": 404}, 404)

    def send(self, obj, status=200):
        body = json.dumps(obj).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.ThreadingHTTPServer(("", 8443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class Extension:
    """The pod's Service."""

    namespace: str
    bundle: str

    def client_config(self, path: str) -> Object:
        return {"service": {"namespace": self.namespace, "name": "fjord", "path": path}, "caBundle": self.bundle}


@pytest.fixture
def extension(cluster: Cluster, namespace: str) -> Extension:
    """Run the pod and wait until its Service has an endpoint."""
    now = datetime.datetime.now(datetime.UTC)
    authority = pki.Authority.create("fjord-ca", now=now)
    subject = pki.Subject("fjord", dns_names=(f"fjord.{namespace}.svc",))
    pair = authority.issue(subject, [pki.Usage.SERVER], now=now)
    encoded = {"tls.crt": pair.certificate, "tls.key": pair.key}
    objects: list[Object] = [
        {
            "kind": "Secret",
            "apiVersion": "v1",
            "metadata": {"name": "tls"},
            "type": "kubernetes.io/tls",
            "data": {name: base64.b64encode(value).decode() for name, value in encoded.items()},
        },
        {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "code"}, "data": {"server.py": SERVER}},
        {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": "fjord", "labels": {"app": "fjord"}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": "server",
                        "image": "localhost/python:3",
                        "imagePullPolicy": "Never",
                        "command": ["python3", "/code/server.py"],
                        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
                        "volumeMounts": [{"name": "code", "mountPath": "/code"}, {"name": "tls", "mountPath": "/tls"}],
                    }
                ],
                "volumes": [
                    {"name": "code", "configMap": {"name": "code"}},
                    {"name": "tls", "secret": {"secretName": "tls"}},
                ],
            },
        },
        {
            "kind": "Service",
            "apiVersion": "v1",
            "metadata": {"name": "fjord"},
            "spec": {"selector": {"app": "fjord"}, "ports": [{"port": 443, "targetPort": 8443}]},
        },
    ]
    bundle = base64.b64encode(authority.pair.certificate).decode()
    apply(cluster, {"kind": "List", "apiVersion": "v1", "items": objects}, "-n", namespace)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/fjord", "-n", namespace, "--timeout=60s")
    wait_until(lambda: _has_endpoint(cluster, namespace), what="an endpoint")
    return Extension(namespace, bundle)


def _has_endpoint(cluster: Cluster, namespace: str) -> bool:
    found = cluster.get("endpointslices", "-l", "kubernetes.io/service-name=fjord", "-n", namespace)["items"]
    return any(endpoint["conditions"]["ready"] for one in found for endpoint in one.get("endpoints") or ())


def apply(cluster: Cluster, obj: Object, *words: str) -> None:
    cluster.kubectl("apply", "-f", "-", *words, stdin=json.dumps(obj))


def webhook(extension: Extension, kind: str, path: str) -> Object:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    hook = {
        "name": f"{path}.{GROUP}",
        "clientConfig": extension.client_config(f"/{path}"),
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": extension.namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    name = f"{path}-{extension.namespace}"
    return {
        "kind": f"{kind}WebhookConfiguration",
        "apiVersion": "admissionregistration.k8s.io/v1",
        "metadata": {"name": name},
        "webhooks": [hook],
    }


def test_webhooks_change_and_refuse(cluster: Cluster, extension: Extension) -> None:
    hooks = [webhook(extension, "Mutating", "mutate"), webhook(extension, "Validating", "deny")]
    space = ("-n", extension.namespace)
    try:
        for hook in hooks:
            apply(cluster, hook)
        cluster.kubectl("create", "configmap", "one", *space)
        assert cluster.get("configmap", "one", *space)["data"]["by"]
        marked = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "two", "labels": {"forbidden": "1"}}}
        said = cluster.kubectl("create", "-f", "-", *space, stdin=json.dumps(marked), check=False)
        assert "Warning: seen" in said
        assert f'admission webhook "deny.{GROUP}" denied the request: boats only' in said
        # Nobody answers any more: what cannot be judged is refused.
        cluster.kubectl("delete", "pod", "fjord", "--now", *space)
        wait_until(lambda: not _has_endpoint(cluster, extension.namespace), what="no endpoint")
        said = cluster.kubectl("create", "configmap", "three", *space, check=False)
        assert (
            f'failed calling webhook "mutate.{GROUP}": failed to call webhook: Post "https://fjord.{space[1]}.svc:443'
            in said
        )
    finally:
        for hook in hooks:
            cluster.kubectl("delete", hook["kind"], hook["metadata"]["name"], "--ignore-not-found")


def test_aggregated_server_is_served_as_if_built_in(cluster: Cluster, extension: Extension) -> None:
    name = f"{VERSION}.{GROUP}"
    service = {"namespace": extension.namespace, "name": "fjord", "port": 443}
    spec = {
        "group": GROUP,
        "version": VERSION,
        "groupPriorityMinimum": 1000,
        "versionPriority": 10,
        "service": service,
        "caBundle": extension.bundle,
    }
    obj = {
        "kind": "APIService",
        "apiVersion": "apiregistration.k8s.io/v1",
        "metadata": {"name": name},
        "spec": spec,
    }
    try:
        apply(cluster, obj)
        cluster.kubectl("wait", "--for=condition=Available", f"apiservice/{name}", "--timeout=30s")
        assert f"{GROUP}/{VERSION}" in cluster.kubectl("api-versions")
        assert "boats" in cluster.kubectl("api-resources", "--api-group", GROUP)
        boat = cluster.get("boat", "drakkar", "-n", extension.namespace)
        assert boat["metadata"]["annotations"]["asked-by"]
        cluster.kubectl("delete", "pod", "fjord", "--now", "-n", extension.namespace)
        cluster.kubectl("wait", "--for=condition=Available=False", f"apiservice/{name}", "--timeout=30s")
        path = f"/apis/{GROUP}/{VERSION}/namespaces/default/boats"
        assert "currently unable to handle the request" in cluster.kubectl("get", "--raw", path, check=False)
    finally:
        cluster.kubectl("delete", "apiservice", name, "--ignore-not-found")


def test_policies_change_and_refuse(cluster: Cluster, namespace: str) -> None:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    constraints = {
        "resourceRules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
    }
    mutation = {
        "patchType": "ApplyConfiguration",
        "applyConfiguration": {"expression": "Object{data: {'by': request.userInfo.username}}"},
    }
    validation = {"expression": "object.metadata.name != 'two'", "messageExpression": "'not ' + object.data.by"}
    specs: dict[str, Object] = {
        "Mutating": {"mutations": [mutation], "reinvocationPolicy": "Never"},
        "Validating": {"validations": [validation]},
    }
    group = {"apiVersion": "admissionregistration.k8s.io/v1"}
    made = []
    for kind, spec in specs.items():
        metadata = {"name": f"{kind.lower()}-{namespace}"}
        binding = {"policyName": metadata["name"], **({"validationActions": ["Deny"]} if kind == "Validating" else {})}
        policy = {
            "kind": f"{kind}AdmissionPolicy",
            "metadata": metadata,
            "spec": {"matchConstraints": constraints, **spec},
        }
        made += [
            {**group, **policy},
            {**group, "kind": f"{kind}AdmissionPolicyBinding", "metadata": metadata, "spec": binding},
        ]
    try:
        for obj in made:
            apply(cluster, obj)
        cluster.kubectl("create", "configmap", "one", "-n", namespace)
        by = cluster.get("configmap", "one", "-n", namespace)["data"]["by"]
        said = cluster.kubectl("create", "configmap", "two", "-n", namespace, check=False)
        name = f"validating-{namespace}"
        assert f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: not {by}" in said
    finally:
        for obj in made:
            cluster.kubectl("delete", obj["kind"], obj["metadata"]["name"], "--ignore-not-found")
