"""A phone as the host sees it: connect, install, push, launch, watch, collect evidence.

Never imports `harness.virtual`: a virtual iPhone is started as a process of its own and then treated exactly as a
phone. Only the package `pymobiledevice3_` imports pymobiledevice3, and only `tidevice_` tidevice.
"""
