"""Records and verdicts in the formats of other tools. Each module knows one format; none opens the store."""
