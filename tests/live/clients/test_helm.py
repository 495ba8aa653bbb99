"""Helm 4's own SDK (Go, by way of helm-python-sdk): a chart with a definition, hooks and a test, from install to uninstall."""

from collections.abc import Iterator
from pathlib import Path

import helm_python
import pytest

from tests.live.conftest import Cluster

pytestmark = pytest.mark.live

CHART = Path(__file__).parent / "helm_chart"


@pytest.fixture
def helm(kubeconfig: Path, namespace: str, cluster: Cluster) -> Iterator[helm_python.Config]:
    with helm_python.Config(kubeconfig_path=kubeconfig, namespace=namespace) as made:
        yield made
    cluster.kubectl("delete", "crd", "parcels.shop.example.com", "--ignore-not-found", "--wait=false")


def test_a_releases_life(helm: helm_python.Config, cluster: Cluster, namespace: str) -> None:
    n = ["-n", namespace]
    helm.check_reachable()
    cluster.kubectl("create", "-f", str(CHART / "crds"))  # so that the plan can be made: a dry run installs none
    planned = helm.install(CHART, "shop", namespace=namespace, dry_run="server")
    assert "kind: Deployment" in planned["manifest"]
    cluster.kubectl("delete", "-f", str(CHART / "crds"))

    helm.install(CHART, "shop", {"greeting": "ahoy"}, namespace=namespace, wait="watcher", timeout=100)
    assert cluster.get("deployment", "shop", *n)["status"]["readyReplicas"] == 1
    assert cluster.get("parcel", "shop", *n)["spec"]["to"] == "ahoy on v1.37.0+knarr with apps"
    uid = cluster.get("namespace", namespace)["metadata"]["uid"]
    assert cluster.get("configmap", "shop", *n)["data"] == {"namespace": uid}
    assert cluster.get("job", "shop-pre-install", *n)["status"]["succeeded"] == 1
    assert [release["name"] for release in helm.list()] == ["shop"]

    cluster.kubectl("annotate", "deployment", "shop", "mine=kept", *n)
    helm.upgrade(CHART, "shop", {"replicas": 2}, namespace=namespace, reuse_values=True, wait="watcher", timeout=100)
    upgraded = cluster.get("deployment", "shop", *n)
    assert (upgraded["status"]["readyReplicas"], upgraded["metadata"]["annotations"]["mine"]) == (2, "kept")
    assert upgraded["spec"]["template"]["metadata"]["annotations"] == {"greeting": "ahoy"}
    assert cluster.get("job", "shop-post-upgrade", *n)["status"]["succeeded"] == 1
    assert helm.get_values("shop") == {"greeting": "ahoy", "replicas": 2}
    helm.test("shop", timeout=100)

    with pytest.raises(helm_python.HelmError):
        helm.upgrade(CHART, "shop", {"broken": True}, namespace=namespace, wait="watcher", timeout=5)
    helm.rollback("shop", version=1, wait="watcher", timeout=100)
    assert cluster.get("deployment", "shop", *n)["spec"]["replicas"] == 1
    assert [entry["status"] for entry in helm.history("shop")] == ["superseded", "superseded", "failed", "deployed"]

    helm.uninstall("shop", wait="watcher", timeout=100)
    left = cluster.kubectl("get", "deployments,services,parcels,configmaps", "-o", "name", *n).split()
    assert left == ["configmap/kube-root-ca.crt"]
    assert cluster.get("crd", "parcels.shop.example.com")["spec"]["group"] == "shop.example.com"
    assert helm.list(all_states=True) == []
