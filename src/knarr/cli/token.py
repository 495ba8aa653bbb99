"""`knarr token`: bootstrap tokens, with which other machines and programs introduce themselves."""

import argparse
import asyncio

from knarr.cli import options
from knarr.cluster import access, settings, tokens
from knarr.cluster.layout import Layout
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
        default=TTL_S,
        metavar="SECONDS",
        help="with create: how long it holds, such as 3600 or 24h; 0 for ever (default: 24h)",
    )
    parser.add_argument(
        "--print-join-command", action="store_true", help="with create: print the whole command for the other machine"
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
            made = await tokens.create(client, ttl_s=arguments.ttl)
            ca_hash = pki.certificate_hash((layout.pki / "ca.crt").read_bytes())
            if arguments.output == "json":
                options.print_json({"token": made, "server": decided.advertised_url, "caHash": ca_hash})
            elif arguments.print_join_command:
                print(f"knarr agent --server {decided.advertised_url} --token {made} --ca-hash {ca_hash}")
            else:
                print(made)
            return 0
        found = await tokens.find_all(client)
    if arguments.output == "json":
        options.print_json([{"id": one.id, "expires": one.expires, "usages": one.usages} for one in found])
    else:
        for one in found:
            print(f"{one.id}   {one.expires or 'never expires'}   {','.join(one.usages)}")
    return 0
