"""Images of any mode are decoded to the RGB that a viewer shows."""

import struct

import numpy as np
import pytest
from PIL import Image

from cifar_imbalance.data.decode import read_image, square
from cifar_imbalance.errors import UsageError

RED, WHITE = [255, 0, 0], [255, 255, 255]


def decoded(path, image, image_size=None, **options):
    image.save(path, **options)
    pixels, _ = read_image(path, square(image_size))
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    return pixels


def test_rgb_is_read_unchanged(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(decoded(tmp_path / "a.png", Image.fromarray(pixels)), pixels)


def test_grey_is_repeated_in_three_channels(tmp_path):
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    assert np.array_equal(decoded(tmp_path / "a.png", Image.fromarray(grey)), np.repeat(grey[..., None], 3, 2))


def test_one_bit_is_black_and_white(tmp_path):
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert decoded(tmp_path / "a.png", image)[0].tolist() == [[0, 0, 0], WHITE]


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, suffix):
    values = np.array([[0, 257, 300, 32768, 65278, 65535]], dtype=np.uint16)
    pixels = decoded(tmp_path / f"a.{suffix}", Image.fromarray(values))
    assert pixels[0, :, 0].tolist() == [0, 1, 1, 128, 254, 255]


def test_big_endian_16_bit_grey_is_scaled(tmp_path):
    path = tmp_path / "a.tif"
    fields = [(256, 2), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 4)]
    entries = b"".join(
        struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in fields
    )  # width, height, bits, no compression, black is zero, strips
    header = struct.pack(">2sHI", b"MM", 42, 12)
    path.write_bytes(header + struct.pack(">HH", 257, 65535) + struct.pack(">H", len(fields)) + entries + bytes(4))
    with Image.open(path) as image:
        assert image.mode == "I;16B"
    assert read_image(path)[0][0, :, 0].tolist() == [1, 255]


@pytest.mark.parametrize(
    ("bits", "photometric", "expected"),
    [(12, 1, [0, 128, 255]), (16, 0, [255, 247, 239])],
)
def test_grey_tiffs_may_have_other_bit_depths_and_0_as_white(tmp_path, bits, photometric, expected):
    values = np.array([[0, 2048, 4095]], dtype="<u2")
    fields = [(256, 3), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 1), (279, 6)]
    # With 12 bits two pixels are packed in three bytes.
    data = bytes([0x00, 0x08, 0x00, 0xFF, 0xF0, 0x00]) if bits == 12 else values.tobytes()
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    header = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    (tmp_path / "a.tif").write_bytes(header + data + struct.pack("<H", len(fields)) + directory + bytes(4))
    assert read_image(tmp_path / "a.tif")[0][0, :, 0].tolist() == expected


def test_32_bit_integers_beyond_16_bits_are_rejected(tmp_path):
    Image.fromarray(np.array([[70000]], dtype=np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(UsageError, match=r"a\.tif: its pixels are integers beyond 0\.\.65535"):
        read_image(tmp_path / "a.tif")


def test_floats_are_rejected_by_file_name(tmp_path):
    Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UsageError, match=r"^dataset\.root: cannot read .*a\.tif: its pixels are 32-bit floats"):
        read_image(tmp_path / "a.tif")


def test_a_palette_is_looked_up(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, *RED])
    image.putpixel((1, 0), 1)
    assert decoded(tmp_path / "a.png", image)[0].tolist() == [[0, 0, 0], RED]


def test_a_transparent_palette_entry_is_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, *RED])
    image.putpixel((1, 0), 1)
    assert decoded(tmp_path / "a.png", image, transparency=0)[0].tolist() == [WHITE, RED]


def test_a_palette_of_half_transparent_entries_is_blended(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, *RED])
    image.putpixel((1, 0), 1)
    assert decoded(tmp_path / "a.png", image, transparency=bytes([128, 255]))[0].tolist() == [[127, 127, 127], RED]


def test_rgba_is_composited_over_white(tmp_path):
    image = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((255, 128, 0)):
        image.putpixel((x, 0), (255, 0, 0, alpha))
    assert decoded(tmp_path / "a.png", image)[0].tolist() == [RED, [255, 127, 127], WHITE]


def test_grey_with_alpha_is_composited_over_white(tmp_path):
    image = Image.new("LA", (2, 1))
    image.putpixel((0, 0), (100, 255))
    assert decoded(tmp_path / "a.png", image)[0].tolist() == [[100, 100, 100], WHITE]


@pytest.mark.parametrize(
    "image, colour",
    [
        (Image.new("L", (1, 1), 7), 7),
        (Image.new("1", (1, 1), 0), 0),
        (Image.new("RGB", (1, 1), (1, 2, 3)), (1, 2, 3)),
        (Image.fromarray(np.array([[1000]], dtype=np.uint16)), 1000),
    ],
    ids=["L", "1", "RGB", "I;16"],
)
def test_a_transparent_colour_is_white(tmp_path, image, colour):
    assert decoded(tmp_path / "a.png", image, transparency=colour)[0].tolist() == [WHITE]


def test_cmyk_is_converted(tmp_path):
    assert decoded(tmp_path / "a.tif", Image.new("CMYK", (1, 1), (0, 255, 255, 0)))[0].tolist() == [RED]


def test_cmyk_jpeg_is_not_inverted(tmp_path):
    pixels = decoded(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=100)
    assert np.abs(pixels.astype(int) - RED).max() < 8


def test_ycbcr_is_converted(tmp_path):
    image = Image.new("RGB", (8, 8), (255, 0, 0)).convert("YCbCr")
    assert np.abs(decoded(tmp_path / "a.jpg", image, quality=100).astype(int) - RED).max() < 8


def test_the_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (2, 1))
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated clockwise by 90 degrees
    pixels = decoded(tmp_path / "a.png", image, exif=exif)
    assert pixels.shape == (2, 1, 3) and pixels[:, 0].tolist() == [RED, [0, 0, 0]]


def test_the_first_frame_of_an_animation_is_read(tmp_path):
    red, white = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "white")
    red.save(tmp_path / "a.gif", save_all=True, append_images=[white])
    pixels, several_frames = read_image(tmp_path / "a.gif")
    assert pixels[0, 0].tolist() == RED and several_frames


def test_image_size_resizes_to_a_square(tmp_path):
    assert decoded(tmp_path / "a.png", Image.new("RGB", (40, 20), "red"), image_size=16).shape == (16, 16, 3)


def test_shrinking_is_antialiased(tmp_path):
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (64, 32))
    pixels = decoded(tmp_path / "a.png", Image.fromarray(stripes), image_size=8)
    assert pixels.min() > 100 and pixels.max() < 156  # without it they would be black or white


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tif"])
def test_a_truncated_file_is_rejected_by_name(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UsageError, match=rf"^dataset\.root: cannot read .*a\.{suffix}: "):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_file_is_rejected_by_name(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot read .*a\.png: "):
        read_image(tmp_path / "a.png")


def test_unreadable_exif_is_ignored(tmp_path):
    assert decoded(tmp_path / "a.jpg", Image.new("RGB", (4, 4), "white"), exif=b"Exif\x00\x00nonsense").min() == 255
