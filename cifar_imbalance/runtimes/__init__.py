"""Runtimes: the devices that a step runs on. The only package with device-specific code."""
