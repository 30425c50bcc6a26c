/**
 * The page of `qa annotate`: one task at a time, a key a label.
 *
 * Words of reviews and questions are only ever set as text. Offsets of the API count characters
 * (code points), those of this page count UTF-16 units. Keys work while the focus is in the page's
 * main part, which has it from the start.
 */

const part = (id) => document.getElementById(id);
const main = document.querySelector("main");
const KEY = "qa-annotate-token";

let token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) {
  sessionStorage.setItem(KEY, token);
  history.replaceState(null, "", location.pathname); // off the screen and out of the history
} else {
  token = sessionStorage.getItem(KEY);
}

let task = null;
/** The marked words, in UTF-16 units; null: none. */
let span = null;
let marker = "";
let isBusy = false;
let words = [];

const unitsOf = (text, points) => [...text].slice(0, points).join("").length;
const pointsOf = (text, units) => [...text.slice(0, units)].length;
const inUnits = (text, { start, end }) => ({ start: unitsOf(text, start), end: unitsOf(text, end) });
const inPoints = (text, { start, end }) => ({ start: pointsOf(text, start), end: pointsOf(text, end) });

/** Return the words of a text, as places in it. */
function wordsOf(text) {
  const found = new Intl.Segmenter(undefined, { granularity: "word" }).segment(text);
  return [...found]
    .filter((each) => each.isWordLike)
    .map((each) => ({ start: each.index, end: each.index + each.segment.length }));
}

async function call(path, body) {
  const headers = { Authorization: `Bearer ${token ?? ""}` };
  const sent = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { ...sent, headers });
  } catch {
    throw new Error("qa annotate does not answer. Start it again, and open the address that it prints.");
  }
  if (response.ok) return response.json();
  if (response.status === 401) {
    throw new Error("This address is of another run. Open the one that qa annotate has printed.");
  }
  const refused = await response.json().catch(() => null);
  throw new Error(refused?.error?.message ?? `The server failed (${response.status}).`);
}

/** Ask the server, and show where that leads; what fails is told, and nothing is lost. */
async function act(path, body, told) {
  if (isBusy) return;
  isBusy = true;
  try {
    const place = await call(path, body);
    part("error").textContent = "";
    show(place, typeof told === "function" ? told(place) : told);
  } catch (error) {
    part("error").textContent = error.message;
    part("status").textContent = "";
    if (task === null) main.dataset.state = "error";
  } finally {
    isBusy = false;
  }
}

function show(place, told) {
  task = place.task;
  part("annotator").textContent = place.annotator;
  const skipped = place.skipped ? `, ${place.skipped} skipped` : "";
  part("progress").textContent = `${place.labelled} of ${place.tasks} labelled${skipped}`;
  part("bar").max = place.tasks;
  part("bar").value = place.labelled;
  const saved = place.last_saved === null ? null : new Date(place.last_saved);
  part("saved").textContent = saved ? `Last saved ${saved.toLocaleTimeString()}` : "Nothing saved yet";
  part("task").hidden = part("hint").hidden = task === null;
  part("done").hidden = task !== null;
  part("back").hidden = false;
  main.dataset.state = task === null ? "done" : "task";
  part("status").textContent = told ?? "";
  if (task === null) {
    part("finished").focus();
    return;
  }
  part("question").textContent = task.question;
  part("item").textContent = task.item_id ?? "";
  words = wordsOf(task.text);
  const before = place.previous;
  if (before === null) {
    suggest();
  } else {
    const said = before.span ? `an answer${before.polarity ? `, ${before.polarity}` : ""}` : "no answer";
    part("status").textContent = `Taken back: ${said}.`;
    mark(before.span && inUnits(task.text, before.span), before.span ? "Marked by you before." : "No words are marked.");
  }
  part("review").focus({ preventScroll: true });
  scrollTo({ top: 0 });
}

/** Mark what the reader has marked. */
function suggest() {
  const found = task.suggestion;
  if (found === null) {
    mark(null, "The reader has marked nothing.");
    return;
  }
  const percent = (share) => `${Math.round(100 * share)} %`;
  const scale = `confidence ${percent(found.score)}, it answers from ${percent(found.threshold)}`;
  mark(inUnits(task.text, found), `Marked by the reader: ${scale}.`);
}

function mark(place, from) {
  span = place;
  marker = from;
  const text = task.text;
  const review = part("review");
  if (span === null) {
    review.replaceChildren(text);
  } else {
    const marked = document.createElement("mark");
    marked.textContent = text.slice(span.start, span.end);
    review.replaceChildren(text.slice(0, span.start), marked, text.slice(span.end));
    marked.scrollIntoView({ block: "nearest" });
  }
  part("from").textContent = marker;
  for (const button of document.querySelectorAll("[data-polarity]")) {
    button.setAttribute("aria-disabled", String(span === null));
  }
}

function markByHand(place) {
  mark(place, "Marked by you.");
  part("status").textContent = `Marked: ${task.text.slice(place.start, place.end)}`;
}

/** Move the start or the end of the marked words by one word; the other end gives way. */
function move(edge, by) {
  const places = words.map((word) => word[edge]);
  if (!places.length) return;
  if (span === null) {
    markByHand({ ...words[0] });
    return;
  }
  const at = by < 0 ? places.findLast((each) => each < span[edge]) : places.find((each) => each > span[edge]);
  if (at === undefined) return;
  const word = words[places.indexOf(at)];
  const moved = { ...span, [edge]: at };
  if (moved.start >= moved.end) Object.assign(moved, { start: word.start, end: word.end });
  markByHand(moved);
}

/** Mark the words that were selected with the mouse, whole ones. */
function take() {
  const review = part("review");
  const selection = getSelection();
  if (task === null || selection.isCollapsed || !selection.rangeCount) return;
  const range = selection.getRangeAt(0);
  if (!review.contains(range.startContainer) || !review.contains(range.endContainer)) return;
  const before = document.createRange();
  before.selectNodeContents(review);
  before.setEnd(range.startContainer, range.startOffset);
  const start = before.toString().length;
  const end = start + range.toString().length;
  const chosen = words.filter((word) => word.end > start && word.start < end);
  if (!chosen.length) return;
  selection.removeAllRanges();
  markByHand({ start: chosen[0].start, end: chosen.at(-1).end });
}

function answer(polarity) {
  if (task === null) return;
  if (span === null) {
    part("status").textContent = "Mark the words that answer first, or say that there is no answer.";
    return;
  }
  const body = { task_id: task.id, span: inPoints(task.text, span), polarity };
  act("v1/labels", body, `Saved: an answer, ${polarity}.`);
}

const deny = () => task && act("v1/labels", { task_id: task.id, span: null }, "Saved: no answer.");
const skip = () => task && act("v1/skips", { task_id: task.id }, "Skipped.");

function undo() {
  const before = task?.id;
  act("v1/undo", {}, ({ task: now }) => (now?.id === before ? "There is nothing to take back." : "Taken back."));
}

const POLARITIES = ["for", "against", "neither", "mixed"];
const KEYS = {
  ArrowLeft: (event) => task && move(event.shiftKey ? "end" : "start", -1),
  ArrowRight: (event) => task && move(event.shiftKey ? "end" : "start", 1),
  r: () => task && suggest(),
  0: deny,
  s: skip,
  u: undo,
  ...Object.fromEntries(POLARITIES.map((polarity, at) => [at + 1, () => answer(polarity)])),
};

main.addEventListener("keydown", (event) => {
  const run = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!run || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  if (!event.repeat || event.key.startsWith("Arrow")) run(event);
});
for (const button of document.querySelectorAll("[data-polarity]")) {
  button.addEventListener("click", () => answer(button.dataset.polarity));
}
for (const button of document.querySelectorAll("[data-move]")) {
  button.addEventListener("click", () => task && move(button.dataset.move, Number(button.dataset.by)));
}
part("suggested").addEventListener("click", () => task && suggest());
part("none").addEventListener("click", deny);
part("skip").addEventListener("click", skip);
part("undo").addEventListener("click", undo);
part("review").addEventListener("pointerup", () => setTimeout(take)); // when the selection is made

act("v1/tasks/next");
