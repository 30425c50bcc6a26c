/**
 * <review-answers item="ID">: ask the reviews of an item, on any page.
 *
 * One file, no framework, no build step. Text from reviews and from the server is only ever set as
 * text: nothing here parses HTML, so the element works under `require-trusted-types-for 'script'`.
 * Styles are a constructed style sheet, which `style-src 'self'` allows.
 *
 * docs/widget.md lists its attributes, slots, parts, events and custom properties.
 */

/** Texts by language. A text of counts has a form for each plural of `n`, and of `total` in it. */
const TEXTS = {
  en: {
    title: "Ask the reviews",
    label: "Your question about this item",
    ask: "Ask",
    suggestions: "Often asked",
    loading: "Reading the reviews …",
    result: "Answer",
    yes: "Yes",
    mostly_yes: "Mostly yes",
    divided: "Opinions are divided",
    mostly_no: "Mostly no",
    no: "No",
    not_said: "The reviews don’t say",
    undecided: "Neither",
    answer_yes: "yes",
    answer_no: "no",
    count: {
      one: {
        one: "The only review that speaks of it says {answer}",
        other: "{n} of {total} reviews that speak of it says {answer}",
      },
      other: "{n} of {total} reviews that speak of it say {answer}",
    },
    count_all: "All {total} reviews that speak of it say {answer}",
    count_divided: "{total} reviews speak of it: {yes} say yes, {no} say no",
    spoken: {
      one: { one: "The only review speaks of it", other: "{n} of {total} reviews speaks of it" },
      other: "{n} of {total} reviews speak of it",
    },
    searched: { one: "The only review does not mention it.", other: "None of {n} reviews answers this." },
    no_reviews: "There are no reviews of this item yet.",
    support: { one: { one: "1 review", other: "{n} of {total} reviews" }, other: "{n} of {total} reviews" },
    points: "What the reviews say",
    stance_yes: "Says yes",
    stance_no: "Says no",
    stance_mixed: "Says both",
    for: "Praise",
    against: "Criticism",
    mixed: "Mixed",
    written: "Written by a model from the reviews",
    more_quotes: { one: "Show 1 more quote", other: "Show {n} more quotes" },
    fewer_quotes: "Show fewer quotes",
    more_points: { one: "Show 1 more point", other: "Show {n} more points" },
    fewer_points: "Show fewer points",
    open: "Read the whole review",
    close: "Close the review",
    review: "Whole review",
    review_failed: "This review could not be loaded.",
    stars: { one: "{n} star of 5", other: "{n} stars of 5" },
    helpful: "Did this help?",
    up: "Yes",
    down: "No",
    reason_up: "What helped? (optional)",
    reason_down: "What was wrong or missing? (optional)",
    send: "Send",
    thanks: "Thank you for your feedback.",
    feedback_failed: "Your feedback could not be sent.",
    error_busy: {
      one: "Many questions are being asked just now. Please try again in a second.",
      other: "Many questions are being asked just now. Please try again in {n} seconds.",
    },
    error_slow: "This took too long. Please try again.",
    error_offline: "The reviews cannot be reached just now.",
    error_question: "This question cannot be read. Please ask it in other words.",
    error_long: "This question is too long. Please ask a shorter one.",
    error_denied: "Questions cannot be asked from this page.",
    error_other: "Something went wrong. Please try again.",
    retry: "Try again",
  },
  de: {
    title: "Die Bewertungen fragen",
    label: "Ihre Frage zu diesem Artikel",
    ask: "Fragen",
    suggestions: "Oft gefragt",
    loading: "Die Bewertungen werden gelesen …",
    result: "Antwort",
    yes: "Ja",
    mostly_yes: "Meistens ja",
    divided: "Die Meinungen gehen auseinander",
    mostly_no: "Meistens nein",
    no: "Nein",
    not_said: "Dazu sagen die Bewertungen nichts",
    undecided: "Weder noch",
    answer_yes: "ja",
    answer_no: "nein",
    count: {
      one: {
        one: "Die einzige Bewertung, die davon spricht, sagt {answer}",
        other: "{n} von {total} Bewertungen, die davon sprechen, sagt {answer}",
      },
      other: "{n} von {total} Bewertungen, die davon sprechen, sagen {answer}",
    },
    count_all: "Alle {total} Bewertungen, die davon sprechen, sagen {answer}",
    count_divided: "{total} Bewertungen sprechen davon: {yes} sagen ja, {no} sagen nein",
    spoken: {
      one: { one: "Die einzige Bewertung spricht davon", other: "{n} von {total} Bewertungen spricht davon" },
      other: "{n} von {total} Bewertungen sprechen davon",
    },
    searched: {
      one: "Die einzige Bewertung erwähnt es nicht.",
      other: "Keine von {n} Bewertungen beantwortet das.",
    },
    no_reviews: "Zu diesem Artikel gibt es noch keine Bewertungen.",
    support: {
      one: { one: "1 Bewertung", other: "{n} von {total} Bewertungen" },
      other: "{n} von {total} Bewertungen",
    },
    points: "Was die Bewertungen sagen",
    stance_yes: "Sagt ja",
    stance_no: "Sagt nein",
    stance_mixed: "Sagt beides",
    for: "Lob",
    against: "Kritik",
    mixed: "Gemischt",
    written: "Von einem Modell aus den Bewertungen geschrieben",
    more_quotes: { one: "1 weiteres Zitat zeigen", other: "{n} weitere Zitate zeigen" },
    fewer_quotes: "Weniger Zitate zeigen",
    more_points: { one: "1 weiteren Punkt zeigen", other: "{n} weitere Punkte zeigen" },
    fewer_points: "Weniger Punkte zeigen",
    open: "Ganze Bewertung lesen",
    close: "Bewertung schließen",
    review: "Ganze Bewertung",
    review_failed: "Diese Bewertung ließ sich nicht laden.",
    stars: { one: "{n} Stern von 5", other: "{n} Sterne von 5" },
    helpful: "Hat das geholfen?",
    up: "Ja",
    down: "Nein",
    reason_up: "Was hat geholfen? (freiwillig)",
    reason_down: "Was war falsch oder fehlte? (freiwillig)",
    send: "Senden",
    thanks: "Danke für Ihre Rückmeldung.",
    feedback_failed: "Ihre Rückmeldung ließ sich nicht senden.",
    error_busy: {
      one: "Gerade wird viel gefragt. Bitte versuchen Sie es in einer Sekunde noch einmal.",
      other: "Gerade wird viel gefragt. Bitte versuchen Sie es in {n} Sekunden noch einmal.",
    },
    error_slow: "Das hat zu lange gedauert. Bitte versuchen Sie es noch einmal.",
    error_offline: "Die Bewertungen sind gerade nicht zu erreichen.",
    error_question: "Diese Frage lässt sich nicht lesen. Bitte fragen Sie mit anderen Worten.",
    error_long: "Diese Frage ist zu lang. Bitte stellen Sie eine kürzere.",
    error_denied: "Von dieser Seite aus kann nicht gefragt werden.",
    error_other: "Etwas ist schiefgegangen. Bitte versuchen Sie es noch einmal.",
    retry: "Noch einmal versuchen",
  },
};

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
:host {
  display: block; container-type: inline-size; line-height: 1.5; text-align: start;
  --surface: var(--review-answers-surface, #fff);
  --raised: var(--review-answers-raised, #f4f6f8);
  --text: var(--review-answers-text, #1b1f24);
  --quiet: var(--review-answers-quiet, #545d68);
  --line: var(--review-answers-line, #d8dde3);
  --control: var(--review-answers-control, #7d8794);
  --accent: var(--review-answers-accent, #0b57a4);
  --on-accent: var(--review-answers-on-accent, #fff);
  --yes: var(--review-answers-yes, #0b57a4);
  --no: var(--review-answers-no, #b3420c);
  --for: var(--review-answers-for, #14784a);
  --against: var(--review-answers-against, #b3420c);
  --mark: var(--review-answers-mark, #ffe994);
  --radius: var(--review-answers-radius, .5rem);
  font-family: var(--review-answers-font, inherit);
}
@supports (color: light-dark(red, red)) {
  :host {
    --surface: var(--review-answers-surface, light-dark(#fff, #16191e));
    --raised: var(--review-answers-raised, light-dark(#f4f6f8, #20252b));
    --text: var(--review-answers-text, light-dark(#1b1f24, #e7eaee));
    --quiet: var(--review-answers-quiet, light-dark(#545d68, #a7b0bb));
    --line: var(--review-answers-line, light-dark(#d8dde3, #39414a));
    --control: var(--review-answers-control, light-dark(#7d8794, #7b8693));
    --accent: var(--review-answers-accent, light-dark(#0b57a4, #8cc4ff));
    --on-accent: var(--review-answers-on-accent, light-dark(#fff, #0c1b2c));
    --yes: var(--review-answers-yes, light-dark(#0b57a4, #8cc4ff));
    --no: var(--review-answers-no, light-dark(#b3420c, #ff9d6b));
    --for: var(--review-answers-for, light-dark(#14784a, #5ccb92));
    --against: var(--review-answers-against, light-dark(#b3420c, #ff9d6b));
    --mark: var(--review-answers-mark, light-dark(#ffe994, #5d4e10));
  }
}
:host([hidden]), [hidden] { display: none !important; }
:host([theme="light"]) { color-scheme: light; }
:host([theme="dark"]) { color-scheme: dark; }
* { box-sizing: border-box; }
.box { padding: 1.25em; border: 1px solid var(--line); border-radius: var(--radius);
  background: var(--surface); color: var(--text); overflow-wrap: anywhere; }
h2, h3, h4, p, ol, ul, figure, blockquote { margin: 0; padding: 0; }
ol, ul { list-style: none; }
h2 { font-size: 1.25em; line-height: 1.25; }
.unseen { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
button, input, textarea { font: inherit; color: inherit; border: 1px solid var(--control);
  border-radius: calc(var(--radius) * .75); background: var(--surface); }
button { min-block-size: 2.5em; padding: .35em .9em; cursor: pointer; }
button:hover { border-color: var(--accent); color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.link { min-block-size: 1.75em; padding: 0; border: 0; background: none; color: var(--accent);
  text-decoration: underline; text-decoration-thickness: 1px; text-underline-offset: .2em; }
.link:hover { text-decoration-thickness: 2px; }
.main { border-color: var(--accent); background: var(--accent); color: var(--on-accent); font-weight: 600; }
.main:hover { color: var(--on-accent); filter: brightness(1.12); }

.ask { display: flex; flex-wrap: wrap; gap: .25em .5em; margin-block-start: .5em; }
.ask label { flex: 1 0 100%; color: var(--quiet); font-size: .9em; }
.ask input { flex: 1 1 12em; min-inline-size: 0; min-block-size: 2.75em; padding: .35em .75em; }
.suggestions { display: flex; flex-wrap: wrap; gap: .5em; align-items: baseline; margin-block-start: .75em; font-size: .9em; }
.suggestions span { color: var(--quiet); }
.suggestions ul { display: contents; }
.chip, ::slotted([slot="question"]) { min-block-size: 2.2em; padding: .2em .8em; border: 1px solid var(--line);
  border-radius: 2em; background: var(--raised); color: inherit; font: inherit; text-align: start; cursor: pointer; }
::slotted([slot="heading"]) { margin: 0; font-size: 1.25em; line-height: 1.25; }

.result { margin-block-start: 1.25em; padding-block-start: 1.25em; border-block-start: 1px solid var(--line); }
.asked { color: var(--quiet); font-size: 1em; font-weight: 400; }
.verdict { margin-block: .1em .15em; font-size: 1.75em; font-weight: 700; line-height: 1.2; letter-spacing: -.01em; text-wrap: balance; }
.counted { font-size: 1.05em; }
.quiet { color: var(--quiet); font-size: .9em; }
.written { margin-block: .25em; font-size: 1.15em; max-inline-size: 62ch; }

.bar { display: flex; gap: 2px; margin-block: .75em .4em; block-size: .75em; border-radius: 1em; overflow: hidden; }
.yes { --side: var(--yes); }
.no { --side: var(--no); }
.for { --side: var(--for); }
.against { --side: var(--against); }
.bar i { flex: var(--n) 0 0; min-inline-size: .4em; background: var(--side, var(--control)); }
.key { display: flex; flex-wrap: wrap; gap: .1em 1.25em; margin-block-end: .5em; font-size: .9em; }
.key i { display: inline-block; inline-size: .7em; block-size: .7em; margin-inline-end: .45em; border-radius: 50%; background: var(--side, var(--control)); }

.part { margin-block-start: 1.5em; font-size: 1.05em; }
.points { margin-block-start: 1.25em; display: grid; gap: 1.5em; }
.head { display: grid; grid-template-columns: 1fr auto; gap: .1em 1.25em; align-items: baseline; }
.label { font-weight: 650; font-size: 1.08em; line-height: 1.35; max-inline-size: 56ch; text-wrap: balance; }
.label::before { content: open-quote; }
.label::after { content: close-quote; }
.facts { display: flex; flex-wrap: wrap; gap: .25em .75em; align-items: baseline; font-size: .9em; }
.facts .count { color: var(--quiet); font-variant-numeric: tabular-nums; }
.tag { font-weight: 600; color: var(--side, var(--quiet)); }
.tag::before { content: "● "; content: "● " / ""; font-size: .8em; }
.tag.for::before { content: "▲ "; content: "▲ " / ""; }
.tag.against::before { content: "▼ "; content: "▼ " / ""; }
.track { grid-column: 1 / -1; block-size: .4em; margin-block: .3em .2em; border-radius: 1em; background: var(--raised); box-shadow: inset 0 0 0 1px var(--line); overflow: hidden; }
.track i { display: block; block-size: 100%; inline-size: calc(var(--share) * 100%); border-radius: 1em; background: var(--side, var(--control)); }

.quotes { display: grid; gap: .9em; margin-block-start: .5em; }
.quote { padding-inline-start: .9em; border-inline-start: 3px solid var(--line); }
blockquote { max-inline-size: 68ch; }
mark { background: var(--mark); color: inherit; border-radius: .15em; padding-inline: .1em; box-decoration-break: clone; -webkit-box-decoration-break: clone; }
figcaption { display: flex; flex-wrap: wrap; gap: 0 .9em; align-items: center; margin-block-start: .2em; color: var(--quiet); font-size: .9em; }
.stars { letter-spacing: .08em; white-space: nowrap; }
.review { margin-block-start: .6em; padding: .8em 1em; max-block-size: 22em; overflow: auto; border-radius: calc(var(--radius) * .75);
  background: var(--raised); scroll-behavior: smooth; }
.review p { white-space: pre-line; max-inline-size: 68ch; }
.more { margin-block-start: .4em; font-size: .9em; }

.feedback { display: flex; flex-wrap: wrap; gap: .5em .75em; align-items: center; margin-block-start: 1.5em; padding-block-start: 1em;
  border-block-start: 1px solid var(--line); font-size: .95em; }
.feedback button { display: inline-flex; gap: .4em; align-items: center; }
.feedback svg { inline-size: 1.15em; block-size: 1.15em; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.feedback [aria-pressed="true"] { border-color: var(--accent); color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); font-weight: 600; }
.reason { flex: 1 0 100%; display: grid; gap: .4em; justify-items: start; }
.reason textarea { inline-size: 100%; max-inline-size: 40em; min-block-size: 4.5em; padding: .5em .75em; resize: vertical; }

.error { display: flex; flex-wrap: wrap; gap: .75em; align-items: center; justify-content: space-between; padding: .8em 1em;
  border-inline-start: 4px solid var(--no); border-radius: calc(var(--radius) * .5); background: var(--raised); }
.wait { display: grid; gap: .8em; margin-block-start: .75em; }
.wait i { block-size: 1em; border-radius: 1em; background: var(--raised); animation: breathe 1.4s ease-in-out infinite alternate; }
.wait i:nth-child(1) { inline-size: 45%; block-size: 1.8em; }
.wait i:nth-child(3) { inline-size: 70%; animation-delay: .3s; }
@keyframes breathe { to { background: var(--line); } }
@media (prefers-reduced-motion: reduce) { .wait i { animation: none; } .review { scroll-behavior: auto; } }
@container (max-width: 30em) {
  .box { padding: 1em; }
  .head { grid-template-columns: 1fr; }
  .facts { grid-row: 2; }
}
@media (forced-colors: active) {
  .bar, .track { border: 1px solid CanvasText; }
  .bar i, .track i, .key i { forced-color-adjust: none; background: CanvasText; }
  .bar .no, .key .no, .track .no, .track .against { background: GrayText; }
}
@media print { .ask, .suggestions, .feedback, .link { display: none; } .review { max-block-size: none; } }
`);

const SVG = "http://www.w3.org/2000/svg";
const THUMB =
  "M7 11v9H4v-9zM7 11l4-7.5c1.6 0 2.4 1 2.2 2.5L12.7 9H19c1.1 0 1.9 1 1.6 2.1l-1.8 7c-.3 1.1-1.2 1.9-2.4 1.9H7";
const POINTS_SHOWN = 4;
const QUESTION_LENGTH = 500;
const REASON_LENGTH = 1000;
/** Quotes that feedback names; the service takes 100. */
const SHOWN = 50;
const TIMEOUT_MS = 10_000;
const MODES = ["extract", "generate", "auto"];
/** Of numbers that timers take. */
const LARGEST = 2 ** 31;
/** What the page waits longer than the server was told to, so that its error is the one shown. */
const GRACE_MS = 2_000;

/** Build an element. Strings become text nodes; functions become listeners. */
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== ""));
  return element;
}

function thumb(down) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", THUMB);
  if (down) path.setAttribute("transform", "rotate(180 12 12)");
  svg.append(path);
  return svg;
}

/** Mark a stretch of a text. Offsets count characters as Python does: an emoji is one. */
function marked(text, start, end) {
  const characters = Array.from(text);
  const piece = (from, to) => characters.slice(from, to).join("");
  return [piece(0, start), h("mark", {}, piece(start, end)), piece(end)];
}

/** Mark a quote in the snippet around it. */
function inSnippet({ snippet, text }) {
  const at = snippet ? snippet.indexOf(text) : -1;
  if (at < 0) return [h("mark", {}, text)];
  return [snippet.slice(0, at), h("mark", {}, text), snippet.slice(at + text.length)];
}

/** Tell whoever makes the page what is wrong with an attribute. */
function warn(name, wrong) {
  console.warn(`<review-answers>: the attribute ${name} ${wrong}`);
}

function parsed(json, name, kind, isKind, fallback) {
  if (!json) return fallback;
  try {
    const value = JSON.parse(json);
    if (isKind(value)) return value;
    warn(name, `is not ${kind}`);
  } catch (error) {
    warn(name, `is not JSON: ${error.message}`);
  }
  return fallback;
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const areStrings = (value) => Array.isArray(value) && value.every((each) => typeof each === "string");

/** Whether a value is a text, or has one for each plural of a count, and there of another. */
function isText(value, counts = 2) {
  if (typeof value === "string") return true;
  return counts > 0 && isObject(value) && "other" in value && Object.values(value).every((each) => isText(each, counts - 1));
}

/** What keeps an answer from being shown; `key` names its text. */
class Problem extends Error {
  constructor(key, { retry = true, seconds = 0 } = {}) {
    super(key);
    Object.assign(this, { key, retry, seconds });
  }
}

function problemOf(response) {
  const seconds = Math.ceil(Number(response.headers.get("Retry-After"))) || 1;
  const keys = { 400: "question", 401: "denied", 403: "denied", 413: "long", 422: "question", 504: "slow" };
  if (response.status === 429 || response.status === 503) return new Problem("busy", { seconds });
  const key = keys[response.status] ?? "other";
  return new Problem(key, { retry: key === "slow" || key === "other" });
}

/** Points to show: those of the answer, or else a point for each extracted answer. */
function pointsOf(answers) {
  if (answers.points?.length) return answers.points;
  return (answers.answers ?? [])
    .filter((answer) => !answer.generated)
    .map((answer) => ({ label: answer.text, quotes: [{ field: "text", ...answer }] }));
}

/** A number of stars; null: it is none, as an empty field of a table. */
function starsOf(value) {
  const isGiven = typeof value === "number" || (typeof value === "string" && value.trim());
  const stars = isGiven ? Number(value) : NaN;
  return stars >= 0 && stars <= 5 ? stars : null;
}

function isLanguage(tag) {
  try {
    return Intl.getCanonicalLocales(tag).length > 0;
  } catch {
    return false;
  }
}

const SIDES = { yes: "no", no: "yes", for: "against", against: "for" };

/** What a point says: yes or no where there is a verdict, or else something for or against the item. */
function sideOf(point, verdict) {
  const side = (verdict && point.stance) || point.polarity;
  return side in SIDES ? side : null;
}

class ReviewAnswers extends HTMLElement {
  static observedAttributes = ["item", "lang", "texts", "questions", "most-asked", "feedback"];

  #state = {};
  #asked = [];
  #asking = null;
  #nodes = {};
  #own = {};
  #ids = 0;

  constructor() {
    super();
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [STYLE];
  }

  connectedCallback() {
    this.#draw();
    this.#loadAsked();
  }

  disconnectedCallback() {
    if (this.#asking) this.reset();
  }

  attributeChangedCallback(name, before, after) {
    if (!this.#nodes.box || before === after) return;
    if (name === "item") this.reset();
    if (name === "item" || name === "most-asked") this.#loadAsked();
    this.#draw();
  }

  /** Ask a question as if it had been typed. Resolves when its answer, or its error, is shown. */
  async ask(question) {
    const text = String(question).trim();
    this.#nodes.input.value = text;
    if (!text) return this.#nodes.input.focus();
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    this.#show({ phase: "loading", question: text });
    let state;
    try {
      const answers = await this.#post("v1/ask", this.#request(text), asking.signal);
      if (!isObject(answers) || !Array.isArray(answers.answers)) throw new Problem("other"); // a proxy's, for example
      state = { phase: "answer", question: text, answers };
    } catch (problem) {
      if (problem.code === "unknown_item") state = { phase: "answer", question: text, answers: { reviews: 0 } };
      else state = { phase: "error", question: text, problem };
    }
    if (asking !== this.#asking) return undefined; // asked something else meanwhile
    this.#asking = null;
    this.#show(state);
    const detail = { question: text, answers: state.answers ?? null, error: state.problem?.key ?? null };
    return this.#tell("review-answers-answer", detail);
  }

  /** Return to the empty question box. */
  reset() {
    this.#asking?.abort();
    this.#asking = null;
    if (this.#nodes.input) this.#nodes.input.value = "";
    this.#show({});
  }

  // Requests

  /** What is asked. Without its item or its filters, a question would be answered from other reviews. */
  #request(question) {
    const item = this.getAttribute("item");
    const written = this.getAttribute("filters");
    const filters = parsed(written, "filters", "an object", isObject, undefined);
    if (!item) warn("item", "is missing: nothing is asked");
    if (!item || (written && !filters)) throw new Problem("denied", { retry: false });
    const mode = this.getAttribute("mode") || undefined;
    const isMode = !mode || MODES.includes(mode);
    if (!isMode) warn("mode", `is none of ${MODES.join(", ")}`);
    const optional = {
      timeout_ms: this.#number("timeout-ms"), top_k: this.#number("top-k"), mode: isMode ? mode : undefined, filters,
    };
    return { question, item_id: item, ...optional };
  }

  /** Show what is asked most of the item, in place of the questions that the page has given. */
  async #loadAsked() {
    const asked = (this.#asked = []);
    const item = this.getAttribute("item");
    if (!item || this.getAttribute("most-asked") === "off") return;
    try {
      const response = await this.#fetch(`v1/items/${encodeURIComponent(item)}/questions`, {});
      const { questions } = await response.json();
      if (areStrings(questions)) asked.push(...questions);
    } catch {
      return; // those that the page has given stay
    }
    const { row } = this.#nodes;
    // What has the focus stays.
    if (asked !== this.#asked || !asked.length || row.contains(this.shadowRoot.activeElement)) return;
    row.replaceWith((this.#nodes.row = this.#suggestions()));
  }

  #number(attribute) {
    const written = this.getAttribute(attribute);
    if (!written) return undefined;
    const number = Number(written);
    if (Number.isInteger(number) && number > 0 && number < LARGEST) return number;
    return warn(attribute, "is not a whole number above 0");
  }

  #url(path) {
    const given = this.getAttribute("endpoint");
    const base = given ? new URL(given, document.baseURI) : new URL("../", import.meta.url);
    return new URL(path, base.href.endsWith("/") ? base : `${base.href}/`);
  }

  async #fetch(path, options, signal) {
    const key = this.getAttribute("key");
    const headers = { Accept: "application/json", ...(key && { "X-API-Key": key }), ...options.headers };
    const limit = AbortSignal.timeout((this.#number("timeout-ms") ?? TIMEOUT_MS) + GRACE_MS);
    const signals = signal ? AbortSignal.any([signal, limit]) : limit;
    let response;
    try {
      response = await fetch(this.#url(path), { ...options, headers, signal: signals });
    } catch {
      throw new Problem(limit.aborted ? "slow" : "offline");
    }
    if (response.ok) return response;
    const told = await response.json().catch(() => null); // a proxy's page is no JSON
    throw Object.assign(problemOf(response), { status: response.status, code: told?.error?.code });
  }

  async #post(path, body, signal) {
    const headers = { "Content-Type": "application/json" };
    const response = await this.#fetch(path, { method: "POST", headers, body: JSON.stringify(body) }, signal);
    return response.json().catch(() => {
      throw new Problem("other");
    });
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  // Texts

  /** The language of the texts: as the page says, if there are texts in it; else English. */
  get #language() {
    const asked = (this.closest("[lang]")?.lang || document.documentElement.lang).replaceAll("_", "-");
    return isLanguage(asked) && (this.hasAttribute("texts") || asked.split("-")[0] in TEXTS) ? asked : "en";
  }

  #text(key, values = {}) {
    let text = this.#own[key] ?? TEXTS[this.#language.split("-")[0]]?.[key] ?? TEXTS.en[key];
    for (const count of [values.n, values.total]) {
      if (typeof text !== "object") break;
      text = text[new Intl.PluralRules(this.#language).select(count)] ?? text.other;
    }
    const number = new Intl.NumberFormat(this.#language);
    return text.replace(/\{(\w+)\}/g, (whole, name) => {
      const value = values[name] ?? whole;
      return typeof value === "number" ? number.format(value) : value;
    });
  }

  #date(value) {
    const date = new Date(value);
    if (!value || Number.isNaN(date.getTime())) return null;
    const format = new Intl.DateTimeFormat(this.#language, { dateStyle: "medium", timeZone: "UTC" });
    return h("time", { datetime: date.toISOString().slice(0, 10) }, format.format(date));
  }

  // The parts that stay

  #draw() {
    const own = Object.entries(parsed(this.getAttribute("texts"), "texts", "an object", isObject, {}));
    for (const [name, text] of own) if (!isText(text)) warn("texts", `has a ${name} that is no text`);
    this.#own = Object.fromEntries(own.filter(([, text]) => isText(text)));
    const lang = this.getAttribute("lang");
    if (lang && !isLanguage(lang.replaceAll("_", "-"))) warn("lang", "is no language");
    const typed = this.#nodes.input?.value ?? "";
    const ask = (event) => {
      event.preventDefault();
      this.ask(this.#nodes.input.value);
    };
    const input = h("input", {
      id: "question", part: "input", type: "text", dir: "auto", autocomplete: "off", enterkeyhint: "search",
      maxlength: QUESTION_LENGTH, required: true,
    });
    input.value = typed;
    const form = h(
      "form", { class: "ask", part: "form", novalidate: true, submit: ask },
      h("label", { for: "question" }, this.#text("label")),
      input,
      h("button", { class: "main", part: "button" }, this.#text("ask")),
    );
    const result = h("div", { class: "result", part: "result", role: "group", "aria-label": this.#text("result"), hidden: true });
    const status = h("p", { class: "unseen", role: "status" });
    const row = this.#suggestions();
    const box = h(
      "section",
      { class: "box", part: "box", "aria-labelledby": "title", lang: this.#language, dir: this.#language === "en" ? "ltr" : null },
      h("div", { id: "title" }, h("slot", { name: "heading" }, h("h2", {}, this.#text("title")))),
      form, row, status, result, h("slot", { name: "footer" }),
    );
    this.shadowRoot.replaceChildren(box);
    this.#nodes = { box, input, row, status, result };
    this.#show(this.#state, { tell: false });
  }

  #suggestions() {
    const questions = this.#asked.length ? this.#asked : parsed(this.getAttribute("questions"), "questions", "a list of texts", areStrings, []);
    const chips = questions.map((question) =>
      h("li", {}, h("button", { class: "chip", part: "suggestion", type: "button", dir: "auto", click: () => this.ask(question) }, question)));
    const asks = (event) => {
      const chosen = event.target.closest('[slot="question"]');
      if (chosen) this.ask(chosen.textContent);
    };
    const slot = h("slot", { name: "question", click: asks });
    const row = h(
      "div", { class: "suggestions", part: "suggestions", role: "group", "aria-labelledby": "often" },
      h("span", { id: "often" }, this.#text("suggestions")),
      chips.length ? h("ul", { role: "list" }, chips) : null,
      slot,
    );
    const fill = () => (row.hidden = !chips.length && !slot.assignedElements().length);
    slot.addEventListener("slotchange", fill);
    fill();
    return row;
  }

  // What changes with each question

  #show(state, { tell = true } = {}) {
    this.#state = state;
    const { result, status } = this.#nodes;
    if (!result) return;
    const phase = state.phase ?? "idle";
    this.setAttribute("state", phase);
    result.hidden = phase === "idle";
    result.setAttribute("aria-busy", phase === "loading");
    const views = { idle: () => [], loading: () => this.#waiting(), error: () => this.#failed(), answer: () => this.#answered() };
    result.replaceChildren(...views[phase]());
    if (tell) status.textContent = this.#summary(state);
  }

  /** What a screen reader is told of a state. */
  #summary({ phase, answers, problem }) {
    if (phase === "loading") return this.#text("loading");
    if (phase === "error") return this.#text(`error_${problem.key}`, { n: problem.seconds });
    if (phase !== "answer") return "";
    const { title, counted } = this.#headline(answers);
    return [title, counted].filter(Boolean).join(". ");
  }

  #waiting() {
    return [
      h("p", { class: "quiet", "aria-hidden": "true" }, this.#text("loading")),
      h("div", { class: "wait", "aria-hidden": "true" }, h("i"), h("i"), h("i")),
    ];
  }

  #failed() {
    const { question, problem } = this.#state;
    const again = h("button", { type: "button", click: () => this.#retry(question) }, this.#text("retry"));
    const text = this.#text(`error_${problem.key}`, { n: problem.seconds });
    return [h("div", { class: "error", part: "error" }, h("p", {}, text), problem.retry ? again : null)];
  }

  #retry(question) {
    this.#nodes.input.focus(); // the button goes
    this.ask(question);
  }

  /** The short answer, and the counts behind it. */
  #headline({ verdict, points = [], answers = [], mentions, reviews, copies = 0 }) {
    if (reviews === 0) return { title: this.#text("no_reviews") };
    if (verdict?.answer === "not_said" || (!points.length && !answers.length)) {
      return { title: this.#text("not_said"), counted: reviews ? this.#text("searched", { n: reviews }) : "" };
    }
    const spoken = mentions && reviews ? this.#text("spoken", { n: mentions, total: reviews - copies }) : "";
    if (!verdict) return { counted: spoken };
    const { yes, no } = verdict;
    const total = Math.max(mentions ?? 0, yes + no);
    const answer = this.#text(no > yes ? "answer_no" : "answer_yes");
    const n = Math.max(yes, no);
    const title = this.#text(verdict.answer);
    if (verdict.answer === "divided") return { title, counted: this.#text("count_divided", { n: yes, yes, no, total }), total };
    const key = n === total && total > 1 ? "count_all" : "count";
    return { title, counted: this.#text(key, { n, total, answer }), total };
  }

  #answered() {
    const { question, answers } = this.#state;
    const { title, counted, total } = this.#headline(answers);
    const points = pointsOf(answers);
    const written = answers.answers?.find((answer) => answer.generated);
    const silent = !points.length && !written;
    const { verdict, mentions, reviews, copies = 0 } = answers;
    return [
      h("h3", { class: "asked" }, h("bdi", {}, question)),
      title ? h("p", { class: "verdict", part: "verdict" }, title) : null,
      counted ? h("p", { class: silent ? "quiet" : "counted", part: "counted" }, counted) : null,
      total ? this.#bar(verdict, total) : null,
      total && reviews && mentions ? h("p", { class: "quiet" }, this.#text("spoken", { n: mentions, total: reviews - copies })) : null,
      silent ? h("slot", { name: "empty" }) : null,
      written ? this.#written(written) : null,
      this.#points(points, verdict, answers.parts ?? []),
      this.#feedback(answers),
    ].filter(Boolean);
  }

  #bar({ yes, no }, total) {
    const counts = [["yes", yes], ["no", no], ["undecided", total - yes - no]].filter(([, n]) => n > 0);
    const segments = counts.map(([name, n]) => {
      const segment = h("i", { class: name });
      segment.style.setProperty("--n", n);
      return segment;
    });
    const number = new Intl.NumberFormat(this.#language);
    return h(
      "div", { part: "bar" },
      h("div", { class: "bar", "aria-hidden": "true" }, segments),
      h("ul", { class: "key" }, counts.map(([name, n]) =>
        h("li", {}, h("i", { class: name }), `${this.#text(name)} ${number.format(n)}`))),
    );
  }

  #written(answer) {
    return h(
      "div", { part: "written" },
      h("p", { class: "written", dir: "auto" }, answer.text),
      h("p", { class: "quiet" }, this.#text("written")),
    );
  }

  #points(points, verdict, parts) {
    if (!points.length) return null;
    const first = points.slice(0, POINTS_SHOWN);
    const other = SIDES[sideOf(points[0], verdict)];
    const dissent = other && points.find((point) => sideOf(point, verdict) === other);
    if (dissent && !first.includes(dissent)) first.splice(-1, 1, dissent);
    const shown = points.filter((point) => first.includes(point));
    const rest = points.filter((point) => !first.includes(point));
    const item = (point) => h("li", { class: "point", part: "point" }, this.#point(point, verdict));
    const list = (some, label) => h("ol", { class: "points", role: "list", "aria-label": label }, some.map(item));
    if (parts.length > 1) {
      return h("div", {}, parts.map((part) => {
        const own = points.filter((point) => point.part === part);
        const said = own.length ? list(own, part) : h("p", { class: "quiet" }, this.#text("not_said"));
        return [h("h4", { class: "part" }, h("bdi", {}, part)), said];
      }));
    }
    const all = list(shown, this.#text("points"));
    const more = this.#disclosure(rest.map(item), all, "points");
    return h("div", {}, all, more);
  }

  #point(point, verdict) {
    const side = sideOf(point, verdict);
    const polarity = point.polarity === "neither" ? null : point.polarity;
    const tag = verdict && point.stance ? `stance_${point.stance}` : polarity;
    const among = Math.round(point.support / point.share);
    const track = among > 1 ? h("div", { class: "track", "aria-hidden": "true" }, h("i", { class: side })) : null;
    track?.style.setProperty("--share", point.support / among);
    const facts = h(
      "p", { class: "facts" },
      tag ? h("span", { class: `tag ${side ?? ""}` }, this.#text(tag)) : null,
      point.support ? h("span", { class: "count" }, this.#text("support", { n: point.support, total: among })) : null,
    );
    const [first, ...others] = (point.quotes ?? []).map((quote) => h("li", {}, this.#quote(quote)));
    const quotes = h("ul", { class: "quotes", role: "list" }, first);
    return [
      h("div", { class: "head" }, h("p", { class: "label" }, h("bdi", {}, point.label)), facts, track),
      first ? quotes : null,
      this.#disclosure(others, quotes, "quotes"),
    ];
  }

  /** A button that adds entries to a list, and takes them away again. */
  #disclosure(entries, list, name) {
    if (!entries.length) return null;
    const words = () => (entries[0].isConnected ? this.#text(`fewer_${name}`) : this.#text(`more_${name}`, { n: entries.length }));
    const toggle = () => {
      if (entries[0].isConnected) entries.forEach((entry) => entry.remove());
      else list.append(...entries);
      button.setAttribute("aria-expanded", entries[0].isConnected);
      button.textContent = words();
    };
    const button = h("button", { class: "link", type: "button", "aria-expanded": "false", click: toggle }, words());
    return h("p", { class: "more" }, button);
  }

  #quote(quote) {
    const { meta = {} } = quote;
    const id = `quote-${++this.#ids}`;
    const button = h("button", {
      class: "link", type: "button", "aria-expanded": "false", "aria-describedby": id, click: () => this.#toggle(quote, button, figure),
    }, this.#text("open"));
    const stars = [meta.stars, meta.rating, meta.overall].map(starsOf).find((each) => each !== null) ?? null;
    const figure = h(
      "figure", { class: "quote", part: "quote" },
      h("blockquote", { id, dir: "auto" }, inSnippet(quote)),
      h(
        "figcaption", {},
        stars === null ? null : this.#stars(stars),
        this.#date(meta.date),
        quote.review_id ? button : null,
      ),
    );
    figure.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || button.getAttribute("aria-expanded") !== "true") return;
      button.click();
      button.focus();
    });
    return figure;
  }

  #stars(count) {
    const full = Math.round(count);
    return h("span", { class: "stars", role: "img", "aria-label": this.#text("stars", { n: count }) },
      "★".repeat(full) + "☆".repeat(5 - full));
  }

  /** Open a quote in its review, or close it. */
  async #toggle(quote, button, figure) {
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", !open);
    button.textContent = this.#text(open ? "open" : "close");
    if (open) return figure.querySelector(".review")?.remove();
    const review = h("div", {
      class: "review", part: "review", role: "group", tabindex: 0, "aria-label": this.#text("review"), "aria-busy": "true",
    }, h("p", { class: "quiet" }, this.#text("loading")));
    figure.append(review);
    try {
      const item = encodeURIComponent(quote.item_id ?? this.getAttribute("item"));
      const path = `v1/items/${item}/reviews/${encodeURIComponent(quote.review_id)}?start=${quote.start}&end=${quote.end}`;
      const { content, text } = await (await this.#fetch(path, {})).json();
      review.replaceChildren(h("p", { dir: "auto" }, marked(content ?? text, quote.start, quote.end)));
      const mark = review.querySelector("mark");
      // Only the review is scrolled, never the page.
      review.scrollTop = mark.offsetTop - review.offsetTop - review.clientHeight / 3;
    } catch {
      review.replaceChildren(h("p", {}, this.#text("review_failed")));
    }
    return review.setAttribute("aria-busy", "false");
  }

  // Feedback

  #feedback(answers) {
    if (!answers.feedback || this.getAttribute("feedback") === "off") return null;
    const group = h("div", { class: "feedback", part: "feedback", role: "group", "aria-labelledby": "helpful" });
    const choose = async (verdict) => {
      if (pressed(buttons[verdict])) return;
      press(verdict);
      group.querySelector(".reason")?.remove();
      if (await this.#send(answers, { verdict }, group)) group.append(this.#reason(answers, verdict, group));
      else press(null);
    };
    const pressed = (button) => button.getAttribute("aria-pressed") === "true";
    const press = (verdict) => {
      for (const [name, button] of Object.entries(buttons)) button.setAttribute("aria-pressed", name === verdict);
    };
    const button = (verdict) =>
      h("button", { type: "button", "aria-pressed": "false", click: () => choose(verdict) },
        thumb(verdict === "down"), this.#text(verdict));
    const buttons = { up: button("up"), down: button("down") };
    group.append(h("span", { id: "helpful" }, this.#text("helpful")), buttons.up, buttons.down);
    return group;
  }

  #reason(answers, verdict, group) {
    const area = h("textarea", { id: "reason", dir: "auto", maxlength: REASON_LENGTH });
    const send = async (event) => {
      event.preventDefault();
      const reason = area.value.trim();
      if (!reason) return area.focus();
      if (!(await this.#send(answers, { verdict, reason }, group))) return undefined;
      const thanks = h("p", { tabindex: -1 }, this.#text("thanks"));
      group.replaceChildren(thanks);
      return thanks.focus();
    };
    return h("form", { class: "reason", submit: send },
      h("p", {}, this.#text("thanks")),
      h("label", { for: "reason" }, this.#text(`reason_${verdict}`)), area, h("button", {}, this.#text("send")));
  }

  /** Send feedback; say whether it arrived. */
  async #send(answers, given, group) {
    const { question, request_id, generation } = answers;
    const quotes = pointsOf(answers).flatMap((point) => point.quotes ?? []);
    const shown = quotes.slice(0, SHOWN).map(({ review_id, start, end }) => ({ review_id, start, end }));
    const answer = answers.verdict?.answer ?? null;
    const body = { request_id, item_id: this.getAttribute("item"), question, answer, shown, generation, ...given };
    group.querySelector("[data-failed]")?.remove();
    try {
      await this.#post("v1/feedback", body);
    } catch ({ status }) {
      const failed = this.#text("feedback_failed");
      this.#nodes.status.textContent = failed;
      if ([404, 405, 501].includes(status)) group.remove(); // this server takes no feedback
      else group.append(h("p", { "data-failed": true }, failed));
      return false;
    }
    this.#nodes.status.textContent = this.#text("thanks");
    this.#tell("review-answers-feedback", body);
    return true;
  }

  /** Focus the question box. */
  focus(options) {
    this.#nodes.input?.focus(options);
  }
}

if (!customElements.get("review-answers")) customElements.define("review-answers", ReviewAnswers);

export { ReviewAnswers, TEXTS };
