# shellcheck shell=bash
# The single checks, each one a named step, for scripts/lint and scripts/test. Source steps.bash
# first. A function runs all of its steps and fails if one of them failed.

export PATH="$PWD/.venv/bin:$PATH"
# The interpreter that the binding is built for. Without it, the first `python3` in PATH decides.
export PYO3_PYTHON="$PWD/.venv/bin/python"

# Where scripts/setup builds actionlint.
actionlint="$(sed -n 's/^actionlint_version=//p' scripts/setup)"
actionlint="${XDG_CACHE_HOME:-$HOME/.cache}/verve/actionlint-$actionlint/actionlint"

shell_scripts() { find .ci scripts -type f ! -name '*.py'; }

# The crates of the workspace, and those outside it.
check_rust_format() {
  local manifest status=0
  cargo fmt --all --check || status=1
  while read -r manifest; do
    cargo fmt --manifest-path "$manifest" --check || status=1
  done < <(find bench rust/fuzz/harness -name Cargo.toml ! -path '*/target/*')
  return "$status"
}

lint_rust() {
  local status=0
  step 'rustfmt' check_rust_format || status=1
  step 'clippy' cargo clippy --workspace --all-targets --quiet -- -D warnings || status=1
  # What the crate's readers see: no link leads to what they do not have.
  RUSTDOCFLAGS='-D warnings' step 'docs of the core' \
    cargo doc --package verve-core --no-deps --quiet || status=1
  return "$status"
}

lint_python() {
  local status=0
  step 'ruff' ruff check . || status=1
  step 'ruff format' ruff format --check . || status=1
  # shellcheck disable=SC2046 # none of the names has a space
  step 'shellcheck' shellcheck $(shell_scripts) || status=1
  step 'zizmor' zizmor --quiet --offline .github || status=1
  if [ -x "$actionlint" ]; then
    step 'actionlint' "$actionlint" || status=1
  else
    record absent 0 'actionlint (Go is missing, which builds it)'
  fi
  # Advisories need a database from the network: a scheduled workflow looks there.
  step 'cargo deny' cargo deny --all-features --locked check licenses bans sources || status=1
  return "$status"
}

# Needs the wheel: the stub is compared with the built module.
check_types() {
  local status=0
  step 'mypy' mypy || status=1
  step 'pyright' basedpyright || status=1
  step 'stubtest' python -m mypy.stubtest verve._verve || status=1
  return "$status"
}

# The binding has no tests in Rust: it is tested from Python, as a wheel. The model of the protocol
# is too slow without optimization: see below.
test_rust() {
  step 'cargo test' cargo test --workspace --exclude verve-python --exclude verve-protocol || return 1
}

# The protocol among hosts, as a model. It shares no code with the service, and is explored again
# only when it changed.
check_protocol() {
  local passed="${CARGO_TARGET_DIR:-target}/protocol-passed" inputs
  inputs="$(python scripts/fingerprint.py Cargo.toml Cargo.lock rust/protocol scripts/checks.bash \
    --also "$(cargo --version)")"
  if [ -f "$passed" ] && [ "$(cat "$passed")" = "$inputs" ]; then
    record ok 0 'protocol model (unchanged)'
    return
  fi
  step 'protocol model' cargo test --package verve-protocol --profile models || return 1
  printf '%s\n' "$inputs" >"$passed"
}

# The same code under the model checker. It has a target directory of its own, since the flag would
# discard what was built without it. An unchanged model is not run again.
check_models() {
  local target="${CARGO_TARGET_DIR:-target}/loom" inputs status=0
  local options=(--package verve-core --profile models --test 'loom_*')
  inputs="$(python scripts/fingerprint.py Cargo.toml Cargo.lock rust/core scripts/checks.bash \
    --also "$(cargo --version)")"
  if [ -f "$target/passed" ] && [ "$(cat "$target/passed")" = "$inputs" ]; then
    record ok 0 'loom models (unchanged)'
    return
  fi
  local -x CARGO_TARGET_DIR="$target" RUSTFLAGS="--cfg loom ${RUSTFLAGS:-}"
  step 'clippy of the models' cargo clippy --quiet "${options[@]}" -- -D warnings || status=1
  step 'loom models' cargo test "${options[@]}" || status=1
  [ "$status" -eq 0 ] || return 1
  printf '%s\n' "$inputs" >"$target/passed"
}

# The same code in random schedules, which may be far longer than those of loom.
check_schedules() {
  local status=0 options=(--package verve-core --profile models --test 'shuttle_*')
  local -x CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/shuttle"
  local -x RUSTFLAGS="--cfg shuttle ${RUSTFLAGS:-}" VERVE_SCHEDULES=100000
  step 'clippy of the schedules' cargo clippy --quiet "${options[@]}" -- -D warnings || status=1
  step 'random schedules' cargo test "${options[@]}" || status=1
  return "$status"
}

# Built ahead, so that no test waits for a compiler.
build_load() {
  step 'load generator' cargo build --release --package verve-load || return 1
  step 'storm of callbacks' cargo build --release --package verve-callbacks --example storm || return 1
}

# Most tests wait more than they compute: they run in two lanes. The tests marked `alone` follow,
# one by one, without other work on the machine. With arguments, pytest runs once, in one lane.
test_wheel() {
  local status=0 run=(python -m pytest --durations=10)
  if [ $# -gt 0 ]; then
    shown_step 'pytest' "${run[@]}" "$@"
    return
  fi
  shown_step 'pytest in lanes' "${run[@]}" -m 'not alone' --numprocesses 2 --dist worksteal ||
    status=1
  shown_step 'pytest alone' "${run[@]}" -m alone || status=1
  return "$status"
}
