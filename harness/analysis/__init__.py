"""Pure functions over tables of trials and readings: no store, no phone, no files."""
