"""What /metrics shows: upstream's stable names, and figures that are true."""

import re

import pytest

from knarr.api.user import ALL_AUTHENTICATED, User
from tests.apiserver.conftest import Api

STABLE = [
    "apiserver_admission_controller_admission_duration_seconds",
    "apiserver_admission_step_admission_duration_seconds",
    "apiserver_current_inflight_requests",
    "apiserver_longrunning_requests",
    "apiserver_request_duration_seconds",
    "apiserver_request_total",
    "apiserver_response_sizes",
    "apiserver_storage_objects",
    "kubernetes_healthcheck",
    "kubernetes_healthchecks_total",
    "process_start_time_seconds",
]
OTHERS = [
    "apiserver_flowcontrol_current_limit_seats",
    "apiserver_flowcontrol_dispatched_requests_total",
    "apiserver_request_sli_duration_seconds",
    "apiserver_resource_objects",
    "apiserver_watch_events_total",
    "authentication_attempts",
    "authenticated_user_requests",
    "authorization_attempts_total",
    "kubernetes_build_info",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
]


async def scrape(api: Api, path: str = "/metrics") -> str:
    response = await api.call("GET", path)
    assert isinstance(response.body, bytes)
    return response.body.decode()


def value(text: str, metric: str, /, **labels: str) -> float:
    for line in text.splitlines():
        match = re.fullmatch(rf"{metric}(?:{{(.*)}})? (\S+)", line)
        if match and all(f'{key}="{given}"' in (match[1] or "") for key, given in labels.items()):
            return float(match[2])
    return 0.0


async def test_names_that_dashboards_use(api: Api) -> None:
    await api.ok("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "a"}})
    await api.ok("GET", "/api/v1/namespaces/default/configmaps")
    async with api.watch("/api/v1/namespaces/default/configmaps") as events:
        await events.next()
    await api.call("GET", "/readyz")
    names = set(re.findall(r"^# TYPE (\S+)", await scrape(api), re.MULTILINE))
    # The text format of client_python names counters with their suffix.
    missing = [name for name in (*STABLE, *OTHERS) if name not in names and f"{name}_total" not in names]
    assert not missing


@pytest.mark.parametrize("path", ["/metrics", "/metrics/slis"])
async def test_health_is_shown(api: Api, path: str) -> None:
    await api.call("GET", "/livez")
    text = await scrape(api, path)
    assert value(text, "kubernetes_healthcheck", name="ping", type="livez") == 1.0
    assert value(text, "kubernetes_healthchecks_total", name="ping", type="livez", status="success") == 1.0


async def test_figures(api: Api) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    for name in ("a", "b"):
        await api.ok("POST", path, {"metadata": {"name": name}})
    await api.ok("GET", path)
    await api.as_user(User("jane@example.com", (ALL_AUTHENTICATED,))).fails(403, "GET", path)
    async with api.watch(path) as events:
        await events.next()
        await events.next()
    text = await scrape(api)
    place = {"resource": "configmaps", "version": "v1", "group": "", "component": "apiserver"}
    assert value(text, "apiserver_request_total", verb="POST", code="201", **place) == 2.0
    assert value(text, "apiserver_request_total", verb="LIST", code="403", **place) == 1.0
    assert value(text, "apiserver_response_sizes_count", verb="LIST", scope="namespace", **place) == 2.0
    assert value(text, "apiserver_storage_objects", resource="configmaps") >= 2.0
    assert value(text, "apiserver_resource_objects", group="apps", resource="deployments") == 0.0
    assert value(text, "apiserver_watch_events_total", resource="configmaps") >= 2.0
    assert value(text, "authorization_attempts_total", result="no-opinion") == 1.0
    assert value(text, "authenticated_user_requests", username="email_id") == 1.0
    step = {"type": "validate", "operation": "CREATE", "rejected": "false"}
    assert value(text, "apiserver_admission_step_admission_duration_seconds_count", **step) >= 2.0
    plugin = {"name": "NamespaceLifecycle", "type": "admit", "operation": "CREATE", "rejected": "false"}
    assert value(text, "apiserver_admission_controller_admission_duration_seconds_count", **plugin) >= 2.0


async def test_refusals_of_plugins_are_counted(api: Api) -> None:
    await api.fails(404, "POST", "/api/v1/namespaces/nope/configmaps", {"metadata": {"name": "a"}})
    plugin = {"name": "NamespaceLifecycle", "type": "admit", "operation": "CREATE", "rejected": "true"}
    text = await scrape(api)
    assert value(text, "apiserver_admission_controller_admission_duration_seconds_count", **plugin) == 1.0


async def test_checks_under_upstreams_names(api: Api) -> None:
    text = await scrape(api, "/readyz?verbose")
    for name in ("ping", "etcd", "etcd-readiness", "informer-sync", "poststarthook/rbac/bootstrap-roles", "shutdown",
                 "poststarthook/priority-and-fairness-config-producer", "autoregister-completion"):  # fmt: skip
        assert f"[+]{name} ok\n" in text
    assert text.endswith("readyz check passed\n")
