"""Runs the web service and manages its keys and webhooks: python -m api [serve | keys | webhooks]."""

import argparse
import asyncio
import sys
import time

import uvicorn

from .app import create_app
from .base import logs
from .base.settings import Settings
from .database.engine import Database
from .database.keys import SCOPES, Keys
from .database.tables import OPEN
from .http.connections import options
from .jobs.lock import AlreadyRunningError, hold
from .jobs.service import Service
from .jobs.webhooks import redeliver
from .security.secrets import Seal, printed_webhook_secret


def serve(settings: Settings) -> int:
    """Runs until it is told to stop. Without keys it binds to loopback alone, whatever the settings say."""
    logs.set_up(settings.log_level)
    if not Keys(Database(settings.data)).any():
        sys.stderr.write(
            "There are no keys: the service binds to 127.0.0.1 alone, and whoever reaches it may do all.\n"
        )
        settings = settings.model_copy(update={"host": "127.0.0.1"})
    elif settings.host in ("0.0.0.0", "::") and not settings.public_url:
        sys.stderr.write(
            f"HOST is {settings.host}, which no link can lead to: set CONSISTENT_FACE_PUBLIC_URL to what clients call, "
            "such as https://faces.example.com.\n"
        )
        return 1
    try:
        with hold(settings.data):
            uvicorn.run(create_app(settings), **options(settings))
    except AlreadyRunningError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def keys(settings: Settings, arguments: argparse.Namespace) -> int:
    """Adds, lists and revokes keys; a running service knows at once."""
    known = Keys(Database(settings.data))
    if arguments.action == "list":
        for key in known.all():
            state = "revoked" if key.revoked else "in force"
            credits = "unlimited" if key.credits is None else f"{key.credits} credits"
            made = time.strftime("%Y-%m-%d", time.localtime(key.created))
            sys.stdout.write(f"{key.name}\t{state}\t{credits}\t{','.join(key.scopes) or '-'}\t{made}\n")
        return 0
    if arguments.action == "revoke":
        done = known.revoke(arguments.name)
        sys.stdout.write(f"{arguments.name}: {'revoked' if done else 'there is no such key in force'}\n")
        return 0 if done else 1
    try:
        key_id, key = known.add(arguments.name, arguments.credits, arguments.scope)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    secret = printed_webhook_secret(Seal.load(settings.data).webhook_secret(key_id))
    sys.stdout.write(f"key: {key}\nwebhook secret: {secret}\nThe key is shown this once.\n")
    return 0


def webhooks(settings: Settings, arguments: argparse.Namespace) -> int:
    """Sends given up webhooks again, or tells the secret that a key's webhooks are signed with."""
    if arguments.action == "redeliver":
        sys.stdout.write(f"{asyncio.run(_redeliver(settings, arguments.job))} webhooks are owed again\n")
        return 0
    ids = {key.name: key.id for key in Keys(Database(settings.data)).all()}
    secret = Seal.load(settings.data).webhook_secret(ids.get(arguments.name or "", OPEN))
    sys.stdout.write(printed_webhook_secret(secret) + "\n")
    return 0


async def _redeliver(settings: Settings, job: str | None) -> int:
    service = Service(settings)
    try:
        return redeliver(service, job)
    finally:
        await service.close()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="run the service (settings: CONSISTENT_FACE_*)")
    on_keys = commands.add_parser("keys").add_subparsers(dest="action", required=True)
    add = on_keys.add_parser("add")
    add.add_argument("name")
    add.add_argument("--credits", type=int, help="pictures that it may order; unlimited without it")
    add.add_argument("--scope", action="append", default=[], choices=SCOPES)
    on_keys.add_parser("list")
    on_keys.add_parser("revoke").add_argument("name")
    on_hooks = commands.add_parser("webhooks").add_subparsers(dest="action", required=True)
    on_hooks.add_parser("redeliver").add_argument("--job", help="this job's alone, delivered or not")
    on_hooks.add_parser("secret").add_argument("name", nargs="?", help="a key's name; without keys none")
    parsed = parser.parse_args(arguments)
    settings = Settings()
    if parsed.command == "keys":
        return keys(settings, parsed)
    return webhooks(settings, parsed) if parsed.command == "webhooks" else serve(settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
