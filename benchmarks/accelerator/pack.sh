#!/bin/bash
# Packs what build.sh and check.sh need on a machine without a network into a folder:
#
#   bash benchmarks/accelerator/pack.sh FOLDER [PYTHON]
#
# this project as committed, llama.cpp's sources as pinned (without other accelerators' code), wheels that a
# machine with PyTorch may lack, and headers that its CUDA or its Python may lack. PYTHON (python3) is of
# the version that the machine has and its pip reaches an index. CUBLAS_HEADERS names a folder with cublas_v2.h.
set -eu -o pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
TOP=$(cd "$HERE/../.." && pwd)
FOLDER=$(mkdir -p "$1" && cd "$1" && pwd)
PYTHON=${2:-python3}

git -C "$TOP" archive --format=tar HEAD -- . ':!docs' ':!.ci' | xz -T0 >"$FOLDER/project.tar.xz"
LLAMA=$("$PYTHON" "$TOP/third_party/llama.cpp/fetch.py" | tail -n 1)
others=()
for name in blas cann et hexagon hip metal musa opencl openvino rpc sycl virtgpu vulkan webgpu zdnn zendnn; do
  others+=(--exclude="*/ggml/src/ggml-$name")
done
for name in examples/{llama.android,llama.swiftui} tools/{mtmd,server,ui}/tests tools/ui/{src,static} '*.mp[34]'; do
  others+=(--exclude="*/$name")
done
(cd "$(dirname "$LLAMA")" && tree=$(basename "$LLAMA") && tar c "${others[@]}" \
  "$tree"/{CMakeLists.txt,LICENSE,cmake,common,examples,ggml,include,licenses,pocs,src,tools,vendor}) |
  xz -T0 >"$FOLDER/llama.tar.xz"
mkdir -p "$FOLDER/wheels"
"$PYTHON" -m pip download -q --no-deps --only-binary=:all: -d "$FOLDER/wheels" 'gguf>=0.19' 'nanobind>=3.1,<4'
tar cJf "$FOLDER/python-headers.tar.xz" -C "$(dirname "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')")" \
  "$(basename "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')")"
if [ -n "${CUBLAS_HEADERS:-}" ]; then
  mkdir -p "$FOLDER/cublas"
  cp "$CUBLAS_HEADERS"/cublas*.h "$FOLDER/cublas/"
fi
cp "$HERE/build.sh" "$HERE/check.sh" "$FOLDER/"
du -sh "$FOLDER"/*
