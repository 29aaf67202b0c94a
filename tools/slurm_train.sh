#!/usr/bin/env bash
# Train on a SLURM cluster, one task per GPU: sbatch [options] tools/slurm_train.sh CONFIG [options of tools/train.py]
#
# 16 machines with 8 GPUs each:
#   sbatch --nodes 16 --ntasks-per-node 8 --gpus-per-node 8 --cpus-per-task 8 \
#       tools/slurm_train.sh configs/picodet_lcnet.py --data data/coco --auto-scale-lr
# A restarted job resumes from its newest checkpoint.
#SBATCH --requeue
#SBATCH --signal=USR1@120
set -euo pipefail
if [ $# -lt 1 ]; then
    echo "usage: sbatch [options] tools/slurm_train.sh CONFIG [options of tools/train.py]" >&2
    exit 2
fi
# sbatch runs a copy of this file from another folder.
root=${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}
# When one process fails, end all: the others would wait for it forever.
exec srun --kill-on-bad-exit=1 "${PYTHON:-python}" "$root/tools/train.py" "$@" \
    --launcher slurm --resume auto
