"""The words of the field: phone, job, telemetry, outcome, record. Pure values and functions, no I/O."""
