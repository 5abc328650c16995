"""IP-Adapter: the checkpoint, its projection, and its attention in a UNet."""
