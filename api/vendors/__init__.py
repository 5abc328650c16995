"""The vendors' APIs, one module per vendor: its models, its mapping to an order, its answers, its errors."""

from ..jobs.vendor import Vendor
from . import modelslab, qolaba, segmind

VENDORS = (
    Vendor("qolaba", "/", qolaba.router, qolaba.refuse),
    Vendor("modelslab", "/api/v1/", modelslab.router, modelslab.refuse, modelslab.webhook),
    Vendor("segmind", "/v1/", segmind.router, segmind.refuse),
)
