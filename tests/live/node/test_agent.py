import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from lightkube.models import core_v1

from knarr.kit.http.messages import Headers, Request
from knarr.node.cgroups import Cgroups, is_unified
from knarr.node.runtime.cri import wait_serving
from knarr.node.volumes import mounts
from tests.live.node.cluster import NODE, Cluster, is_ready, open_cluster, secret

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

FOREVER = "while true; do sleep 0.1; done"


@pytest.fixture
async def cluster(machine: Any, tmp_path: Path) -> AsyncIterator[Cluster]:
    await wait_serving(str(machine.config.socket), timeout_s=10)
    async with open_cluster(machine, tmp_path) as opened, opened.running():
        yield opened
        for pod in (await opened.client.list(core_v1.Pod, namespace="default")).items:
            assert pod.metadata is not None
            await opened.delete(pod.metadata.name or "")
        for pod in (await opened.client.list(core_v1.Pod, namespace="default")).items:
            assert pod.metadata is not None
            await opened.wait_gone(pod.metadata.name or "")
    assert mounts.list_below(tmp_path) == []


async def test_node_registers_and_pods_start_fast_and_end(cluster: Cluster) -> None:
    began = time.monotonic()
    await cluster.pod("a", cluster.container(f"trap 'exit 0' TERM; {FOREVER}"), terminationGracePeriodSeconds=30)
    status = await cluster.wait_ready("a")
    took_s = time.monotonic() - began
    assert took_s < 3, took_s  # generous: other tests share the machine
    assert status.phase == "Running"
    assert status.hostIP == "127.0.0.1"
    node = await cluster.client.get(core_v1.Node, NODE)
    assert node.status is not None
    assert node.status.daemonEndpoints is not None
    assert ("Ready", "True") in [(c.type, c.status) for c in node.status.conditions or []]
    assert [reason for reason, _ in await cluster.events("a")][:3] == ["Pulled", "Created", "Started"]
    await cluster.delete("a")
    await cluster.wait_gone("a", timeout_s=5)  # long before the grace period: it asked to end


async def test_volumes_and_environment(cluster: Cluster) -> None:
    await cluster.create(core_v1.ConfigMap, {"metadata": {"name": "cm"}, "data": {"k": "v1"}})
    await cluster.create(core_v1.Secret, {"metadata": {"name": "s"}, "data": secret(pw=b"hunter2")})
    volumes = [
        {"name": "cm", "configMap": {"name": "cm"}},
        {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}},
        {"name": "e", "emptyDir": {}},
        {"name": "m", "emptyDir": {"medium": "Memory"}},
        {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
    ]
    everywhere = [{"name": v["name"], "mountPath": f"/{v['name']}"} for v in volumes]
    script = "cat /cm/k /s/pw; echo; stat -c %a /s/..data/pw; cat /e/init /sub/f; test -s /t/token && echo token; echo $V $IP; sleep 1000"
    env = [
        {"name": "V", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    part = {"name": "e", "mountPath": "/sub", "subPath": "dir"}
    init = cluster.container("echo init > /e/init; mkdir /e/dir; echo deep > /e/dir/f", "i", volumeMounts=everywhere)
    main = cluster.container(script, volumeMounts=[*everywhere, part], env=env)
    await cluster.pod("v", main, initContainers=[init], volumes=volumes, securityContext={"fsGroup": 50})
    status = await cluster.wait_ready("v")
    await asyncio.sleep(0.2)
    assert cluster.log("v").splitlines() == ["v1hunter2", "440", "init", "deep", "token", f"v1 {status.podIP}"]
    (shown,) = cluster.config.root.glob("pods/*/volumes/kubernetes.io~configmap/cm/k")
    await cluster.client.patch(core_v1.ConfigMap, "cm", {"data": {"k": "v2"}}, namespace="default")
    async with asyncio.timeout(10):
        while shown.read_text() != "v2":
            await asyncio.sleep(0.05)


async def test_missing_objects_are_waited_for(cluster: Cluster) -> None:
    env = [{"name": "V", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "k"}}}]
    await cluster.pod("e", cluster.container(FOREVER, env=env))
    volumes = [{"name": "v", "configMap": {"name": "late"}}]
    mounted = cluster.container(FOREVER, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    await cluster.pod("m", mounted, volumes=volumes)
    status = await cluster.wait("e", lambda s: s.containerStatuses and s.containerStatuses[0].state.waiting.message)
    waiting = status.containerStatuses[0].state.waiting
    assert (waiting.reason, waiting.message) == ("CreateContainerConfigError", 'configmap "late" not found')
    await asyncio.sleep(0.5)
    assert (
        'MountVolume.SetUp failed for volume "v" : configmap "late" not found'
        in dict(await cluster.events("m")).values()
    )
    await cluster.create(core_v1.ConfigMap, {"metadata": {"name": "late"}, "data": {"k": "v"}})
    await cluster.wait_ready("e")
    await cluster.wait_ready("m")


async def test_restarts_back_off_and_jobs_end(cluster: Cluster) -> None:
    await cluster.pod("crash", cluster.container("echo last words > /dev/termination-log; exit 3"))
    await cluster.pod("job", cluster.container("exit 0"), restartPolicy="Never")
    await cluster.pod("failed", cluster.container("exit 1"), restartPolicy="Never")

    def waits(status: Any) -> bool:
        state = status.containerStatuses[0].state if status.containerStatuses else None
        return state is not None and state.waiting is not None and state.waiting.reason == "CrashLoopBackOff"

    status = await cluster.wait("crash", waits)
    (container,) = status.containerStatuses
    assert container.restartCount == 1
    assert container.lastState.terminated.exitCode == 3
    assert container.lastState.terminated.message == "last words\n"
    assert (await cluster.wait("job", lambda s: s.phase == "Succeeded")).containerStatuses[
        0
    ].state.terminated.reason == "Completed"
    assert (await cluster.wait("failed", lambda s: s.phase == "Failed")).containerStatuses[
        0
    ].state.terminated.reason == "Error"


async def test_a_changed_container_is_replaced_without_the_pod_being_unready(cluster: Cluster) -> None:
    await cluster.pod("p", cluster.container(f"trap 'exit 0' TERM; {FOREVER}"))
    before = await cluster.wait_ready("p")
    (known,) = before.containerStatuses
    watch = cluster.client.watch(core_v1.Pod, namespace="default", fields="metadata.name=p", bookmarks=False)
    async with asyncio.timeout(20), contextlib.aclosing(watch) as events:
        # The same image by another name.
        other = {"spec": {"containers": [{"name": "c", "image": known.imageID}]}}
        await cluster.client.patch(core_v1.Pod, "p", other, namespace="default")
        async for event in events:
            status = event.object.status
            assert status is not None
            assert is_ready(status), status
            (now,) = status.containerStatuses or ()
            if now.restartCount == 1:
                break


async def test_probes_and_sidecars(cluster: Cluster) -> None:
    sidecar = cluster.container(f"trap 'exit 0' TERM; {FOREVER}", "side", restartPolicy="Always")
    serve = "mkdir /w; echo ok > /w/x; httpd -p 8080 -h /w; sleep 1.5; rm -r /w; sleep 1000"
    ready = {"httpGet": {"path": "/x", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    alive = {"exec": {"command": ["cat", "/w/x"]}, "periodSeconds": 1, "failureThreshold": 2, "initialDelaySeconds": 1}
    main = cluster.container(serve, readinessProbe=ready, livenessProbe=alive)
    await cluster.pod("p", main, initContainers=[sidecar])
    await cluster.wait_ready("p")
    await cluster.wait("p", lambda s: not is_ready(s))
    status = await cluster.wait("p", lambda s: s.containerStatuses[0].restartCount == 1)
    assert status.initContainerStatuses[0].restartCount == 0
    events = await cluster.events("p")
    assert ("Killing", "Container c failed liveness probe, will be restarted") in events
    assert any(message.startswith("Liveness probe failed: cat: can't open") for _, message in events)


async def test_deadline_ends_a_pod(cluster: Cluster) -> None:
    await cluster.pod("d", cluster.container(FOREVER), activeDeadlineSeconds=1)
    status = await cluster.wait("d", lambda s: s.phase == "Failed")
    assert status.reason == "DeadlineExceeded"


async def test_dead_sandbox_is_replaced(cluster: Cluster) -> None:
    await cluster.pod("s", cluster.container(FOREVER))
    first = await cluster.wait_ready("s")
    for entry in Path("/proc").iterdir():
        ours = entry.name.isdigit() and f"{cluster.config.cgroup_root}/kubepods" in (entry / "cgroup").read_text()
        if ours and b"pause\0-P" in (entry / "cmdline").read_bytes():
            os.kill(int(entry.name), signal.SIGKILL)
    status = await cluster.wait("s", lambda s: is_ready(s) and s.containerStatuses[0].restartCount == 1)
    assert status.containerStatuses[0].containerID != first.containerStatuses[0].containerID
    assert ("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.") in await cluster.events("s")


async def test_resize_in_place(cluster: Cluster) -> None:
    small = {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    large = {"requests": {"cpu": "150m", "memory": "48Mi"}, "limits": {"cpu": "300m", "memory": "96Mi"}}
    await cluster.pod("r", cluster.container(FOREVER, resources=small))
    before = await cluster.wait_ready("r")
    pod = await cluster.get("r")
    assert pod.metadata is not None
    groups = Cgroups(cluster.config.cgroup_root, cluster.config.containerd.systemd_cgroup, is_unified())
    id_ = before.containerStatuses[0].containerID.removeprefix("containerd://")

    async def resize(resources: Any) -> None:
        body = {"spec": {"containers": [{"name": "c", "resources": resources}]}}
        await cluster.client.patch(core_v1.Pod, "r", body, namespace="default", subresource="resize")

    def limit_mib(of: str) -> int:
        uid = pod.metadata.uid or "" if pod.metadata is not None else ""
        usage = groups.read_pod(uid, "Burstable") if of == "pod" else groups.read_container(uid, "Burstable", id_)
        return usage.limit_bytes >> 20

    assert (limit_mib("container"), limit_mib("pod")) == (64, 64)
    await resize(large)
    status = await cluster.wait("r", lambda s: s.containerStatuses[0].resources.limits["memory"] == "96Mi")
    assert (limit_mib("container"), limit_mib("pod")) == (96, 96)
    (container,) = status.containerStatuses
    assert (container.restartCount, container.allocatedResources["cpu"]) == (0, "150m")
    await resize({"requests": {"cpu": "999"}, "limits": {"cpu": "999"}})

    def pending(status: Any) -> str:
        return next((c.reason for c in status.conditions if c.type == "PodResizePending" and c.status == "True"), "")

    assert pending(await cluster.wait("r", pending)) == "Infeasible"
    await resize(small)
    status = await cluster.wait(
        "r", lambda s: s.containerStatuses[0].resources.limits["memory"] == "64Mi" and not pending(s)
    )
    assert (limit_mib("container"), limit_mib("pod"), status.containerStatuses[0].restartCount) == (64, 64, 0)


async def test_logs_exec_and_attach_over_https(cluster: Cluster) -> None:
    await cluster.pod("l", cluster.container("echo one; echo two; sleep 1000"))
    await cluster.wait_ready("l")
    await asyncio.sleep(0.2)
    client = cluster.node_client()
    answer = await client.request(Request("GET", "/containerLogs/default/l/c", "tailLines=1"))
    assert (answer.status, answer.body) == (200, b"two\n")
    assert (await client.request(Request("GET", "/containerLogs/default/none/c"))).status == 404
    handshake = Headers(
        [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"),
         ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-protocol", "v5.channel.k8s.io")]
    )  # fmt: skip
    request = Request("GET", "/exec/default/l/c", "command=echo&command=hi&output=1", handshake)
    async with client.open_upgrade(request) as (answer, stream):
        assert answer.headers.get("sec-websocket-protocol") == "v5.channel.k8s.io"
        received = b""
        while b"Success" not in received:
            received += await stream.read()
    assert b"\x01hi\n" in received
    await client.aclose()


async def test_pods_outlive_the_agent_and_orphans_do_not(machine: Any, tmp_path: Path) -> None:
    await wait_serving(str(machine.config.socket), timeout_s=10)
    async with open_cluster(machine, tmp_path) as cluster:
        async with cluster.running():
            for name in ("kept", "orphan", "leaving"):
                await cluster.pod(
                    name, cluster.container(f"trap 'exit 0' TERM; {FOREVER}"), terminationGracePeriodSeconds=5
                )
                await cluster.wait_ready(name)
            before = await cluster.get("kept")
        await cluster.delete("orphan", grace_s=0)
        await cluster.delete("leaving")
        async with cluster.running():
            await cluster.wait_gone("leaving")
            async with asyncio.timeout(20):
                while len(list(cluster.config.root.glob("pods/*"))) > 1:
                    await asyncio.sleep(0.05)
            after = await cluster.get("kept")
            assert before.status is not None
            assert after.status is not None
            assert after.status.containerStatuses == before.status.containerStatuses
            await cluster.delete("kept")
            await cluster.wait_gone("kept")
