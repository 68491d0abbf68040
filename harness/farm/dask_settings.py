"""How Dask is set for a farm, the same at both ends; and its security made of our certificates.

Its dashboards are pages without any password: their routes are taken away, and what still listens for them at its start
does so on the loopback interface, until `listening.close_pages`.
"""

from __future__ import annotations

import logging

import dask
from distributed import Security

from harness.farm.address import Certificates, FarmAddress
from harness.farm.listening import guard_listeners

WORKER_TTL_S = 10
"""A worker that the scheduler has not heard of for so long is lost: frozen, or behind a cut link.

Dask wants no less of 11 workers and more. Shorter, a hub whose machine is busy takes living phones for lost."""
COMM_TIMEOUT_S = 15
"""A connection that moves nothing for so long is cut; Linux and Dask want no less than 12."""
CONNECT_TIMEOUT_S = 5
PHONE_RESOURCE = "phone"
"""A worker has one, and a trial takes it."""
NO_DASHBOARD = "127.0.0.1:0"
"""Where a page server without a page listens."""


def set_dask() -> None:
    """Before a scheduler, a worker or a client is made."""
    guard_listeners()
    dask.config.set(
        {
            "distributed.scheduler.worker-ttl": f"{WORKER_TTL_S}s",
            # a job is given to one phone, and given anew by us
            "distributed.scheduler.allowed-failures": 0,
            "distributed.scheduler.work-stealing": False,
            "distributed.scheduler.http.routes": [],
            "distributed.worker.http.routes": [],
            "distributed.comm.timeouts.tcp": f"{COMM_TIMEOUT_S}s",
            "distributed.comm.timeouts.connect": f"{CONNECT_TIMEOUT_S}s",
            "distributed.comm.retry.count": 0,
            # the process has a phone's memory to look after, not a data frame's
            "distributed.worker.memory.target": False,
            "distributed.worker.memory.spill": False,
            "distributed.worker.memory.pause": False,
            "distributed.worker.memory.terminate": False,
            "distributed.worker.profile.enabled": False,
            "distributed.admin.system-monitor.gil.enabled": False,
            # looks at itself, fifty times a second by default, in each of a host's processes
            "distributed.admin.tick.interval": "1s",
            "distributed.admin.system-monitor.interval": "5s",
        }
    )
    # a lost worker or hub is our coordinator's and our agents' to tell of, with words for people
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


def security_of(address: FarmAddress, certificates: Certificates | None) -> Security:
    """Mutual TLS 1.3 for `tls://`; for `tcp://`, which is loopback only, none."""
    if address.scheme != "tls":
        return Security(require_encryption=False)
    assert certificates is not None, "whoever has an address with tls:// has asked for certificates"
    ca, certificate, key = map(str, (certificates.ca, certificates.certificate, certificates.key))
    return Security(
        require_encryption=True,
        tls_min_version=_TLS_1_3,
        tls_ca_file=ca,
        tls_scheduler_cert=certificate,
        tls_scheduler_key=key,
        tls_worker_cert=certificate,
        tls_worker_key=key,
        tls_client_cert=certificate,
        tls_client_key=key,
    )


_TLS_1_3 = 0x0304
