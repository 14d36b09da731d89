#!/bin/sh
# A model like the shipped one, from scratch and by the clock:
#
#     tools/train_shipped.sh ASSETS OUT MINUTES
#     tools/train_shipped.sh ASSETS OUT MINUTES --teacher mixture.json
#
# ASSETS holds cutouts and backgrounds (panoramas in a folder of that name), and in `teacher` an
# ONNX file that labels depth; `tools/pack_assets.py` packs such a folder for another machine. Drawn
# scenes are added, all of it is labelled, then a depth network and a network for masks are trained
# and exported together to OUT/model, and packed as OUT/model.zip. MINUTES is all the time there is:
# what drawing and labelling leave is shared between the two trainings. Ten minutes are meant for a
# data-centre GPU with 16 cores; on two cores the shipped model took hours. Stopped and called
# again, it goes on; the clock starts again, for what is not done.
#
# SCENES sets the number of drawn scenes, FROM a model to start the masks from, DEVICE the device,
# and MASKDEPTH the command, if it is not on the path.
set -eu

[ $# -ge 3 ] || { echo "usage: tools/train_shipped.sh ASSETS OUT MINUTES [--teacher NAME ...]" >&2; exit 2; }
assets=$1 out=$2 minutes=$3
shift 3
[ -d "$assets/cutouts" ] && [ -d "$assets/backgrounds" ] || {
    echo "$assets lacks cutouts or backgrounds: tools/pack_assets.py makes such a folder" >&2
    exit 2
}
case $minutes in '' | *[!0-9]* | 0) echo "MINUTES is a whole number above 0, not '$minutes'" >&2; exit 2 ;; esac
[ $# -gt 0 ] || set -- --teacher "$assets/teacher/tcmonodepth_small.onnx"
maskdepth=${MASKDEPTH:-maskdepth}
rules=$(dirname "$0")/shipped
cores=$(getconf _NPROCESSORS_ONLN)
scenes=${SCENES:-$((cores * 100))}
device=${DEVICE:-auto}
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
end=$(($(date +%s) + minutes * 60))

say() { echo "$(date +%H:%M:%S) $*, $((end - $(date +%s))) s left" | tee -a "$out/times.txt"; }

mkdir -p "$out"
if [ ! -f "$out/drawn.done" ]; then
    say "drawing $scenes scenes"
    "$maskdepth" worlds -o "$out/drawn" --scenes "$scenes" --cutouts 120 --processes "$cores"
    rm -rf "$out/cutouts" "$out/backgrounds"
    mkdir "$out/cutouts" "$out/backgrounds"
    cp -R "$assets/cutouts" "$out/cutouts/photos"
    cp -R "$out/drawn/cutouts" "$out/cutouts/drawn"
    cp -R "$assets/backgrounds" "$out/backgrounds/photos"
    cp -R "$out/drawn/backgrounds" "$out/backgrounds/drawn"
    touch "$out/drawn.done"
fi
if [ ! -f "$out/labelled.done" ]; then
    say "composing and labelling"
    for name in depth mask; do
        rm -rf "$out/$name-data"
        "$maskdepth" compose "$out/cutouts" "$out/backgrounds" -o "$out/$name-data" --plan field \
            --rules "$rules/${name}_rules.yaml" --split none --views "${VIEWS:-24}" --seed 1
        # Both see the same backgrounds, which are labelled once.
        [ "$name" = depth ] || cp -R "$out/depth-data/labels" "$out/mask-data/labels"
        "$maskdepth" label "$out/$name-data" "$@"
    done
    touch "$out/labelled.done"
fi

train() {  # NAME SHARE RESERVE [--from MODEL]: train in SHARE per cent of the time but RESERVE s
    name=$1 share=$2 reserve=$3
    shift 3
    [ ! -f "$out/$name/model.json" ] || return 0
    if [ -f "$out/$name/state.safetensors" ]; then
        set -- --resume
    else
        left=$(((end - reserve - $(date +%s)) * share / 100))
        [ "$left" -ge 20 ] || left=20
        cp "$rules/${name}_training.yaml" "$out/$name.yaml"
        echo "minutes: $((left / 60)).$(printf %02d $((left % 60 * 100 / 60)))" >> "$out/$name.yaml"
    fi
    say "training $name"
    "$maskdepth" train "$out/$name-data" -o "$out/$name" --config "$out/$name.yaml" \
        --device "$device" "$@"
}
# Each training also starts, validates and exports in 30 s; the copies take 40.
train depth 55 100
if [ -n "${FROM:-}" ]; then set -- --from "$FROM"; else set --; fi
train mask 100 70 "$@"

say "exporting"
"$maskdepth" export "$out/depth" -o "$out/depth-model" --half
"$maskdepth" export "$out/mask" -o "$out/model" --half --depth-network "$out/depth-model"
python3 -m zipfile -c "$out/model.zip" "$out/model"
say "done: $out/model"
