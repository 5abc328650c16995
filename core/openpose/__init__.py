"""OpenPose: skeletons, character sheets, and reading a drawn pose."""
