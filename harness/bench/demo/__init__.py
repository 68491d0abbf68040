"""Records made by seed, to show what reports look like. No phone, no engine, no measurement: every record says so."""
