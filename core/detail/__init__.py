"""Refines regions of a picture: chooses them, cuts them out and pastes them back."""
