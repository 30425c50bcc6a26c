"""The pages in a real browser, from a file, with the network watched."""

from dataclasses import replace

import pytest

from eval.report.folder import save_run
from eval.report.page import comparison_page
from eval.runs.compare import compare_runs
from eval.runs.run import hardest_first
from eval.runs.summary import summarise

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reports(made_up_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    reader = made_up_run("reader", ("ours", "theirs"), questions=210)
    first, *rest = reader.systems["theirs"].rows
    failed = replace(
        first,
        scores={m: None if s is None else 0.0 for m, s in first.scores.items()},
        output={"prediction": None},
        error="<b>out of memory</b>",
    )
    theirs = replace(reader.systems["theirs"], rows=(failed, *rest))
    runs = {
        "reader": replace(reader, systems={**reader.systems, "theirs": theirs}),
        "retriever": made_up_run("retriever", ("hybrid", "bm25"), questions=60),
        "pipeline": made_up_run("pipeline", ("pipeline",), questions=120),
        "later": made_up_run("pipeline", ("pipeline",), questions=120, seed=14),
    }
    for name, run in runs.items():
        rows = next(iter(run.systems.values())).rows
        texts = {row.review_id: f"They say: {' '.join(row.references)}. <hr>" for row in rows}
        save_run(run, summarise(run, resamples=100), folder / name, texts)
    compared = compare_runs([str(folder / "pipeline"), str(folder / "later")], resamples=100)
    (folder / "compared.html").write_text(comparison_page(compared), encoding="utf-8")
    return folder, runs


@pytest.fixture
def visit(browser, reports):
    """Opens a page; afterwards, nothing may have been fetched, refused or gone wrong."""
    context = browser.new_context()
    context.set_default_timeout(10_000)
    page = context.new_page()
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))

    def go(name):
        page.goto((reports[0] / name).as_uri())
        page.locator(".questions tbody tr").first.wait_for()
        return page

    yield go
    assert [url for url in requests if not url.startswith(("file://", "data:"))] == []
    assert complaints == []
    assert "owned" not in page.title()
    context.close()


def choose(page, label, value):
    page.locator(".filters").get_by_label(label, exact=True).select_option(value)


def ranks(page):
    return page.locator(".questions tbody tr > td:nth-child(2)").all_inner_texts()


def found(page):
    return page.inner_text(".found")


@pytest.mark.parametrize("name", ["reader", "retriever", "pipeline"])
def test_a_page_opens_with_its_plots_and_questions(visit, reports, name):
    page = visit(f"{name}/report.html")
    for plot in page.locator(".plot svg").all():
        box = plot.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 60
        assert plot.locator("path").count() > 5
    assert page.locator(".plot svg").count() >= 3
    count = len(next(iter(reports[1][name].systems.values())).rows)
    assert found(page) == f"{count} questions"
    assert ranks(page) == [str(rank) for rank in range(1, min(count, 50) + 1)]
    # The page itself never scrolls sideways; wide tables do, inside.
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


PAGES = ["reader/report.html", "retriever/report.html", "pipeline/report.html", "compared.html"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_legible_at_400_pixels(visit, name):
    page = visit(name)
    page.set_viewport_size({"width": 400, "height": 800})
    page.locator(".questions button.open").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    texts = page.locator(".plot svg text").all()
    assert all(text.bounding_box()["height"] >= 9 for text in texts[:40])
    # Captions, and the details of a question, are read without scrolling; no word is a column.
    for shown in page.locator("caption:not(.hidden), .detail > td > div").all():
        box = shown.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 400
    narrow = page.locator("tbody th[scope=row]").all()
    assert all(cell.bounding_box()["width"] >= 100 for cell in narrow)
    wide = page.locator(".wide").filter(has=page.locator(".questions"))
    wide.focus()
    page.keyboard.press("ArrowRight")
    for _ in range(50):  # it scrolls smoothly
        page.wait_for_timeout(50)
        if wide.evaluate("(each) => each.scrollLeft"):
            return
    pytest.fail("the arrow key did not scroll the table")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit, name, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(name)
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.locator(".questions button.open").first.click()
    found = axe.run(page).response
    assert found["passes"]
    assert [(each["id"], len(each["nodes"])) for each in found["violations"]] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_prints_on_a4(visit, name):
    page = visit(name)
    page.set_viewport_size({"width": 688, "height": 1000})  # A4 without its margins
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 688
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    for hidden in (".filters", ".pages button", ".questions .open", "nav"):
        assert page.locator(hidden).first.is_hidden()
    for box in page.locator(".wide").all():
        assert box.evaluate("(each) => getComputedStyle(each).overflowX") == "visible"
    rank = page.locator(".questions tbody tr:nth-child(11) td.number").first
    assert rank.inner_text() == "11"
    assert rank.evaluate("(each) => each.getClientRects().length") == 1
    heights = "(each) => { const range = document.createRange(); range.selectNodeContents(each);"
    heights += " return range.getBoundingClientRect().height; }"
    assert rank.evaluate(heights) < 30


def test_strangers_words_stay_words(visit):
    page = visit("reader/report.html")
    page.fill("input[type=search]", "<script>")
    assert page.locator(".questions tbody tr").count() > 0
    assert "</script><script>" in page.inner_text(".questions tbody")
    for button in page.locator(".questions button.open").all():
        button.click()
    page.fill("input[type=search]", "onerror")
    page.locator(".questions button.open").first.click()
    assert "<img src=x onerror=" in page.inner_text(".detail")
    assert page.locator("main img").count() == page.locator("main script:not([type])").count() == 0
    page.fill("input[type=search]", "out of memory")
    page.locator(".questions button.open").first.click()
    assert "<b>out of memory</b>" in page.inner_text(".detail")
    assert page.evaluate("document.title") == "Reader on made-up, test"


def test_a_script_slipped_in_would_not_run(browser, reports):
    """Were the escaping to fail, the policy would still hold."""
    page = browser.new_page()
    page.goto((reports[0] / "reader" / "report.html").as_uri())
    refused = page.evaluate(
        """() => new Promise((done) => {
          const refuse = (event) => done(event.effectiveDirective);
          document.addEventListener("securitypolicyviolation", refuse);
          const script = document.createElement("script");
          script.textContent = "document.title = 'owned'";
          document.body.append(script);
        })"""
    )
    assert refused == "script-src-elem"
    assert page.title() != "owned"
    page.close()


def test_sorting(visit, reports):
    page = visit("reader/report.html")
    head = page.locator(".questions thead")
    head.get_by_role("button", name="#").click()
    assert ranks(page)[0] == "210"
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("#")
    head.get_by_role("button", name="Question").click()
    shown = page.locator(".questions tbody tr > td:nth-child(3)").all_inner_texts()
    assert shown == sorted(shown, key=str.casefold)
    head.get_by_role("button", name="ours: F1").press("Enter")
    head.get_by_role("button", name="ours: F1").press("Enter")
    scores = [
        float(text)
        for text in page.locator(".questions tbody tr > td:nth-child(6)").all_inner_texts()
    ]
    assert scores[0] == 1
    assert scores == sorted(scores, reverse=True)
    head.get_by_role("button", name="Right answers").click()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Next").click()
    # Questions without an answer come last, whichever way they are sorted.
    assert page.locator(".questions tbody tr > td:nth-child(4)").last.inner_text() == "no answer"


def test_filters_and_pages(visit, reports):
    page = visit("reader/report.html")
    rows = reports[1]["reader"].systems["ours"].rows
    wanted = [row for row in rows if row.slices["domain"] == "grocery" and not row.references]
    choose(page, "domain", "grocery")
    choose(page, "answerable", "no")
    assert found(page) == f"{len(wanted)} of 210 questions"
    page.get_by_role("button", name="Clear").click()
    assert found(page) == "210 questions"
    page.fill("input[type=search]", "BATTERY how")
    texts = page.locator(".questions tbody tr").all_inner_texts()
    assert texts
    assert all("battery" in text.lower() for text in texts)
    page.fill("input[type=search]", "nothing like this")
    assert found(page) == "0 of 210 questions"
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Next").click()
    assert ranks(page)[0] == "51"
    assert page.get_by_text("Page 2 of 5").is_visible()
    choose(page, "F1", "failed")
    assert found(page) == "1 of 210 questions"
    assert "failed" in page.inner_text(".questions tbody")


def test_outcomes_filter_a_pipeline(visit, reports):
    page = visit("pipeline/report.html")
    rows = reports[1]["pipeline"].systems["pipeline"].rows
    wanted = sum(row.output["outcome"] == "not_retrieved" for row in rows)
    choose(page, "Outcome", "not_retrieved")
    assert found(page) == f"{wanted} of 120 questions"
    assert set(page.locator(".questions tbody tr > td:nth-child(6)").all_inner_texts()) == {
        "gold review not retrieved"
    }


def test_details_open_by_keyboard_and_hold_everything(visit, reports):
    page = visit("retriever/report.html")
    opener = page.locator(".questions button.open").first
    opener.focus()
    page.keyboard.press("Enter")
    assert opener.get_attribute("aria-expanded") == "true"
    detail = page.inner_text(".detail")
    for words in ("question id", "gold review", "hybrid", "bm25", "candidates", "domain"):
        assert words in detail
    page.keyboard.press("Space")
    assert page.locator(".detail").count() == 0
    assert page.inner_text(".questions tbody tr:first-child td:nth-child(5)").startswith(
        ("rank", "not found")
    )


def test_reviews_open_with_the_right_answers_marked(visit, reports):
    page = visit("pipeline/report.html")
    choose(page, "answerable", "yes")
    page.locator(".questions button.open").first.click()
    detail = page.locator(".detail")
    assert detail.locator("details .review").first.is_hidden()
    detail.locator("summary", has_text="review").first.click()
    review = detail.locator("details .review").first
    rank = page.locator(".questions tbody td:nth-child(2)").first.inner_text()
    row = hardest_first(reports[1]["pipeline"])[int(rank) - 1][1]
    assert review.inner_text() == f"They say: {' '.join(row.references)}. <hr>"
    assert review.locator("mark").first.inner_text() == row.references[0]


def test_a_comparison_shows_both_sides(visit, reports):
    page = visit("compared.html")
    heading = page.inner_text("#questions h3")
    assert "gained" in heading
    choose(page, "EM", "lost")
    for row in page.locator(".questions tbody tr").all():
        cells = row.locator("td").all_inner_texts()
        assert cells[4] == "−1.000"
    assert "settings.retriever.top_k" in page.inner_text("#made-with")
