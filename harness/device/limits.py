"""How long the steps of a transport may take. Used as `limits.X`, so that a test can make one short."""

from __future__ import annotations

ATTACH_LIMIT_S = 10.0
PAIR_LIMIT_S = 60.0
SERVICE_LIMIT_S = 20.0
TRANSFER_LIMIT_S = 60.0
INSTALL_LIMIT_S = 300.0
TUNNEL_LIMIT_S = 30.0
# a question to a process of this machine
TUNNELD_LIMIT_S = 5.0
KILL_LIMIT_S = 10.0
HANG_UP_LIMIT_S = 2.0
# who a phone is, for a list: one that does not answer must not hold up the others
GLANCE_LIMIT_S = 5.0
