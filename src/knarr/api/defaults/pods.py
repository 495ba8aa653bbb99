"""Pods and pod specs, wherever they are embedded.

Source: k8s.io/kubernetes/pkg/apis/core/v1/defaults.go and zz_generated.defaults.go (v1.37).
"""

from typing import Any

from knarr.api.defaults import pod_resources, quantities, volumes
from knarr.api.defaults.images import pull_policy

Object = dict[str, Any]


def pod(obj: Object) -> None:
    """Set the defaults of a Pod, some of which a pod template does not get."""
    spec = obj.setdefault("spec", {})
    containers, init = spec.get("containers") or (), spec.get("initContainers") or ()
    for container in (*containers, *init):
        _requests_from_limits(container)
    if spec.get("resources") is not None:
        pod_resources.set_pod_level(spec)
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True
    if spec.get("hostNetwork"):
        _host_ports(containers)
        _host_ports(init)
    pod_spec(spec)


def pod_spec(spec: Object) -> None:
    """Set the defaults of a pod spec, standing alone or in a template."""
    if not spec.get("dnsPolicy"):
        spec["dnsPolicy"] = "ClusterFirst"
    if not spec.get("restartPolicy"):
        spec["restartPolicy"] = "Always"
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    if spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = 30
    if not spec.get("schedulerName"):
        spec["schedulerName"] = "default-scheduler"
    # The two names of one field: the old one is filled for old readers.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for volume in spec.get("volumes") or ():
        volumes.volume(volume)
    for container in spec.get("containers") or ():
        _container(container)
    for container in spec.get("initContainers") or ():
        _container(container)
    for container in spec.get("ephemeralContainers") or ():
        _container(container)
    if "overhead" in spec:
        quantities.round_up(spec["overhead"])
    if "resources" in spec:
        _round_requirements(spec)


def template(obj: Object | None) -> None:
    """Set the defaults of a pod template."""
    if obj is not None:
        pod_spec(obj.setdefault("spec", {}))


def pod_template(obj: Object) -> None:
    """Set the defaults of a PodTemplate."""
    template(obj.setdefault("template", {}))


def _container(container: Object) -> None:
    get = container.get
    if not get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(get("image") or "")
    if not get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    for port in get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    for variable in get("env") or ():
        source = variable.get("valueFrom")
        if source is not None:
            _env_source(source)
    if get("resources") is None:
        container["resources"] = {}  # a struct that Go always writes
    else:
        _round_requirements(container)
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = get(field)
        if probe is not None:
            _probe(probe)
    lifecycle = get("lifecycle")
    if lifecycle:
        for hook in ("postStart", "preStop"):
            _http_get((lifecycle.get(hook) or {}).get("httpGet"))


def _env_source(source: Object) -> None:
    field_ref = source.get("fieldRef")
    if field_ref is not None and not field_ref.get("apiVersion"):
        field_ref["apiVersion"] = "v1"
    file_key = source.get("fileKeyRef")
    if file_key is not None and file_key.get("optional") is None:
        file_key["optional"] = False


def _probe(probe: Object) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(field):
            probe[field] = value
    _http_get(probe.get("httpGet"))
    grpc = probe.get("grpc")
    if grpc is not None and grpc.get("service") is None:
        grpc["service"] = ""


def _http_get(action: Object | None) -> None:
    if action is not None:
        if not action.get("path"):
            action["path"] = "/"
        if not action.get("scheme"):
            action["scheme"] = "HTTP"


def _requests_from_limits(container: Object) -> None:
    resources = container.get("resources")
    limits = resources.get("limits") if resources else None
    if resources and limits:
        requests = resources.get("requests")
        if requests is None:
            resources["requests"] = dict(limits)
        else:
            for name, value in limits.items():
                requests.setdefault(name, value)


def _round_requirements(holder: Object) -> None:
    resources = holder["resources"]
    if resources:
        quantities.round_up(resources.get("limits"))
        quantities.round_up(resources.get("requests"))


def _host_ports(containers: Any) -> None:
    for container in containers:
        for port in container.get("ports") or ():
            if not port.get("hostPort") and port.get("containerPort"):
                port["hostPort"] = port["containerPort"]
