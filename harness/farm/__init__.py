"""Many phones, many hosts, one suite: a hub gives trials to phones, hosts run them and bring their records home.

    client ──submit──▶ hub (Dask scheduler, coordinator, store) ◀──announce, deliver── host (a process for each phone)

The only room that imports Dask. What crosses the wire is plain data (`wire.py`), checked on arrival; a trial's record
travels by `farm_deliver`, never as a task's result, so that it arrives also when the hub was away at its end.
"""
