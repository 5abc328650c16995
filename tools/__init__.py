"""What dev.py runs inside .venv: the host, the launcher, small models, the fetcher, the doctor, the demo."""
