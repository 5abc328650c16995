"""ModelsLab's Enterprise Face Generator: make_gen, fetch, and the key's own bucket.

Decided where the documents leave it open: values out of range become the nearest documented one, and x-warnings names
them (ModelsLab's client sends s_scale 7.5 and 20 steps). `base64` requests raw base64 in `output`; a sent photo is not
echoed. Booleans come back as "yes" and "no" in `meta`, and `meta.seed` is the seed used. Errors are
{"status": "error", "message"} with real codes; while processing, `message` is also spelt `messege`, as older
endpoints do.
"""

from fastapi import APIRouter

from ...http.schemas import answers as responses
from ...http.schemas import json_content
from ..examples import MODELSLAB_ANSWER, MODELSLAB_ERROR
from . import bucket, fetch, make_gen
from .answers import refuse, webhook

__all__ = ["refuse", "router", "webhook"]

router = APIRouter(tags=["ModelsLab"], responses=responses(MODELSLAB_ERROR, json_content(MODELSLAB_ANSWER)))
for part in (make_gen, fetch, bucket):
    router.include_router(part.router)
