import base64
import json
from typing import Any

import msgspec
import pytest
from lightkube.models import core_v1

from knarr.kit.clock import FakeClock
from knarr.node.images import Puller, format_duration, is_latest, normalize, read_credentials, registry_of
from knarr.node.pods.errors import StartFailed
from knarr.node.runtime.errors import RuntimeFailure
from knarr.node.runtime.runtime import Credentials, Image


class Store:
    """Images in memory, behind the seam that the runtime implements."""

    def __init__(self, *present: str, pullable: tuple[str, ...] = ()) -> None:
        self.present = {name: Image(f"sha256:{name}", (name,), (), 10) for name in present}
        self.pullable = pullable
        self.pulls: list[tuple[str, Credentials | None]] = []

    async def image_status(self, image: str) -> Image | None:
        return self.present.get(image)

    async def pull_image(self, image: str, credentials: Credentials | None = None) -> str:
        self.pulls.append((image, credentials))
        if image not in self.pullable:
            raise RuntimeFailure("PullImage", "NOT_FOUND", "no such image")
        self.present[image] = Image(f"sha256:{image}", (image,), (), 10)
        return image


class Bench:
    def __init__(self, store: Store) -> None:
        self.clock = FakeClock()
        self.store = store
        images: Any = store
        self.puller = Puller(images, self.clock)
        self.events: list[tuple[str, str]] = []

    async def ensure(self, image: str, policy: str = "IfNotPresent", credentials: tuple[Credentials, ...] = ()) -> str:
        def tell(_type: str, reason: str, message: str) -> None:
            self.events.append((reason, message))

        return (await self.puller.ensure(image, policy, user="u", credentials=credentials, tell=tell))[1]


async def test_present_image_is_taken() -> None:
    bench = Bench(Store("a:1"))
    assert await bench.ensure("a:1") == "sha256:a:1"
    assert bench.store.pulls == []
    assert [reason for reason, _ in bench.events] == ["Pulled"]


async def test_always_pulls_and_missing_pulls() -> None:
    bench = Bench(Store("a:1", pullable=("a:1", "b:latest")))
    await bench.ensure("a:1", "Always")
    await bench.ensure("b")
    assert [name for name, _ in bench.store.pulls] == ["a:1", "b:latest"]
    assert bench.events[1][1].startswith(
        'Successfully pulled image "a:1" in 0ms (0ms including waiting). Image size: 10 bytes.'
    )


async def test_never_fails_where_it_is_missing() -> None:
    bench = Bench(Store())
    with pytest.raises(StartFailed, match='Container image "a:1" is not present with pull policy of Never') as err:
        await bench.ensure("a:1", "Never")
    assert err.value.reason == "ErrImageNeverPull"


async def test_failed_pull_pauses_ten_seconds_then_twenty() -> None:
    bench = Bench(Store())
    reasons = []
    for pause_s in (0, 5, 5, 10, 10):
        await bench.clock.advance(pause_s)
        with pytest.raises(StartFailed) as err:
            await bench.ensure("a:1")
        reasons.append(err.value.reason)
    assert reasons == ["ErrImagePull", "ImagePullBackOff", "ErrImagePull", "ImagePullBackOff", "ErrImagePull"]
    assert len(bench.store.pulls) == 3


async def test_credentials_are_tried_in_turn() -> None:
    first, second = Credentials("a"), Credentials("b")
    bench = Bench(Store())
    with pytest.raises(StartFailed):
        await bench.ensure("a:1", credentials=(first, second))
    assert bench.store.pulls == [("a:1", first), ("a:1", second)]


@pytest.mark.parametrize(
    ("image", "normal", "latest", "registry"),
    [
        ("nginx", "nginx:latest", True, "docker.io"),
        ("nginx:1", "nginx:1", False, "docker.io"),
        ("org/app", "org/app:latest", True, "docker.io"),
        ("localhost:5000/app", "localhost:5000/app:latest", True, "localhost:5000"),
        ("ghcr.io/o/a:2", "ghcr.io/o/a:2", False, "ghcr.io"),
        ("a@sha256:00", "a@sha256:00", False, "docker.io"),
    ],
)
def test_names(image: str, normal: str, latest: bool, registry: str) -> None:
    assert (normalize(image), is_latest(image), registry_of(image)) == (normal, latest, registry)


def secret(auths: dict[str, Any]) -> core_v1.Secret:
    data = base64.b64encode(json.dumps({"auths": auths}).encode()).decode()
    return msgspec.convert({"data": {".dockerconfigjson": data}}, core_v1.Secret)


@pytest.mark.parametrize(
    ("host", "image", "fits"),
    [
        ("https://index.docker.io/v1/", "nginx", True),
        ("ghcr.io", "ghcr.io/o/a:1", True),
        ("ghcr.io", "nginx", False),
        ("ghcr.io/o", "ghcr.io/o/a", True),
        ("ghcr.io/other", "ghcr.io/o/a", False),
        ("*.example.com", "r.example.com/a", True),
        ("*.example.com", "example.com/a", False),
        ("localhost:5000", "localhost:5000/a", True),
    ],
)
def test_credentials_fit_by_registry_and_path(host: str, image: str, fits: bool) -> None:
    auth = base64.b64encode(b"me:secret").decode()
    found = read_credentials([secret({host: {"auth": auth}}), None], image)
    assert [(c.username, c.password) for c in found] == ([("me", "secret")] if fits else [])


def test_more_specific_credentials_come_first() -> None:
    entries = {"ghcr.io": {"username": "a"}, "ghcr.io/o": {"username": "b"}}
    assert [c.username for c in read_credentials([secret(entries)], "ghcr.io/o/a")] == ["b", "a"]


def test_damaged_secret_counts_for_nothing() -> None:
    bad = msgspec.convert({"data": {".dockerconfigjson": "!!"}}, core_v1.Secret)
    assert read_credentials([bad], "nginx") == []


@pytest.mark.parametrize(("seconds", "text"), [(0.056, "56ms"), (1.5, "1.5s"), (63.25, "1m3.25s"), (2.0, "2s")])
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
