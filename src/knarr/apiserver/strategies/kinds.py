"""Kinds that need a line or two each at birth or on update.

Source: pkg/registry/{core/{namespace,serviceaccount},batch/job,certificates/certificates,discovery/endpointslice,
scheduling/priorityclass}/strategy.go (v1.37).
"""

from typing import Any

from knarr.apiserver.strategies.strategy import Context, Strategy, bump_generation, is_spec_changed

Object = dict[str, Any]

KUBERNETES_FINALIZER = "kubernetes"
_JOB = "batch.kubernetes.io/"


def _create_namespace(context: Context, namespace: Object) -> None:
    namespace["status"] = {"phase": "Active"}
    spec = namespace.get("spec") or {}
    finalizers = spec.get("finalizers") or []
    if KUBERNETES_FINALIZER not in finalizers:
        spec["finalizers"] = [*finalizers, KUBERNETES_FINALIZER]
    namespace["spec"] = spec


def _update_namespace(context: Context, namespace: Object, old: Object) -> None:
    finalizers = (old.get("spec") or {}).get("finalizers")
    namespace["spec"] = {"finalizers": finalizers} if finalizers else {}


def _create_job(context: Context, job: Object) -> None:
    """Let the job select its pods by its own uid, unless the user brings a selector."""
    spec = job.setdefault("spec", {})
    if spec.get("manualSelector"):
        return
    metadata = job["metadata"]
    labels = spec.setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {})
    uid, name = metadata["uid"], metadata.get("name", "")
    ours = {f"{_JOB}controller-uid": uid, "controller-uid": uid, f"{_JOB}job-name": name, "job-name": name}
    for key, value in ours.items():
        labels.setdefault(key, value)
    selector = spec.setdefault("selector", {})
    selector.setdefault("matchLabels", {}).setdefault(f"{_JOB}controller-uid", uid)


def _create_csr(context: Context, request: Object) -> None:
    """Note who asks for the certificate."""
    spec, user = request.setdefault("spec", {}), context.user
    for name in ("username", "uid", "groups", "extra"):
        spec.pop(name, None)
    spec["username"] = user.name
    if user.uid:
        spec["uid"] = user.uid
    if user.groups:
        spec["groups"] = list(user.groups)
    if user.extra:
        spec["extra"] = {name: list(values) for name, values in user.extra.items()}


def _update_csr(context: Context, request: Object, old: Object) -> None:
    request["spec"] = old.get("spec") or {}


def _update_csr_status(context: Context, request: Object, old: Object) -> None:
    """Approval has a subresource of its own: a status update leaves those conditions alone."""
    request["spec"] = old.get("spec") or {}
    status = request.setdefault("status", {})
    decided = ("Approved", "Denied")
    kept = [c for c in (old.get("status") or {}).get("conditions") or [] if c.get("type") in decided]
    others = [c for c in status.get("conditions") or [] if c.get("type") not in decided]
    if kept or others:
        status["conditions"] = [*kept, *others]
    date_conditions(context, status, old.get("status") or {})


def date_conditions(context: Context, status: Object, before: Object) -> None:
    """Date the conditions of a certificate signing request: those that are new or changed, and say no time."""
    known = {(one.get("type"), one.get("status")): one for one in before.get("conditions") or []}
    now = context.parts.now()
    for condition in status.get("conditions") or []:
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            same = known.get((condition.get("type"), condition.get("status"))) or {}
            condition["lastTransitionTime"] = same.get("lastTransitionTime") or now


def _update_deployment(context: Context, deployment: Object, old: Object) -> None:
    """Annotations count as a change of a Deployment, too."""
    metadata, before = deployment["metadata"], old["metadata"]
    if metadata.get("annotations") != before.get("annotations") and deployment.get("spec") == old.get("spec"):
        metadata["generation"] = int(metadata.get("generation") or 0) + 1


def _create_slice(context: Context, endpoints: Object) -> None:
    for endpoint in endpoints.get("endpoints") or ():
        endpoint.pop("deprecatedTopology", None)


def _update_slice(context: Context, endpoints: Object, old: Object) -> None:
    """Labels count as a change of an EndpointSlice, too."""
    _create_slice(context, endpoints)
    labels, before = (one["metadata"].get("labels") or {} for one in (endpoints, old))
    if labels != before and not is_spec_changed(endpoints, old):
        bump_generation(endpoints)


def _clean_account(context: Context, account: Object) -> None:
    """Keep only the names of the Secrets that a ServiceAccount refers to."""
    if account.get("secrets"):
        account["secrets"] = [{"name": one["name"]} if one.get("name") else {} for one in account["secrets"]]


def _update_account(context: Context, account: Object, old: Object) -> None:
    _clean_account(context, account)


def _create_priority_class(context: Context, obj: Object) -> None:
    """The generation of a PriorityClass is 1 and stays so."""
    obj["metadata"]["generation"] = 1


def _workload_status(context: Context, obj: Object, old: Object) -> None:
    """A status update leaves the labels of a workload alone."""
    obj["spec"] = old.get("spec") or {}
    labels = old["metadata"].get("labels")
    if labels is None:
        obj["metadata"].pop("labels", None)
    else:
        obj["metadata"]["labels"] = labels


NAMESPACES = Strategy(prepare_create=_create_namespace, prepare_update=_update_namespace)
JOBS = Strategy(prepare_create=_create_job, has_generation=True, orphans=True)
CERTIFICATE_REQUESTS = Strategy(
    prepare_create=_create_csr, prepare_update=_update_csr, prepare_status=_update_csr_status
)
DEPLOYMENTS = Strategy(prepare_update=_update_deployment, prepare_status=_workload_status, has_generation=True)
WORKLOADS = Strategy(has_generation=True)
REPLICATION_CONTROLLERS = Strategy(has_generation=True, orphans=True)
NODES = Strategy(keeps_status=True)
COUNTED = Strategy(has_generation=True)
COUNTED_CONDITIONAL = Strategy(has_generation=True, unconditional_update=False)
CONDITIONAL = Strategy(unconditional_update=False)
UPSERTED = Strategy(create_on_update=True)
LEASES = Strategy(create_on_update=True, unconditional_update=False)
ENDPOINT_SLICES = Strategy(prepare_create=_create_slice, prepare_update=_update_slice, has_generation=True)
SERVICE_ACCOUNTS = Strategy(prepare_create=_clean_account, prepare_update=_update_account, returns_deleted=True)
PRIORITY_CLASSES = Strategy(prepare_create=_create_priority_class)
RETURNED = Strategy(returns_deleted=True)
PLAIN = Strategy()
