"""The tools that dev.py runs inside .venv: host, launcher, small models, model download, doctor, demo."""
