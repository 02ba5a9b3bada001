"""Forms are chosen by processor, from a table."""

import pytest
import torch

from cifar_imbalance.configuration.fields import Runtime
from cifar_imbalance.runtimes import processors
from cifar_imbalance.runtimes.native import NativeRuntime


@pytest.mark.parametrize(
    "vendor, instructions, name, product_map",
    [
        ("AuthenticAMD", "AVX512", "AMD AVX512", 4),
        ("AuthenticAMD", "AVX2", "AMD AVX2", 64),
        ("GenuineIntel", "AVX512", "Intel AVX512", 256),
        ("GenuineIntel", "AVX2", "any", 16),
        ("", "DEFAULT", "any", 16),
    ],
)
def test_the_row_of_a_processor(monkeypatch, vendor, instructions, name, product_map):
    monkeypatch.setattr(processors, "processor", {"vendor_id": vendor}.get)
    monkeypatch.setattr(processors.torch.backends.cpu, "get_cpu_capability", lambda: instructions)
    found = processors.this_processor()
    assert (found.name, found.product_map) == (name, product_map)


@pytest.mark.parametrize(("instructions", "said"), [("AVX512", True), ("AVX2", False)])
def test_compiling_where_it_was_measured_to_be_slower_is_told(monkeypatch, caplog, instructions, said):
    monkeypatch.setattr(processors, "processor", {"vendor_id": "AuthenticAMD"}.get)
    monkeypatch.setattr(processors.torch.backends.cpu, "get_cpu_capability", lambda: instructions)
    threads = torch.get_num_threads()
    with caplog.at_level("INFO", logger="cifar_imbalance"):
        NativeRuntime("cpu", Runtime(compile=True, threads=threads), deterministic=False)
    line = "runtime.compile=true: compiled, B0 ran at 0.8 times the eager speed on such a processor (AMD AVX512)"
    assert caplog.messages == [line] * said
