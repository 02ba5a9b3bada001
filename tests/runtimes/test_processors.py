"""Forms are chosen by processor, from a table."""

import pytest

from cifar_imbalance.runtimes import processors


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
