"""Refinement: which regions of a picture are drawn again, and how they are pasted back."""
