"""Projected volumes: files from several places in one folder.

Source: validateProjectionSources in k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

from knarr.api import names
from knarr.api.validation import environment, meta, paths, selectors
from knarr.api.validation.collector import Errors, Object

_TWO_PATHS = "conflicting duplicate paths"
_TOKEN_MIN_S = 600
_TOKEN_MAX_S = 1 << 32
_CERTIFICATE_MIN_S = 3600
_CERTIFICATE_MAX_S = 7_862_400
_KEY_TYPES = ("ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096")


def key_to_path(errors: Errors, item: Object, path: str) -> None:
    """Check an item of a ConfigMap or Secret and the file that it becomes."""
    if not item.get("key"):
        errors.required(f"{path}.key")
    file = item.get("path") or ""
    if not file:
        errors.required(f"{path}.path")
    paths.local(errors, file, f"{path}.path")
    paths.mode(errors, item, "mode", path)


def downward_file(errors: Errors, file: Object, path: str) -> None:
    """Check a file with a field of the pod."""
    place = file.get("path") or ""
    if not place:
        errors.required(f"{path}.path")
    paths.local(errors, place, f"{path}.path")
    field, resource = file.get("fieldRef"), file.get("resourceFieldRef")
    if field is not None:
        environment.field_reference(errors, field, environment.VOLUME_FIELDS, f"{path}.fieldRef")
        if resource is not None:
            errors.invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
    elif resource is not None:
        environment.resource_reference(errors, resource, f"{path}.resourceFieldRef", needs_container=True)
    else:
        errors.required(path, "one of fieldRef and resourceFieldRef is required")
    paths.mode(errors, file, "mode", path)


def check(errors: Errors, volume: Object, path: str) -> None:
    """Check `projected` of a volume."""
    paths.mode(errors, volume, "defaultMode", path)
    taken: set[str] = set()
    for index, source in enumerate(volume.get("sources") or ()):
        here = f"{path}.sources[{index}]"
        for kind in ("secret", "configMap"):
            if source.get(kind) is not None:
                _items(errors, source[kind], taken, f"{here}.{kind}", path)
        if source.get("downwardAPI") is not None:
            for file in source["downwardAPI"].get("items") or ():
                downward_file(errors, file, f"{here}.downwardAPI")
                place = file.get("path") or ""
                _take(errors, place, place, taken, path)
        if source.get("serviceAccountToken") is not None:
            _token(errors, source["serviceAccountToken"], f"{here}.serviceAccountToken", path)
        if source.get("clusterTrustBundle") is not None:
            _trust_bundle(errors, source["clusterTrustBundle"], f"{here}.clusterTrustBundle")
            place = source["clusterTrustBundle"].get("path") or ""
            _take(errors, place, place, taken, path)
        if source.get("podCertificate") is not None:
            _certificate(errors, source["podCertificate"], taken, f"{here}.podCertificate", path)
        if sum(value is not None for value in source.values()) > 1:
            errors.forbidden(here, "may not specify more than 1 volume type per source")


def _take(errors: Errors, place: str, shown: str, taken: set[str], path: str) -> None:
    if place and place in taken:
        errors.invalid(path, shown, _TWO_PATHS)
    taken.add(place)


def _items(errors: Errors, source: Object, taken: set[str], here: str, path: str) -> None:
    name = source.get("name") or ""
    if not name:
        errors.required(f"{here}.name")
    for index, item in enumerate(source.get("items") or ()):
        key_to_path(errors, item, f"{here}.items[{index}]")
        _take(errors, item.get("path") or "", name, taken, path)


def _token(errors: Errors, source: Object, here: str, path: str) -> None:
    seconds = source.get("expirationSeconds") or 0
    if seconds < _TOKEN_MIN_S:
        errors.invalid(f"{here}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    if seconds > _TOKEN_MAX_S:
        errors.invalid(f"{here}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    place = source.get("path") or ""
    if place:
        paths.local(errors, place, f"{path}.path")
    else:
        errors.required(f"{path}.path")


def _trust_bundle(errors: Errors, source: Object, path: str) -> None:
    name, signer = source.get("name"), source.get("signerName")
    if name is not None and signer is not None:
        errors.invalid(path, source, "only one of name and signerName may be used")
    elif name is not None:
        if not name:
            errors.required(f"{path}.name", "must be a valid object name")
        for complaint in trust_bundle_name(name):
            errors.invalid(f"{path}.name", name, f"not a valid clustertrustbundlename: {complaint}")
        if source.get("labelSelector") is not None:
            words = "labelSelector must be unset if name is specified"
            errors.invalid(f"{path}.labelSelector", source["labelSelector"], words)
    elif signer is not None:
        if not signer:
            errors.required(f"{path}.signerName", "must be a valid signer name")
        signer_name(errors, signer, f"{path}.signerName")
        selectors.check(errors, source.get("labelSelector"), f"{path}.labelSelector")
    else:
        errors.required(path, "either name or signerName must be specified")
    place = source.get("path") or ""
    if not place:
        errors.required(f"{path}.path")
    paths.local(errors, place, f"{path}.path")


def trust_bundle_name(name: str) -> names.Complaints:
    """Check the name of a ClusterTrustBundle, by the signer that it may start with."""
    signer, colon, rest = name.rpartition(":")
    if not colon:
        return names.dns_subdomain(name)
    own = signer.replace("/", ":")
    return names.dns_subdomain(rest) if own == signer else (f"ClusterTrustBundle name must be prefixed with {own}:",)


def signer_name(errors: Errors, value: str, path: str) -> None:
    """Check "domain/path", the name of a signer of certificates."""
    if not value:
        errors.required(path)
        return
    parts = value.split("/")
    if len(parts) != 2 or not all(parts):
        errors.invalid(path, value, 'must be a fully qualified domain and path of the form "example.com/signer-name"')
        return
    domain, name = parts
    if len(value.encode()) > 571:
        errors.too_long(path, 571)
    if "." not in domain:
        errors.invalid(path, value, "should be a domain with at least two segments separated by dots")
    errors.all_invalid(path, domain, names.dns_subdomain(domain))
    for part in name.split("."):
        errors.all_invalid(path, part, names.dns_label(part))


def _certificate(errors: Errors, source: Object, taken: set[str], here: str, path: str) -> None:
    signer_name(errors, source.get("signerName") or "", f"{here}.signerName")
    errors.one_of(f"{here}.keyType", source.get("keyType"), _KEY_TYPES, required=False)
    seconds = source.get("maxExpirationSeconds")
    if seconds is not None and seconds < _CERTIFICATE_MIN_S:
        errors.invalid(f"{here}.maxExpirationSeconds", seconds, "if provided, maxExpirationSeconds must be >= 3600")
    if seconds is not None and seconds > _CERTIFICATE_MAX_S:
        words = "if provided, maxExpirationSeconds must be <= 7862400"
        errors.invalid(f"{here}.maxExpirationSeconds", seconds, words)
    count = 0
    for field in ("credentialBundlePath", "keyPath", "certificateChainPath"):
        place = source.get(field) or ""
        if place:
            count += 1
            paths.local(errors, place, f"{here}.{field}")
            _take(errors, place, place, taken, path)
    if not count:
        errors.required(here, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath")
    if source.get("userAnnotations"):
        meta.annotations(errors, source["userAnnotations"], f"{here}.userAnnotations")
