"""AppArmor profiles of a new pod that stand in annotations, as they did before they were fields.

Source: applyAppArmorVersionSkew in k8s.io/kubernetes/pkg/registry/core/pod/strategy.go (v1.37).
"""

from typing import Any

Object = dict[str, Any]

_PREFIX = "container.apparmor.security.beta.kubernetes.io/"
_LOCAL = "localhost/"
_LOCAL_MAX_BYTES = 4095


def fill_profiles(pod: Object) -> list[str]:
    """Copy profiles from annotations to the fields that are not set; return the warnings about it."""
    spec, notes = pod.get("spec") or {}, (pod.get("metadata") or {}).get("annotations") or {}
    if (spec.get("os") or {}).get("name") == "windows" or not any(key.startswith(_PREFIX) for key in notes):
        return []
    warnings = []
    of_pod = (spec.get("securityContext") or {}).get("appArmorProfile")
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            key = f"{_PREFIX}{container.get('name', '')}"
            if key not in notes or (container.get("securityContext") or {}).get("appArmorProfile") is not None:
                continue
            profile = _profile(notes[key])
            if profile is None or profile != of_pod:
                words = 'deprecated since v1.30; use the "appArmorProfile" field instead'
                warnings.append(f"metadata.annotations[{key}]: {words}")
            if profile is not None and profile != of_pod:
                container["securityContext"] = {**(container.get("securityContext") or {}), "appArmorProfile": profile}
    return warnings


def _profile(annotation: str) -> Object | None:
    if annotation == "unconfined":
        return {"type": "Unconfined"}
    if annotation == "runtime/default":
        return {"type": "RuntimeDefault"}
    local = annotation.removeprefix(_LOCAL)
    if not annotation.startswith(_LOCAL) or not local or local.strip() != local:
        return None
    return {"type": "Localhost", "localhostProfile": local} if len(local.encode()) <= _LOCAL_MAX_BYTES else None
