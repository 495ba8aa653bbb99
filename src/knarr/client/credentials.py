"""What a client shows to prove who it is: bearer tokens, from memory, a file or a plugin, and certificate files.

Source: k8s.io/client-go/transport/token_source.go and cert_rotation.go, plugin/pkg/client/auth/exec (v1.37).
"""

import asyncio
import base64
import json
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from knarr.client.errors import CredentialPluginFailed
from knarr.kit.clock import Clock, SystemClock

RELOAD_S = 60.0
"""Token and certificate files are looked at this often."""

EXEC_TIMEOUT_S = 60.0


class Credentials(Protocol):
    """The source of the Authorization header."""

    async def authorization(self) -> str:
        """Return the header's value; empty for none."""

    async def refresh(self) -> bool:
        """Get a new credential because the server refused the last; return whether trying again makes sense."""


class NoCredentials:
    """No header: the client certificate says who is calling, or nobody does."""

    async def authorization(self) -> str:
        """Return nothing."""
        return ""

    async def refresh(self) -> bool:
        """Return that there is nothing to refresh."""
        return False


class Token:
    """A bearer token that does not change."""

    def __init__(self, token: str) -> None:
        self._value = f"Bearer {token}"

    async def authorization(self) -> str:
        """Return the token."""
        return self._value

    async def refresh(self) -> bool:
        """Return that there is nothing to refresh."""
        return False


class Basic:
    """A user name and a password."""

    def __init__(self, username: str, password: str) -> None:
        self._value = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()

    async def authorization(self) -> str:
        """Return name and password."""
        return self._value

    async def refresh(self) -> bool:
        """Return that there is nothing to refresh."""
        return False


class TokenFile:
    """A bearer token in a file that somebody else renews."""

    def __init__(self, path: Path, *, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._value = ""
        self._read_s = 0.0

    async def authorization(self) -> str:
        """Return the token as the file said within the last minute."""
        if not self._value or self._clock.monotonic_s() - self._read_s > RELOAD_S:
            self._read()
        return self._value

    async def refresh(self) -> bool:
        """Read the file again; return whether it says something new."""
        before = self._value
        self._read()
        return self._value != before

    def _read(self) -> None:
        self._read_s = self._clock.monotonic_s()
        try:
            token = self._path.read_text().strip()
        except FileNotFoundError:
            # Kubelet swaps the folder of a projected token; the token read before still holds.
            return
        if token:
            self._value = f"Bearer {token}"


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """A credential plugin as a kubeconfig names it.

    Attributes:
        command: The program.
        args: Its arguments.
        env: Added to this process's environment.
        api_version: Of ExecCredential.
    """

    command: str
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    api_version: str = "client.authentication.k8s.io/v1"


class ExecPlugin:
    """A bearer token that a program gives, kept until it expires."""

    def __init__(self, spec: ExecSpec, *, clock: Clock | None = None) -> None:
        self._spec = spec
        self._clock = clock or SystemClock()
        self._value = ""
        self._expires: datetime | None = None
        self._lock = asyncio.Lock()

    async def authorization(self) -> str:
        """Return the token, running the program if there is none that holds."""
        async with self._lock:
            if not self._value or (self._expires is not None and self._expires <= self._clock.now()):
                await self._run()
            return self._value

    async def refresh(self) -> bool:
        """Run the program again."""
        async with self._lock:
            await self._run()
        return True

    async def _run(self) -> None:
        spec = self._spec
        info = {"apiVersion": spec.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
        env = {**os.environ, **dict(spec.env), "KUBERNETES_EXEC_INFO": json.dumps(info)}
        try:
            process = await asyncio.create_subprocess_exec(
                spec.command, *spec.args, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        except OSError as err:
            raise CredentialPluginFailed(spec.command, str(err)) from err
        try:
            async with asyncio.timeout(EXEC_TIMEOUT_S):
                out, complaint = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise CredentialPluginFailed(spec.command, f"gave nothing within {EXEC_TIMEOUT_S:g} s") from None
        if process.returncode:
            raise CredentialPluginFailed(spec.command, complaint.decode(errors="replace").strip() or "failed")
        self._take(out)

    def _take(self, out: bytes) -> None:
        try:
            status = json.loads(out)["status"]
            token = status["token"]
            expires = status.get("expirationTimestamp")
            self._expires = datetime.fromisoformat(expires) if expires else None
        except (ValueError, KeyError, TypeError) as err:
            raise CredentialPluginFailed(self._spec.command, "its output is no ExecCredential with a token") from err
        self._value = f"Bearer {token}"


class TlsFiles:
    """TLS settings from files, loaded again when one of them has changed.

    Args:
        ca: The authorities to trust, PEM; None means the system's.
        certificate: The client's certificate, PEM; None for none.
        key: Its key.
        insecure: Trust any server. For tunnels and tests.
    """

    def __init__(
        self,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        *,
        insecure: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._ca = ca
        self._certificate = certificate
        self._key = key
        self._insecure = insecure
        self._clock = clock or SystemClock()
        self._seen = self._stamps()
        self._looked_s = self._clock.monotonic_s()

    def changed(self) -> bool:
        """Return whether a file has changed since `load`; looks at most once a minute."""
        now = self._clock.monotonic_s()
        if now - self._looked_s < RELOAD_S:
            return False
        self._looked_s = now
        return self._stamps() != self._seen

    def load(self) -> ssl.SSLContext:
        """Return TLS settings as the files say now."""
        self._seen = self._stamps()
        context = ssl.create_default_context(cafile=self._ca)
        if self._insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._certificate is not None:
            context.load_cert_chain(self._certificate, self._key)
        return context

    def _stamps(self) -> list[tuple[int, int]]:
        stats = [path.stat() for path in (self._ca, self._certificate, self._key) if path is not None and path.exists()]
        return [(stat.st_mtime_ns, stat.st_ino) for stat in stats]
