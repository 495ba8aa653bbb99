"""Metrics for autoscaling, read from the three metrics APIs that extension servers answer.

Upstream counterpart: pkg/controller/podautoscaler/metrics/client.go and k8s.io/metrics (v1.37).
"""

import re
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from knarr.api import errors, quantity
from knarr.client import Client
from knarr.controllers.hpa_calculator import NoReplicas, Reading

RESOURCE_API = "/apis/metrics.k8s.io/v1beta1"
CUSTOM_APIS = ("/apis/custom.metrics.k8s.io/v1beta2", "/apis/custom.metrics.k8s.io/v1beta1")
EXTERNAL_API = "/apis/external.metrics.k8s.io/v1beta1"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class Metrics:
    """Reads metrics.

    Args:
        client: May read them.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def resource(self, resource: str, namespace: str, selector: str, container: str = "") -> dict[str, Reading]:
        """Return what pods use of a resource, by name of pod.

        Raises:
            NoReplicas: the API is not there, or knows nothing of these pods.
        """
        path = f"{RESOURCE_API}/namespaces/{namespace}/pods"
        try:
            items = await self._items(path, "get pods.metrics.k8s.io", labelSelector=selector)
        except NoReplicas as err:
            raise NoReplicas(f"unable to fetch metrics from resource metrics API: {err}") from err
        if not items:
            raise NoReplicas("no metrics returned from resource metrics API")
        found = {}
        for item in items:
            used = _used(item, resource, container)
            if used is not None:
                at, window_s = _time(item["timestamp"]), _parse_duration(str(item.get("window") or ""))
                found[item["metadata"]["name"]] = Reading(used, at, window_s)
        return found

    async def pods(self, metric: str, namespace: str, selector: str, metric_selector: str) -> dict[str, Reading]:
        """Return a custom metric of pods, by name of pod."""
        items = await self._custom(f"namespaces/{namespace}/pods/*/{quote(metric)}", selector, metric_selector)
        if not items:
            raise NoReplicas("no metrics returned from custom metrics API")
        return {
            item["describedObject"]["name"]: Reading(
                _milli(item["value"]), _time(item["timestamp"]), float(item.get("windowSeconds") or 60)
            )
            for item in items
        }

    async def object(self, metric: str, namespace: str, resource: str, name: str, metric_selector: str) -> int:
        """Return a custom metric of one object, in thousandths.

        Args:
            metric: Its name.
            namespace: Of the object.
            resource: As in "ingresses.networking.k8s.io"; "namespaces" for the namespace itself.
            name: Of the object.
            metric_selector: Labels of the metric.
        """
        place = f"namespaces/{namespace}/{resource}/{quote(name)}/{quote(metric)}"
        if resource == "namespaces":
            place = f"namespaces/{quote(name)}/metrics/{quote(metric)}"
        items = await self._custom(place, "", metric_selector)
        if not items:
            raise NoReplicas("no metrics returned from custom metrics API")
        return _milli(items[0]["value"])

    async def external(self, metric: str, namespace: str, selector: str) -> list[int]:
        """Return the values of an external metric, in thousandths."""
        path = f"{EXTERNAL_API}/namespaces/{namespace}/{quote(metric)}"
        try:
            items = await self._items(path, f"get {metric}.external.metrics.k8s.io", labelSelector=selector)
        except NoReplicas as err:
            raise NoReplicas(f"unable to fetch metrics from external metrics API: {err}") from err
        if not items:
            raise NoReplicas("no metrics returned from external metrics API")
        return [_milli(item["value"]) for item in items]

    async def _custom(self, place: str, selector: str, metric_selector: str) -> list[dict[str, Any]]:
        query = {"labelSelector": selector, "metricLabelSelector": metric_selector}
        refused: NoReplicas | None = None
        for api in CUSTOM_APIS:
            try:
                return await self._items(f"{api}/{place}", "", **query)
            except NoReplicas as err:
                refused = refused or err
        raise NoReplicas(f"unable to fetch metrics from custom metrics API: {refused}")

    async def _items(self, path: str, asked: str, **query: str) -> list[dict[str, Any]]:
        try:
            response = await self._client.raw("GET", path, query={key: value for key, value in query.items() if value})
        except errors.StatusError as err:
            told = str(err)
            raise NoReplicas(f"{told} ({asked})" if asked and err.code == 404 and asked not in told else told) from err
        try:
            answer = msgspec.json.decode(response.body if isinstance(response.body, bytes) else b"")
        except msgspec.DecodeError as err:
            raise NoReplicas(f"{path}: {err}") from err
        return list(answer.get("items") or ())


def _used(item: dict[str, Any], resource: str, container: str) -> int | None:
    """Return what the containers of a pod use together; None if it is not known of all."""
    total, is_found = 0, False
    for one in item.get("containers") or ():
        if container and one.get("name") != container:
            continue
        used = (one.get("usage") or {}).get(resource)
        if used is None:
            return None
        total, is_found = total + _milli(used), True
    return total if is_found else None


def _milli(value: Any) -> int:
    return quantity.parse(str(value)).milli_value


def _time(text: str) -> datetime:
    return msgspec.convert(text, datetime)


def _parse_duration(text: str) -> float:
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text)) or 60.0
