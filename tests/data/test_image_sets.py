"""Every image set has uint8 images, labels, names and identity, from class folders, torchvision or scikit-learn."""

import hashlib
import os
import pickle
import shutil
import time
import urllib.error

import numpy as np
import pytest
from PIL import Image

from cifar_imbalance.configuration.fields import Dataset
from cifar_imbalance.data.identity import image_hash
from cifar_imbalance.data.image_sets import IMAGE_SETS, ImageSet
from cifar_imbalance.errors import UsageError


def save(path, seed=0, size=(32, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def make_tree(root, classes=("cat", "dog"), per_class=2):
    for split in ("train", "test"):
        for name in classes:
            for number in range(per_class):
                save(root / split / name / f"{number}.png", seed=len(name) + number)
    return root


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path / "images")


@pytest.fixture
def load(tmp_path):
    def load(name="image_folder", root="images", **changes):
        root = root and str(tmp_path / root)
        return IMAGE_SETS[name](Dataset(name=name, root=root, cache_dir=str(tmp_path / "cache"), **changes))

    return load


@pytest.fixture
def error_of(load, tmp_path):
    """The one-line error of invalid input, which must leave no files behind."""

    def error_of(name="image_folder", **changes):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UsageError) as caught:
            load(name, **changes)
        assert sorted(tmp_path.rglob("*")) == before
        return str(caught.value)

    return error_of


# ---------------------------------------------------------------- an image set
def test_images_have_labels_names_and_identity(tree, load):
    train, test, notes = load()
    assert train.images.shape == (4, 32, 32, 3) and train.images.dtype == np.uint8
    assert train.labels.tolist() == [0, 0, 1, 1] and train.labels.dtype == np.int64
    assert train.indices.tolist() == [0, 1, 2, 3] and train.indices.dtype == np.int64
    assert train.hashes.dtype == np.uint64 and len(test.labels) == 4
    assert train.class_names == ("cat", "dog") and train.source == f"class folders in {tree}"
    assert notes == []


def test_classes_and_files_are_in_alphabetical_order(tmp_path, load):
    make_tree(tmp_path / "images", classes=("zebra", "ant"), per_class=1)
    last = save(tmp_path / "images" / "train" / "ant" / "9.png", seed=9)
    train, _, _ = load()
    assert train.class_names == ("ant", "zebra") and train.labels.tolist() == [0, 0, 1]
    assert np.array_equal(train.images[1], last)


def test_a_hash_depends_on_pixels_not_on_names(tree, load):
    first = load()[0].hashes.tolist()
    (tree / "train" / "cat" / "0.png").rename(tree / "train" / "cat" / "5.png")
    assert load()[0].hashes.tolist() == [first[1], first[0], *first[2:]]


def test_a_hash_depends_on_the_shape():
    pixels = np.zeros((2, 8, 3), dtype=np.uint8)
    assert image_hash(pixels) != image_hash(pixels.reshape(4, 4, 3))
    assert image_hash(pixels) == int.from_bytes(hashlib.blake2b(b"2x8x3" + bytes(48), digest_size=8).digest(), "little")


def test_taking_twice_composes_positions():
    numbers = np.arange(10)
    whole = ImageSet(np.zeros((10, 1, 1, 3), np.uint8), numbers, numbers.astype(np.uint64), numbers, ("a",), "")
    twice = whole.take(np.array([9, 5, 3])).take(np.array([2, 0]))
    assert twice.indices.tolist() == twice.labels.tolist() == twice.hashes.tolist() == [3, 9]


# ---------------------------------------------------------------- class folders
def test_test_classes_are_matched_by_name(tree, load):
    shutil.rmtree(tree / "test" / "cat")
    _, test, notes = load()
    assert test.labels.tolist() == [1, 1] and test.class_names == ("cat", "dog")
    assert notes == ["1 class without test images: cat"]


def test_a_test_class_that_is_not_in_train_is_rejected(tree, error_of):
    (tree / "test" / "cat").rename(tree / "test" / "cats")
    assert error_of().endswith("class cats of the test images is not in train (did you mean cat?)")


def test_files_that_are_not_images_are_ignored_and_counted(tree, load):
    for name in ("Thumbs.db", ".hidden.png", "readme.txt"):
        (tree / "train" / "cat" / name).write_text("")
    (tree / "train" / ".cache").mkdir()
    train, _, notes = load()
    assert len(train.labels) == 4
    assert notes == ["ignored 4 files that are not images, such as train/.cache"]


def test_subfolders_of_a_class_are_skipped_and_noted(tree, load):
    save(tree / "train" / "cat" / "more" / "1.png")
    train, _, notes = load()
    assert len(train.labels) == 4
    assert notes == ["1 subfolders of class folders were not read, such as train/cat/more"]


def test_suffixes_may_be_upper_case(tree, load):
    (tree / "train" / "cat" / "0.png").rename(tree / "train" / "cat" / "0.PNG")
    assert len(load()[0].labels) == 4


def test_files_of_several_frames_are_noted_every_time(tree, load):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "white")]
    frames[0].save(tree / "train" / "cat" / "2.gif", save_all=True, append_images=frames[1:])
    for _ in range(2):
        notes = load()[2]
        assert len(notes) == 1 and notes[0].startswith("1 files have several frames, of which the first is used")


def test_images_of_two_sizes_are_rejected(tree, error_of):
    save(tree / "test" / "dog" / "9.png", size=(40, 30))
    message = error_of()
    assert "test/dog/9.png is 40x30" in message and "train/cat/0.png is 32x32" in message
    assert "dataset.image_size" in message


def test_image_size_resizes_images_of_different_sizes(tree, load):
    save(tree / "test" / "dog" / "9.png", size=(40, 30))
    train, test, _ = load(image_size=16)
    assert train.images.shape == (4, 16, 16, 3) and test.images.shape == (5, 16, 16, 3)


def test_images_need_not_be_square(tmp_path, load):
    for split, name in [("train", "a"), ("train", "b"), ("test", "a")]:
        save(tmp_path / "images" / split / name / "0.png", size=(20, 10))
    assert load()[0].images.shape == (2, 10, 20, 3)


def test_a_damaged_image_is_rejected_by_name_and_leaves_nothing(tree, error_of):
    path = tree / "test" / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:500])
    assert error_of().startswith(f"dataset.root: cannot read {path}: ")


def test_a_dangling_link_is_rejected(tree, error_of):
    (tree / "train" / "cat" / "9.png").symlink_to("nowhere")
    assert error_of().startswith(f"dataset.root: cannot read {tree}/train/cat/9.png: ")


def test_an_empty_training_class_is_rejected(tree, error_of):
    (tree / "train" / "eel").mkdir()
    assert "no images in the class folder" in error_of() and "train/eel" in error_of()


def test_a_test_folder_without_images_is_rejected(tree, error_of):
    shutil.rmtree(tree / "test")
    assert f"there is no folder {tree}/test" in error_of()
    (tree / "test" / "cat").mkdir(parents=True)
    assert error_of().endswith(f"dataset.root={tree}: there are no images in it as test/CLASS/IMAGE")


@pytest.mark.parametrize("classes, found", [((), "none"), (("cat",), "only cat")])
def test_fewer_than_two_classes_are_rejected(tmp_path, error_of, classes, found):
    for split in ("train", "test"):
        (tmp_path / "images" / split).mkdir(parents=True)
    make_tree(tmp_path / "images", classes=classes)
    assert error_of().startswith("dataset.root=") and error_of().endswith(f"found {found}")


@pytest.mark.parametrize("root", [None, "nowhere"])
def test_a_missing_root_is_rejected(error_of, root):
    assert error_of(root=root).startswith("dataset.root=") and "train/CLASS" in error_of(root=root)


def test_a_changed_file_is_decoded_again(tree, load):
    load()
    pixels = save(tree / "train" / "cat" / "0.png", seed=77)
    assert np.array_equal(load()[0].images[0], pixels)


def test_an_unchanged_tree_is_not_decoded_again(tree, load, monkeypatch):
    first = load()[0].images.copy()
    monkeypatch.setattr("cifar_imbalance.data.decode_folders.read_image", None)
    assert np.array_equal(load()[0].images, first)


# ---------------------------------------------------------------- CIFAR
CIFAR_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture
def small_cifar(tmp_path, monkeypatch):
    """torchvision's layout of CIFAR-10 in tmp_path/images, with 20 and 10 images and their checksums."""
    torchvision_cifar = pytest.importorskip("torchvision.datasets").CIFAR10
    folder = tmp_path / "images" / torchvision_cifar.base_folder
    folder.mkdir(parents=True)

    def put(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(count):
        return {"data": np.arange(count * 3072).reshape(count, 3072).astype(np.uint8), "labels": [*range(10)] * 2}

    train, test = put("data_batch_1", batch(20)), put("test_batch", {**batch(10), "labels": [*range(10)]})
    meta = put("batches.meta", {"label_names": CIFAR_NAMES})
    monkeypatch.setattr(torchvision_cifar, "train_list", [train])
    monkeypatch.setattr(torchvision_cifar, "test_list", [test])
    monkeypatch.setattr(torchvision_cifar, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})
    return torchvision_cifar


def pack(tmp_path, kind, monkeypatch):
    """The batches of `small_cifar` as a downloadable archive."""
    packed = shutil.make_archive(str(tmp_path / "packed"), "gztar", tmp_path / "images", kind.base_folder)
    archive = shutil.move(packed, tmp_path / kind.filename)
    shutil.rmtree(tmp_path / "images")
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    return archive


def test_torchvisions_files_are_read(small_cifar, load):
    for _ in range(2):  # decoded, then from the cache
        train, test, _ = load("cifar10")
        assert train.images.shape == (20, 32, 32, 3) and test.images.shape == (10, 32, 32, 3)
        assert train.class_names == tuple(CIFAR_NAMES) and train.labels.tolist() == [*range(10)] * 2
        assert train.images[0, 0, 1].tolist() == [1, (1024 + 1) % 256, (2048 + 1) % 256]


def test_torchvisions_files_are_resized(small_cifar, load):
    assert load("cifar10", image_size=16)[0].images.shape == (20, 16, 16, 3)


def test_damaged_torchvision_files_are_rejected(small_cifar, error_of, tmp_path):
    with open(tmp_path / "images" / small_cifar.base_folder / "test_batch", "ab") as file:
        file.write(b"more")
    assert "torchvision's files of cifar10 are damaged" in error_of("cifar10")


def test_torchvisions_archive_is_read(small_cifar, load, tmp_path, monkeypatch):
    archive = pack(tmp_path, small_cifar, monkeypatch)
    (tmp_path / "images").mkdir()
    shutil.move(archive, tmp_path / "images")
    assert load("cifar10")[0].images.shape == (20, 32, 32, 3)


def test_a_damaged_archive_is_rejected(small_cifar, error_of, tmp_path):
    shutil.rmtree(tmp_path / "images" / small_cifar.base_folder)
    (tmp_path / "images" / small_cifar.filename).write_bytes(b"half")
    assert f"{small_cifar.filename} is damaged" in error_of("cifar10")


def test_cifar_is_downloaded_into_the_cache_without_a_root(small_cifar, load, tmp_path, monkeypatch):
    archive = pack(tmp_path, small_cifar, monkeypatch)

    def download(url, root, filename, md5):
        assert url == small_cifar.url and md5 == small_cifar.tgz_md5
        shutil.copy(archive, f"{root}/{filename}")
        shutil.unpack_archive(f"{root}/{filename}", root)

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", download)
    assert load("cifar10", root=None)[0].images.shape == (20, 32, 32, 3)
    assert [path.name for path in (tmp_path / "cache" / "torchvision").iterdir()] == [small_cifar.filename]


def test_without_network_both_alternatives_are_named(small_cifar, error_of, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise urllib.error.URLError("no network")

    shutil.rmtree(tmp_path / "images")
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fail)
    message = error_of("cifar10")
    assert "download of https://www.cs.toronto.edu/" in message and "no network" in message
    assert "train/CLASS" in message and small_cifar.filename in message and "dataset.root" in message


def test_a_download_folder_that_is_not_writable_is_rejected(small_cifar, error_of, tmp_path):
    shutil.rmtree(tmp_path / "images")
    (tmp_path / "cache").write_text("a file")
    assert "dataset.cache_dir" in error_of("cifar10", root=None)


def test_cifar_may_be_class_folders(tmp_path, load):
    make_tree(tmp_path / "images", classes=CIFAR_NAMES, per_class=1)
    assert load("cifar10")[0].class_names == tuple(CIFAR_NAMES)


def test_a_wrong_number_of_class_folders_is_rejected(tree, error_of):
    assert error_of("cifar100").endswith("2 class folders in train, cifar100 has 100")


def test_cifar_images_of_another_size_are_rejected(tmp_path, error_of):
    make_tree(tmp_path / "images", classes=CIFAR_NAMES, per_class=1)
    save(tmp_path / "images" / "train" / "airplane" / "0.png", size=(48, 48))
    message = error_of("cifar10")
    assert "airplane/0.png is 48x48, images of this data set are 32x32" in message and "dataset.image_size" in message


def test_an_incomplete_tree_is_rejected_and_not_downloaded(tree, error_of):
    shutil.rmtree(tree / "test")
    assert f"there is no folder {tree}/test" in error_of("cifar10")


# ---------------------------------------------------------------- digits
def test_digits_need_no_files(load, tmp_path):
    train, test, _ = load("digits", root=None)
    assert train.images.shape == (1262, 8, 8, 3) and len(test.images) == 535
    assert train.class_names == tuple("0123456789")
    assert list(tmp_path.iterdir()) == []


def test_digits_use_the_full_grey_range(load):
    images = load("digits", root=None)[0].images
    assert images.min() == 0 and images.max() == 255 and np.array_equal(images[..., 0], images[..., 2])


def test_the_last_digits_of_each_class_are_the_test_images(load):
    from sklearn.datasets import load_digits

    labels = load_digits().target
    _, test, _ = load("digits", root=None)
    assert np.bincount(test.labels).tolist() == [int(0.3 * count) for count in np.bincount(labels)]
    last_zero = load_digits().images[np.flatnonzero(labels == 0)[-1]]
    assert np.array_equal(test.images[test.labels == 0][-1][..., 0], np.rint(last_zero * 255 / 16))


def test_digits_are_resized(load):
    assert load("digits", root=None, image_size=32)[0].images.shape == (1262, 32, 32, 3)


# ---------------------------------------------------------------- real data
def test_real_cifar_100_is_decoded_and_then_cached(real_data, tmp_path):
    dataset = Dataset(name="cifar100", root=str(real_data / "cifar100"), cache_dir=str(tmp_path / "cache"))
    seconds = []
    for _ in range(2):
        start = time.process_time()  # of this process: other work on the machine does not count
        train, test, _ = IMAGE_SETS["cifar100"](dataset)
        seconds.append(time.process_time() - start)
    print(f"60,000 images: decoded in {seconds[0]:.1f} s of CPU time, second start in {seconds[1]:.2f} s")
    assert np.bincount(train.labels).tolist() == [500] * 100 and np.bincount(test.labels).tolist() == [100] * 100
    assert train.images.shape == (50000, 32, 32, 3) and train.class_names[:2] == ("apple", "aquarium_fish")
    assert seconds[1] < 2
    shutil.rmtree(tmp_path / "cache")


def test_swapped_class_folders_are_not_read_from_the_cache_of_before(tree, load):
    for file in tree.rglob("*.png"):
        file.write_bytes(file.read_bytes().ljust(5000, b"\0"))  # equal sizes
        os.utime(file, ns=(10**18, 10**18))
    before = load()[0]
    cat, dog = tree / "train" / "cat", tree / "train" / "dog"
    cat.rename(tree / "aside")
    dog.rename(cat)
    (tree / "aside").rename(dog)
    after = load()[0]
    assert np.array_equal(after.hashes, np.roll(before.hashes, 2))


@pytest.mark.parametrize("leftover", ["__MACOSX", ".ipynb_checkpoints", ".DS_Store"])
def test_leftovers_of_other_programs_are_no_classes(tree, load, leftover):
    save(tree / "train" / leftover / "cat" / "0.png")
    (tree / "test" / leftover).symlink_to("nowhere")
    train, _, notes = load()
    assert train.class_names == ("cat", "dog")
    assert notes == [f"ignored 2 files that are not images, such as train/{leftover}"]


def test_a_linked_class_folder_that_is_gone_is_named(tree, error_of):
    (tree / "train" / "emu").symlink_to(tree / "nowhere")
    line = f"dataset.root={tree}: {tree}/train/emu is a link to {tree}/nowhere, which is gone"
    assert error_of() == line


def test_images_keep_the_names_of_their_files(tree, load):
    train, test, _ = load()
    assert train.files == ("train/cat/0.png", "train/cat/1.png", "train/dog/0.png", "train/dog/1.png")
    assert test.take(np.array([3, 0])).files == ("test/dog/1.png", "test/cat/0.png")
    assert load()[0].files == train.files  # from the cache


def test_a_file_changed_in_place_is_decoded_again_though_its_time_was_set_back(tree, load):
    file = tree / "train" / "cat" / "0.png"
    other = save(tree / "other.png", seed=77)
    size = max(file.stat().st_size, (tree / "other.png").stat().st_size)
    for content in (file.read_bytes(), (tree / "other.png").read_bytes()):
        file.write_bytes(content.ljust(size, b"\0"))
        os.utime(file, (1, 1))
        images = load()[0].images
        time.sleep(0.02)  # the time of change has steps of some milliseconds
    assert np.array_equal(images[0], other)
