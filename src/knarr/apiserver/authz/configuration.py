"""The file that says who decides what users may do, and in which order: AuthorizationConfiguration of apiserver.config.k8s.io.

Source: k8s.io/apiserver/pkg/apis/apiserver/{types.go,validation/validation.go} (v1.37).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knarr.api import codec
from knarr.apiserver import options
from knarr.apiserver.authz.webhook import Settings
from knarr.lang import cel
from knarr.lang.cel.declarations import DYN, STRING, Decl

GROUP = "apiserver.config.k8s.io"
VERSIONS = (f"{GROUP}/v1", f"{GROUP}/v1beta1", f"{GROUP}/v1alpha1")
NODE, RBAC, ALWAYS_ALLOW, ALWAYS_DENY, WEBHOOK = "Node", "RBAC", "AlwaysAllow", "AlwaysDeny", "Webhook"
TYPES = (ALWAYS_ALLOW, ALWAYS_DENY, NODE, RBAC, WEBHOOK)
_LONGEST_S = 30.0
_REQUEST = {
    "request": Decl(
        "object",
        fields={
            "user": STRING,
            "groups": Decl("list", element=STRING),
            "uid": STRING,
            "extra": Decl("map", element=Decl("list", element=STRING)),
            "resourceAttributes": Decl("map", element=DYN),
            "nonResourceAttributes": Decl("map", element=DYN),
        },
        names={
            name: name for name in ("user", "groups", "uid", "extra", "resourceAttributes", "nonResourceAttributes")
        },
    )
}

Object = dict[str, Any]


class BadConfiguration(Exception):
    """Raised when an authorization configuration file cannot be used.

    Attributes:
        path: The file.
        why: What is wrong with it.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"authorization configuration {path}: {why}")
        self.path = path
        self.why = why


@dataclass(frozen=True, slots=True)
class Entry:
    """One authorizer.

    Attributes:
        type: One of TYPES.
        kubeconfig: Of a webhook: where it is.
        settings: Of a webhook: how it is asked.
    """

    type: str
    kubeconfig: Path | None = None
    settings: Settings | None = None


DEFAULT = (Entry(NODE), Entry(RBAC))


def load(path: Path) -> tuple[Entry, ...]:
    """Read a configuration file.

    Raises:
        BadConfiguration: It cannot be used.
    """
    try:
        config = codec.decode(path.read_bytes(), codec.YAML)
        if config.get("kind") != "AuthorizationConfiguration" or config.get("apiVersion") not in VERSIONS:
            raise ValueError(f"expected kind AuthorizationConfiguration in {VERSIONS[0]}")
        return _read(config, path.parent)
    except OSError as err:
        raise BadConfiguration(path, err.strerror or str(err)) from err
    except (codec.BadBody, cel.CompileError, ValueError) as err:
        raise BadConfiguration(path, str(err)) from err
    except (TypeError, AttributeError, KeyError) as err:
        raise BadConfiguration(path, f"a field is missing or has the wrong type: {err}") from err


def _read(config: Object, folder: Path) -> tuple[Entry, ...]:
    listed = config.get("authorizers") or []
    if not listed:
        raise ValueError("authorizers: Required value: at least one authorization mode must be defined")
    entries: list[Entry] = []
    names: set[str] = set()
    for index, one in enumerate(listed):
        where, kind, name = f"authorizers[{index}]", one.get("type") or "", one.get("name") or ""
        if kind not in TYPES:
            raise ValueError(f'{where}.type: Unsupported value: "{kind}": supported values: {", ".join(TYPES)}')
        if kind != WEBHOOK and any(each.type == kind for each in entries):
            raise ValueError(f'{where}.type: Duplicate value: "{kind}"')
        if not name:
            raise ValueError(f"{where}.name: Required value")
        if name in names:
            raise ValueError(f'{where}.name: Duplicate value: "{name}"')
        names.add(name)
        if (kind == WEBHOOK) != ("webhook" in one):
            raise ValueError(f"{where}.webhook: may be specified only, and must be, when type=Webhook")
        entries.append(_webhook(one["webhook"], name, f"{where}.webhook", folder) if kind == WEBHOOK else Entry(kind))
    return tuple(entries)


def _webhook(given: Object, name: str, where: str, folder: Path) -> Entry:
    policy = given.get("failurePolicy") or ""
    if policy not in ("NoOpinion", "Deny"):
        raise ValueError(f'{where}.failurePolicy: Unsupported value: "{policy}": supported values: "NoOpinion", "Deny"')
    connection = given.get("connectionInfo") or {}
    if connection.get("type") != "KubeConfigFile" or not connection.get("kubeConfigFile"):
        raise ValueError(f"{where}.connectionInfo: expected type KubeConfigFile with a kubeConfigFile")
    timeout_s = _seconds(given, "timeout", where, _LONGEST_S)
    if not 0 < timeout_s <= _LONGEST_S:
        raise ValueError(f"{where}.timeout: Invalid value: must be > 0s and <= 30s")
    environment = cel.Environment(_REQUEST)
    conditions = [environment.compile(one.get("expression") or "") for one in given.get("matchConditions") or ()]
    authorized_s = _seconds(given, "authorizedTTL", where, 300.0)
    unauthorized_s = _seconds(given, "unauthorizedTTL", where, 30.0)
    settings = Settings(
        name=name,
        authorized_s=authorized_s if given.get("cacheAuthorizedRequests", True) else 0.0,
        unauthorized_s=unauthorized_s if given.get("cacheUnauthorizedRequests", True) else 0.0,
        timeout_s=timeout_s,
        denies_on_failure=policy == "Deny",
        conditions=conditions,
    )
    return Entry(WEBHOOK, folder / connection["kubeConfigFile"], settings)


def _seconds(given: Object, field: str, where: str, default: float) -> float:
    text = given.get(field)
    if text is None:
        return default
    try:
        return options.duration_s(str(text))
    except ValueError as err:
        raise ValueError(f'{where}.{field}: Invalid value: "{text}": {err}') from err
