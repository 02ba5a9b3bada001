"""How many cores are free, from what the system counts; whether there is a TPU, from its PCI bus."""

import pytest

from cifar_imbalance.configuration import hardware


@pytest.mark.parametrize(
    "cores, idle, busy, expected",
    [
        (2, 0.6, 0.0, 2),
        (2, 0.56, 0.04, 2),
        (2, 0.3, 0.3, 1),
        (2, 0.0, 0.6, 1),  # one at least
        (4, 0.65, 0.55, 2),
        (16, 4.2, 0.6, 14),
        (1, 0.0, 0.0, 1),
    ],
)
def test_free_cores_are_those_that_were_idle_while_we_waited(monkeypatch, cores, idle, busy, expected):
    counted = [(100.0, 50.0), (100.0 + idle, 50.0 + busy)]
    monkeypatch.setattr(hardware, "allowed_cores", lambda: list(range(cores)))
    monkeypatch.setattr(hardware, "core_seconds", lambda cores: counted.pop(0))
    assert hardware.free_cores(seconds=0) == expected


def test_where_the_system_does_not_count_all_cores_are_taken(monkeypatch):
    monkeypatch.setattr(hardware, "allowed_cores", lambda: [0, 1, 2])
    monkeypatch.setattr(hardware, "core_seconds", lambda cores: None)
    assert hardware.free_cores(seconds=0) == 3


def test_the_cores_of_this_machine_are_counted():
    idle, busy = hardware.core_seconds(hardware.allowed_cores())
    assert idle > 0
    assert busy > 0


NETWORK_CARD, LOCAL_DRIVE, NVIDIA = ("0x1ae0", "0x0042"), ("0x1ae0", "0x001f"), ("0x10de", "0x2330")


@pytest.fixture
def on_bus(tmp_path, monkeypatch):
    """Puts devices, (vendor, device), on a PCI bus made of files."""
    monkeypatch.delenv("PJRT_DEVICE", raising=False)
    monkeypatch.setattr(hardware, "PCI_DEVICES", tmp_path)

    def put(*devices):
        for number, (vendor, device) in enumerate(devices):
            folder = tmp_path / f"0000:00:{number:02x}.0"
            folder.mkdir()
            (folder / "vendor").write_text(f"{vendor}\n")
            (folder / "device").write_text(f"{device}\n")

    return put


@pytest.mark.parametrize(
    ("device", "generation"),
    [("0x0027", "v2 or v3"), ("0x005e", "v4"), ("0x0062", "v5p"), ("0x0063", "v5e"), ("0x006f", "v6e")],
)
def test_a_tpu_is_known_by_its_chips(on_bus, tmp_path, device, generation):
    on_bus(NETWORK_CARD, ("0x1ae0", device), ("0x1ae0", device), LOCAL_DRIVE)
    assert hardware.tpu_chips(tmp_path) == [generation] * 2
    assert hardware.tpu_is_attached()


@pytest.mark.parametrize("devices", [(), (NETWORK_CARD,), (LOCAL_DRIVE, NVIDIA), (("0x8086", "0x0063"),)])
def test_other_devices_of_google_and_of_others_are_no_tpu(on_bus, devices):
    on_bus(*devices)
    assert not hardware.tpu_is_attached()
    assert hardware.resolved_runtime("auto") == "auto"


def test_a_tpus_library_is_a_package_or_where_the_environment_says(monkeypatch):
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    for spec in (None, "libtpu"):
        monkeypatch.setattr(hardware.importlib.util, "find_spec", lambda name, spec=spec: spec)
        assert hardware.tpu_library_is_installed() == (spec is not None)
    monkeypatch.setattr(hardware.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("TPU_LIBRARY_PATH", "libtpu.so")
    assert hardware.tpu_library_is_installed()


def test_without_a_bus_there_is_a_tpu_only_where_the_environment_says_so(on_bus, tmp_path, monkeypatch):
    (tmp_path / "0000:00:00.0").mkdir()
    (tmp_path / "0000:00:00.0" / "vendor").write_text("0x1ae0")  # a device file that cannot be read
    assert not hardware.tpu_is_attached()
    monkeypatch.setenv("PJRT_DEVICE", "TPU")
    assert hardware.tpu_is_attached()
