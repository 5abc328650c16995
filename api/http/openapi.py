"""Serves the OpenAPI documents: /openapi.json, one per vendor at /openapi/<vendor>.json, and pages at /docs.

The pages use the Swagger UI of the package fastapi-offline, so that they need no internet.
"""

from collections.abc import Mapping
from importlib.resources import files

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from ..base.errors import NotFoundError
from . import job_routes

VERSION = "1"
SWAGGER = "/swagger"  # path of Swagger UI's script and style
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def document(title: str, routes: list) -> dict:  # type: ignore[type-arg]
    """Returns an OpenAPI document without FastAPI's 422, which no route answers."""
    found = get_openapi(title=title, version=VERSION, routes=routes)
    for methods in found["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("422", None)
    schemas = found.setdefault("components", {}).get("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    found["components"]["securitySchemes"] = SCHEMES
    found["security"] = [{"bearer": []}, {"x-api-key": []}, {}]
    return found


def page(address: str, title: str) -> HTMLResponse:
    return get_swagger_ui_html(
        openapi_url=address,
        title=title,
        swagger_js_url=f"{SWAGGER}/swagger-ui-bundle.js",
        swagger_css_url=f"{SWAGGER}/swagger-ui.css",
        swagger_favicon_url=f"{SWAGGER}/favicon.png",
        swagger_ui_parameters={"validatorUrl": None},  # it would send the document's address to swagger.io
    )


def openapi_of(app: FastAPI, routers: Mapping[str, APIRouter]) -> None:
    """Adds the documents and their pages to the application; `routers` are the vendors' routers by name."""
    app.mount(SWAGGER, StaticFiles(directory=str(files("fastapi_offline") / "static")))
    everything = [route for router in (*routers.values(), job_routes.router) for route in router.routes]

    @app.get("/openapi.json", include_in_schema=False)
    async def whole() -> dict:
        return document("Consistent Face", everything)

    @app.get("/openapi/{vendor}.json", include_in_schema=False)
    async def one(vendor: str) -> dict:
        if vendor not in routers:
            raise NotFoundError(f"There is no document {vendor[:40]}, only {', '.join(routers)}.")
        return document(f"Consistent Face as {vendor}", list(routers[vendor].routes))

    @app.get("/docs", include_in_schema=False)
    async def whole_page() -> HTMLResponse:
        return page("/openapi.json", "Consistent Face")

    @app.get("/docs/{vendor}", include_in_schema=False)
    async def vendor_page(vendor: str) -> HTMLResponse:
        if vendor not in routers:
            raise NotFoundError(f"There is no page {vendor[:40]}, only {', '.join(routers)}.")
        return page(f"/openapi/{vendor}.json", f"Consistent Face as {vendor}")
