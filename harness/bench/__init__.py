"""The conductor: a suite becomes cases, cases become trials, trials become records."""
