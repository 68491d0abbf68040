"""Walks everything the harness asks of a phone: what works, how fast, and what to do about the rest."""

from harness.device.doctor.patient import Patient
from harness.device.doctor.steps import STEPS
from harness.device.doctor.walk import Checkup, Figure, Step, StepReport, Verdict, walk

__all__ = ["STEPS", "Checkup", "Figure", "Patient", "Step", "StepReport", "Verdict", "walk"]
