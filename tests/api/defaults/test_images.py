import pytest

from knarr.api.defaults import images

HASH = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    "image",
    ["busybox", "busybox:latest", "registry:5000/a/b", "docker.io/library/nginx", f"a/b:latest@{HASH}", "localhost/x"],
)
def test_latest_is_always_pulled(image):
    assert images.pull_policy(image) == "Always"


@pytest.mark.parametrize(
    "image",
    [
        "busybox:1.36",
        f"busybox@{HASH}",
        f"busybox:1@{HASH}",
        "registry:5000/a/b:v1",
        "",
        "Not A Name",
        "a" * 64,
        "UPPER",
    ],
)
def test_others_are_pulled_if_absent(image):
    assert images.pull_policy(image) == "IfNotPresent"
