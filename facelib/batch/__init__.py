"""Notebooks and folders of pictures run in bulk: papermill, sweeps, Dask."""
