"""One module a vendor: its models, its mapping to an order, its answer, its errors."""

from types import ModuleType

from . import modelslab, qolaba, segmind

VENDORS: dict[str, ModuleType] = {"qolaba": qolaba, "modelslab": modelslab, "segmind": segmind}


def vendor_of(path: str) -> ModuleType:
    """Whose shape an answer to this path has: ModelsLab's below /api/v1/, Segmind's below /v1/, otherwise Qolaba's."""
    if path.startswith("/api/v1/"):
        return modelslab
    return segmind if path.startswith("/v1/") else qolaba
