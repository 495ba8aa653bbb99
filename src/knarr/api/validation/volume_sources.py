"""Where the data of a volume comes from, in pods and in persistent volumes: the kinds that both know.

Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

import re
from collections.abc import Callable

from knarr.api import names
from knarr.api.validation import paths
from knarr.api.validation.collector import Errors, Object

Check = Callable[[Errors, Object, str], None]
"""Checks one source at its field."""

MORE_THAN_ONE = "may not specify more than 1 volume type"
NONE_AT_ALL = "must specify a volume type"
_HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_FIRST_AT = {"gcePersistentDisk": "persistentDisk"}
_SECOND_AT = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}  # upstream's spelling
_PARTITION = names.format_range(1, 255)
_iqn_search = re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9\-.]+)(:[^,;*&$|\s]+)$").search
_eui_match = re.compile("eui.[A-Za-z0-9]{16}").fullmatch
_naa_match = re.compile("naa.[A-Za-z0-9]{32}").fullmatch
_BAD_PAIRS = "must be a host:port pair or multiple pairs separated by commas"
_AZURE_URIS = {
    True: (
        "/subscriptions/",
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
    ),
    False: ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"),
}


def requires(*fields: str) -> Check:
    """Return a check that fields are not empty."""

    def check(errors: Errors, source: Object, path: str) -> None:
        for field in fields:
            if not source.get(field):
                errors.required(f"{path}.{field}")

    return check


def exactly_one(errors: Errors, obj: Object, table: dict[str, Check], path: str) -> None:
    """Check the one source that an object has; `table` has the kinds in upstream's order."""
    given = [kind for kind, value in obj.items() if value is not None and kind in table]
    if len(given) > 1:
        given = [kind for kind in table if kind in given]
    if not given:
        errors.required(path, NONE_AT_ALL)
        return
    first = given[0]
    table[first](errors, obj[first], f"{path}.{_FIRST_AT.get(first, first)}")
    for kind in given[1:]:
        errors.forbidden(f"{path}.{_SECOND_AT.get(kind, kind)}", MORE_THAN_ONE)


def host_path(errors: Errors, source: Object, path: str) -> None:
    """Check a path of the node."""
    place, kind = source.get("path") or "", source.get("type")
    if not place:
        errors.required(f"{path}.path")
        return
    paths.no_backsteps(errors, place, f"{path}.path")
    if kind is not None and kind not in _HOST_PATH_TYPES:
        errors.unsupported(f"{path}.type", kind, _HOST_PATH_TYPES)


def disk(field: str) -> Check:
    """Return a check of a cloud's disk with its name in `field` and a partition."""

    def check(errors: Errors, source: Object, path: str) -> None:
        if not source.get(field):
            errors.required(f"{path}.{field}")
        partition = source.get("partition") or 0
        if not 0 <= partition <= 255:
            errors.invalid(f"{path}.partition", partition, _PARTITION)

    return check


def nfs(errors: Errors, source: Object, path: str) -> None:
    """Check an NFS share."""
    requires("server", "path")(errors, source, path)
    place = source.get("path") or ""
    if not place.startswith("/"):
        errors.invalid(f"{path}.path", place, "must be an absolute path")


def iscsi(errors: Errors, source: Object, path: str) -> None:
    """Check an iSCSI target."""
    requires("targetPortal")(errors, source, path)
    iqn = source.get("iqn") or ""
    if not iqn:
        errors.required(f"{path}.iqn")
    else:
        _initiator(errors, iqn, f"{path}.iqn")
    lun = source.get("lun") or 0
    if not 0 <= lun <= 255:
        errors.invalid(f"{path}.lun", lun, names.format_range(0, 255))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        errors.required(f"{path}.secretRef")
    initiator = source.get("initiatorName")
    if initiator is not None:
        _initiator(errors, initiator, f"{path}.initiatorname")


def _initiator(errors: Errors, value: str, path: str) -> None:
    rules = {"iqn": _iqn_search, "eui": _eui_match, "naa": _naa_match}
    rule = rules.get(value[:3])
    if rule is None:
        errors.invalid(path, value, "must be valid format starting with iqn, eui, or naa")
    elif not rule(value):
        errors.invalid(path, value, "must be valid format")


def fibre_channel(errors: Errors, source: Object, path: str) -> None:
    """Check a Fibre Channel target."""
    targets, ids, lun = source.get("targetWWNs") or [], source.get("wwids") or [], source.get("lun")
    if not targets and not ids:
        errors.required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both")
    if targets and ids:
        words = "targetWWNs and wwids can not be specified simultaneously"
        errors.invalid(f"{path}.targetWWNs", targets, words)
    if targets and lun is None:
        errors.required(f"{path}.lun", "lun is required if targetWWNs is specified")
    elif targets and lun is not None and not 0 <= lun <= 255:
        errors.invalid(f"{path}.lun", lun, names.format_range(0, 255))


def quobyte(errors: Errors, source: Object, path: str) -> None:
    """Check a Quobyte volume."""
    registry = source.get("registry") or ""
    if not registry:
        errors.required(f"{path}.registry", _BAD_PAIRS)
    elif len(source.get("tenant") or "") >= 65:
        errors.required(f"{path}.tenant", "must be a UUID and may not exceed a length of 64 characters")
    else:
        for pair in registry.split(","):
            if not re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*):[^:\[\]]*", pair):
                errors.invalid(f"{path}.registry", registry, _BAD_PAIRS)
    requires("volume")(errors, source, path)


def flocker(errors: Errors, source: Object, path: str) -> None:
    """Check a Flocker data set."""
    name, uid = source.get("datasetName") or "", source.get("datasetUUID") or ""
    if not name and not uid:
        errors.required(path, "one of datasetName and datasetUUID is required")
    if name and uid:
        errors.invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")
    if "/" in name:
        errors.invalid(f"{path}.datasetName", name, "must not contain '/'")


def flex(errors: Errors, source: Object, path: str) -> None:
    """Check a FlexVolume."""
    requires("driver")(errors, source, path)
    for key in source.get("options") or ():
        domain = "." + key.partition("/")[0].lower()
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            errors.invalid(f"{path}.options[{key}]", key, "kubernetes.io and k8s.io namespaces are reserved")


def azure_disk(errors: Errors, source: Object, path: str) -> None:
    """Check a disk of Azure."""
    requires("diskName", "diskURI")(errors, source, path)
    caching, kind, uri = source.get("cachingMode"), source.get("kind"), source.get("diskURI") or ""
    if caching is not None:
        errors.one_of(f"{path}.cachingMode", caching, ("None", "ReadOnly", "ReadWrite"), required=False)
    if kind is not None:
        errors.one_of(f"{path}.kind", kind, ("Dedicated", "Managed", "Shared"), required=False)
        prefix, shown = _AZURE_URIS[kind == "Managed"]
        if not uri.startswith(prefix):
            errors.unsupported(f"{path}.diskURI", uri, (shown,))


def with_secret(check: Check, *fields: str) -> Check:
    """Return `check` followed by one of `secretRef`, if there is any, whose `fields` may not be empty."""

    def check_both(errors: Errors, source: Object, path: str) -> None:
        check(errors, source, path)
        if source.get("secretRef") is not None:
            requires(*fields)(errors, source["secretRef"], f"{path}.secretRef")

    return check_both


def storage_os(errors: Errors, source: Object, path: str) -> None:
    """Check a StorageOS volume."""
    requires("volumeName")(errors, source, path)
    for field in ("volumeName", "volumeNamespace"):
        value = source.get(field)
        if value:
            errors.all_invalid(f"{path}.{field}", value, names.dns_label(value))


def csi_driver_name(errors: Errors, name: str, path: str) -> None:
    """Check the name of a CSI driver."""
    if not name:
        errors.required(path)
    if len(name.encode()) > names.LABEL_MAX_BYTES:
        errors.too_long(path, names.LABEL_MAX_BYTES)
    errors.all_invalid(path, name, names.dns_subdomain(name.lower()))
