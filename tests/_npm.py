"""Clients that others wrote, installed from npm once a test session."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock


def installed(tmp_path_factory: pytest.TempPathFactory, worker_id: str, name: str, *packages: str) -> Path:
    """The folder under which npm put the packages; skips where npm is missing."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"Node and npm are missing: {packages[0]} cannot be run")
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if worker_id != "master" else base) / name
    with FileLock(f"{home}.lock"):
        if not (home / "ready").exists():
            home.mkdir(parents=True, exist_ok=True)
            done = subprocess.run(
                [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(home), *packages],
                capture_output=True,
                text=True,
                timeout=300,
                env=os.environ | _trusting_the_machine(),
                check=False,
            )
            assert done.returncode == 0, f"npm install {' '.join(packages)}: {done.stderr}"
            (home / "ready").touch()
    return home / "node_modules"


def _trusting_the_machine() -> dict[str, str]:
    """Node trusts its own certificates only; company networks sign with the machine's."""
    bundles = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
    found = next((bundle for bundle in bundles if Path(bundle).exists()), None)
    return {"NODE_EXTRA_CA_CERTS": found} if found and "NODE_EXTRA_CA_CERTS" not in os.environ else {}
