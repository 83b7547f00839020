"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const live = document.body.dataset.live;
  const find = (id) => document.getElementById(id);
  if (!find("suspect")) return;
  const words = data.words;
  const say = (key, values = {}) => (words[key] || key).replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const store = `ilion audit ${data.mark}`;
  const svg = (tag, attributes, parent) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (parent) parent.append(node);
    return node;
  };
  const node = (tag, text, parent) => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (parent) parent.append(made);
    return made;
  };
  let decisions = [];   // in the order in which they were taken: [{ key, answer, who, when }]
  let shown = data.suspects;
  let at = 0;
  try {
    const kept = live ? [] : JSON.parse(localStorage.getItem(store)) || [];
    decisions = kept.filter((d) => data.suspects.some((s) => s.key === d.key));
    find("who").value = localStorage.getItem("ilion reviewer") || "";
  } catch { /* nothing is kept where the browser forbids it */ }
  const keep = () => { if (!live) try { localStorage.setItem(store, JSON.stringify(decisions)); } catch { /* as above */ } };
  const answerOf = (suspect) => decisions.findLast((d) => d.key === suspect.key)?.answer;

  const picture = (photo, parent, box) => {
    const [number, width, height] = data.pictures[photo];
    const part = svg("g", { transform: `translate(${box.x} ${box.y}) scale(${box.scale})` }, parent);
    svg("use", { href: `#p${number}` }, part);
    return [width, height];
  };

  const drawPair = (suspect) => {
    const frame = find("pair");
    frame.replaceChildren();
    const photos = suspect.photos.filter((p) => data.pictures[p]);
    const sizes = photos.map((p) => data.pictures[p].slice(1));
    const high = 400, gap = 24;
    let left = 0;
    const cells = photos.map((photo, n) => {
      const cell = { x: left, y: 0, scale: high / sizes[n][1] };
      left += sizes[n][0] * cell.scale + gap;
      return cell;
    });
    frame.setAttribute("viewBox", `0 0 ${Math.max(left - gap, 1)} ${high}`);
    frame.setAttribute("aria-label", photos.join(", "));
    photos.forEach((photo, n) => {
      picture(photo, frame, cells[n]);
      const box = (suspect.boxes || [])[n];
      if (box && box.length === 4) {
        const place = { x: cells[n].x + box[0] * cells[n].scale, y: box[1] * cells[n].scale,
          width: box[2] * cells[n].scale, height: box[3] * cells[n].scale };
        svg("rect", { class: "frame", ...place }, frame);
      }
    });
    if (photos.length > 1) {
      for (const css of ["match under", "match"]) {
        for (const [x, y, u, v] of suspect.matches) {
          svg("line", { class: css, x1: cells[0].x + x * cells[0].scale, y1: y * cells[0].scale,
            x2: cells[1].x + u * cells[1].scale, y2: v * cells[1].scale }, frame);
        }
      }
    }
  };

  const drawOthers = (suspect) => {
    const room = find("others");
    room.replaceChildren();
    for (const name of [suspect.object, suspect.other]) {
      for (const photo of (name && data.queries[name]) || []) {
        if (!data.pictures[photo]) continue;
        const figure = node("figure", "", room);
        const [, width, height] = data.pictures[photo];
        const frame = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": photo }, figure);
        picture(photo, frame, { x: 0, y: 0, scale: 1 });
        node("figcaption", say("object", { object: name }), figure);
      }
    }
  };

  const show = () => {
    const done = shown.filter(answerOf).length;
    find("bar").max = Math.max(shown.length, 1);
    find("bar").value = done;
    find("progress").textContent = say("progress", { done, all: shown.length })
      + (done === shown.length ? ` ${say(live ? "done-live" : "done")}` : "");
    find("undo").disabled = !decisions.length;
    const suspect = shown[at];
    find("suspect").dataset.key = suspect ? suspect.key : "";
    if (!suspect) return;
    const facts = { object: suspect.object, other: suspect.other };
    const kind = data.kinds[suspect.kind];
    find("about").textContent = `${at + 1}. ${kind} · ${suspect.sure}`;
    find("question").textContent = say(`question-${suspect.kind}`, facts);
    const why = suspect.relation || suspect.kind + (suspect.kind === "wrong-label" && suspect.other ? "-other" : "");
    find("why").textContent = `${say(`why-${why}`, facts)} ${suspect.change
      ? say("change", { value: suspect.change }) : say("nothing")}`;
    drawPair(suspect);
    drawOthers(suspect);
    const answers = find("answers");
    answers.replaceChildren();
    for (const name of suspect.answers) {
      const button = node("button", `${data.answers[name]} `, answers);
      button.type = "button";
      button.dataset.answer = name;
      button.setAttribute("aria-pressed", answerOf(suspect) === name);
      node("kbd", data.keys[name].toUpperCase(), button);
      button.addEventListener("click", () => decide(name));
    }
    const table = find("evidence");
    table.replaceChildren();
    for (const [name, value] of suspect.evidence) {
      const row = node("tr", "", table);
      node("td", name, row);
      node("td", value, row);
    }
    suspect.photos.forEach((photo, n) => {
      const row = node("tr", "", table);
      node("td", say(n ? "beside" : "question-photo"), row);
      node("td", `${photo} ${suspect.said[n] || ""}`, row);
    });
  };

  let disputed = [];
  const agreement = (found) => {
    disputed = found.disputed;
    const kappa = found.kappa === null ? "–" : found.kappa.toFixed(2);
    find("agreement").textContent = say("agreement", { ...found, kappa, disputed: disputed.length });
  };
  const call = (path, options = {}) => fetch(path, {
    ...options, headers: { ...options.headers, "accept-language": document.documentElement.lang },
  }).then(async (answer) => {
    if (answer.ok) return answer.json();
    const found = await answer.json().catch(() => ({}));
    throw new Error(found.said ?? answer.status);
  });
  // what the server did not keep is not shown as done
  const tell = (method, body, before) => live && call(live, {
    method, headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  }).then(agreement).catch((error) => {
    decisions = before;
    show();
    find("progress").textContent = say("failed", { error: error.message });
  });
  const load = () => live && call(`${live}?who=${encodeURIComponent(find("who").value.trim())}`).then((found) => {
    if (found.known) find("who").value = found.who;
    find("who").disabled = found.known;
    decisions = Object.entries(found.answers).map(([key, answer]) => ({ key, answer, who: found.who, when: "" }));
    at = Math.max(shown.findIndex((s) => !answerOf(s)), 0);
    show();
    agreement(found);
  }).catch((error) => { find("progress").textContent = say("failed", { error: error.message }); });

  const decide = (answer) => {
    const suspect = shown[at];
    if (!suspect || !suspect.answers.includes(answer)) return;
    const who = find("who").value.trim();
    const taken = { key: suspect.key, answer, who, when: new Date().toISOString() };
    const before = decisions;
    decisions = [...before, taken];
    keep();
    tell("POST", { key: taken.key, answer, who }, before);
    const next = shown.findIndex((s, n) => n > at && !answerOf(s));
    const first = shown.findIndex((s) => !answerOf(s));
    at = next >= 0 ? next : first >= 0 ? first : at;
    show();
  };

  const undo = () => {
    const before = decisions;
    const last = before.at(-1);
    if (!last) return;
    decisions = before.slice(0, -1);
    keep();
    tell("DELETE", { key: last.key, who: last.who }, before);
    let place = shown.findIndex((s) => s.key === last.key);
    if (place < 0) {
      find("kind").value = "";
      shown = data.suspects;
      place = shown.findIndex((s) => s.key === last.key);
    }
    at = place;
    show();
  };

  const move = (step) => { at = Math.min(Math.max(at + step, 0), shown.length - 1); show(); };

  find("save").addEventListener("click", () => {
    const last = new Map();
    for (const one of decisions) { last.delete(one.key); last.set(one.key, one); }
    const kept = [...last.values()].map(({ key, answer, who, when }) =>
      ({ suspect: data.plain[key], answer, who: who || find("who").value.trim(), when }));
    const text = JSON.stringify({ format: 1, dataset: data.dataset, name: data.name, decisions: kept }, null, 1);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "decisions.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
  find("undo").addEventListener("click", undo);
  find("back").addEventListener("click", () => move(-1));
  find("next").addEventListener("click", () => move(1));
  find("who").addEventListener("change", () => {
    try { localStorage.setItem("ilion reviewer", find("who").value); } catch { /* as above */ }
    load();
  });
  find("kind").addEventListener("change", () => {
    const kind = find("kind").value;
    shown = data.suspects.filter((s) => !kind || s.kind === kind || (kind === "disputed" && disputed.includes(s.key)));
    at = Math.max(shown.findIndex((s) => !answerOf(s)), 0);
    show();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    const key = event.key.toLowerCase();
    const answer = Object.keys(data.keys).find((name) => data.keys[name] === key);
    if (answer) decide(answer);
    else if (key === "z") undo();
    else if (key === "arrowright") move(1);
    else if (key === "arrowleft") move(-1);
    else return;
    event.preventDefault();
  });
  at = Math.max(shown.findIndex((s) => !answerOf(s)), 0);
  show();
  load();
})();
