"""Pages of embeddings in a real browser: the map by pointer and by keyboard, hostile words."""

import numpy as np
import pytest

from accessibility import violations
from eval.report.map import map_page
from eval.report.pooling import pooling_page
from eval.tasks.embeddings.mapping import fit_chart, map_reviews
from eval.tasks.embeddings.pooling import Retrieval, measure
from eval.tasks.embeddings.smaller import measure_sizes
from made_up_reviews import HOSTILE, reviews_of_kinds

pytestmark = pytest.mark.slow

CENTRE = "(each) => { const box = each.getBoundingClientRect(); return [box.width, box.height]; }"


def written(count, folder):
    reviews, vectors = reviews_of_kinds(count)
    chart, labels = fit_chart(vectors, [each.text for each in reviews], count=3)
    mapped = map_reviews(reviews, vectors, chart, labels, title="made-up", made_with={"model": "m"})
    path = folder / f"{count}.html"
    path.write_text(map_page(mapped), encoding="utf-8")
    return mapped, path


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    return {count: written(count, folder) for count in (90, 10_000)}


@pytest.fixture(scope="module")
def poolings(tmp_path_factory):
    """A page of made-up poolings, of a model with a hostile name."""
    draw = np.random.default_rng(4)
    pools = tuple(np.arange(5) + 5 * (at % 3) for at in range(9))
    gold = tuple(np.arange(5) == at % 5 for at in range(9))
    clusters = tuple(f"item {at % 3}" for at in range(9))
    task = Retrieval(("?",) * 9, (".",) * 15, pools, gold, clusters, resamples=100)

    def vectors(count):
        return draw.normal(size=(count, 16)).astype("f4")

    names = ["the model's own", *(f"mean, layer {layer}" for layer in range(3))]
    report = measure(task, [(name, vectors(9), vectors(15)) for name in names], names[0])
    for at, name in enumerate(names):
        report["rows"][name] |= {"pooling": "mean", "layer": at - 1 if at else None}
    report["sizes"] = measure_sizes(
        task, vectors(9), vectors(15), dimensions=[4, 8], dtypes=["int8", "binary"]
    )
    data = {"path": "made-up", "split": "test"}
    report["made_with"] = {"models": {"encoder": {"name": HOSTILE}}, "data": data}
    path = tmp_path_factory.mktemp("poolings") / "pooling.html"
    path.write_text(pooling_page(report), encoding="utf-8")
    return path


@pytest.fixture
def visit(browser, maps):
    """Opens a page; afterwards, nothing may have been fetched, refused or gone wrong."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(20_000)
    page = context.new_page()
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))

    def go(count=90, path=None):
        page.goto((maps[count][1] if path is None else path).as_uri())
        page.locator("tbody tr").first.wait_for()
        return page

    yield go
    assert [url for url in requests if not url.startswith(("file://", "data:"))] == []
    assert complaints == []
    assert page.title() != "owned"
    context.close()


def place_of(mapped, at, size):
    """Where the page draws a point, in pixels of the canvas."""
    width, height = size
    scale = min(
        (width - 40) / (max(mapped["x"]) - min(mapped["x"])),
        (height - 40) / (max(mapped["y"]) - min(mapped["y"])),
    )
    middle = [(max(mapped[axis]) + min(mapped[axis])) / 2 for axis in "xy"]
    across, up = mapped["x"][at] - middle[0], mapped["y"][at] - middle[1]
    return {"x": width / 2 + across * scale, "y": height / 2 - up * scale}


def drawn(page):
    """The picture as the page has drawn it."""
    return page.locator("#map .map canvas").evaluate("(canvas) => canvas.toDataURL()")


def test_the_pointer_reads_a_review(visit, maps):
    page, (mapped, _) = visit(), maps[90]
    canvas, tip = page.locator("#map .map canvas"), page.locator(".tip")
    assert tip.is_hidden()
    size = canvas.evaluate(CENTRE)
    for at in (7, 41, 0):
        canvas.hover(position=place_of(mapped, at, size))
        shown = tip.inner_text()
        near = [
            each
            for each in range(90)
            if mapped["ids"][each] in shown and mapped["texts"][each][:20] in shown
        ]
        assert near, shown
    assert tip.is_visible()
    assert page.locator("#map img").count() == page.locator("main script:not([type])").count() == 0


def test_every_review_is_reached_by_keyboard(visit, maps):
    page = visit()
    page.locator("#map .map canvas").focus()
    page.keyboard.press("ArrowRight")
    seen = {page.inner_text(".tip")}
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp") * 6:
        page.keyboard.press(key)
        seen.add(page.inner_text(".tip"))
    assert len(seen) > 5
    page.keyboard.press("Escape")
    assert page.locator(".tip").is_hidden()
    page.locator("#reviews").get_by_role("button", name="Show review 1 on the map").click()
    assert HOSTILE in page.inner_text(".tip")
    assert page.evaluate("document.activeElement.tagName") == "CANVAS"
    assert page.inner_text(".tip").count("long") < 200  # the table has the whole review
    page.locator("#reviews summary").first.click()
    assert page.inner_text("#reviews tbody tr:first-child").count("long") >= 200


def test_colours_search_and_table(visit, maps):
    page, (mapped, _) = visit(), maps[90]
    legend = page.locator(".legend button")
    names = [each.inner_text() for each in legend.all()]
    assert sorted(names) == sorted(f"{name} (30)" for name, _ in mapped["clusters"]["sizes"])
    before = drawn(page)
    legend.first.click()
    assert legend.first.get_attribute("aria-pressed") == "false"
    assert page.inner_text(".found") == "60 of 90 reviews"
    assert drawn(page) != before
    legend.first.click()
    assert drawn(page) == before
    page.get_by_label("Colour by").select_option(label="rating")
    assert drawn(page) != before
    assert page.inner_text(".found") == "90 reviews"
    ratings = [each.inner_text().split(" (")[0] for each in legend.all()]
    assert ratings == ["1", "2", "3", "4", "5", "none"]
    page.fill("input[type=search]", "NUMBER 41")
    assert page.inner_text(".found") == "1 of 90 reviews"
    assert "number 41" in page.inner_text("#reviews tbody")
    page.fill("input[type=search]", "")
    page.get_by_role("button", name="Next").click()
    assert page.get_by_text("Page 2 of 2").is_visible()
    assert page.locator("#reviews tbody tr").count() == 40


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1200, "light")])
def test_axe_finds_nothing(visit, width, scheme):
    page = visit()
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.locator("#reviews button.open").nth(3).click()
    assert page.locator(".tip").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []


def test_ten_thousand_reviews_stay_usable(visit, maps):
    """What the pointer and the keyboard do takes a frame or a few, not a second."""
    page, (mapped, path) = visit(10_000), maps[10_000]
    assert page.inner_text(".found") == "10,000 reviews"
    assert page.locator("#reviews tbody tr").count() == 50
    canvas = page.locator("#map .map canvas")
    size = canvas.evaluate(CENTRE)
    canvas.hover(position=place_of(mapped, 4321, size))
    assert page.locator(".tip").is_visible()
    canvas.focus()
    for _ in range(30):
        page.keyboard.press("+")
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("0")
    page.fill("input[type=search]", "battery number 4")
    shown = page.inner_text(".found")
    wanted = [t for t in mapped["texts"] if all(w in t for w in ("battery", "number", "4"))]
    assert shown == f"{len(wanted):,} of 10,000 reviews"
    assert path.stat().st_size < 3_000_000


def test_poolings_are_a_page(visit, poolings):
    page = visit(path=poolings)
    page.set_viewport_size({"width": 400, "height": 800})
    assert HOSTILE in page.inner_text("h1")
    assert page.locator(".plot svg").count() == 2
    assert page.locator("tbody tr").count() == 4 + 9
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.locator("main img").count() == page.locator("main script").count() == 0
    assert violations(page) == []
