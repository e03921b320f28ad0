# How this project is worked on; `just` lists these.
default:
    @just --list

# Every test, PostgreSQL included
test *arguments:
    uv run pytest {{ arguments }}

# Style, types, layers, generated documents
check:
    uv run ruff check .
    uv run ruff format --check .
    uv run pyright
    uv run lint-imports
    uv run python docs/generate.py --check

# Put style and generated documents right
fix:
    uv run ruff check --fix .
    uv run ruff format .
    uv run python docs/generate.py

# Rewrite the snapshots of the tool contract; read the difference before you commit it
contract:
    uv run python -m tests.contract.update

# Floor against product, in one run
bench *arguments:
    uv run python -m benchmarks {{ arguments }}

# Tasks as people say them, done through the protocol and scored on what the store then holds
evals *arguments:
    uv run python -m evals {{ arguments }}

# The longer proof: ten times the kills, scripts and examples, every way to fail at each call, each era on each store
prove:
    CS_MCP_PROVE=10 uv run pytest tests/faults tests/server tests/contract tests/store

# What a change must pass to land
ci:
    .ci/run
