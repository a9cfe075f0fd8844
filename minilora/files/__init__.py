"""Files: atomic writes (safe_files), base models (checkpoints), adapters (adapter_files), downloads (fetch)."""

from pathlib import Path

ASSETS = Path(__file__).parents[1] / "assets"
