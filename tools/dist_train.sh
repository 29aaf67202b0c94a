#!/usr/bin/env bash
# Train with N processes on this machine, or on several: tools/dist_train.sh N CONFIG [options of tools/train.py]
#
# One machine:   tools/dist_train.sh 8 configs/picodet_lcnet.py --data data/coco
# Several, on each: NNODES=2 NODE_RANK=0 MASTER_ADDR=first-host tools/dist_train.sh 8 configs/...
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: tools/dist_train.sh PROCESSES CONFIG [options of tools/train.py]" >&2
    exit 2
fi
processes=$1
shift
place=(--standalone)
if [ "${NNODES:-1}" -gt 1 ]; then
    place=(--nnodes "$NNODES" --node-rank "${NODE_RANK:?number of this machine, from 0}"
        --master-addr "${MASTER_ADDR:?host name of machine 0}"
        --master-port "${MASTER_PORT:-29500}")
fi
exec "${PYTHON:-python}" -m torch.distributed.run --nproc-per-node "$processes" "${place[@]}" \
    "$(dirname "$0")/train.py" "$@" --launcher pytorch
