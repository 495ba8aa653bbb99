"""`knarr token`: bootstrap tokens, with which other machines and programs introduce themselves."""

import argparse
import asyncio

from knarr.cli import options
from knarr.client import Client
from knarr.cluster import access, certs, settings, tokens
from knarr.cluster.layout import Layout
from knarr.cluster.settings import Settings
from knarr.kit import pki

TTL_S = 24 * 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_name(parser)
    options.add_output(parser)
    parser.add_argument("action", nargs="?", choices=["create", "list", "delete"], default="create")
    parser.add_argument("token", nargs="?", metavar="TOKEN", help="with delete: the token or its id")
    parser.add_argument(
        "--ttl",
        type=options.seconds,
        default=None,
        metavar="SECONDS",
        help="with create: how long it holds, such as 3600 or 24h; 0 for ever (default: 24h)",
    )
    parser.add_argument(
        "--print-join-command", action="store_true", help="with create: print the whole command for the other machine"
    )
    parser.add_argument(
        "--control-plane",
        action="store_true",
        help="with create: for another server; puts the authorities' keys, encrypted, into a Secret that ends with the token "
        "(default of --ttl: 2h)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Create, list or delete."""
    return asyncio.run(_run(arguments))


async def _run(arguments: argparse.Namespace) -> int:
    layout = Layout.of(arguments.name)
    decided = settings.load(layout)
    async with access.open_admin(layout, decided) as client:
        if arguments.action == "delete":
            if not arguments.token:
                options.say("knarr token delete: which token?")
                return 2
            await tokens.delete(client, arguments.token)
            return 0
        if arguments.action == "create":
            return await _create(client, layout, decided, arguments)
        found = await tokens.find_all(client)
    if arguments.output == "json":
        options.print_json([{"id": one.id, "expires": one.expires, "usages": one.usages} for one in found])
    else:
        for one in found:
            print(f"{one.id}   {one.expires or 'never expires'}   {','.join(one.usages)}")
    return 0


async def _create(client: Client, layout: Layout, decided: Settings, arguments: argparse.Namespace) -> int:
    files = certs.collect(layout) if arguments.control_plane else {}
    usual_s = certs.TTL_S if arguments.control_plane else TTL_S
    made = await tokens.create(client, ttl_s=usual_s if arguments.ttl is None else arguments.ttl)
    key = await certs.upload(client, files, made) if arguments.control_plane else ""
    ca_hash = pki.certificate_hash((layout.pki / "ca.crt").read_bytes())
    for path in certs.elsewhere(layout) if arguments.control_plane else ():
        options.say(f"{path} is not below {layout.data}: bring it to the other machine yourself")
    if arguments.output == "json":
        told = {"token": made, "server": decided.advertised_url, "caHash": ca_hash}
        options.print_json({**told, "certificateKey": key} if key else told)
    elif arguments.print_join_command:
        command = "knarr up" if key else "knarr agent"
        further = f" --certificate-key {key}" if key else ""
        print(f"{command} --server {decided.advertised_url} --token {made} --ca-hash {ca_hash}{further}")
    else:
        print(f"{made} {key}".strip())
    return 0
