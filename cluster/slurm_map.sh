#!/bin/bash
# Make the map of a recording with a Slurm job array, and merge it when all parts are there:
#
#   parts=$(sbatch --parsable --array=1-16 cluster/slurm_map.sh drive/ parts/ --model hog)
#   sbatch --dependency=afterok:$parts --wrap 'seqnet_ros map merge parts/*.npz --output site.map'
#
# All machines must see the recording and the folder of the parts by the same paths. A part that is
# there stays, so the array can be submitted again after a failure.
#SBATCH --cpus-per-task=2
set -eu
recording=$1 parts=$2
shift 2
shard=$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT
part=$parts/$SLURM_ARRAY_TASK_ID-of-$SLURM_ARRAY_TASK_COUNT.npz
mkdir -p "$parts"
[ -e "$part" ] || seqnet_ros map build "$recording" --shard "$shard" --output "$part" "$@"
