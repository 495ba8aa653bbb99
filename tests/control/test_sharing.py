from typing import Any

import msgspec
from lightkube.models import core_v1

from knarr.control.sharing import Pool


def pod(name: str, **more: Any) -> core_v1.Pod:
    obj = {
        "metadata": {"name": name, "labels": {"app": "web"}, **more},
        "spec": {
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}],
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "volumes": [{"name": f"token-{name}", "projected": {"sources": [{"downwardAPI": {}}]}}],
        },
    }
    return msgspec.convert(obj, core_v1.Pod)


def test_equal_parts_become_one_and_nothing_else_changes() -> None:
    pool, first, second = Pool(), pod("a"), pod("b")
    for one in (first, second):
        pool.share(one)
    assert (first, second) == (pod("a"), pod("b"))
    assert first.metadata.labels is second.metadata.labels
    assert first.spec.tolerations is second.spec.tolerations
    assert first.spec.volumes[0].projected is second.spec.volumes[0].projected
    assert first.spec.containers[0].resources is second.spec.containers[0].resources


def test_parts_that_differ_stay_apart() -> None:
    pool, first, second = Pool(), pod("a"), pod("b", labels={"app": "db"})
    for one in (first, second):
        pool.share(one)
    assert (first.metadata.labels, second.metadata.labels) == ({"app": "web"}, {"app": "db"})


def test_other_kinds_are_left_alone() -> None:
    Pool().share({"metadata": {"labels": {}}})
    Pool().share(core_v1.Service())
