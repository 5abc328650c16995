"""ModelsLab's update_s3 and reset_s3: a bucket of the key's own, where its later results go.

ModelsLab names no bucket: it is `bucket_name`, or the first part of the endpoint's path, or of its host.
"""

import asyncio
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from ..errors import InputError
from ..requests import Asked, read
from ..storage import BucketAccess
from .documents import MODELSLAB_EXAMPLES, described
from .values import Fields, address, parse, warnings_header

ENTERPRISE, FACE_GEN = "/api/v1/enterprise", "/api/v1/enterprise/face_gen"
FOLDER = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
router = APIRouter()


class UpdateS3(Fields):
    """`POST /update_s3`."""

    public_url: str | None = None
    region_name: str = "us-east-1"
    endpoint_url: str
    aws_access_key_id: str
    aws_secret_access_key: str
    image_directory: str = Field(
        default="", pattern=rf"^/?({FOLDER}(/{FOLDER})*)?/?$", description="names of folders with / between them"
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
    address("endpoint_url", body.endpoint_url, asked.service.settings.allow_loopback)
    parts = urlsplit(body.endpoint_url)
    folder = parts.path.strip("/").partition("/")[0]
    host = parts.netloc
    bucket = body.bucket_name or folder
    if not bucket and host.count(".") >= 3:
        bucket, _, host = host.partition(".")
    if not bucket:
        raise InputError("endpoint_url must name the bucket in its path, or bucket_name must.", "endpoint_url")
    return BucketAccess(
        bucket,
        body.region_name,
        f"{parts.scheme}://{host}",
        body.aws_access_key_id,
        body.aws_secret_access_key,
        body.image_directory,
        address("public_url", body.public_url, asked.service.settings.allow_loopback) or "",
    )
