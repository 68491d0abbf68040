"""Many phones, many hosts, one suite: a hub gives trials to phones, hosts run them and bring their records home.

    client ──submit──▶ hub (Dask scheduler, coordinator, store) ◀──announce, deliver── host (a process for each phone)

The three meet on the wire alone, where all is plain data (`wire.py`), checked on arrival; a trial's record travels by
`farm_deliver`, never as a task's result, so that it arrives also when the hub was away at its end. What the hub decides
it decides on the board (`board/`), which does no input or output. `local.py` is a farm within one command.

The only room that imports Dask.
"""
