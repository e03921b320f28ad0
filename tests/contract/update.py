"""Rewrites the snapshots: `python -m tests.contract.update`. Read the diff: it is what callers will notice."""

from __future__ import annotations

from ._listed import SNAPSHOTS, listed, pretty


def main() -> None:
    SNAPSHOTS.mkdir(exist_ok=True)
    written = {SNAPSHOTS / f"{tool['name']}.json": pretty(tool) for tool in listed()}
    for gone in set(SNAPSHOTS.glob("*.json")) - set(written):
        gone.unlink()
        print(f"removed {gone.name}")
    for path, text in written.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
