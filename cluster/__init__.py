"""Making maps on many machines, with Ray and with Slurm."""
