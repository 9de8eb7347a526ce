"""The command ``facelib``: parsing of arguments and printing, nothing else."""
