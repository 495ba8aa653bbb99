"""The file that says which resources are encrypted, and how: EncryptionConfiguration of apiserver.config.k8s.io/v1.

Source: k8s.io/apiserver/pkg/apis/apiserver/validation/validation_encryption.go (v1.37).
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from knarr.api import codec
from knarr.api.scheme import BUILT_IN
from knarr.apiserver.encryption import providers
from knarr.apiserver.encryption.errors import BadConfiguration

Object = dict[str, Any]

API_VERSION = "apiserver.config.k8s.io/v1"
KIND = "EncryptionConfiguration"
_AES_SIZES = (16, 24, 32)
_NO_API = ("apiserveripinfo", "serviceipallocations", "servicenodeportallocations")
_Keyed = Callable[[str, bytes], providers.Provider]
_KEYED: Mapping[str, tuple[_Keyed, tuple[int, ...]]] = {
    "aesgcm": (providers.AesGcm, _AES_SIZES),
    "aescbc": (providers.AesCbc, _AES_SIZES),
    "secretbox": (providers.SecretBox, (32,)),
}
_KNOWN = (*_KEYED, "identity", "kms")


class Configuration:
    """Which providers a resource has: those of the first entry that names it.

    Args:
        entries: Resources such as "secrets", "deployments.apps", "*.apps", "*." (core) or "*.*", with their providers.
    """

    def __init__(self, entries: Sequence[tuple[tuple[str, ...], providers.Providers]]) -> None:
        self._entries = tuple(entries)
        self._found: dict[str, providers.Providers] = {}

    def of_key(self, key: bytes) -> providers.Providers:
        """Return the providers of what is stored at a key."""
        storage = _storage_of(key)
        found = self._found.get(storage)
        if found is None:
            found = self._found[storage] = self._find(storage)
        return found

    def _find(self, storage: str) -> providers.Providers:
        names = _names_of(storage)
        for resources, chosen in self._entries:
            if any(_is_match(pattern, name) for pattern in resources for name in names):
                return chosen
        return providers.PLAIN


def load(path: Path) -> Configuration:
    """Read a configuration file.

    Raises:
        BadConfiguration: It cannot be used.
    """
    try:
        content = path.read_bytes()
    except OSError as err:
        raise BadConfiguration(path, err.strerror or str(err)) from err
    if not content.strip():
        raise BadConfiguration(path, "is empty")
    try:
        return _read(codec.decode(content, codec.YAML))
    except (codec.BadBody, ValueError) as err:
        raise BadConfiguration(path, str(err)) from err
    except (TypeError, AttributeError) as err:
        raise BadConfiguration(path, "a field has the wrong type") from err


def _read(config: Object) -> Configuration:
    if (config.get("kind"), config.get("apiVersion")) != (KIND, API_VERSION):
        raise ValueError(f"got unexpected config type: {config.get('apiVersion')}, Kind={config.get('kind')}")
    listed = config.get("resources") or []
    if not listed:
        raise ValueError("resources: Required value: at least one resources is required")
    entries = []
    for index, entry in enumerate(listed):
        where = f"resources[{index}]"
        resources = tuple(entry.get("resources") or ())
        _check_resources(resources, f"{where}.resources")
        given = entry.get("providers") or []
        if not given:
            raise ValueError(f"{where}.providers: Required value: at least one {where}.providers is required")
        made = [
            one for position, each in enumerate(given) for one in _providers(each, f"{where}.providers[{position}]")
        ]
        entries.append((resources, providers.Providers(made)))
    return Configuration(entries)


def _providers(given: Object, where: str) -> Iterable[providers.Provider]:
    named = [name for name in given if name in _KNOWN]
    if len(named) != 1 or len(given) != 1:
        words = "more than one provider specified in a single element, should split into different list elements"
        none = "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity"
        raise ValueError(f"{where}: Invalid value: {words if len(named) > 1 else none}")
    (name,) = named
    if name == "identity":
        return [providers.Identity()]
    if name == "kms":
        raise ValueError(f"{where}.kms: Forbidden: key management services are not supported; use secretbox or aesgcm")
    make, sizes = _KEYED[name]
    keys = (given[name] or {}).get("keys") or []
    if not keys:
        raise ValueError(f"{where}.{name}.keys: Required value: at least one keys is required")
    return [make(*_key(key, sizes, f"{where}.{name}.keys[{index}]")) for index, key in enumerate(keys)]


def _key(key: Object, sizes: tuple[int, ...], where: str) -> tuple[str, bytes]:
    for field in ("name", "secret"):
        if not key.get(field):
            raise ValueError(f"{where}.{field}: Required value: {field} is a mandatory field for a key")
    try:
        secret = base64.b64decode(key["secret"], validate=True)
    except (binascii.Error, ValueError) as err:
        raise ValueError(f'{where}.secret: Invalid value: "REDACTED": secrets must be base64 encoded') from err
    if len(secret) not in sizes:
        listed = " ".join(map(str, sizes))
        words = f"secret is not of the expected length, got {len(secret)}, expected one of [{listed}]"
        raise ValueError(f'{where}.secret: Invalid value: "REDACTED": {words}')
    return str(key["name"]), secret


def _check_resources(resources: tuple[str, ...], where: str) -> None:
    if not resources:
        raise ValueError(f"{where}: Required value: at least one {where} is required")
    if len(set(resources)) < len(resources):
        raise ValueError(f"{where}: Invalid value: the same resource cannot be specified multiple times")
    for index, resource in enumerate(resources):
        words = _wrong_name(resource)
        if words:
            raise ValueError(f'{where}[{index}]: Invalid value: "{resource}": {words}')
    for wide in (one for one in resources if one.startswith("*.")):
        if any(other != wide and _is_match(wide, other) for other in resources):
            words = "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked"
            raise ValueError(f"{where}: Invalid value: {words}")


def _wrong_name(resource: str) -> str:
    plural, _, group = resource.partition(".")
    if resource != resource.lower():
        return "resource name should not contain capital letters"
    if resource == "*":
        return "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
    if resource in _NO_API:
        return "resources which do not have REST API/s cannot be encrypted"
    if group == "events.k8s.io":
        return "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file"
    if group == "extensions":
        return "'extensions' group has been removed and cannot be used for encryption"
    if group == "*" and plural != "*":
        return "encrypting the same resource across groups is not supported"
    return ""


def _is_match(pattern: str, resource: str) -> bool:
    if pattern == "*.*" or pattern == resource:
        return True
    plural, _, group = pattern.partition(".")
    return plural == "*" and group == resource.partition(".")[2]


def _storage_of(key: bytes) -> str:
    """Return the storage in a key: one part, or two where built-in kinds or custom ones have two."""
    parts = key.decode(errors="replace").split("/")[2:]
    pair = "/".join(parts[:2])
    return pair if pair in _BUILT_IN or (parts[0] not in _BUILT_IN and "." in parts[0]) else parts[0]


def _names_of(storage: str) -> tuple[str, ...]:
    known = _BUILT_IN.get(storage)
    if known is not None:
        return known
    group, _, plural = storage.partition("/")
    return (f"{plural}.{group}",)


def _built_in() -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for group, versions in BUILT_IN.groups().items():
        for version in versions:
            for resource in BUILT_IN.resources(group, version):
                if resource.is_stored and resource.group != "events.k8s.io":
                    found.setdefault(resource.storage, set()).add(resource.qualified)
    return {storage: tuple(sorted(names)) for storage, names in found.items()}


_BUILT_IN = _built_in()
"""The qualified names of the resources in each storage."""
