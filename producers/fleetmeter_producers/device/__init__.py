"""Metering apps whose models run on their users' devices: counted there, reported when the user allows it.

`DeviceReporter` counts; `DeviceTraits` and `LocalModel` say what the device can do, which bounds what it says.
"""

from fleetmeter_producers.device.clock import Clock, DeviceClock, Reading
from fleetmeter_producers.device.reporter import DeviceReporter
from fleetmeter_producers.device.traits import DeviceTraits, LocalModel

__all__ = ["Clock", "DeviceClock", "DeviceReporter", "DeviceTraits", "LocalModel", "Reading"]
