#!/usr/bin/env bash
# Train the 256 px starter on one large GPU in three calls of ten minutes each:
#
#   OUT=out1 bash benchmarks/gpu/train_starter.sh 1
#   OUT=out2 bash benchmarks/gpu/train_starter.sh 2
#   OUT=out3 bash benchmarks/gpu/train_starter.sh 3
#
# The work folder stays between calls on one machine. On a fresh machine, first put what the call before left in
# $OUT/weights into .aquatint/gpu-carry: published weights are all a later call needs, latents are made anew.
# Files in $OUT are at most 16 MiB each; larger ones come as numbered pieces.
set -euo pipefail
CALL=${1:?which call: 1, 2 or 3}
OUT=${OUT:?folder for what comes back}
WORK=.aquatint/gpu
CARRY=.aquatint/gpu-carry
RECIPE=models/training/recipes/starter-256.toml
export OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1

if [ ! -d "$WORK" ] && [ -d "$CARRY" ]; then
  for first in $(cd "$CARRY" && find . -name '*.00'); do
    file="$WORK/${first%.00}"
    mkdir -p "$(dirname "$file")"
    cat "$CARRY/${first%.00}".?? > "$file"
  done
fi

train() {
  local stages=()
  for stage in "$@"; do stages+=(--stage "$stage"); done
  python -m torch.distributed.run --standalone --nproc-per-node 1 -m models.training.train "$RECIPE" --work "$WORK" "${stages[@]}"
}

case "$CALL" in
  1) train autoencoder ;;
  2) train latents transformer ;;
  3) train latents transformer-fine distil decoder ;;
  *) echo "no such call: $CALL" >&2; exit 2 ;;
esac

mkdir -p "$OUT/weights"
for file in $(cd "$WORK" && find . -mindepth 2 -maxdepth 2 -name '*.safetensors'); do
  mkdir -p "$OUT/weights/$(dirname "$file")"
  split --bytes 16M --numeric-suffixes --suffix-length 2 "$WORK/$file" "$OUT/weights/$file."
done
for log in "$WORK"/*/log.jsonl; do cp "$log" "$OUT/$(basename "$(dirname "$log")").jsonl"; done
for stage in "$WORK"/*/; do
  newest=$(find "$stage" -maxdepth 1 -name 'samples-*.png' | sort | tail -n 1)
  [ -z "$newest" ] || cp "$newest" "$OUT/$(basename "$stage").png"
done
if [ "$CALL" = 3 ]; then
  python -c "
from pathlib import Path
from models.training.pack import pack
from models.training.recipe import Recipe
pack(Recipe.read(Path('$RECIPE')), Path('$WORK'), Path('$OUT/model'))"
fi
