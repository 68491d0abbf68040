"""The Python runner app: the phone's end of the wire language, where no Swift binary is at hand (a virtual phone).

It is zipped alone into the app bundle, so this package imports the standard library and itself, nothing else of the
project; the engine is a C library reached through ctypes. It avoids heavy modules (dataclasses, asyncio, logging): what
it allocates itself is part of every reading it takes.
"""
