"""The HTTP layer: connections, bodies, callers, routes and the OpenAPI documents."""
