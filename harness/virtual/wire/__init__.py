"""Codecs of Apple's wire formats: sans-IO, bounded, knowing neither sockets nor the phone."""
