#!/bin/bash
# After build.sh, on the same machine: what was built, tests that compare with exact laws and with numpy,
# and the measurements. A log and JSON (6 files at most) go to $OUT ($WORK/out). Steps, one or several, in any order:
#
#   bash check.sh look tests measure-1.5b measure-8b measure-pairs loops small
#
# SECONDS_EACH (150) ends a step that takes longer; what it has written by then is kept.
set -u
{ # read whole before anything runs: a later call may lay this file anew
WORK=${WORK:-/tmp/rewardshift-gpu}
. "$WORK/env.sh"
OUT=${OUT:-$WORK/out}
mkdir -p "$OUT"
cp "$WORK/build.log" "$OUT/" 2>/dev/null
cd "$WORK/src" || exit 1
MEASURE=benchmarks/accelerator/measure.py
BENCH=$WORK/build/bin/llama-bench

limited() { # NAME SECONDS COMMAND...: its output to the log too, and its status
  local name=$1 seconds=$2 began=$SECONDS
  shift 2
  echo "== $name" | tee -a "$OUT/check.log"
  timeout -k 5 "$seconds" "$@" 2>&1 | tee -a "$OUT/check.log"
  echo "== $name: status ${PIPESTATUS[0]}, $((SECONDS - began)) s" | tee -a "$OUT/check.log"
}

measured() { # NAME TARGET PAIR more options
  local name=$1 target=$2 pair=$3
  shift 3
  limited "$name" "${SECONDS_EACH:-150}" "$PYTHON" "$MEASURE" --target "$target" --pair "$pair" \
    --models "$WORK/models" --seconds "$((${SECONDS_EACH:-150} - 40))" --json "$OUT/$name.json" \
    $([ -x "$BENCH" ] && echo --llama-bench "$BENCH") "$@"
}

# Warnings of packages that are newer here than where we test are no errors. One that is cut has named what failed by then.
tests() {
  limited "$1" "$2" "$PYTHON" -m pytest -v -W default -p no:cacheprovider \
    --timeout=100 -n "${TEST_JOBS:-8}" --tb=short "${@:3}"
}

for step in "$@"; do
  case $step in
    look)
      limited machine 30 bash -c 'nvidia-smi; nproc; lscpu | grep "Model name"; free -g | head -n 2; nvcc --version | tail -n 2'
      limited doctor 60 "$PYTHON" -m rewardshift.cli doctor ;;
    tests)
      tests law "${SECONDS_EACH:-150}" tests/test_gguf_law.py tests/test_shift_files.py
      tests numeric "${SECONDS_EACH:-150}" tests/test_{context,mapped_model,encoder_rewards,recurrent}.py \
        -k "not any_walk" ;;
    measure-1.5b) measured 1.5b qwen2.5-1.5b trimmed-152k ;;
    measure-8b) measured 8b llama-3-8b trimmed-128k ;;
    measure-pairs) # drafts of the size that people use; what llama-bench says is known by then
      BENCH= measured 1.5b-0.5b qwen2.5-1.5b qwen2.5-0.5b --requests 1 16 --repeat 2
      BENCH= measured 8b-1b llama-3-8b llama-3.2-1b --requests 1 16 --repeat 2 ;;
    loops) limited loops 60 "$PYTHON" benchmarks/vocabulary.py --sizes 128256 151936 --repeat 7 ;;
    small) # a rehearsal
      limited small 300 "$PYTHON" "$MEASURE" --small --models "$WORK/models" --tokens 24 --repeat 1 \
        --json "$OUT/small.json" $([ -x "$BENCH" ] && echo --llama-bench "$BENCH") --requests 1 4 ;;
    *) echo "no step $step" ;;
  esac
done
ls -la "$OUT"
exit
}
