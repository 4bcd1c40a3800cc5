#!/bin/bash
# On a machine with an accelerator and no network: unpacks what pack.sh packed beside this script, and
# builds the core, llama-bench and the random models. Progress is in $WORK/build.log; when it ends,
# $WORK/done says "whole" or "failed".
#
#   bash build.sh               in the foreground
#   bash build.sh start         in a session of its own, which outlives the command that started it
#   bash build.sh wait SECONDS  until it has ended, SECONDS at most; says how far it is
#
# Where prebuilt.tar.xz lies beside it, that is used instead. Made of what a build on another machine left, by
#
#   tar cJf prebuilt.tar.xz -C $WORK src/python/rewardshift/_core.abi3.so build/bin/llama-bench
#
# From the environment: WORK (/tmp/rewardshift-gpu), JOBS (one a processor), CUDA (ON; OFF rehearses on
# the processor), MODELS (names of random_gguf.py), CPU (native), CUBLAS (a folder with include and lib, if
# neither the toolkit nor Python's packages have cuBLAS).
set -eu -o pipefail
{ # read whole before anything runs: a later call may lay this file anew
HERE=$(cd "$(dirname "$0")" && pwd)
export WORK=${WORK:-/tmp/rewardshift-gpu} CUDA=${CUDA:-ON} JOBS=${JOBS:-$(nproc)}
MODELS=${MODELS-$(for name in qwen2.5-1.5b llama-3-8b {trimmed-152k,qwen2.5-0.5b,trimmed-128k,llama-3.2-1b}{,-reference}; do echo $name; done)}

case ${1:-} in
  start)
    mkdir -p "$WORK"
    rm -f "$WORK/done"
    setsid nohup bash "$0" >"$WORK/build.log" 2>&1 </dev/null &
    exit ;;
  wait)
    for ((i = 0; i < $2; i++)); do [ -f "$WORK/done" ] && break; sleep 1; done
    tail -n 12 "$WORK/build.log" | cut -c1-300
    if [ -f "$WORK/done" ]; then echo "build ended: $(cat "$WORK/done")"; else echo "build goes on"; fi
    ls -la "$WORK/models" 2>/dev/null || true
    exit ;;
esac

mkdir -p "$WORK"
status=failed
trap 'echo $status >"$WORK/done"' EXIT
began=$SECONDS
say() { echo "== $((SECONDS - began)) s: $*"; }

say unpacking
cp "$HERE"/{build,check}.sh "$WORK/" # to stay, whatever becomes of the folder they came in
mkdir -p "$WORK/src" "$WORK/cache" "$WORK/models" "$WORK/lib" "$WORK/include"
tar xf "$HERE/project.tar.xz" -C "$WORK/src"
tar xf "$HERE/llama.tar.xz" -C "$WORK/cache"
PYTHON=$(python3 -c 'import sys; print(sys.executable)')
PATH=$(dirname "$PYTHON"):$PATH
"$PYTHON" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$WORK/site" "$HERE"/wheels/*.whl
cat >"$WORK/env.sh" <<END
export WORK=$WORK PYTHON=$PYTHON CUDA=$CUDA PATH=$PATH PYTHONUNBUFFERED=1
export PYTHONPATH=$WORK/src/python:$WORK/src:$WORK/site
export LD_LIBRARY_PATH=$WORK/lib:\${LD_LIBRARY_PATH:-}
END
. "$WORK/env.sh"
"$PYTHON" -c 'import sys, numpy, gguf, nanobind; print(sys.version, numpy.__version__, nanobind.__version__)'

say "random models in the background: $MODELS"
(for shape in $MODELS; do
  file=$WORK/models/$shape.gguf
  name=${shape%-reference} seed=1
  [ "$name" = "$shape" ] || seed=2
  "$PYTHON" "$WORK/src/benchmarks/accelerator/random_gguf.py" "$name" "$file.part" --seed $seed && mv "$file.part" "$file"
done) >"$WORK/models.log" 2>&1 &
models=$!

options=(-DCMAKE_BUILD_TYPE=Release "-DPython_EXECUTABLE=$PYTHON" -DGGML_CCACHE=OFF
  -DREWARDSHIFT_BUILD_PEERS=ON "-DREWARDSHIFT_CPU=${CPU:-native}")
if [ ! -f "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then
  say "this Python has no headers: those that were packed"
  tar xf "$HERE/python-headers.tar.xz" -C "$WORK"
  options+=("-DPython_INCLUDE_DIR=$WORK/$(ls "$WORK" | grep '^python3')")
fi

# The first of several places that has a file.
first() { local file=$1 dir; shift; for dir; do if [ -e "$dir/$file" ]; then echo "$dir/$file"; return; fi; done; }
if [ "$CUDA" = ON ]; then
  NVCC=$(command -v nvcc || ls /usr/local/cuda*/bin/nvcc | head -n 1)
  top=$("$NVCC" -v x.cu -E --dryrun 2>&1 | sed -n 's/^#\$ TOP=//p' || true)
  top=$(realpath "${top%%$'\n'*}")
  mapfile -t wheels < <("$PYTHON" -c 'import glob, sys
for p in sys.path: print(*glob.glob(p + "/nvidia/*"), sep="\n")' | grep .)
  places=("$top" "$top/targets/x86_64-linux" /usr/local/cuda "${wheels[@]}" ${CUBLAS:+"$CUBLAS"})
  say "nvcc $NVCC, toolkit $top; also: ${wheels[*]:-}"
  for name in libcublas libcublasLt libcudart; do # where only the versioned name is there, the other is missed
    for version in "" .13 .12; do
      found=$(first "$name.so$version" "${places[@]/%//lib64}" "${places[@]/%//lib}")
      [ -n "$found" ] && break
    done
    [ -n "$found" ] || { say "no $name.so"; exit 1; }
    say "$name: $found"
    for version in "" .13; do ln -sf "$(realpath "$found")" "$WORK/lib/$name.so$version"; done
  done
  headers=$(first cublas_v2.h "${places[@]/%//include}" "$HERE/cublas")
  say "cuBLAS's headers: $headers"
  ln -sf "$(dirname "$headers")"/cublas*.h "$WORK/include/"
  options+=(-DGGML_CUDA=ON "-DCMAKE_CUDA_COMPILER=$NVCC" "-DCMAKE_CUDA_ARCHITECTURES=${ARCHITECTURE:-90-real}"
    "-DCMAKE_CUDA_FLAGS=-I$WORK/include" "-DCUDA_CUDART=$WORK/lib/libcudart.so"
    "-DCUDA_cublas_LIBRARY=$WORK/lib/libcublas.so" "-DCUDA_cublasLt_LIBRARY=$WORK/lib/libcublasLt.so"
    -DGGML_CUDA_NCCL=OFF    # one card
    -DGGML_CUDA_NO_VMM=ON)  # else the driver's own library is linked, which need not lie where CMake looks
fi

export REWARDSHIFT_CACHE_DIR=$WORK/cache
if [ -f "$HERE/prebuilt.tar.xz" ]; then
  say "what was built beforehand"
  tar xf "$HERE/prebuilt.tar.xz" -C "$WORK"
else
  say "configuring: ${options[*]}"
  cmake -S "$WORK/src" -B "$WORK/build" -G Ninja "${options[@]}"
  say "building with $JOBS jobs"
  NINJA_STATUS='[%f/%t %es] ' ninja -C "$WORK/build" -j "$JOBS" _core
  cmake --install "$WORK/build" --component core --prefix "$WORK/src/python"
  say "the core is built"
  ninja -C "$WORK/build" -j "$JOBS" llama-bench || say "no llama-bench"
fi
"$PYTHON" -c 'from rewardshift import _core
print(_core.backends(), [(d.name, d.description, d.kind) for d in _core.devices()])'
wait $models || true
cat "$WORK/models.log"
say built
status=whole
exit
}
