"""Safety check: classifiers, verdicts, and concealing unsafe pictures."""
