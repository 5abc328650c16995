"""The operator's settings: environment variables CONSISTENT_FACE_<NAME>, or the arguments of `Settings`."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .client_addresses import networks

ROOT = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """Sizes are in bytes, times in seconds. Every default suits one machine with one ComfyUI."""

    model_config = SettingsConfigDict(env_prefix="CONSISTENT_FACE_", frozen=True)

    host: str = "127.0.0.1"
    port: int = 8190
    public_url: str | None = None  # start of all links behind a proxy; default http://host:port
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()  # CIDRs of proxies whose forwarding headers are used
    data: Path = ROOT / "output" / "service"  # database, photos of unfinished jobs, results
    cors_origins: tuple[str, ...] = ()
    log_level: str = "INFO"

    comfy_url: str = "http://127.0.0.1:8188"
    comfy_input: Path | None = None  # ComfyUI's folders if it runs on this machine: the service deletes files in them;
    comfy_output: Path | None = None  # without them it overwrites the files with empty ones over HTTP
    workflows: Path = ROOT / "workflows" / "api"
    models: dict[str, dict[str, str | int]] = Field(default_factory=dict)  # workflow -> fixed parameters
    workers: int = Field(default=2, ge=1)  # jobs given to ComfyUI at the same time; it runs them one by one
    max_batch: int = Field(default=4, ge=1)  # pictures per prompt; larger orders become several prompts
    job_timeout: float = 3600
    max_posts: int = Field(default=3, ge=1)  # attempts of a run that ComfyUI loses
    sync_wait_s: float = 600
    modelslab_sync_wait_s: float = 20
    retention_s: float = 24 * 3600

    max_body: int = 32 * 2**20
    max_picture: int = 20 * 2**20
    max_pixels: int = 40_000_000
    decode_timeout: float = Field(default=20, gt=0)  # per photo; 40 million pixels take at most 5 s on 2 busy cores
    fetch_timeout: float = 10
    allow_loopback: bool = False  # for development: allows pictures, webhooks and buckets on this machine

    rate_limit: str = "120/minute"  # requests per key, in the notation of `limits`
    failures_limit: str = "30/minute"  # wrong keys per address
    connections: int = Field(default=200, ge=1)  # open connections per address; trusted proxies are exempt
    concurrency: int = Field(default=100, ge=1)  # unfinished jobs per key
    prices: dict[str, int] = Field(default_factory=dict)  # credits per picture by workflow; default 1

    face_consistency_app_id: str = "ap-SwsTOsD7STxJ0obCkskUHw"
    face_avatar_app_id: str = "ap-jL9u1wFpY5sRv2XmN3aQ44"

    s3_bucket: str | None = None  # if set, results are stored there
    s3_region: str = "us-east-1"
    s3_endpoint: str | None = None
    s3_access_key_id: str | None = None
    s3_secret_access_key: str | None = None

    webhook_attempts: int = Field(default=8, ge=1)
    webhook_backoff: float = 5  # before the second attempt; doubles each time
    webhook_timeout: float = 30

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _listed(cls, found: object) -> object:
        """Accepts a comma-separated text or a JSON list. Raises ValueError for an entry that is not a network."""
        if isinstance(found, str):
            found = json.loads(found) if found.lstrip().startswith("[") else [one for one in found.split(",") if one]
        listed = tuple(str(one).strip() for one in found) if isinstance(found, list | tuple) else found
        if isinstance(listed, tuple):
            networks(listed)
        return listed

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")
