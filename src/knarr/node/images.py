"""Images of containers: present, pulled by policy, or the reason why not.

Pulls of one image are shared by all who wait for it; a failed pull is not repeated before its pause, which doubles from
10 s to 5 min, is over.

Counterpart: pkg/kubelet/images/image_manager.go (v1.37).
"""

import asyncio
import base64
import binascii
import contextlib
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lightkube.models import core_v1

from knarr.kit.backoff import Curve
from knarr.kit.clock import Clock
from knarr.node.pods.errors import StartFailed
from knarr.node.runtime.errors import RuntimeFailure
from knarr.node.runtime.runtime import Credentials, Image, Images

PARALLEL_PULLS = 5
BACKOFF = Curve(first_s=10.0, limit_s=300.0)
SHOW_FAILURE_S = 1.5
"""How long a failed pull is shown as ErrImagePull before ImagePullBackOff takes its place."""
DEFAULT_REGISTRY = "docker.io"

Tell = Callable[[str, str, str], None]
"""Records an event of the container: type, reason, message."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Failure:
    count: int
    until_s: float
    error: str


class Puller:
    """Makes images present.

    Args:
        runtime: Keeps them.
        clock: Times pauses.
    """

    def __init__(self, runtime: Images, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._slots = asyncio.Semaphore(PARALLEL_PULLS)
        self._pulls: dict[tuple[str, tuple[Credentials, ...]], asyncio.Task[tuple[Image, float]]] = {}
        self._failures: dict[tuple[str, str], _Failure] = {}

    async def ensure(
        self, image: str, policy: str, *, user: str, credentials: Iterable[Credentials], tell: Tell
    ) -> tuple[Image, str]:
        """Return an image that is present, pulling it if the policy says so.

        Args:
            image: As the container names it.
            policy: Always, IfNotPresent or Never.
            user: Uid of the pod: pauses are one's own.
            credentials: To try in turn; none tries without.
            tell: Records events.

        Returns:
            The image and the reference to create containers from.

        Raises:
            StartFailed: It cannot be had now.
        """
        name = normalize(image)
        present = await self._runtime.image_status(name)
        if present is not None and policy != "Always" and not (policy == "" and is_latest(image)):
            tell(
                "Normal",
                "Pulled",
                f'Container image "{image}" already present on machine and can be accessed by the pod',
            )
            return present, present.id
        if policy == "Never":
            message = f'Container image "{image}" is not present with pull policy of Never'
            tell("Warning", "ErrImageNeverPull", message)
            raise StartFailed("ErrImageNeverPull", message, event="Failed")
        return await self._pull(image, name, user, tuple(credentials), tell)

    def forget(self, user: str) -> None:
        """Forget the pauses of a pod that is gone."""
        for key in [key for key in self._failures if key[0] == user]:
            del self._failures[key]

    async def _pull(
        self, image: str, name: str, user: str, credentials: tuple[Credentials, ...], tell: Tell
    ) -> tuple[Image, str]:
        key = (user, image)
        failure = self._failures.get(key)
        now_s = self._clock.monotonic_s()
        if failure is not None and now_s < failure.until_s:
            message = f'Back-off pulling image "{image}"'
            tell("Normal", "BackOff", message)
            text = f"{message}: {failure.error}"
            raise StartFailed("ImagePullBackOff", text, event="Failed", retry_s=failure.until_s - now_s)
        tell("Normal", "Pulling", f'Pulling image "{image}"')
        started_s = self._clock.monotonic_s()
        try:
            found, took_s = await self._shared(name, credentials)
        except RuntimeFailure as err:
            count = failure.count + 1 if failure is not None else 1
            error = f"ErrImagePull: {err}"
            until_s = self._clock.monotonic_s() + BACKOFF.delay_s(count)
            self._failures[key] = _Failure(count, until_s, error)
            tell("Warning", "Failed", f'Failed to pull image "{image}": {err}')
            raise StartFailed("ErrImagePull", str(err), event="Failed", retry_s=SHOW_FAILURE_S) from err
        self._failures.pop(key, None)
        waited_s = self._clock.monotonic_s() - started_s
        tell(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{image}" in {format_duration(took_s)} ({format_duration(waited_s)} including waiting). '
            f"Image size: {found.size_bytes} bytes.",
        )
        return found, found.id

    async def _shared(self, name: str, credentials: tuple[Credentials, ...]) -> tuple[Image, float]:
        key = (name, credentials)
        task = self._pulls.get(key)
        if task is None:
            task = self._pulls[key] = asyncio.create_task(self._pull_once(name, credentials), name=f"pull {name}")
            task.add_done_callback(lambda done: self._finish(key, done))
        return await asyncio.shield(task)

    def _finish(self, key: tuple[str, tuple[Credentials, ...]], done: "asyncio.Task[tuple[Image, float]]") -> None:
        self._pulls.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever waited has seen it

    async def _pull_once(self, name: str, credentials: tuple[Credentials, ...]) -> tuple[Image, float]:
        async with self._slots:
            started_s = self._clock.monotonic_s()
            ref = await self._try_each(name, credentials)
            found = await self._runtime.image_status(ref) or await self._runtime.image_status(name)
            if found is None:
                raise RuntimeFailure("PullImage", "NOT_FOUND", f"{name} is not there after it was pulled")
            return found, self._clock.monotonic_s() - started_s

    async def _try_each(self, name: str, credentials: tuple[Credentials, ...]) -> str:
        *rest, last = credentials or (None,)
        for each in rest:
            with contextlib.suppress(RuntimeFailure):
                return await self._runtime.pull_image(name, each)
        return await self._runtime.pull_image(name, last)


def normalize(image: str) -> str:
    """Add the tag "latest" to an image name that has neither tag nor digest."""
    if "@" in image or ":" in image.rpartition("/")[2]:
        return image
    return f"{image}:latest"


def is_latest(image: str) -> bool:
    """Tell whether an image name means the tag "latest"."""
    return "@" not in image and normalize(image).endswith(":latest")


def registry_of(image: str) -> str:
    """Return the registry that an image name means: "docker.io" if it names none."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else DEFAULT_REGISTRY


def read_credentials(secrets: Iterable[core_v1.Secret | None], image: str) -> list[Credentials]:
    """Return the credentials in pull secrets that fit an image, the most specific first.

    Args:
        secrets: Of the types kubernetes.io/dockerconfigjson and dockercfg; others and damaged ones count for nothing.
        image: As the container names it.
    """
    found = []
    for secret in secrets:
        for host, entry in _entries(secret).items():
            if _fits(host, image):
                found.append((len(_strip(host)), _to_credentials(host, entry)))
    return [credentials for _, credentials in sorted(found, key=lambda pair: -pair[0])]


def _entries(secret: core_v1.Secret | None) -> dict[str, Any]:
    data = (secret.data or {}) if secret is not None else {}
    with contextlib.suppress(ValueError, binascii.Error):
        if ".dockerconfigjson" in data:
            auths = json.loads(base64.b64decode(data[".dockerconfigjson"])).get("auths") or {}
            return auths if isinstance(auths, dict) else {}
        if ".dockercfg" in data:
            entries = json.loads(base64.b64decode(data[".dockercfg"]))
            return entries if isinstance(entries, dict) else {}
    return {}


def _strip(host: str) -> str:
    host = host.partition("://")[2] or host
    return host.removesuffix("/").removesuffix("/v1").removesuffix("/v2")


def _fits(host: str, image: str) -> bool:
    wanted = _strip(host)
    if wanted.partition("/")[0] in ("index.docker.io", "registry-1.docker.io"):
        wanted = DEFAULT_REGISTRY
    full = image if registry_of(image) != DEFAULT_REGISTRY or image.startswith("docker.io/") else f"docker.io/{image}"
    want_host, _, want_path = wanted.partition("/")
    host_part, _, path = full.partition("/")
    labels, want_labels = host_part.split("."), want_host.split(".")
    same_host = len(labels) == len(want_labels) and all(
        want in ("*", label) for want, label in zip(want_labels, labels, strict=True)
    )
    return same_host and (not want_path or path == want_path or path.startswith(f"{want_path}/"))


def _to_credentials(host: str, entry: Any) -> Credentials:
    entry = entry if isinstance(entry, dict) else {}
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if not username and entry.get("auth"):
        with contextlib.suppress(ValueError, binascii.Error):
            username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
    return Credentials(username, password, server_address=host, identity_token=str(entry.get("identitytoken") or ""))


def format_duration(seconds: float) -> str:
    """Write a duration as Go does, to the millisecond: "1.234s", "56ms", "2m3.5s"."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{int(minutes)}m{text}" if minutes else text
