"""ServiceAccount: every pod has an account, and its token where it looks for it.

Upstream counterpart: plugin/pkg/admission/serviceaccount (v1.37).
"""

from collections.abc import Iterator

from knarr.apiserver.admission.chain import CREATE, UPDATE, AdmissionRequest, Context, Object, Plugin

DEFAULT = "default"
MIRROR = "kubernetes.io/config.mirror"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
TOKEN_SECONDS = 3607
ENFORCE_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"
_TRUE = {"1", "t", "T", "true", "TRUE", "True"}
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_ATTEMPTS = 10
_WAIT_S = 0.15
_MODE = 0o644


def build(context: Context) -> Plugin:
    """Make the plugin."""

    async def find(request: AdmissionRequest, name: str) -> Object:
        # A namespace's default account comes moments after the namespace: wait for it a little.
        for attempt in range(_ATTEMPTS if name == DEFAULT else 1):
            if attempt:
                await context.clock.sleep(_WAIT_S)
            account = context.registry.get("serviceaccounts", request.namespace, name)
            if account is not None:
                return account
        why = f'error looking up service account {request.namespace}/{name}: serviceaccount "{name}" not found'
        raise request.forbidden(why)

    async def admit(request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None or request.operation != CREATE or request.subresource:
            return
        spec = pod["spec"]
        if _is_mirror(pod):
            return
        name = spec.get("serviceAccountName") or DEFAULT
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = await find(request, name)
        if should_mount(account, spec):
            suffix = "".join(context.random.choices(_ALPHABET, k=5))
            mount(spec, f"{VOLUME_PREFIX}{suffix}")
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(one) for one in account["imagePullSecrets"]]

    async def validate(request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None or (request.operation == UPDATE) != (request.subresource == "ephemeralcontainers"):
            return
        if _is_mirror(pod):
            problem = _mirror_problem(pod["spec"])
            if problem and request.operation == CREATE:
                raise request.forbidden(problem)
            return
        account = await find(request, pod["spec"].get("serviceAccountName") or "")
        if (account["metadata"].get("annotations") or {}).get(ENFORCE_MOUNTABLE) in _TRUE:
            problem = _secret_problem(account, pod["spec"])
            if problem:
                raise request.forbidden(problem)

    operations, targets = frozenset({CREATE, UPDATE}), frozenset({"pods", "pods/ephemeralcontainers"})
    return Plugin("ServiceAccount", operations, targets, admit=admit, validate=validate)


def should_mount(account: Object, spec: Object) -> bool:
    """Return whether a pod gets its account's token: the pod says, else the account, else yes."""
    for holder in (spec, account):
        wish = holder.get("automountServiceAccountToken")
        if wish is not None:
            return bool(wish)
    return True


def mount(spec: Object, volume_name: str) -> None:
    """Mount the token in every container that has nothing at its place, from one projected volume.

    Args:
        spec: Of the pod; it is changed.
        volume_name: Of the volume, unless the pod has such a one already.
    """
    volumes = spec.get("volumes") or []
    existing = next((one["name"] for one in volumes if one["name"].startswith(VOLUME_PREFIX)), None)
    name = existing or volume_name
    is_needed = False
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        mounts = container.get("volumeMounts") or []
        if any(one.get("mountPath") == MOUNT_PATH for one in mounts):
            continue
        container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
        is_needed = True
    if is_needed and existing is None:
        spec["volumes"] = [*volumes, token_volume(name)]


def token_volume(name: str) -> Object:
    """Return the volume with the token, the cluster's certificates and the namespace."""
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": _MODE}}


def _is_mirror(pod: Object) -> bool:
    return MIRROR in (pod["metadata"].get("annotations") or {})


def _mirror_problem(spec: Object) -> str:
    if spec.get("serviceAccountName"):
        return "a mirror pod may not reference service accounts"
    if spec.get("imagePullSecrets") or any(_secret_names(spec)):
        return "a mirror pod may not reference secrets"
    for volume in spec.get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("serviceAccountToken"):
                return "a mirror pod may not use ServiceAccountToken volume projections"
    return ""


def _secret_names(spec: Object) -> Iterator[str]:
    for volume in spec.get("volumes") or ():
        if volume.get("secret"):
            yield volume["secret"].get("secretName") or ""
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("secret"):
                yield source["secret"].get("name") or ""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            for source in container.get("envFrom") or ():
                if source.get("secretRef"):
                    yield source["secretRef"].get("name") or ""
            for variable in container.get("env") or ():
                reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
                if reference:
                    yield reference.get("name") or ""


def _secret_problem(account: Object, spec: Object) -> str:
    owner = account["metadata"]["name"]
    mountable = {one.get("name") for one in account.get("secrets") or ()}
    tail = f"is not allowed because service account {owner} does not reference that secret"
    for volume in spec.get("volumes") or ():
        secret = (volume.get("secret") or {}).get("secretName")
        if secret and secret not in mountable:
            return f'volume with secret.secretName="{secret}" {tail}'
    kinds = {
        "initContainers": "init container",
        "containers": "container",
        "ephemeralContainers": "ephemeral container",
    }
    for kind, words in kinds.items():
        for container in spec.get(kind) or ():
            for variable in container.get("env") or ():
                secret = ((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name")
                if secret and secret not in mountable:
                    where = f"{words} {container['name']} with envVar {variable['name']}"
                    return f'{where} referencing secret.secretName="{secret}" {tail}'
            for source in container.get("envFrom") or ():
                secret = (source.get("secretRef") or {}).get("name")
                if secret and secret not in mountable:
                    return f'{words} {container["name"]} with envFrom referencing secret.secretName="{secret}" {tail}'
    pullable = {one.get("name") for one in account.get("imagePullSecrets") or ()}
    for index, one in enumerate(spec.get("imagePullSecrets") or ()):
        if one.get("name") not in pullable:
            tail = f"is not allowed because service account {owner} does not reference that imagePullSecret"
            return f'imagePullSecrets[{index}].name="{one.get("name")}" {tail}'
    return ""
