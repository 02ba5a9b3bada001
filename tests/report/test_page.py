"""report.html in headless Chromium, and what it is made of."""

import base64
import hashlib
import io
import json
import os
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from cifar_imbalance.configuration.fields import Plots
from cifar_imbalance.data.identity import image_hashes
from cifar_imbalance.evidence.predictions import Predictions
from cifar_imbalance.report.page import mistakes
from cifar_imbalance.report.page.charts import bars_chart, marked_lines_chart
from cifar_imbalance.report.page.mistakes import Mistakes
from cifar_imbalance.report.page.parts import Cell, Confusions, Page, Sprite, Table, count, number
from cifar_imbalance.report.page.write import ASSETS, policy, write_page
from cifar_imbalance.report.plots import canvas
from cifar_imbalance.report.write import write_report

VENDORED = {  # file: name and version in it, SHA-256 of the file that its authors published
    "echarts.min.js": ('version="6.1.0"', "b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0"),
    "dataTables.min.js": ("DataTables 3.1.5", "38017a5586acd9c6eb6bbfe8b6938e1a25bdc717c5acfcb07e0c9d663282c59d"),
    "dataTables.min.css": ("", "156624d53bf9385a37f857fbc290361d4104d3536d30930fb86bce5cc0f19387"),
}
LICENCES = {"echarts.LICENSE": "Apache License", "dataTables.LICENSE": "SpryMedia"}
HOSTILE = "</script><img src=x onerror=alert(1)>"
CLASSES = 100
HISTORY = [
    {"epoch": epoch, "phase": "training", "train_loss": 4 / epoch, "train_accuracy": epoch / 10, "lr_start": 0.1}
    | {
        "lr_end": 0.1,
        "validation_loss": 4 / epoch,
        "validation_accuracy": epoch / 11,
        "validation_macro_f1": epoch / 12,
    }
    | {"validation_worst_recall": 0.01 * epoch}
    for epoch in (1, 2, 3)
]


@pytest.fixture(scope="module")
def predictions():
    """2,000 images of 100 classes, the first of which has a name that a page must not run."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), 20)
    logits = generator.normal(size=(len(labels), CLASSES)).astype(np.float32)
    logits[np.arange(len(labels)), labels] += 2.5
    return Predictions(
        logits=logits,
        labels=labels,
        indices=np.arange(len(labels)),
        hashes=image_hashes(pictures(labels)),
        class_names=(HOSTILE, *(f"class_{k}" for k in range(1, CLASSES))),
        train_images=np.full(CLASSES, 450),
    )


def pictures(labels):
    """Each image is of one colour, by its class and its number in the class."""
    colours = np.stack([labels * 2, np.arange(len(labels)) % 20 * 10, np.full(len(labels), 99)], axis=1)
    return np.broadcast_to(colours[:, None, None].astype(np.uint8), (len(labels), 32, 32, 3)).copy()


@pytest.fixture(scope="module")
def images(predictions):
    return pictures(predictions.labels)


@pytest.fixture(scope="module")
def file(predictions, images, tmp_path_factory):
    run = tmp_path_factory.mktemp("page") / HOSTILE.replace("/", "")
    details = {"experiment": HOSTILE, "dataset": "cifar100", "seed": 0, "split": "test", "chosen_by": "last"}
    recalls = [np.full(CLASSES, 0.1 * epoch) for epoch in (1, 2, 3)]
    values = ("weight", [np.linspace(0.5, 2, CLASSES)] * 3)
    run.mkdir()
    (run / "config.yaml").write_text(f"experiment: '{HOSTILE}'\n")
    write_report(
        run / "report",
        predictions,
        HISTORY,
        chosen_epoch=3,
        details=details,
        recalls=recalls,
        class_values=values,
        images=images,
    )
    return run / "report" / "report.html"


def test_vendored_files_are_the_published_ones_with_their_licences():
    for name, (version, sha256) in VENDORED.items():
        content = (ASSETS / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == sha256
        assert version in content.decode()
    for name, words in LICENCES.items():
        assert words in (ASSETS / name).read_text()


def test_the_page_is_one_small_file_whose_policy_allows_no_request(file):
    text = file.read_text()
    assert len(text) < 5_000_000
    assert f'content="{policy()}"' in unescape(text)
    assert "unsafe-inline" not in policy().partition("style-src")[0]
    assert HOSTILE not in text


def decoded(sprite):
    content = base64.b64decode(sprite.address.partition(",")[2])
    return np.array(Image.open(io.BytesIO(content)).convert("RGB"))


def check_tiles(sprite, places, images):
    """The images are at these places of the sprite, which is lossy."""
    picture, tile = decoded(sprite), sprite.tile
    for place, image in zip(places, images, strict=True):
        row, column = place // sprite.across * tile, place % sprite.across * tile
        found = picture[row + 8 : row + 24, column + 8 : column + 24].mean(axis=(0, 1))
        assert found == pytest.approx(image[0, 0].astype(float), abs=12)


def surest(predictions, true, predicted):
    """The mistakes of a pair, and their probabilities, by descending probability."""
    of_pair = np.flatnonzero((predictions.labels == true) & (predictions.predicted == predicted))
    probabilities = softmax(predictions.logits[of_pair].astype(float), axis=1)[:, predicted]
    order = np.argsort(-probabilities, kind="stable")
    return of_pair[order], probabilities[order]


def test_mistakes_are_found_in_the_picture(predictions, images):
    sprite, places = Mistakes(predictions, images).sprite()
    assert sprite.tile == 32
    counts = [len(of_pair) for of_pair in places.values()]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) <= mistakes.IMAGES_UP_TO
    for pair in list(places)[:20]:
        of_pair, _ = surest(predictions, *map(int, pair.split(",")))
        check_tiles(sprite, places[pair], images[of_pair][: len(places[pair])])


def test_images_are_found_by_their_hashes_in_any_order(predictions, images):
    straight = Mistakes(predictions, images).sprite()
    assert Mistakes(predictions, images[::-1].copy()).sprite() == straight
    some = predictions.take(np.arange(0, 2000, 3))  # as test_prior leaves some
    _, places = Mistakes(some, images).sprite()
    assert sum(map(len, places.values())) == min(1200, int((some.predicted != some.labels).sum()))
    assert Mistakes(predictions, images[:0].reshape(0, 32, 32, 3)).sprite() == (Sprite(), {})


def test_without_mistakes_there_is_no_picture_and_no_gallery(predictions, images, tmp_path):
    places = np.flatnonzero(predictions.predicted == predictions.labels)[:50]
    right = predictions.take(places)
    assert Mistakes(right, images[:50]).sprite() == (Sprite(), {})
    write_report(tmp_path / "report", right, [], chosen_epoch=None, details={"ckpt": "run"}, images=images[places])
    assert not (tmp_path / "report" / "gallery.png").exists()
    assert 'class="gallery"' not in (tmp_path / "report" / "report.html").read_text()


def test_the_gallery_has_the_surest_mistakes_of_the_most_confused_pairs(predictions, images):
    found = Mistakes(predictions, images).gallery(with_pairs=True)
    wrong = np.stack([predictions.labels, predictions.predicted])[:, predictions.labels != predictions.predicted]
    pairs, counts = np.unique(wrong, axis=1, return_counts=True)
    by_count = {(int(t), int(p)): int(n) for (t, p), n in zip(pairs.T, counts, strict=True)}
    shown = list(dict.fromkeys(one.pair for one in found.images))
    assert len(shown) == mistakes.GALLERY_PAIRS
    order = [(-by_count[pair], -surest(predictions, *pair)[1][0]) for pair in shown]
    assert order == sorted(order)
    assert max(n for pair, n in by_count.items() if pair not in shown) <= min(by_count[pair] for pair in shown)
    numbers = []
    for pair in shown:
        of_pair, probabilities = surest(predictions, *pair)
        of_this = [one for one in found.images if one.pair == pair]
        assert len(of_this) == min(by_count[pair], mistakes.GALLERY_OF_A_PAIR)
        assert [one.probability for one in of_this] == pytest.approx(probabilities[: len(of_this)].tolist())
        assert {(one.true, one.predicted) for one in of_this} == {tuple(predictions.class_names[k] for k in pair)}
        numbers += of_pair[: len(of_this)].tolist()
    check_tiles(found.sprite, range(len(numbers)), images[numbers])


# ---------------------------------------------------------------- in a browser
CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser, file):
    """Opens the page; what it writes to the console and asks the network for must be nothing."""
    noise: list[str] = []

    def open_page(width=1280, scheme="light", path: Path = file):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("dialog", lambda dialog: noise.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: noise.append(request.url[:80]) if request.url[:4] == "http" else None)
        page.goto(path.as_uri())
        page.wait_for_selector("canvas")
        return page

    yield open_page
    assert noise == []


def table(page, title):
    return page.locator("section", has=page.locator("h2", has_text=re.compile(f"^{title}$")))


def drawn(page):
    return page.locator(".chart", has=page.locator("canvas")).count()


def sorted_by(header, order):
    from playwright.sync_api import expect

    expect(header).to_have_attribute("aria-sort", order)  # waits for it


def test_the_class_table_is_sorted_by_mouse_and_keyboard_and_filtered(opened, predictions):
    page = opened()
    assert "to see its images;" in page.locator("section.confusions .note").inner_text()
    classes = table(page, "Classes")
    rows = classes.locator("tbody tr")
    assert rows.count() == CLASSES
    recalls = [float(rows.nth(k).locator("td").nth(1).inner_text()) for k in range(CLASSES)]
    assert recalls == sorted(recalls)
    header = classes.locator("th", has_text="recall").first
    for order in ("ascending", "descending"):
        header.click()
        sorted_by(header, order)
    assert float(rows.first.locator("td").nth(1).inner_text()) == recalls[-1]
    header = classes.locator("th", has_text="support")
    header.locator("[tabindex='0']").focus()
    page.keyboard.press("Enter")
    sorted_by(header, "ascending")
    classes.locator("input[type=search]").fill("class_17")
    assert rows.count() < CLASSES
    assert HOSTILE in (page.title() + page.locator("h1").inner_text())


def test_the_arrows_of_sorting_stand_behind_the_words_of_their_column(opened):
    headers = table(opened(), "Classes").locator("thead th")
    place = """e => { const words = document.createRange(), arrow = e.querySelector(".dt-column-order");
        words.selectNodeContents(e.querySelector(".dt-column-title"));
        return arrow.getBoundingClientRect().left - words.getBoundingClientRect().right; }"""
    gaps = headers.evaluate_all(f"all => all.map({place})")
    assert len(gaps) == 9 and all(0 <= gap < 12 for gap in gaps)


def boxes(chart, texts_of):
    """[left, top, right, bottom] of what is drawn of these texts."""
    found = """(e, wanted) => echarts.getInstanceByDom(e).getZr().storage.getDisplayList()
        .filter(one => wanted.includes(one.style.text)).map(one => { const box = one.getBoundingRect().clone();
            box.applyTransform(one.getComputedTransform() || [1, 0, 0, 1, 0, 0]);
            return [box.x, box.y, box.x + box.width, box.y + box.height]; })"""
    return chart.evaluate(found, list(texts_of))


def apart(first, second):
    return first[0] >= second[2] or second[0] >= first[2] or first[1] >= second[3] or second[1] >= first[3]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_names_below_the_confusion_matrix_are_apart_from_its_scale(opened, predictions, tmp_path, width):
    few = predictions.take(np.flatnonzero((predictions.labels < 10) & (predictions.predicted < 10)))
    few = replace(few, logits=few.logits[:, :10], class_names=tuple("0123456789"), train_images=None)
    write_report(tmp_path / "report", few, [], chosen_epoch=None, details={"ckpt": "run"})
    page = opened(path=tmp_path / "report" / "report.html", width=width)
    chart = page.locator(".chart[aria-label^='confusion']")
    ends = boxes(chart, ["0.00", "1.00"])
    digits = boxes(chart, "0123456789")
    assert len(ends) == 2 and len(digits) == 20
    assert all(apart(end, digit) for end in ends for digit in digits)


def test_a_cell_is_hovered_over_and_clicked_and_shows_the_images(opened, predictions):
    page = opened()
    canvas = page.locator(".confusions .chart")
    place = "echarts.getInstanceByDom(e).convertToPixel({seriesIndex: 0}, [7, 7])"
    x, y = canvas.evaluate(f"e => {place}")
    right = int(((predictions.labels == 7) & (predictions.predicted == 7)).sum())
    pair = f"true class_7, predicted class_7: {right} of 20 images"
    canvas.hover(position={"x": x, "y": y})
    page.wait_for_timeout(200)
    assert pair in "".join(texts(canvas)).replace(" \n", " ")
    canvas.click(position={"x": x, "y": y})
    assert pair in page.locator(".panel").inner_text()
    assert page.locator(".panel .tile").count() > 0


def test_pairs_are_reached_by_keyboard_and_show_their_images(opened, predictions):
    page = opened()
    pairs = table(page, "Most confused pairs")
    button = pairs.locator("button.pair").first
    true, predicted = map(int, button.get_attribute("data-pair").split(","))
    mistaken = int(((predictions.labels == true) & (predictions.predicted == predicted)).sum())
    button.focus()
    page.keyboard.press("Enter")
    panel = page.locator(".panel")
    names = predictions.class_names
    shown = f"true {names[true]}, predicted {names[predicted]}: {mistaken} of 20 images"
    assert button.inner_text() == shown.partition(":")[0]
    assert shown in panel.inner_text()
    assert f"most often taken for: {names[predicted]}\xa0({mistaken}), " in panel.inner_text()
    assert panel.locator(".tile").count() >= mistaken
    assert panel.locator(".tile").first.evaluate("e => e.style.backgroundImage").startswith('url("data:image/webp')


def test_the_gallery_is_reached_by_keyboard_and_shows_names_as_text(opened, predictions, images):
    page = opened()
    gallery = table(page, "Worst-confused images")
    expected = Mistakes(predictions, images).gallery(with_pairs=True).images
    buttons = gallery.locator("button.pair")
    assert buttons.count() == len(expected)
    texts = [f"true {one.true}, predicted {one.predicted} {one.probability:.3f}" for one in expected]
    assert [" ".join(text.split()) for text in buttons.all_inner_texts()] == texts
    tile = gallery.locator(".tile").nth(len(expected) // 2)
    assert tile.evaluate("e => getComputedStyle(e).backgroundImage").startswith('url("data:image/webp')
    buttons.first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.pair") == ",".join(map(str, expected[1].pair))
    page.keyboard.press("Enter")
    assert f"true {expected[1].true}, predicted {expected[1].predicted}: " in page.locator(".panel").inner_text()


def test_a_hostile_name_in_the_gallery_is_text(opened, predictions, images, tmp_path):
    names = ('<b>&"x', "Käfer im Gras", *predictions.class_names[2:])
    few = predictions.take(np.flatnonzero(predictions.labels < 2))
    logits = few.logits.copy()
    logits[np.arange(len(logits)), 1 - few.labels] += 9  # every image is taken for the other class
    files = np.array([f"test/{names[k]}/{n}.png" for n, k in enumerate(few.labels)])
    few = replace(few, logits=logits, class_names=names, files=files)
    write_report(tmp_path / "report", few, [], chosen_epoch=None, details={"ckpt": "run"}, images=images)
    page = opened(path=tmp_path / "report" / "report.html", width=390)
    first = table(page, "Worst-confused images").locator("button.pair").first
    found = re.fullmatch("true (.*), predicted (.*)", first.locator(".classes").inner_text())
    assert found is not None and set(found.groups()) == set(names[:2])
    assert first.get_attribute("title").startswith(("test/<b>", "test/Käfer im Gras/"))
    assert page.locator(".gallery b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    with Image.open(tmp_path / "report" / "gallery.png") as picture:
        assert picture.width > 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_follow_the_system_and_the_button(opened, scheme):
    page = opened(scheme=scheme)

    def paper():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    colours = {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 20, 25)"}
    assert paper() == colours[scheme]
    charts = drawn(page)
    page.locator("#theme").click()
    assert paper() == colours["dark" if scheme == "light" else "light"]
    assert drawn(page) == charts == 6  # confusions, curves, rate, recalls, weights


def test_a_phone_does_not_scroll_sideways(opened):
    page = opened(width=390)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


# ---------------------------------------------------------------- long names
def long_name(k):
    """60 to 120 characters, every other one without a space: the folders of one's own images."""
    words = "dermatofibroma_or_fibrous_histiocytoma_" if k % 2 else "actinic keratosis of the head and neck "
    return f"{k:02}{words * 4}"[: 60 + k * 61 // CLASSES]


@pytest.fixture(scope="module")
def long_names(predictions, images, tmp_path_factory):
    names = tuple(map(long_name, range(CLASSES)))
    assert {len(name) for name in names} >= {60, 120}
    report = tmp_path_factory.mktemp("long") / "report"
    values = [np.linspace(0.5, 1, CLASSES)] * 3
    named = replace(predictions, class_names=names)
    canvas.use(Plots(png=False, pdf=False))
    write_report(report, named, HISTORY, chosen_epoch=3, details={}, recalls=values, images=images)
    return report / "report.html"


def texts(chart):
    """What is drawn in it."""
    drawn = "echarts.getInstanceByDom(e).getZr().storage.getDisplayList().map(one => one.style.text)"
    return [text for text in chart.evaluate(f"e => {drawn}") if text]


@pytest.mark.parametrize("width", [1280, 390])
def test_long_names_are_cut_off_and_charts_keep_half_their_width(opened, long_names, width):
    page = opened(path=long_names, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for name in ("Recall by epoch", "confusion matrix"):
        chart = page.locator(f".chart[aria-label^='{name}']")
        grid = "echarts.getInstanceByDom(e).getModel().getComponent('grid').coordinateSystem.getRect()"
        plotted = chart.evaluate(f"e => {{ const area = {grid}; return [area.width, area.height]; }}")
        size = chart.bounding_box()
        assert plotted[0] > size["width"] / 2 and plotted[1] > size["height"] / 2
        labels = [text for text in texts(chart) if text.endswith("…")]
        assert len(labels) > 20 and all(long_name(int(text[:2])).startswith(text[:-1]) for text in labels)


def test_a_page_made_narrower_cuts_names_off_anew(opened, long_names):
    page = opened(path=long_names)
    chart = page.locator(".chart[aria-label^='confusion']")
    longest = max(map(len, texts(chart)))
    page.set_viewport_size({"width": 390, "height": 900})
    page.wait_for_timeout(200)
    assert max(map(len, texts(chart))) < longest
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("place", ["cell", "label"])
def test_a_tooltip_has_the_whole_name(opened, long_names, place):
    page = opened(path=long_names, width=390)
    chart = page.locator(".chart[aria-label^='confusion']")
    x, y = chart.evaluate("e => echarts.getInstanceByDom(e).convertToPixel({seriesIndex: 0}, [98, 98])")
    assert long_name(98) not in "".join(texts(chart))
    chart.hover(position={"x": x if place == "cell" else 40, "y": y})
    page.wait_for_timeout(200)
    assert long_name(98) in "".join(texts(chart))


def test_tables_of_long_names_are_readable(opened, long_names):
    page = opened(path=long_names)
    for title in ("Classes", "Most confused pairs"):
        box = table(page, title).locator(".scroll")
        assert box.evaluate("e => e.scrollWidth <= e.clientWidth")
        widths = box.locator("tbody tr td:first-child").evaluate_all("all => all.map(e => e.offsetWidth)")
        assert min(widths) >= 200


def test_a_table_of_many_means_with_their_spread_fits(opened, tmp_path):
    columns = ["augmentation", "n", *(f"recall of the worst {k}" for k in range(10)), "seconds"]
    row = [Cell("none"), count(2), *[replace(number(0.5), text="0.5613 ±\u00a00.0867")] * 10, count(7)]
    chart = bars_chart("Bars", [("none", 0.5)], y="recall")
    write_page(tmp_path / "page.html", Page("Sweep", "", [], [Table("Groups", columns, [row]), chart]))
    box = table(opened(path=tmp_path / "page.html"), "Groups").locator(".scroll")
    assert box.evaluate("e => e.scrollWidth <= e.clientWidth")


@pytest.mark.parametrize("kind", ["group", "reference"])
def test_pages_of_sweeps_and_comparisons_open_without_noise(opened, typed, tiny_run, tmp_path, kind):
    words = [f"ckpt={tiny_run}", f"reference={tiny_run}"] if kind == "reference" else [f"ckpt={tiny_run.parent}"]
    words += ["group_by=seed"] if kind == "group" else []
    answer = typed(tmp_path, "evaluate", *words, "hydra.run.dir=out")
    assert answer.code == 0, answer.err
    page = opened(path=tmp_path / "out" / "report" / "report.html")
    expected = "Groups" if kind == "group" else "Side by side, class by class"
    assert table(page, expected).locator("tbody tr").count() >= 1
    assert (
        f"page:       {os.path.join(tmp_path, 'out', 'report', 'report.html')}" in answer.out
        or "report.html" in answer.out
    )


def test_the_page_is_opened_at_the_end_if_asked_for(typed, tiny_run, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert typed(tmp_path, "evaluate", f"ckpt={tiny_run}", "hydra.run.dir=shut").code == 0
    assert opened == []
    assert typed(tmp_path, "evaluate", f"ckpt={tiny_run}", "open=true", "hydra.run.dir=out").code == 0
    assert opened == [(tmp_path / "out" / "report" / "report.html").as_uri()]


def test_the_page_of_a_run_shows_what_adjusting_its_logits_would_trade(opened, tiny_run):
    text = (tiny_run / "report" / "report.html").read_text()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])
    series = [part["option"]["series"] for part in data.values() if part["kind"] == "chart"]
    (front,) = [one for one in series if any(line["name"] == "as trained" for line in one)]
    assert [line["name"] for line in front] == ["logit adjustment", "class bias", "as trained"]
    shown = [point for line in front for point in line["data"] if "label" not in point]
    assert len({tuple(point["value"]) for point in shown}) == len(shown)
    assert sum("as trained" in point["name"] for point in shown) == 1
    summary = json.loads((tiny_run / "report" / "summary.json").read_text())
    trained = [summary["accuracy"], summary["worst_decile_recall"]]
    assert front[0]["data"][0]["value"] == front[2]["data"][0]["value"] == pytest.approx(trained, abs=1e-4)
    page = opened(path=tiny_run / "report" / "report.html")
    note = table(page, "What adjusting the logits would trade").locator(".note").inner_text()
    assert re.match(r"Adjusted logits, fitted on the \d+ validation images, shown on the 535 test images\.", note)


def test_labels_of_adjustments_are_whole_and_apart_and_a_small_effect_looks_small(opened, tmp_path):
    mark = ("as trained", 0.9645, 0.8148)
    adjusted = [("tau 0.25", 0.9645, 0.8148), ("tau 0.5", 0.9682, 0.8333), ("tau 0.75 (fitted)", 0.9683, 0.8334)]
    biased = [(f"power {power}", 0.9738, 0.8704) for power in (0, 0.5, 1, 2, 4)]
    lines = {"logit adjustment": ("#0072b2", [mark, *adjusted]), "class bias": ("#e69f00", biased)}
    chart = marked_lines_chart("Front", lines, mark, x="accuracy", y="worst decile", large={"tau 0.75 (fitted)"})
    for axis in ("xAxis", "yAxis"):
        assert chart.option[axis]["max"] - chart.option[axis]["min"] >= 0.05
    write_page(tmp_path / "page.html", Page("Front", "", [], [chart]))
    expected = ["as trained, tau 0.25", "tau 0.75 (fitted)", "power 0, 0.5, 1, 2, 4"]
    for width in (1280, 390):
        page = opened(path=tmp_path / "page.html", width=width)
        drawn = page.locator(".chart")
        labels = [text for text in texts(drawn) if text.startswith(("as trained,", "tau", "power"))]
        assert sorted(labels) == sorted(expected)  # tau 0.5 is hidden: the fitted one is beside it
        found = boxes(drawn, expected)
        assert all(left >= 0 and right <= drawn.bounding_box()["width"] for left, _, right, _ in found)
        assert all(apart(found[a], found[b]) for a in range(3) for b in range(a))


def test_a_sweep_of_evaluations_opens_no_page(typed, tiny_run, tmp_path):
    answer = typed(tmp_path, "evaluate", "-m", f"ckpt={tiny_run}", "split=test,validation", "open=true")
    line = "evaluate.py: open=true: opens one page, and each job of this sweep (-m) has its own\n"
    assert (answer.code, answer.err) == (2, line)
    assert list(tmp_path.iterdir()) == []


def test_a_page_without_images_or_history(predictions, opened, tmp_path):
    write_report(tmp_path / "report", predictions, [], chosen_epoch=None, details={"ckpt": "some/run"})
    page = opened(path=tmp_path / "report" / "report.html")
    assert page.locator("h1").inner_text() == "Evaluation of run"
    assert drawn(page) == 1
    note = page.locator("section.confusions .note").inner_text()
    assert note.endswith("to see its numbers; Ctrl and the wheel zoom.")
    note = table(page, "Worst-confused images").locator(".note").inner_text()
    assert note == "Not shown: this page was made of saved logits, without the images."


def test_the_page_of_saved_logits_of_a_run_speaks_of_the_run(typed, tiny_run, tmp_path):
    assert typed(tmp_path, "evaluate", f"ckpt={tiny_run}", "adjust=class_bias", "hydra.run.dir=out").code == 0
    page = (tmp_path / "out" / "report" / "report.html").read_text()
    assert "<h2>Accuracy of the run by epoch</h2>" in page
    assert "without the images; the page of each run has those of its own mistakes.</p>" in page
    assert "member" not in page.partition("<details>")[0].partition("</style>\n</head>")[2]


def test_the_matrix_of_the_page_is_that_of_the_predictions(file, predictions):
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', file.read_text(), re.S)[1])
    (found,) = (part for part in data.values() if part["kind"] == Confusions.kind)
    matrix = np.zeros((CLASSES, CLASSES), dtype=int)
    for true, predicted, images in found["cells"]:
        matrix[true, predicted] = images
    assert np.array_equal(matrix, np.histogram2d(predictions.labels, predictions.predicted, bins=range(CLASSES + 1))[0])
