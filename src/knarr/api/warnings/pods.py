"""Warnings about pods, in themselves and as templates.

A change of a pod is not judged: nobody makes one by hand, and there are many.

Source: k8s.io/kubernetes/pkg/api/pod/warnings.go (v1.37).
"""

from collections.abc import Iterator
from typing import Any

from knarr.api import names
from knarr.api.warnings import nodelabels, volumes

Object = dict[str, Any]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_SECCOMP_WORDS = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_APP_ARMOR_WORDS = 'deprecated since v1.30; use the "appArmorProfile" field instead'
_PLUGINS = {
    "photonPersistentDisk": volumes.GONE["photonPersistentDisk"],
    "gitRepo": "deprecated in v1.11",
    "scaleIO": volumes.GONE["scaleIO"],
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": volumes.GONE["storageos"],
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": volumes.GONE["glusterfs"],
    "ephemeral": "",
    "cephfs": volumes.GONE["cephfs"],
    "rbd": volumes.GONE["rbd"],
}
_SHOWN = {"storageos": "storageOS"}
_NULL = "labelSelector: a null labelSelector results in matching no pod"
_IN_BYTES = ("memory", "ephemeral-storage")


def pod(obj: Object, old: Object | None) -> list[str]:
    """Return the warnings about a new pod."""
    if old is not None:
        return []
    meta = obj.get("metadata") or {}
    complaints = names.dns_label(meta.get("name") or "")
    found = []
    if complaints:
        words = (
            "this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended"
        )
        found.append(f"metadata.name: {words}: [{' '.join(complaints)}]")
    return found + _all(meta, obj.get("spec") or {}, "", is_template=False)


def template(value: Object, path: str) -> list[str]:
    """Return the warnings about a pod template.

    Args:
        value: The template.
        path: Its field, such as "spec.template".
    """
    return _all(value.get("metadata") or {}, value.get("spec") or {}, f"{path}.", is_template=True)


def _all(meta: Object, spec: Object, root: str, *, is_template: bool) -> list[str]:
    path, notes = f"{root}spec", meta.get("annotations") or {}
    at_notes = f"{root}metadata.annotations"
    found = [*_selected_nodes(spec, path), *_spread(spec, path)]
    found += [f"{at_notes}[{key}]: {words}" for key, words in _ANNOTATIONS.items() if key in notes]
    found += [*_volumes(spec, path), *_paths(spec, path), *_repeated(spec, path)]
    for name in _IN_BYTES:
        found += volumes.fraction(spec.get("overhead"), name, f"{path}.overhead")
    security = spec.get("securityContext") or {}
    if security.get("seccompProfile") is None and _SECCOMP_POD in notes:
        found.append(f"{at_notes}[{_SECCOMP_POD}]: {_SECCOMP_WORDS}")
    has_profile = security.get("appArmorProfile") is not None
    for here, container in _containers(spec, path):
        found += _annotated(container, notes, at_notes, warn_app_armor=is_template and not has_profile)
        of = container.get("resources") or {}
        for name in _IN_BYTES:
            for field in ("limits", "requests"):
                found += volumes.fraction(of.get(field), name, f"{here}.resources.{field}")
        found += _environment(container, here)
    found += _ports(spec, path)
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0:
        words = "must be >= 0; negative values are invalid and will be treated as 1"
        found.append(f"{path}.terminationGracePeriodSeconds: {words}")
    return found + list(_affinity(spec, path))


def _containers(spec: Object, path: str) -> Iterator[tuple[str, Object]]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            yield f"{path}.{kind}[{index}]", container


def _selected_nodes(spec: Object, path: str) -> Iterator[str]:
    for key in spec.get("nodeSelector") or ():
        if key in nodelabels.DEPRECATED:
            yield f"{path}.nodeSelector[{key}]: {nodelabels.DEPRECATED[key]}"
    nodes = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    here = f"{path}.affinity.nodeAffinity"
    for index, term in enumerate((nodes.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()):
        yield from nodelabels.of_term(term, f"{here}.{_REQUIRED}.nodeSelectorTerms[{index}]", check_values=False)
    for index, term in enumerate(nodes.get(_PREFERRED) or ()):
        preference = term.get("preference") or {}
        yield from nodelabels.of_term(preference, f"{here}.{_PREFERRED}[{index}].preference", check_values=True)


def _spread(spec: Object, path: str) -> Iterator[str]:
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        here, key = f"{path}.topologySpreadConstraints[{index}]", constraint.get("topologyKey")
        if key in nodelabels.DEPRECATED:
            yield f"{here}.topologyKey: {key} is {nodelabels.DEPRECATED[key]}"
        if constraint.get("labelSelector") is None:
            yield f"{here}.{_NULL}"


def _affinity(spec: Object, path: str) -> Iterator[str]:
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = (spec.get("affinity") or {}).get(kind) or {}
        here = f"{path}.affinity.{kind}"
        for index, term in enumerate(terms.get(_REQUIRED) or ()):
            if term.get("labelSelector") is None:
                yield f"{here}.{_REQUIRED}[{index}].{_NULL}"
        for index, weighted in enumerate(terms.get(_PREFERRED) or ()):
            if (weighted.get("podAffinityTerm") or {}).get("labelSelector") is None:
                yield f"{here}.{_PREFERRED}[{index}].podAffinityTerm.{_NULL}"


def _volumes(spec: Object, path: str) -> Iterator[str]:
    for index, volume in enumerate(spec.get("volumes") or ()):
        here = f"{path}.volumes[{index}]"
        for plugin, words in _PLUGINS.items():
            if volume.get(plugin) is None:
                continue
            if plugin == "ephemeral":
                claim = volume[plugin].get("volumeClaimTemplate") or {}
                yield from volumes.claim_spec(claim.get("spec") or {}, f"{here}.ephemeral.volumeClaimTemplate.spec")
            else:
                yield f"{here}.{_SHOWN.get(plugin, plugin)}: {words}"


def _paths(spec: Object, path: str) -> Iterator[str]:
    """Yield a warning for each file that would lie where a token does."""
    sources = [
        (f"{path}.volumes[{index}].projected.sources", source)
        for index, volume in enumerate(spec.get("volumes") or ())
        for source in (volume.get("projected") or {}).get("sources") or ()
    ]
    tokens = {token["path"] for _, source in sources if (token := source.get("serviceAccountToken"))}
    for here, source in sources if tokens else ():
        for field, shown in (("configMap", "configMap"), ("secret", "secrets"), ("downwardAPI", "downwardAPI")):
            for position, item in enumerate((source.get(field) or {}).get("items") or ()):
                if item.get("path") in tokens:
                    words = f'has duplicated path with ServiceAccountToken "{item["path"]}"'
                    yield f"{here}.{shown}[{position}]: {words}"
        bundle = source.get("clusterTrustBundle") or {}
        if bundle.get("path") in tokens:
            yield f'{here}.ClusterTrustBundle: has duplicated path with ServiceAccountToken "{bundle["path"]}"'


def _repeated(spec: Object, path: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        ip = alias.get("ip") or ""
        if ip in seen:
            yield f'{path}.hostAliases[{index}].ip: duplicate ip "{ip}"'
        seen.add(ip)
    secrets = [secret.get("name") or "" for secret in spec.get("imagePullSecrets") or ()]
    here = f"{path}.imagePullSecrets"
    for index, name in enumerate(secrets):
        if name in secrets[:index]:
            yield f'{here}[{index}].name: duplicate name "{name}"'
    for index, name in enumerate(secrets):
        if not name:
            yield f'{here}[{index}].name: invalid empty name ""'


def _annotated(container: Object, notes: Object, path: str, *, warn_app_armor: bool) -> Iterator[str]:
    security, name = container.get("securityContext") or {}, container.get("name") or ""
    if security.get("seccompProfile") is None and _SECCOMP_CONTAINER + name in notes:
        yield f"{path}[{_SECCOMP_CONTAINER}{name}]: {_SECCOMP_WORDS}"
    if warn_app_armor and security.get("appArmorProfile") is None and _APP_ARMOR + name in notes:
        yield f"{path}[{_APP_ARMOR}{name}]: {_APP_ARMOR_WORDS}"


def _environment(container: Object, path: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, variable in enumerate(container.get("env") or ()):
        name, value = variable.get("name") or "", variable.get("value") or ""
        before = f"$({name})"
        if name in seen and (variable.get("valueFrom") is not None or value == before or before not in value):
            words = f'hides previous definition of "{name}", which may be dropped when using apply'
            yield f"{path}.env[{index}]: {words}"
        seen.add(name)


def _ports(spec: Object, path: str) -> Iterator[str]:
    known: dict[tuple[Any, Any], list[tuple[str, Object]]] = {}
    for here, container in _containers(spec, path):
        for index, port in enumerate(container.get("ports") or ()):
            at = f"{here}.ports[{index}]"
            if port.get("hostIP") and not port.get("hostPort"):
                yield f"{at}: hostIP set without hostPort: {_format_port(port)}"
            others = known.setdefault((port.get("containerPort"), port.get("protocol")), [])
            for other_at, other in others:
                words = _overlap(port, other)
                if words:
                    yield f"{at}: {words} port definition with {other_at}"
            others.append((at, port))


def _overlap(port: Object, other: Object) -> str:
    mine, theirs = (((one.get("hostIP") or ""), one.get("hostPort") or 0) for one in (port, other))
    if mine == theirs:
        return "duplicate"
    if not mine[1] or not theirs[1]:
        return "overlapping"
    if mine[1] == theirs[1] and bool(mine[0]) != bool(theirs[0]):
        return "dangerously ambiguous"
    return ""


def _format_port(port: Object) -> str:
    """Write a port as Go's %+v does."""
    fields = ("name", "hostPort", "containerPort", "protocol", "hostIP")
    zeros = {"hostPort": 0, "containerPort": 0}
    shown = (f"{name[0].upper()}{name[1:]}:{port.get(name) or zeros.get(name, '')}" for name in fields)
    return "{" + " ".join(shown) + "}"
