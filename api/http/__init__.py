"""HTTP: connections, bodies, callers, routes, and the OpenAPI documents."""
