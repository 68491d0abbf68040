"""The pytest face: `pytest --device=virtual` runs suites, one item a trial."""
