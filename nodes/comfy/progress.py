"""Shows a text on a node while it works, beside its progress bar."""

from comfy_execution.utils import get_executing_context
from server import PromptServer


def say(text: str) -> None:
    """Shows the text; does nothing outside a run or without ComfyUI's server."""
    context, server = get_executing_context(), getattr(PromptServer, "instance", None)
    if context is not None and server is not None:
        server.send_progress_text(text, context.node_id)
