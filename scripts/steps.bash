# shellcheck shell=bash
# Named steps with their times. Each step prints one line, keeps its output in a log, and shows the
# log when it fails. Steps may run in parallel lanes; all results go to one file.

logs="${CARGO_TARGET_DIR:-target}/logs"
lanes=()
broken_lane=0

say() { printf '%s\n' "$*" >&2; }

# Ends the script: the fault, then what to do about it.
fail() {
  say "error: $1"
  [ $# -lt 2 ] || say "hint: $2"
  exit 1
}

begin_steps() {
  rm -rf "$logs"
  mkdir -p "$logs"
  : >"$logs/results"
  trap end_lanes EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# record WORD SECONDS NAME
record() {
  printf '%7s  %4d s  %s\n' "$1" "$2" "$3" | tee -a "$logs/results" >&2
}

# step NAME COMMAND...: quiet unless it fails.
step() {
  local name="$1" log status=0 began=$SECONDS
  shift
  log="$logs/${name// /-}.log"
  say "  start          $name"
  "$@" >"$log" 2>&1 </dev/null || status=$?
  finish_step "$name" "$status" $((SECONDS - began)) || {
    say "----- $name: the last 120 lines of $log -----"
    tail -n 120 "$log" >&2
    say "----- $name -----"
  }
  return "$status"
}

# shown_step NAME COMMAND...: its output is shown while it runs.
shown_step() {
  local name="$1" log status began=$SECONDS
  shift
  log="$logs/${name// /-}.log"
  say "  start          $name"
  if "$@" 2>&1 </dev/null | tee "$log"; then status=0; else status=${PIPESTATUS[0]}; fi
  finish_step "$name" "$status" $((SECONDS - began)) || true
  return "$status"
}

finish_step() {
  if [ "$2" -eq 0 ]; then
    record ok "$3" "$1"
  else
    record FAILED "$3" "$1"
    return 1
  fi
}

# skipped_step NAME WHY: the step does not run, because an earlier one failed.
skipped_step() { record skipped 0 "$1 ($2)"; }

# lane FUNCTION: runs it beside the others, in a process group of its own, so that an interrupted
# script can end it whole.
lane() {
  set -m
  "$@" &
  lanes+=("$!")
  set +m
}

join_lanes() {
  local one
  for one in ${lanes[@]+"${lanes[@]}"}; do
    wait "$one" || broken_lane=1
  done
  lanes=()
}

end_lanes() {
  local one
  for one in ${lanes[@]+"${lanes[@]}"}; do
    kill -TERM -- "-$one" 2>/dev/null || true
  done
}

# Every step with its time, then the number of tests; fails if a step did.
summarize_steps() {
  say ''
  say "Steps of this run, $SECONDS s in all:"
  cat "$logs/results" >&2
  say ''
  # cargo test: "test result: ok. 3 passed; 0 failed; ..."; pytest: "== 1 failed, 3 passed in 2.0s ==".
  cat "$logs"/*.log | awk '
    function number_before(word) { return match($0, "[0-9]+ " word) ? substr($0, RSTART) + 0 : 0 }
    /^test result: / || /^=+ .*[0-9]+ (passed|failed|errors?).* in [0-9.]+s/ {
      passed += number_before("passed")
      failed += number_before("failed") + number_before("error")
      skipped += number_before("skipped") + number_before("ignored")
    }
    END { if (passed + failed + skipped) printf "tests: %d passed, %d failed, %d skipped\n", passed, failed, skipped }'
  [ "$broken_lane" -eq 0 ] && ! grep -q -E '^ *(FAILED|skipped) ' "$logs/results"
}
