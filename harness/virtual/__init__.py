"""A virtual iPhone: Apple's protocols from the other end, a real engine under a real memory limit.

This room may know `harness.core`; it never imports `harness.device` nor any client library of iPhones
(pymobiledevice3, tidevice): those are its foreign oracles.
"""
