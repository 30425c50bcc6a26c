"""`<review-answers>` in a real browser, under the strictest policy that a shop may have."""

import gzip
import json
import re
from dataclasses import replace
from html import escape
from pathlib import Path
from urllib.parse import urlencode

import pytest

import marked_answers
from accessibility import violations
from marked_answers import ARABIC, BOOTS, EARBUDS, JACKET
from qa_system.opinions import Verdict
from qa_system.records import Review
from widget_server import Reply, serving_widget

pytestmark = pytest.mark.slow

WIDGET = Path(__file__).parents[2] / "web" / "review-answers.js"
RAIN = "Does it really keep the rain out?"
HOSTILE = (
    "😀 <img src=x onerror=\"document.title='owned'\"> "
    "</script><script>document.title='owned'</script> \u202ebackwards" + "endless" * 40
)


@pytest.fixture(scope="module")
def running():
    with serving_widget() as server:
        yield server


@pytest.fixture
def server(running):
    running.start_anew()
    return running


@pytest.fixture
def visit(browser, server):
    """Opens a page with the widget; afterwards, nothing may have been refused or gone wrong."""
    contexts, complaints = [], []

    def go(item=JACKET, *, html='lang="en"', look=None, width=760, path=None, **attributes):
        context = browser.new_context(
            viewport={"width": width, "height": 700}, **(look or {"color_scheme": "light"})
        )
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        written = {"item": item, **attributes}
        pairs = [f'{name.replace("_", "-")}="{escape(v)}"' for name, v in written.items()]
        query = urlencode({"attributes": " ".join(pairs), "html": html})
        page.goto(f"{server.url}{path or f'/page?{query}'}")
        page.locator("review-answers[state=idle]").first.wait_for()
        return page

    yield go
    for context in contexts:
        assert all("owned" not in page.title() for page in context.pages)
        context.close()
    # Chromium reports every answer that is an error; the widget's own words are no part of that.
    assert [each for each in complaints if "Failed to load resource" not in each] == []


@pytest.fixture
def look_on(browser, server):
    """Opens a page of any attributes; returns it and the warnings that the widget gives."""
    context = browser.new_context()
    context.set_default_timeout(10_000)

    def go(attributes, html='lang="en"'):
        page, warnings = context.new_page(), []
        page.on("pageerror", lambda error: pytest.fail(str(error)))
        page.on(
            "console",
            lambda message: (
                warnings.append(message.text.partition(": ")[2])
                if message.type == "warning"
                else None
            ),
        )
        pairs = [f'{name.replace("_", "-")}="{escape(v)}"' for name, v in attributes.items()]
        query = urlencode({"attributes": " ".join(pairs), "html": html})
        page.goto(f"{server.url}/page?{query}")
        page.locator("review-answers[state=idle]").wait_for()
        return page, warnings

    yield go
    context.close()


def ask(page, question):
    page.get_by_role("textbox", name="Your question").fill(question)
    page.keyboard.press("Enter")
    answered(page)


def answered(page):
    page.locator("review-answers:is([state=answer], [state=error])").first.wait_for()


def texts(locator):
    return [" ".join(text.split()) for text in locator.all_inner_texts()]


def focused(page):
    """The words of what has the focus, inside the widget."""
    return page.evaluate(
        """() => {
          const element = document.querySelector("review-answers").shadowRoot.activeElement;
          return element && (element.innerText.trim() || element.tagName.toLowerCase());
        }"""
    )


def test_the_file_is_small_and_never_parses_html():
    source = WIDGET.read_text(encoding="utf-8")
    assert len(gzip.compress(source.encode(), 9)) < 15_000
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|eval\(|new Function"
    assert not re.findall(sinks, source)


def test_asking_opening_a_quote_and_feedback_by_keyboard_alone(visit, server):
    page = visit(questions=json.dumps(["How is the zipper?"]))
    status = page.get_by_role("status")
    page.keyboard.press("Tab")
    assert focused(page) == "input"
    page.keyboard.type(RAIN)
    page.keyboard.press("Enter")
    answered(page)
    assert status.inner_text() == "Mostly yes. 4 of 6 reviews that speak of it say yes"
    order = ["Ask", "How is the zipper?", "Read the whole review", "Show 3 more quotes"]
    order += ["Read the whole review", "Show 1 more quote", "Yes", "No"]
    assert focused(page) == "input"
    for expected in order:
        page.keyboard.press("Tab")
        assert focused(page) == expected
    for _ in order[3:]:
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert focused(page) == "Close the review"
    review = page.get_by_role("group", name="Whole review")
    assert review.locator("mark").inner_text() == "It has kept me dry on about nine days out of ten"
    page.keyboard.press("Tab")  # into the review, which may be long
    assert focused(page).startswith("I walk to school with my kids")
    page.keyboard.press("Escape")
    assert focused(page) == "Read the whole review"
    assert review.count() == 0
    for _ in order[3:]:
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.get_by_role("textbox", name="What was wrong or missing?").wait_for()
    assert page.get_by_role("button", name="No").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Tab")
    page.keyboard.type("It is about another jacket.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator(".feedback > p").wait_for()  # in place of the buttons
    assert focused(page) == "Thank you for your feedback."
    first, second = server.feedback
    assert first == {
        "request_id": "r1",
        "item_id": JACKET,
        "question": RAIN,
        "answer": "mostly_yes",
        "shown": first["shown"],
        "generation": 7,
        "verdict": "down",
    }
    assert len(first["shown"]) == 6
    assert first["shown"][0] == {
        "review_id": "6c2d419c81d876753ac617075b5c043b",
        "start": 112,
        "end": 160,
    }
    assert second == {**first, "reason": "It is about another jacket."}


def test_an_answer_shows_its_counts_points_and_quotes(visit):
    page = visit()
    ask(page, RAIN)
    result = page.get_by_role("group", name="Answer")
    assert texts(result.get_by_role("heading")) == [RAIN]
    assert texts(result.locator(".key li")) == ["Yes 4", "No 2"]
    assert result.get_by_text("6 of 14 reviews speak of it", exact=True).is_visible()
    points = result.get_by_role("list", name="What the reviews say").locator("> li")
    assert texts(points.locator(".facts")) == [
        "Says yes 4 of 6 reviews",
        "Says no 2 of 6 reviews",
    ]
    widths = [
        point.locator(".track i").bounding_box()["width"]
        / point.locator(".track").bounding_box()["width"]
        for point in points.all()
    ]
    assert widths == pytest.approx([4 / 6, 2 / 6], abs=0.01)
    first = points.first
    assert first.locator("mark").all_inner_texts() == [
        "It has kept me dry on about nine days out of ten"
    ]
    first.get_by_role("button", name="Show 3 more quotes").click()
    assert first.locator("mark").count() == 4
    assert first.get_by_role("img").first.get_attribute("aria-label") == "4 stars of 5"
    first.get_by_role("button", name="Show fewer quotes").click()
    assert first.locator("mark").count() == 1


@pytest.mark.parametrize(
    ("answer", "yes", "no", "mentions", "title", "counted"),
    [
        ("yes", 9, 0, 9, "Yes", "All 9 reviews that speak of it say yes"),
        ("mostly_yes", 6, 3, 9, "Mostly yes", "6 of 9 reviews that speak of it say yes"),
        ("mostly_no", 1, 5, 7, "Mostly no", "5 of 7 reviews that speak of it say no"),
        ("no", 0, 1, 1, "No", "The only review that speaks of it says no"),
        ("no", 0, 1, 3, "No", "1 of 3 reviews that speak of it says no"),
        (
            "divided",
            4,
            4,
            9,
            "Opinions are divided",
            "9 reviews speak of it: 4 say yes, 4 say no",
        ),
    ],
)
def test_verdicts(visit, server, answer, yes, no, mentions, title, counted):
    given = marked_answers.answers(RAIN, JACKET, marked_answers.RAIN)
    given = replace(given, verdict=Verdict(answer, yes, no), mentions=mentions)
    server.answers[JACKET, RAIN] = given.to_dict()
    page = visit()
    ask(page, RAIN)
    assert page.locator(".verdict").inner_text() == title
    assert page.locator(".counted").inner_text() == counted
    shown = [f"Yes {yes}", f"No {no}", f"Neither {mentions - yes - no}"]
    assert texts(page.locator(".key li")) == [each for each in shown if not each.endswith(" 0")]


def test_what_the_reviews_do_not_say(visit, server):
    server.body = "<p slot=empty>Ask our team.</p>"
    page = visit(BOOTS)
    ask(page, "Are they vegan?")
    assert page.locator(".verdict").inner_text() == "The reviews don’t say"
    assert page.get_by_text("None of 13 reviews answers this.").last.is_visible()
    assert page.get_by_text("Ask our team.").is_visible()
    assert page.locator(".point, .bar").count() == 0


def test_an_open_question_has_points_without_a_verdict(visit):
    page = visit(EARBUDS)
    ask(page, "How is the sound?")
    assert page.locator(".verdict, .bar").count() == 0
    assert page.locator(".counted").inner_text() == "2 of 13 reviews speak of it"
    assert texts(page.locator(".tag")) == ["Criticism", "Praise"]


def test_a_stance_is_shown_beside_a_verdict_only(visit, server):
    given = marked_answers.answers(RAIN, JACKET, marked_answers.RAIN)
    server.answers[JACKET, RAIN] = replace(given, verdict=None).to_dict()
    page = visit()
    ask(page, RAIN)
    assert texts(page.locator(".tag")) == ["Praise", "Criticism"]


def test_one_review_has_no_bar(visit, server):
    said = [("Straight out of the box", None, "for", ("Straight out of the box",))]
    question = "Do they need breaking in?"
    server.answers[BOOTS, question] = marked_answers.answers(question, BOOTS, said).to_dict()
    page = visit(BOOTS)
    ask(page, question)
    assert page.locator(".counted").inner_text() == "1 of 13 reviews speaks of it"
    assert texts(page.locator(".facts")) == ["Praise 1 review"]
    assert page.locator(".track, .bar").count() == 0


def test_a_compound_question_is_answered_part_by_part(visit):
    page = visit(BOOTS)
    ask(page, "What size, and do they need breaking in?")
    parts = texts(page.get_by_role("heading", level=4))
    assert parts == ["What size?", "Do they need breaking in?", "Are they vegan?"]
    assert page.get_by_role("list", name="What size?").locator("> li").count() == 2
    assert page.locator(".part").last.locator("+ p").inner_text() == "The reviews don’t say"


def test_dissent_is_seen_however_many_agree(visit, server):
    given = marked_answers.answers(RAIN, JACKET, marked_answers.RAIN)
    agreeing, dissenting = given.points
    points = (*[agreeing] * 6, dissenting)
    server.answers[JACKET, RAIN] = replace(given, points=points).to_dict()
    page = visit()
    ask(page, RAIN)
    shown = [text.split()[1] for text in texts(page.locator(".point .facts"))]
    assert shown == ["yes", "yes", "yes", "no"]
    page.get_by_role("button", name="Show 3 more points").click()
    assert page.locator(".point").count() == 7


def test_extracted_and_generated_answers_without_points(visit, server):
    system_answer = {
        "text": "it catches the flap inside",
        "confidence": 0.5,
        "review_id": "a73054eaed20c5a4a133eb9069161605",
        "start": 24,
        "end": 50,
        "snippet": "the zip!! the ZIP. it catches the flap inside every.",
        "meta": {"stars": 1},
        "generated": False,
    }
    written = {**system_answer, "text": "The zip catches.", "generated": True}
    server.answers[JACKET, "How is the zipper?"] = {
        "question": "How is the zipper?",
        "reviews": 14,
        "answers": [written, system_answer],
    }
    page = visit()
    ask(page, "How is the zipper?")
    assert page.locator(".written").inner_text() == "The zip catches."
    assert page.get_by_text("Written by a model from the reviews").is_visible()
    assert texts(page.locator(".point mark")) == ["it catches the flap inside"]
    assert page.locator(".track").count() == 0


def test_strangers_words_stay_words(visit, server):
    review = Review("r/1?<b>", "<i>item", f"{HOSTILE} It is loud. {HOSTILE}", {"stars": 1})
    server.reviews[review.id] = review
    said = [("<b>It is loud</b>", "yes", "against", ("It is loud",))]
    given = marked_answers.answers(HOSTILE, review.item_id, said, {review.id: review})
    given = replace(given, points=tuple(replace(p, part=HOSTILE) for p in given.points))
    hostile = replace(given.points[0], label=HOSTILE, part="<i>other part</i>")
    parts = (HOSTILE, "<i>other part</i>")
    given = replace(given, points=(*given.points, hostile), parts=parts)
    server.answers[review.item_id, HOSTILE] = given.to_dict()
    page = visit(
        review.item_id,
        width=400,
        questions=json.dumps([HOSTILE]),
        texts='{"title": "<b>Ask</b>"}',
    )
    page.get_by_role("button", name="img").click()
    answered(page)
    page.get_by_role("button", name="Read the whole review").first.click()
    shown = page.get_by_role("group", name="Whole review")
    shown.locator("mark").wait_for()
    assert shown.locator("mark").inner_text() == "It is loud"
    assert '<img src=x onerror="document.title' in shown.inner_text()
    assert page.get_by_role("heading", level=2).inner_text() == "<b>Ask</b>"
    assert page.locator("main :is(img, script, b, i:not(:empty))").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert violations(page) == []


def test_feedback_that_is_not_taken_is_not_offered(visit, server):
    page = visit(feedback="off")
    ask(page, RAIN)
    assert page.get_by_text("Did this help?").count() == 0
    server.answers[JACKET, "No feedback?"] = {**server.answers[JACKET, RAIN], "feedback": False}
    page = visit()
    ask(page, "No feedback?")
    assert page.get_by_text("Did this help?").count() == 0
    server.feedback_status = 404
    ask(page, RAIN)
    page.get_by_role("button", name="Yes").click()
    page.get_by_text("Did this help?").wait_for(state="detached")


def test_feedback_that_fails_says_so(visit, server):
    server.feedback_status = 500
    page = visit()
    ask(page, RAIN)
    page.get_by_role("button", name="Yes").click()
    page.locator(".feedback").get_by_text("Your feedback could not be sent.").wait_for()
    assert page.get_by_role("button", name="Yes").get_attribute("aria-pressed") == "false"
    server.feedback_status = 202
    page.get_by_role("button", name="Yes").click()
    page.get_by_role("textbox", name="What helped?").wait_for()
    assert [each["verdict"] for each in server.feedback] == ["up"]
    assert page.get_by_text("could not be sent").count() == 0


@pytest.mark.parametrize(
    ("reply", "text", "retry"),
    [
        (Reply(503, {"Retry-After": "7"}), "Please try again in 7 seconds.", True),
        (Reply(429), "Please try again in a second.", True),
        (Reply(422), "Please ask it in other words.", False),
        (Reply(413), "Please ask a shorter one.", False),
        (Reply(401), "Questions cannot be asked from this page.", False),
        (Reply(504), "This took too long.", True),
        (Reply(500), "Something went wrong.", True),
    ],
)
def test_errors_are_told_and_can_be_tried_again(visit, server, reply, text, retry):
    server.replies[RAIN] = reply
    page = visit()
    ask(page, RAIN)
    assert text in page.locator(".error").inner_text()
    assert text in page.get_by_role("status").inner_text()
    again = page.get_by_role("button", name="Try again")
    assert again.count() == retry
    del server.replies[RAIN]
    if retry:
        again.click()
        page.locator("review-answers[state=answer]").wait_for()
        assert focused(page) == "input"


def test_an_item_without_reviews_and_a_server_that_is_gone(visit, server):
    server.replies[RAIN] = Reply(404, code="unknown_item")
    page = visit()
    ask(page, RAIN)
    assert page.locator(".verdict").inner_text() == "There are no reviews of this item yet."
    server.replies[RAIN] = Reply(404)  # whatever else is not there, an item is not told to be empty
    ask(page, RAIN)
    assert "Something went wrong" in page.locator(".error").inner_text()
    # A proxy's page, which is no answer.
    page.route("**/v1/ask", lambda route: route.fulfill(json={}))
    ask(page, "Is it heavy?")
    assert "Something went wrong" in page.locator(".error").inner_text()
    page.route("**/v1/ask", lambda route: route.abort())
    ask(page, "Is it loud?")
    assert "cannot be reached" in page.locator(".error").inner_text()


def test_the_last_question_counts_and_waiting_is_told(visit, server):
    server.replies["How is the zipper?"] = Reply(200, {}, 4.0)
    page = visit()
    page.evaluate(
        """() => {
          window.shown = [];
          addEventListener("review-answers-answer", ({ detail }) => shown.push(detail.question));
        }"""
    )
    page.get_by_role("textbox").fill("How is the zipper?")
    page.keyboard.press("Enter")
    page.locator("review-answers[state=loading]").wait_for()
    assert page.get_by_role("status").inner_text() == "Reading the reviews …"
    assert page.get_by_role("group", name="Answer").get_attribute("aria-busy") == "true"
    assert violations(page) == []
    ask(page, RAIN)
    page.wait_for_timeout(4_200)
    assert page.locator(".asked").inner_text() == RAIN
    assert page.evaluate("shown") == [RAIN]


def test_a_widget_that_is_moved_keeps_its_answer_and_gives_up_a_question(visit, server):
    page = visit()
    ask(page, RAIN)
    move = "document.body.prepend(document.querySelector('review-answers'))"
    page.evaluate(move)
    assert page.locator(".verdict").inner_text() == "Mostly yes"
    server.replies["How is the zipper?"] = Reply(200, {}, 0.5)
    page.get_by_role("textbox").fill("How is the zipper?")
    page.keyboard.press("Enter")
    page.locator("review-answers[state=loading]").wait_for()
    page.evaluate(move)
    page.wait_for_timeout(800)
    assert page.locator("review-answers").get_attribute("state") == "idle"


def test_a_review_that_is_gone_is_told(visit, server):
    server.reviews = {}
    page = visit()
    ask(page, RAIN)
    page.get_by_role("button", name="Read the whole review").first.click()
    page.get_by_text("This review could not be loaded.").wait_for()
    assert page.get_by_role("button", name="Close the review").is_visible()


@pytest.mark.parametrize("endpoint", ["/shop/proxy", "/shop/proxy/", "shop/proxy"])
def test_the_endpoint_may_be_a_proxy_with_a_path(visit, server, endpoint):
    asked = []
    page = visit(endpoint=endpoint)
    page.on("request", lambda request: asked.append(request.url))
    ask(page, RAIN)
    assert asked == [f"{server.url}/shop/proxy/v1/ask"]


def test_a_time_limit_is_kept(visit, server):
    server.replies[RAIN] = Reply(200, {}, 5.0)
    page = visit(timeout_ms="1")
    ask(page, RAIN)
    assert "took too long" in page.locator(".error").inner_text()
    assert server.asked[0]["timeout_ms"] == 1


def test_what_is_sent(visit, server):
    filters = {"field": "meta.stars", "operator": ">=", "value": 4}
    page = visit(key="pk_1", top_k="5", mode="auto", filters=json.dumps(filters))
    ask(page, f"  {RAIN} ")
    assert server.asked == [
        {"question": RAIN, "item_id": JACKET, "top_k": 5, "mode": "auto", "filters": filters}
    ]
    assert server.keys == ["pk_1"]


def test_a_page_hears_of_answers_and_feedback(visit):
    page = visit()
    page.evaluate(
        """() => {
          window.heard = [];
          for (const name of ["answer", "feedback"])
            document.addEventListener(`review-answers-${name}`, ({ detail }) => heard.push(detail));
        }"""
    )
    ask(page, RAIN)
    page.get_by_role("button", name="Yes").click()
    page.get_by_role("textbox", name="What helped?").wait_for()
    answer, feedback = page.evaluate("heard")
    assert (answer["question"], answer["answers"]["mentions"], answer["error"]) == (RAIN, 6, None)
    assert feedback["verdict"] == "up"


def test_suggestions_by_attribute_and_by_slot(visit, server):
    page = visit(questions=json.dumps([RAIN, "How is the zipper?"]))
    page.get_by_role("button", name=RAIN).click()
    answered(page)
    assert page.get_by_role("textbox").input_value() == RAIN
    server.body = f"<button slot=question>{RAIN}</button><h3 slot=heading>Ask away</h3>"
    page = visit()
    assert page.get_by_role("heading", name="Ask away").is_visible()
    page.get_by_role("button", name=RAIN).click()
    answered(page)
    assert page.locator(".asked").inner_text() == RAIN
    server.body = ""
    assert visit().get_by_text("Often asked").is_hidden()


def test_what_is_asked_most_of_the_item_is_suggested(visit, server):
    server.most_asked[JACKET] = [RAIN, HOSTILE]
    page = visit(questions=json.dumps(["How is the zipper?"]), width=400)
    suggested = page.get_by_role("group", name="Often asked").get_by_role("button")
    page.get_by_role("button", name=RAIN).wait_for()
    assert suggested.all_inner_texts() == [RAIN, HOSTILE]
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert violations(page) == []
    page.get_by_role("button", name=RAIN).click()
    answered(page)
    assert page.locator(".asked").inner_text() == RAIN
    # Of another item nothing is asked often: what the page has given is there.
    page.evaluate(f"document.querySelector('review-answers').setAttribute('item', '{BOOTS}')")
    page.get_by_role("button", name="How is the zipper?").wait_for()
    assert suggested.all_inner_texts() == ["How is the zipper?"]
    page = visit(questions=json.dumps(["How is the zipper?"]), most_asked="off")
    page.wait_for_load_state("networkidle")
    assert page.get_by_role("button", name="How is the zipper?").is_visible()
    assert page.get_by_role("button", name=RAIN).count() == 0


def test_another_item_starts_anew(visit):
    page = visit()
    ask(page, RAIN)
    page.evaluate(f"document.querySelector('review-answers').setAttribute('item', '{BOOTS}')")
    page.locator("review-answers[state=idle]").wait_for()
    assert page.get_by_role("textbox").input_value() == ""
    assert page.locator(".point").count() == 0


def test_german_by_the_page_and_by_the_attribute(visit):
    page = visit(html='lang="de-AT"')
    page.get_by_role("textbox", name="Ihre Frage").fill(RAIN)
    page.keyboard.press("Enter")
    answered(page)
    assert page.locator(".verdict").inner_text() == "Meistens ja"
    assert (
        page.locator(".counted").inner_text() == "4 von 6 Bewertungen, die davon sprechen, sagen ja"
    )
    page.evaluate("document.querySelector('review-answers').lang = 'en'")
    assert page.locator(".verdict").inner_text() == "Mostly yes"


def test_both_languages_have_every_text_with_the_same_values(visit):
    texts = visit().evaluate("import('/widget/review-answers.js').then(({ TEXTS }) => TEXTS)")

    def values(text):
        return set(re.findall(r"\{\w+\}", json.dumps(text)))

    assert set(texts) == {"en", "de"}
    english, german = texts["en"], texts["de"]
    assert {key: values(text) for key, text in english.items()} == {
        key: values(text) for key, text in german.items()
    }


def test_texts_of_another_language_and_right_to_left(visit):
    page = visit(html='lang="ar" dir="rtl"', texts=json.dumps(ARABIC))
    page.get_by_role("textbox").fill(RAIN)
    page.keyboard.press("Enter")
    answered(page)
    assert page.locator(".verdict").inner_text() == "غالبًا نعم"
    counted = page.locator(".counted").inner_text()
    assert re.fullmatch(r"[4٤] من أصل [6٦] مراجعات تقول نعم", counted)
    box = page.locator(".box").bounding_box()
    verdict = page.evaluate(
        """() => {
          const range = document.createRange();
          const root = document.querySelector("review-answers").shadowRoot;
          range.selectNodeContents(root.querySelector(".verdict"));
          const { right } = range.getBoundingClientRect();
          const yes = root.querySelector(".bar .yes").getBoundingClientRect();
          const no = root.querySelector(".bar .no").getBoundingClientRect();
          return { right, yes: yes.left, no: no.left };
        }"""
    )
    assert box["x"] + box["width"] - verdict["right"] < 40
    assert verdict["yes"] > verdict["no"]
    assert violations(page) == []


def test_an_unknown_language_is_english_left_to_right(visit):
    page = visit(html='lang="fi" dir="rtl"')
    ask(page, RAIN)
    box = page.locator(".box")
    assert (box.get_attribute("lang"), box.get_attribute("dir")) == ("en", "ltr")


def test_an_attribute_that_is_no_json_is_said_and_left_out(visit, browser, server):
    page = browser.new_page()
    warned = []
    page.on("console", lambda message: warned.append(message.text))
    query = urlencode({"attributes": 'item=x questions="[oops"'})
    page.goto(f"{server.url}/page?{query}")
    page.locator("review-answers[state=idle]").wait_for()
    page.close()
    assert any("the attribute questions is not JSON" in text for text in warned)


LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "forced colours": {"color_scheme": "light", "forced_colors": "active"},
}


@pytest.mark.parametrize("width", [400, 760])
@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_in_any_state(visit, server, look, width):
    server.replies["Broken?"] = Reply(500)
    page = visit(
        html=f'lang="en" data-theme="{look}"',
        look=LOOKS[look],
        width=width,
        questions=json.dumps([RAIN]),
    )
    assert violations(page) == []
    ask(page, RAIN)
    page.get_by_role("button", name="Show 3 more quotes").click()
    page.get_by_role("button", name="Read the whole review").first.click()
    page.get_by_role("group", name="Whole review").locator("mark").wait_for()
    page.get_by_role("button", name="No", exact=True).click()
    page.get_by_role("textbox", name="What was wrong").wait_for()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for question in ("Are they vegan?", "Broken?"):
        ask(page, question)
        assert violations(page) == []


def test_the_colour_scheme_is_the_pages(visit):
    """A page that knows no dark scheme has no dark widget in it."""
    dark = {"color_scheme": "dark"}
    background = """(
      getComputedStyle(document.querySelector("review-answers").shadowRoot.firstChild)
    ).backgroundColor"""
    page = visit(look=dark)
    assert page.evaluate(background) == "rgb(22, 25, 30)"
    page.evaluate("document.documentElement.style.colorScheme = 'only light'")
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    page.evaluate("document.querySelector('review-answers').setAttribute('theme', 'dark')")
    assert page.evaluate(background) == "rgb(22, 25, 30)"


def test_nothing_moves_for_those_who_want_no_motion(visit, server):
    server.replies[RAIN] = Reply(200, {}, 1.0)
    animations = "document.querySelector('review-answers').shadowRoot.getAnimations().length"
    for motion, moving in (("reduce", False), ("no-preference", True)):
        page = visit(look={"reduced_motion": motion})
        page.get_by_role("textbox").fill(RAIN)
        page.keyboard.press("Enter")
        page.locator("review-answers[state=loading]").wait_for()
        assert (page.evaluate(animations) > 0) is moving
        answered(page)


def test_the_demo_shop(visit):
    page = visit(path="/widget/demo/index.html")
    jacket, boots, earbuds = page.locator("review-answers").all()
    jacket.get_by_role("button", name=RAIN).click()
    boots.get_by_role("button", name="Do they need breaking in?").click()
    earbuds.get_by_role("button", name="How is the sound?").click()
    for widget, points in ((jacket, 2), (boots, 2), (earbuds, 2)):
        widget.locator(".point").first.wait_for()
        assert widget.locator(".point").count() == points
    assert violations(page) == []
    page.get_by_label("Appearance").select_option("dark")
    page.get_by_label("Language of the widget").select_option("de")
    assert jacket.locator(".verdict").inner_text() == "Meistens ja"
    assert violations(page) == []
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize("item", [None, ""])
def test_without_an_item_nothing_is_asked(look_on, server, item):
    page, said = look_on({} if item is None else {"item": item})
    ask(page, RAIN)
    assert page.locator(".error").inner_text() == "Questions cannot be asked from this page."
    assert (server.asked, said) == ([], ["the attribute item is missing: nothing is asked"])
    page.evaluate(f"document.querySelector('review-answers').setAttribute('item', '{JACKET}')")
    ask(page, RAIN)
    assert [each["item_id"] for each in server.asked] == [JACKET]


@pytest.mark.parametrize(
    ("attributes", "html", "said"),
    [
        ({"texts": "null"}, "", ["texts is not an object"]),
        ({"texts": "[1]"}, "", ["texts is not an object"]),
        ({"texts": "{"}, "", ["texts is not JSON"]),
        (
            {"texts": json.dumps({"ask": 5, "spoken": {"one": "1"}, "retry": {"other": {}}})},
            "",
            ["texts has a ask", "texts has a spoken", "texts has a retry"],
        ),
        ({"questions": '{"a": 1}'}, "", ["questions is not a list of texts"]),
        ({"questions": f'"{RAIN}"'}, "", ["questions is not a list of texts"]),
        ({"questions": "[5]"}, "", ["questions is not a list of texts"]),
        ({"lang": "!", "texts": '{"label": "Your question"}'}, "", ["lang is no language"]),
        ({"texts": '{"label": "Your question"}'}, 'lang="sv_SE"', []),
        ({"timeout_ms": "-50000"}, "", ["timeout-ms is not a whole number"]),
        ({"timeout_ms": "1e99", "top_k": "x"}, "", ["timeout-ms is not", "top-k is not"]),
        ({"mode": "psychic"}, "", ["mode is none of"]),
    ],
)
def test_an_attribute_of_a_wrong_kind_is_left_out_and_told(look_on, server, attributes, html, said):
    page, warnings = look_on({"item": JACKET, **attributes}, html or 'lang="en"')
    ask(page, RAIN)
    assert page.locator(".verdict").inner_text() == "Mostly yes"
    assert page.get_by_text("Read the whole review").first.is_visible()
    assert set(server.asked[0]) == {"question", "item_id"}
    for each in said:
        assert any(f"the attribute {each}" in warning for warning in warnings), warnings
    assert bool(warnings) == bool(said)


def test_a_question_is_not_asked_without_the_filters_that_were_meant(look_on, server):
    page, said = look_on({"item": JACKET, "filters": "[1]"})
    ask(page, RAIN)
    assert page.locator(".error").inner_text() == "Questions cannot be asked from this page."
    assert (server.asked, said) == ([], ["the attribute filters is not an object"])


@pytest.mark.parametrize(
    ("meta", "stars"),
    [
        ({"stars": ""}, None),
        ({"stars": "", "rating": "4"}, "4 stars of 5"),
        ({"stars": 0}, "0 star"),
    ],
)
def test_stars_that_are_not_there_are_not_shown(visit, server, meta, stars):
    answer = {"text": "It is loud", "review_id": "r", "start": 0, "end": 10, "meta": meta}
    server.answers[JACKET, RAIN] = {"question": RAIN, "reviews": 1, "answers": [answer]}
    page = visit()
    ask(page, RAIN)
    shown = page.locator(".stars")
    assert shown.count() == (stars is not None)
    if stars:
        assert shown.get_attribute("aria-label").startswith(stars)
