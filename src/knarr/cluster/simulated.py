"""The process of simulated nodes on this machine: its certificates, its role, and where it listens.

It needs neither root nor containerd. In a cluster of simulated nodes alone it takes the place of the agent; beside a real agent it
takes a free port.
"""

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Sequence
from pathlib import Path

from knarr.api import errors as api_errors
from knarr.client import Client
from knarr.cluster import access, credentials
from knarr.cluster.errors import ClusterError, UsageError
from knarr.cluster.layout import Layout
from knarr.cluster.settings import Settings
from knarr.kit import clock as clocks
from knarr.kit import pki
from knarr.node.simulated import agent, stages
from knarr.node.simulated.errors import StageInvalid
from knarr.node.simulated.fleet import Fleet
from knarr.node.simulated.stages import Stage

RETRY_S = 0.2

logger = logging.getLogger(__name__)


async def serve(layout: Layout, decided: Settings, fleet: Fleet, stopping: asyncio.Event) -> None:
    """Play nodes until told to stop.

    Args:
        layout: Of the cluster, whose authority is on this machine.
        decided: Its settings.
        fleet: The nodes; with port 0 a free one is taken.
        stopping: Set to stop.
    """
    folder = ensure_certificates(layout, decided, now=datetime.datetime.now(datetime.UTC))
    config = agent.Config(
        server_url=decided.server_url,
        ca_file=layout.pki / "ca.crt",
        certificate_file=folder / "client.crt",
        key_file=folder / "client.key",
        serving_certificate_file=folder / "serving.crt",
        serving_key_file=folder / "serving.key",
        fleet=fleet,
        stages=read_stages(layout),
    )
    async with access.open_admin(layout, decided) as admin:
        await _ensure_objects(admin, clocks.SystemClock())
    async with agent.open_agent(config):
        logger.info("%d simulated nodes", fleet.count)
        await stopping.wait()


def fleet_of(decided: Settings, *, count: int, group: str = "sim", port: int = 0) -> Fleet:
    """Return the nodes of a process on this machine."""
    return Fleet(count, group=group, address=decided.advertise_address, port=port)


def ensure_certificates(layout: Layout, decided: Settings, *, now: datetime.datetime) -> Path:
    """Make the certificates of the process when missing or soon ending; return their folder."""
    pair = pki.load_pair(layout.pki / "ca.crt", layout.pki / "ca.key")
    if pair is None:
        raise ClusterError(f"no authority in {layout.pki}: simulated nodes run on the machine of the server")
    folder = layout.data / "simulated"
    folder.mkdir(mode=0o700, exist_ok=True)
    addresses = tuple(dict.fromkeys(("127.0.0.1", decided.advertise_address)))
    client = pki.Subject(agent.USER, (agent.GROUP,))
    serving = pki.Subject(agent.USER, (agent.GROUP,), dns_names=("localhost",), ip_addresses=addresses)
    for stem, subject, usage in (("client", client, pki.Usage.CLIENT), ("serving", serving, pki.Usage.SERVER)):
        credentials.ensure_leaf(pki.Authority(pair), folder / stem, subject, usage, now)
    return folder


def keep_stages(layout: Layout, source: Path) -> None:
    """Check a Stage file and keep it with the cluster.

    Raises:
        UsageError: It makes no sense.
    """
    try:
        stages.load(source)
    except StageInvalid as err:
        raise UsageError(str(err)) from err
    _stage_file(layout).write_bytes(source.read_bytes())


def read_stages(layout: Layout) -> Sequence[Stage]:
    """Return the Stages that were kept with the cluster; none if there are none.

    Raises:
        ClusterError: The file is damaged.
    """
    if not _stage_file(layout).exists():
        return ()
    try:
        return stages.load(_stage_file(layout))
    except StageInvalid as err:
        raise ClusterError(str(err)) from err


def _stage_file(layout: Layout) -> Path:
    return layout.data / "stages.yaml"


async def _ensure_objects(admin: Client, clock: clocks.Clock) -> None:
    for obj in agent.plan_objects():
        while True:
            try:
                with contextlib.suppress(api_errors.AlreadyExists):
                    await admin.create(obj)
                break
            except api_errors.StatusError as err:
                logger.debug("role of simulated nodes: %s", err)  # the server is on its way up
                await clock.sleep(RETRY_S)
