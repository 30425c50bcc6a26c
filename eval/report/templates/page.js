"use strict";
// The table of questions. Users' words enter the page as text nodes only.
for (const section of document.querySelectorAll(".asked")) {
  const data = JSON.parse(section.querySelector("script").textContent);
  const PAGE = 50;
  const [filters, found, pages] = [".filters", ".found", ".pages"].map((name) => section.querySelector(name));
  const [head, body] = ["thead", "tbody"].map((name) => section.querySelector(name));
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const several = data.systems.length > 1;
  const heading = section.closest("section").querySelector("h3") ? "h4" : "h3";

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null));
    return made;
  }
  const text = (value) => element("bdi", { dir: "auto" }, value);
  const clamped = (value) => element("div", { class: "clamped", dir: "auto" }, value);
  const quiet = (value) => element("span", { class: "none" }, value);
  const number = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(3));
  const plain = (name) => name.replaceAll("_", " ");
  const better = (q) => data.better * q.change > 0;

  // A system's answer, as one cell shows it: a text, a rank, or that it abstained.
  function said(answer) {
    if (answer.error !== null) return element("span", { class: "wrong" }, "failed");
    if (answer.ranks) {
      if (!answer.counts) return quiet("no gold review");
      return answer.said === null ? quiet("not found") : document.createTextNode(`rank ${answer.said}`);
    }
    if (answer.said === null) return quiet("no prediction");
    return answer.said === "" ? quiet("no answer") : clamped(answer.said);
  }
  function score(value) {
    if (value === null) return quiet("–");
    const side = value >= 1 ? "right" : value <= 0 ? "wrong" : "";
    return element("span", { class: side }, number(value));
  }

  const some = (test) => data.questions.some((q) => q.systems.some(test));
  const saidName = some((answer) => answer.ranks) ? "gold review" : "answer";
  const changes = data.questions.some((q) => q.change !== null);
  const columns = [
    { name: "#", value: (q) => q.rank, cell: (q) => document.createTextNode(q.rank), number: true },
    { name: "Question", value: (q) => q.question, cell: (q) => clamped(q.question) },
    {
      name: "Right answers",
      value: (q) => q.references.join(" ") || null,
      cell: (q) => (q.references.length ? clamped(q.references.join(" · ")) : quiet("no answer")),
    },
  ];
  if (changes) {
    columns.push({
      name: `Change in ${data.metric}`,
      value: (q) => q.change,
      cell: (q) => element("span", { class: better(q) ? "right" : "wrong" }, (q.change > 0 ? "+" : "−") + Math.abs(q.change).toFixed(3)),
      number: true,
    });
  }
  data.systems.forEach((name, at) => {
    const titled = (what) => (several ? `${name}: ${what}` : what[0].toUpperCase() + what.slice(1));
    columns.push({ name: titled(saidName), value: (q) => q.systems[at].said, cell: (q) => said(q.systems[at]) });
    if (data.questions.some((q) => q.systems[at].outcome !== null)) {
      columns.push({
        name: titled("outcome"),
        value: (q) => q.systems[at].outcome,
        cell: (q) => document.createTextNode(data.outcomes[q.systems[at].outcome] ?? q.systems[at].outcome ?? "–"),
      });
    }
    columns.push({ name: titled(data.metric), value: (q) => q.systems[at].score, cell: (q) => score(q.systems[at].score), number: true });
  });

  for (const q of data.questions) {
    const words = [q.question, q.id, q.item, q.review, ...q.references];
    for (const answer of q.systems) words.push(answer.error, typeof answer.said === "string" ? answer.said : null);
    q.searched = words.filter(Boolean).join("\n").toLocaleLowerCase();
  }

  // Filters: each is a control, and a test made from its value.
  const scores = (q) => q.systems.map((answer) => answer.score).filter((value) => value !== null);
  const results = {
    "all 0": ["wrong: 0" + (several ? " for every system" : ""), (q) => scores(q).length > 0 && scores(q).every((value) => value <= 0)],
    between: ["in between", (q) => scores(q).some((value) => value > 0 && value < 1)],
    "all 1": ["right: 1" + (several ? " for every system" : ""), (q) => scores(q).length > 0 && scores(q).every((value) => value >= 1)],
  };
  if (several) results.differ = ["systems differ", (q) => new Set(scores(q)).size > 1];
  if (changes) {
    results.gained = ["gained", better];
    results.lost = ["lost", (q) => !better(q)];
  }
  if (some((answer) => answer.error !== null)) {
    results.failed = ["failed", (q) => q.systems.some((answer) => answer.error !== null)];
  }
  const tests = [];
  function choice(label, options, test) {
    const select = element("select", { "aria-label": label, onchange: () => show(0) }, element("option", { value: "" }, "all"));
    for (const [value, name, count] of options) {
      select.append(element("option", { value }, count === undefined ? name : `${name} (${count.toLocaleString("en")})`));
    }
    filters.append(element("label", {}, label, select));
    tests.push(() => (select.value === "" ? null : test(select.value)));
  }
  function counted(valueOf) {
    const counts = new Map();
    for (const q of data.questions) for (const value of new Set(valueOf(q))) counts.set(value, (counts.get(value) ?? 0) + 1);
    counts.delete(null);
    counts.delete(undefined);
    return counts;
  }
  const search = element("input", { type: "search", placeholder: "question, answer or id", autocomplete: "off", oninput: () => show(0) });
  filters.append(element("label", { class: "text" }, "Text", search));
  filters.addEventListener("submit", (event) => event.preventDefault());
  tests.push(() => {
    const wanted = search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    return wanted.length ? (q) => wanted.every((word) => q.searched.includes(word)) : null;
  });
  choice(data.metric, Object.entries(results).map(([value, [name, test]]) => [value, name, data.questions.filter(test).length]), (value) => results[value][1]);
  if (some((answer) => answer.outcome !== null)) {
    const counts = counted((q) => q.systems.map((answer) => answer.outcome));
    const order = Object.keys(data.outcomes).filter((outcome) => counts.has(outcome));
    choice("Outcome", order.map((outcome) => [outcome, data.outcomes[outcome], counts.get(outcome)]), (value) => (q) => q.systems.some((answer) => answer.outcome === value));
  }
  data.features.forEach((feature, at) => {
    const counts = counted((q) => [q.slices[at]]);
    if (counts.size < 2) return;
    const options = [...counts].sort((a, b) => (/^\d/.test(a[0]) && /^\d/.test(b[0]) ? collator.compare(a[0], b[0]) : b[1] - a[1]));
    choice(plain(feature), options.map(([value, count]) => [value, value.slice(0, 60), count]), (value) => (q) => q.slices[at] === value);
  });
  filters.append(element("button", { type: "button", onclick: () => { filters.reset(); show(0); } }, "Clear"));

  // Sorting: by a column, empty values last; a second click reverses it.
  let sorted = { column: columns[0], down: false };
  const heads = columns.map((column) => {
    const button = element("button", { type: "button", onclick: () => sort(column) }, column.name);
    return element("th", { scope: "col", class: column.number ? "number" : null }, button);
  });
  head.append(element("tr", {}, element("th", { scope: "col" }, element("span", { class: "hidden" }, "Details")), ...heads));
  function sort(column) {
    sorted = { column, down: sorted.column === column ? !sorted.down : false };
    show(0);
  }
  function compare(a, b) {
    const [left, right] = [sorted.column.value(a), sorted.column.value(b)];
    if (left === null || left === undefined) return right === null || right === undefined ? 0 : 1;
    if (right === null || right === undefined) return -1;
    const order = typeof left === "number" ? left - right : collator.compare(left, right);
    return sorted.down ? -order : order;
  }

  // A review that can be opened, with the right answers marked.
  function review(id, q, gold) {
    const name = gold ? element("mark", {}, text(id)) : text(id);
    if (!Object.hasOwn(data.texts, id)) return name;
    const shown = element("div", { class: "review", dir: "auto" });
    let rest = data.texts[id];
    while (gold && rest) {
      const next = q.references.map((answer) => [answer, answer ? rest.indexOf(answer) : -1]).filter(([, at]) => at >= 0);
      if (!next.length) break;
      const [answer, at] = next.reduce((best, each) => (each[1] < best[1] ? each : best));
      shown.append(rest.slice(0, at), element("mark", {}, answer));
      rest = rest.slice(at + answer.length);
    }
    shown.append(rest);
    return element("details", {}, element("summary", {}, name), shown);
  }
  // Any value of a row; a review's id can be opened.
  function value(of, q, gold) {
    if (of === null || of === undefined) return quiet("none");
    if (Array.isArray(of)) return of.length ? element("ol", {}, ...of.map((each) => element("li", {}, value(each, q, gold)))) : quiet("none");
    if (typeof of === "object") return list(of, q, gold);
    if (typeof of === "number") return document.createTextNode(number(of));
    if (of === "") return quiet("nothing");
    return typeof of === "string" && (gold.has(of) || Object.hasOwn(data.texts, of)) ? review(of, q, gold.has(of)) : text(String(of));
  }
  function list(entries, q, gold) {
    const made = element("dl");
    for (const [name, each] of Object.entries(entries)) {
      made.append(element("dt", {}, plain(name)), element("dd", {}, value(each, q, gold)));
    }
    return made;
  }
  function detail(q) {
    const nothing = new Set();
    const known = { question: q.question, "right answers": q.references, "question id": q.id, split: q.split, item: q.item };
    const about = list(known, q, nothing);
    about.append(element("dt", {}, "gold review"), element("dd", {}, review(q.review, q, true)));
    const tags = data.features.map((feature, at) => (q.slices[at] === null ? null : element("span", { class: "tag" }, `${plain(feature)}: `, text(q.slices[at]))));
    const sides = q.systems.map((answer, at) => {
      const output = answer.error === null ? answer.output : { ...answer.output, error: answer.error };
      const gold = new Set(answer.output.gold ?? (q.references.length ? [q.review] : []));
      const scores = element("details", {}, element("summary", {}, "Scores"), list(answer.scores, q, nothing));
      return element("div", {}, element(heading, {}, text(data.systems[at])), list(output, q, gold), scores);
    });
    const inside = element("div", {}, about, element("p", {}, ...tags), element("div", { class: "sides" }, ...sides));
    return element("tr", { class: "detail" }, element("td", { colspan: columns.length + 1 }, inside));
  }
  function row(q) {
    const open = element("button", { type: "button", class: "open", "aria-expanded": "false", "aria-label": `Details of question ${q.rank}` }, "▸");
    const made = element("tr", {}, element("td", {}, open), ...columns.map((column) => element("td", { class: column.number ? "number" : null }, column.cell(q))));
    open.addEventListener("click", () => {
      const opened = open.getAttribute("aria-expanded") === "true";
      if (opened) made.nextElementSibling.remove();
      else made.after(detail(q));
      open.setAttribute("aria-expanded", String(!opened));
      open.textContent = opened ? "▸" : "▾";
    });
    return made;
  }

  const before = element("button", { type: "button", onclick: () => show(page - 1) }, "Previous");
  const after = element("button", { type: "button", onclick: () => show(page + 1) }, "Next");
  const where = element("span");
  pages.append(before, where, after);
  let page = 0;
  function show(wanted) {
    const chosen = tests.map((test) => test()).filter((test) => test !== null);
    const kept = data.questions.filter((q) => chosen.every((test) => test(q))).sort(compare);
    const count = Math.max(1, Math.ceil(kept.length / PAGE));
    page = Math.min(Math.max(wanted, 0), count - 1);
    const start = page * PAGE;
    body.replaceChildren(...kept.slice(start, start + PAGE).map(row));
    heads.forEach((made, at) => {
      if (columns[at] === sorted.column) made.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      else made.removeAttribute("aria-sort");
    });
    const total = data.questions.length.toLocaleString("en");
    found.textContent = kept.length === data.questions.length ? `${total} questions` : `${kept.length.toLocaleString("en")} of ${total} questions`;
    where.textContent = `Page ${page + 1} of ${count}`;
    before.disabled = page === 0;
    after.disabled = page === count - 1;
    pages.hidden = count === 1;
  }
  show(0);
}
// What is wider than the page scrolls by the arrow keys, too.
const wider = new ResizeObserver((boxes) => {
  for (const { target: box } of boxes) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
});
for (const box of document.querySelectorAll(".wide")) {
  const named = box.querySelector("caption") ?? box.closest("figure").querySelector("h3");
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", named.textContent);
  wider.observe(box);
}
