#!/bin/sh
# The prior work at a hundredth of its size, from two folders to its two Dice figures:
#
#     tools/prior_work.sh DATA OUT
#     tools/prior_work.sh DATA OUT --teacher densedepth:nyu.h5 --licence GPL-3.0
#
# 10 cutouts x 10 backgrounds x 2 flips x 20 places are 4 000 composites, written in four folders
# with a teacher's depth of each; then 60 steps of the preset `prior`, and its evaluation. DATA holds
# cutouts/animals, backgrounds and teacher/tcmonodepth_small.onnx. Stopped and called again, it goes
# on. MASKDEPTH names the command, if it is not on the path. docs/prior-work.md says what comes out.
set -eu

[ $# -ge 2 ] || { echo "usage: tools/prior_work.sh DATA OUT [--teacher NAME ...]" >&2; exit 2; }
data=$1 out=$2
shift 2
[ $# -gt 0 ] || set -- --teacher "$data/teacher/tcmonodepth_small.onnx"
maskdepth=${MASKDEPTH:-maskdepth}
# Threads that spin slow each other down on a busy machine.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"

copy_ten() {  # FROM TO SUFFIX: the first ten pictures by name
    [ -d "$1" ] || { echo "$1 is no folder: DATA needs cutouts/animals and backgrounds" >&2; exit 2; }
    mkdir -p "$2"
    find "$1" -maxdepth 1 -name "*.$3" | LC_ALL=C sort | head -n 10 | while read -r picture; do
        cp "$picture" "$2"
    done
}

begin=$(date +%s)
lap() {  # NAME: how long the part took that ends now
    now=$(date +%s)
    echo "$1: $((now - begin)) s" | tee -a "$out/times.txt"
    begin=$now
}

copy_ten "$data/cutouts/animals" "$out/cutouts" png
copy_ten "$data/backgrounds" "$out/backgrounds" jpg

"$maskdepth" compose "$out/cutouts" "$out/backgrounds" -o "$out/data" --plan prior --split none \
    --layout folders --count 4000 "$@"
for folder in output_image output_bg output_mask output_depth; do
    files=$(find "$out/data/$folder" -name '*.jpg' | wc -l)
    [ "$files" -eq 4000 ] || { echo "$folder has $files files, not 4000" >&2; exit 1; }
done
lap compose

# The prior work's batches of 64 take a GPU; everything else is as in the preset.
echo "batch_size: 8" > "$out/settings.yaml"
if [ ! -f "$out/model/model.json" ]; then
    resume=
    [ ! -f "$out/model/state.safetensors" ] || resume=--resume
    # shellcheck disable=SC2086 - no word where there is nothing to resume
    "$maskdepth" train "$out/data" -o "$out/model" --preset prior --per-composite --steps 60 \
        --config "$out/settings.yaml" $resume
fi
lap train

"$maskdepth" evaluate composites "$out/model" "$out/data" --count 100
lap evaluate
