"""A host: a process for each of its phones, which runs trials and brings their records to the hub."""
