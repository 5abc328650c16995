"""Runs the web service, and manages keys and webhooks: python -m api [serve | keys | webhooks]. Default: serve."""

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
    """Runs the service until it is stopped; returns the exit code. Without keys it binds to 127.0.0.1 only.

    With keys, HOST 0.0.0.0 or :: needs a public URL: links would otherwise lead nowhere.
    """
    logs.set_up(settings.log_level)
    if not Keys(Database(settings.data)).any():
        sys.stderr.write("There are no keys: the service binds to 127.0.0.1 only, and every caller has all rights.\n")
        settings = settings.model_copy(update={"host": "127.0.0.1"})
    elif settings.host in ("0.0.0.0", "::") and not settings.public_url:
        sys.stderr.write(
            f"CONSISTENT_FACE_HOST is {settings.host}, which cannot be used in links: set CONSISTENT_FACE_PUBLIC_URL "
            "to the address that clients call, such as https://faces.example.com.\n"
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
    """Adds, lists or revokes keys; returns the exit code. A running service uses the change at once."""
    known = Keys(Database(settings.data))
    if arguments.action == "list":
        for key in known.all():
            state = "revoked" if key.revoked else "active"
            credits = "unlimited" if key.credits is None else f"{key.credits} credits"
            made = time.strftime("%Y-%m-%d", time.localtime(key.created))
            sys.stdout.write(f"{key.name}\t{state}\t{credits}\t{','.join(key.scopes) or '-'}\t{made}\n")
        return 0
    if arguments.action == "revoke":
        done = known.revoke(arguments.name)
        found = "The key is revoked." if done else "There is no key with this name, or it is revoked already."
        sys.stdout.write(f"{arguments.name}: {found}\n")
        return 0 if done else 1
    try:
        key_id, key = known.add(arguments.name, arguments.credits, arguments.scope)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    secret = printed_webhook_secret(Seal.load(settings.data).webhook_secret(key_id))
    sys.stdout.write(f"key: {key}\nwebhook secret: {secret}\nSave the key now: it cannot be shown again.\n")
    return 0


def webhooks(settings: Settings, arguments: argparse.Namespace) -> int:
    """Queues webhooks again, or prints the secret that signs a key's webhooks; returns the exit code."""
    if arguments.action == "redeliver":
        sys.stdout.write(f"Webhooks that will be sent again: {asyncio.run(_redeliver(settings, arguments.job))}\n")
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
    parser_of_keys = commands.add_parser("keys", help="add, list or revoke API keys")
    on_keys = parser_of_keys.add_subparsers(dest="action", required=True)
    add = on_keys.add_parser("add", help="create a key and print it once, with its webhook secret")
    add.add_argument("name")
    add.add_argument("--credits", type=int, help="the key's credits; unlimited if not given")
    add.add_argument("--scope", action="append", default=[], choices=SCOPES, help="a right of the key; may be repeated")
    on_keys.add_parser("list", help="print name, state, credits, scopes and creation date of every key")
    on_keys.add_parser("revoke", help="revoke a key for good").add_argument("name")
    parser_of_hooks = commands.add_parser("webhooks", help="send webhooks again, or print a webhook secret")
    on_hooks = parser_of_hooks.add_subparsers(dest="action", required=True)
    redelivery = on_hooks.add_parser("redeliver", help="send again all webhooks that the service gave up")
    redelivery.add_argument("--job", help="send only this job's webhook, even if it was delivered")
    secret = on_hooks.add_parser("secret", help="print the secret that signs a key's webhooks")
    secret.add_argument("name", nargs="?", help="the key's name; leave it out for a service without keys")
    parsed = parser.parse_args(arguments)
    settings = Settings()
    if parsed.command == "keys":
        return keys(settings, parsed)
    return webhooks(settings, parsed) if parsed.command == "webhooks" else serve(settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
