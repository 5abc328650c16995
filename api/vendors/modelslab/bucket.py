"""ModelsLab's update_s3 and reset_s3: set or remove the key's own bucket for later results.

ModelsLab's fields do not name the bucket: it is `bucket_name`, or the first part of the endpoint's path or host.
"""

import asyncio
import re
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from ...base.errors import InputError, StorageError
from ...http.requests import Asked, read
from ...http.schemas import described
from ...media.storage import Bucket, BucketAccess
from ..examples import MODELSLAB_EXAMPLES
from ..values import Fields, address, parse, warnings_header

ENTERPRISE, FACE_GEN = "/api/v1/enterprise", "/api/v1/enterprise/face_gen"
FOLDER = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
# Names of S3 and of compatible storage: old buckets have capitals and underscores, other providers allow short names.
BUCKET = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?")
Access = Annotated[str, Field(pattern=r"^[!-~]{1,256}$", description="1 to 256 visible ASCII characters")]
router = APIRouter()


class UpdateS3(Fields):
    """`POST /update_s3`."""

    public_url: str | None = None
    region_name: str = Field(
        default="us-east-1", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="a region's name such as us-east-1"
    )
    endpoint_url: str
    aws_access_key_id: Access
    aws_secret_access_key: Access
    image_directory: str = Field(
        default="",
        max_length=500,
        pattern=rf"^/?({FOLDER}(/{FOLDER})*)?/?$",
        description="names of folders with / between them",
    )
    bucket_name: str | None = None
    deploy_type: str = "face_gen"


class ResetS3(Fields):
    """`POST /reset_s3`."""

    deploy_type: str = "face_gen"


@router.post(f"{ENTERPRISE}/update_s3", **described(UpdateS3, MODELSLAB_EXAMPLES["update_s3"]))
@router.post(f"{FACE_GEN}/update_s3", **described(UpdateS3, MODELSLAB_EXAMPLES["update_s3"]))
async def update_s3(request: Request) -> JSONResponse:
    asked = await read(request)
    body = parse(UpdateS3, asked.fields, asked.warnings)
    access = _access(body, asked)
    await asyncio.to_thread(asked.service.set_bucket, asked.caller.id, access)
    return JSONResponse({"status": "success", "message": "S3 details updated"}, headers=warnings_header(asked.warnings))


@router.post(f"{ENTERPRISE}/reset_s3", **described(ResetS3, MODELSLAB_EXAMPLES["reset_s3"]))
@router.post(f"{FACE_GEN}/reset_s3", **described(ResetS3, MODELSLAB_EXAMPLES["reset_s3"]))
async def reset_s3(request: Request) -> JSONResponse:
    asked = await read(request)
    parse(ResetS3, asked.fields, asked.warnings)
    await asyncio.to_thread(asked.service.set_bucket, asked.caller.id, None)
    return JSONResponse({"status": "success", "message": "S3 details reset"}, headers=warnings_header(asked.warnings))


def _access(body: UpdateS3, asked: Asked) -> BucketAccess:
    """Returns the access data. Signs a link with it, so that invalid data is refused now and not after a run."""
    loopback = asked.service.settings.allow_loopback
    endpoint, bucket = _place(body, loopback)
    access = BucketAccess(
        bucket,
        body.region_name,
        endpoint,
        body.aws_access_key_id,
        body.aws_secret_access_key,
        body.image_directory,
        _without_query("public_url", body.public_url, loopback) or "",
    )
    try:
        Bucket(access, asked.service.to_buckets).check()
    except StorageError as error:
        raise InputError(f"endpoint_url: {error.message}", "endpoint_url") from error
    return access


def _place(body: UpdateS3, loopback: bool) -> tuple[str, str]:
    """(the endpoint without a bucket, the bucket)"""
    parts = urlsplit(_without_query("endpoint_url", body.endpoint_url, loopback) or "")
    host = parts.netloc
    bucket = body.bucket_name or parts.path.strip("/").partition("/")[0]
    if not bucket and host.count(".") >= 3:
        bucket, _, host = host.partition(".")
    if not bucket:
        raise InputError("endpoint_url must name the bucket in its path, or bucket_name must.", "endpoint_url")
    if not BUCKET.fullmatch(bucket) or ".." in bucket:
        name = "bucket_name" if body.bucket_name else "endpoint_url"
        wanted = "a bucket of letters, digits, dots, hyphens and underscores"
        raise InputError(f"{name} must name {wanted}, but {bucket[:60]!r} was found.", name)
    return f"{parts.scheme}://{host}", bucket


def _without_query(name: str, found: str | None, loopback: bool) -> str | None:
    if (url := address(name, found, loopback)) is not None and ("?" in url or "#" in url):
        raise InputError(f"{name} must end with its path: leave out what begins with ? or #.", name)
    return url
