"""Checks the safety of pictures: classifiers, verdicts, and concealing unsafe pictures."""
