"""ComfyUI's own modules in this process, as for tests of single nodes."""

from consistent_face.tests.nodes.conftest import inference, one_thread

__all__ = ["inference", "one_thread"]
