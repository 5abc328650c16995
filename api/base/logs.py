"""Writes logs as one JSON object per line, without keys, pictures or the query strings of URLs."""

import json
import logging
import re
import sys
import time

BEARER = re.compile(r"(?i)\b(bearer\s+)[^\s\"',]+")
SECRETS = re.compile(
    r"""(?ix) \b((?:x-api-key|(?:[a-z_]*[_-])?key(?:_id)?|authorization|[a-z_]*secret[a-z_]*)["']?\s*[:=]\s*["']?)
    [^\s"',}&]+"""
)
OUR_KEYS = re.compile(r"\bcf_[A-Za-z0-9_-]{20,}")
QUERIES = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']+")
PASSWORDS = re.compile(r"(https?://)[^/\s@]+@")
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{200,}={0,2}")
FIELDS = ("job", "vendor", "route", "status", "seconds", "key_id", "request_id")


def redacted(text: str) -> str:
    """Returns the text without keys, passwords, query strings and base64 data."""
    text = BASE64.sub("[base64]", text)
    text = QUERIES.sub(r"\1?[...]", text)
    text = PASSWORDS.sub(r"\1[...]@", text)
    text = OUR_KEYS.sub("[key]", text)
    text = BEARER.sub(r"\1[...]", text)
    return SECRETS.sub(r"\1[...]", text)


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON and redacts it: every line passes here."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["error"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def set_up(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.access").disabled = True  # the app writes its own line, without queries
