"""Draws and reads OpenPose skeletons and character sheets."""
