"""The hub: gives trials to phones, takes their records, and tells who asks; with Dask's scheduler and the results."""
