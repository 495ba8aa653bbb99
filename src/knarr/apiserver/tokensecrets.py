"""Secrets that hold tokens of service accounts are filled in.

A Secret of type `kubernetes.io/service-account-token` names its account in an annotation. It gets a token, the cluster's authority and its
namespace; it goes when the account goes. Upstream fills it in from kube-controller-manager, which has the signing key; here the one
who signs does.

Upstream counterpart: pkg/controller/serviceaccount/tokens_controller.go, pkg/controlplane/controller/legacytokentracking (v1.37).
"""

import asyncio
import base64
import logging
from typing import Any

from knarr.api import errors
from knarr.apiserver.authn.legacytokens import Key, change
from knarr.apiserver.metadata import new_uid
from knarr.apiserver.parts import Parts

TYPE = "kubernetes.io/service-account-token"  # a Secret's type, not a secret
ACCOUNT_NAME, ACCOUNT_UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
TRACKING = ("kube-system", "kube-apiserver-legacy-service-account-token-tracking")

Object = dict[str, Any]

logger = logging.getLogger(__name__)


async def fill(parts: Parts) -> None:
    """Fill in token Secrets as they come, and delete those whose account is not there."""
    registry = parts.registry
    pending: set[Key] = set()
    changed = asyncio.Event()

    def on_secret(old: Object | None, new: Object | None) -> None:
        if new is not None and new.get("type") == TYPE:
            pending.add(_key(new))
            changed.set()

    def on_account(old: Object | None, new: Object | None) -> None:
        if old is not None and (new is None or new["metadata"].get("uid") != old["metadata"].get("uid")):
            namespace = old["metadata"]["namespace"]
            pending.update(_key(one) for one in registry.list("secrets", namespace) if one.get("type") == TYPE)
            changed.set()

    ends = [registry.subscribe("secrets", on_secret), registry.subscribe("serviceaccounts", on_account)]
    try:
        await _track(parts)
        pending.update(_key(one) for one in registry.list("secrets") if one.get("type") == TYPE)
        while True:
            batch = sorted(pending)
            pending.clear()
            changed.clear()
            for key in batch:
                await _settle(parts, key)
            if not pending:
                await changed.wait()
    finally:
        for end in ends:
            end()


async def _settle(parts: Parts, key: Key) -> None:
    registry = parts.registry
    secret = registry.get("secrets", *key)
    if secret is None or secret.get("type") != TYPE or secret["metadata"].get("deletionTimestamp"):
        return
    annotations = secret["metadata"].get("annotations") or {}
    account = registry.get("serviceaccounts", key[0], annotations.get(ACCOUNT_NAME) or "-")
    wanted_uid = annotations.get(ACCOUNT_UID)
    if account is None or (wanted_uid and wanted_uid != account["metadata"].get("uid")):
        logger.info("token secret %s/%s is deleted: its service account is not there", *key)
        await registry.delete("secrets", *key)
        return
    authority = parts.config.client_ca.read_bytes() if parts.config.client_ca is not None else b""

    def complete(found: Object) -> bool:
        data = found.setdefault("data", {})
        before = dict(data)
        if authority:
            data["ca.crt"] = base64.b64encode(authority).decode()
        data["namespace"] = base64.b64encode(key[0].encode()).decode()
        if not data.get("token"):
            token = parts.issuer.issue_legacy(account, found["metadata"]["name"])
            data["token"] = base64.b64encode(token.encode()).decode()
        marks = found["metadata"].setdefault("annotations", {})
        is_marked = marks.get(ACCOUNT_UID) == account["metadata"]["uid"]
        marks[ACCOUNT_UID] = account["metadata"]["uid"]
        return data != before or not is_marked

    await change(registry, key, complete)


async def _track(parts: Parts) -> None:
    """Write down since when uses are noted."""
    namespace, name = TRACKING
    if parts.registry.get("configmaps", namespace, name) is not None:
        return
    metadata = {"name": name, "namespace": namespace, "uid": new_uid(parts.random), "creationTimestamp": parts.now()}
    since = {"since": parts.clock.now().strftime("%Y-%m-%d")}
    try:
        await parts.registry.create(
            "configmaps", {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": since}
        )
    except errors.AlreadyExists:
        return


def _key(obj: Object) -> Key:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]
