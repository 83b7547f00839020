// The page of the service: no framework, no build step, nothing from elsewhere.
// Everything that comes from the server is set as text or as attributes of elements that are made here.

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const LONGEST = 2048; // longer side of what is sent: a phone's photo is larger than any model looks at

let words = {}, language = "en", status = null;
let photo = null; // { blob, url, width, height }: upright, as it is sent
let box = null; // in pixels of that photo
let asked = null; // the last answer, with the photo it was asked with

// Plural forms are chosen by the value `count`; numbers are written as the language does.
function say(name, values = {}) {
  const entry = words[language][name] ?? name;
  const text = typeof entry === "string" ? entry : entry[values.count === 1 ? "one" : "other"];
  const number = new Intl.NumberFormat(language);
  const shown = (value) => (typeof value === "number" ? number.format(value) : value ?? "");
  return text.replace(/\{(\w+)\}/g, (_, key) => shown(values[key]));
}

function translate() {
  document.documentElement.lang = language;
  document.title = say("title");
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-alt]")) element.alt = say(element.dataset.alt);
  for (const element of document.querySelectorAll("[data-label]"))
    element.setAttribute("aria-label", say(element.dataset.label));
  const labels = status ? Object.keys(status.labels).join(", ") : "";
  $("filter-help").textContent = say("filter_help", { labels: labels || say("labels_none") });
  if (asked) show(asked);
}

function tell(text) { $("said").textContent = text; }

async function call(path, options = {}) {
  let response;
  const headers = { ...options.headers, "accept-language": language }; // in which a refusal is said
  try { response = await fetch(path, { credentials: "same-origin", ...options, headers }); }
  catch { throw new Error(say("offline")); }
  if (response.status === 401) { $("login").hidden = false; $("ask").hidden = true; $("token").focus(); }
  if (!response.ok) {
    let reason = say("error_status", { status: response.status });
    try { reason = (await response.json()).said ?? reason; } catch { /* no JSON: the number has to do */ }
    throw new Error(say("error", { reason }));
  }
  return response.json();
}

async function begin() {
  words = await (await fetch("/assets/strings.json")).json();
  const wanted = localStorage.getItem("language") ?? navigator.language.slice(0, 2);
  language = wanted in words ? wanted : "en";
  $("language").value = language;
  translate();
  try {
    status = await call("/api/status");
    $("login").hidden = true; $("ask").hidden = false;
    $("describe").hidden = !status.texts;
    translate();
  } catch (error) { tell(error.message); }
}

$("language").addEventListener("change", () => {
  language = $("language").value;
  localStorage.setItem("language", language);
  translate();
});

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await call("/api/login", { method: "POST", headers: { "content-type": "application/json" },
      body: JSON.stringify({ token: $("token").value.trim() }) });
    $("token").value = "";
    tell("");
    await begin();
  } catch (error) { tell(error.message); }
});

// ---- the photo

async function take(blob) {
  if (!blob) return;
  let bitmap;
  try { bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" }); }
  catch { photo = { blob, url: "", width: 0, height: 0 }; tell(""); return search(); } // the server says what it is
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  // a small upright photo is sent as it is; others are made upright and smaller here
  const upright = scale === 1 && blob.type === "image/png";
  const sent = upright ? blob : await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
  if (photo?.url) URL.revokeObjectURL(photo.url);
  photo = { blob: sent, url: URL.createObjectURL(sent), width: canvas.width, height: canvas.height };
  $("photo").src = photo.url;
  $("chosen").hidden = false;
  $("pick").hidden = true;
  $("again").hidden = false;
  $("drawing").setAttribute("viewBox", `0 0 ${photo.width} ${photo.height}`);
  setBox(null);
  suggestion = 0;
  tell("");
  $("go").focus();
}

for (const id of ["camera", "file"]) $(id).addEventListener("change", () => take($(id).files[0]));
addEventListener("paste", (event) => take([...event.clipboardData.files].find((f) => f.type.startsWith("image/"))));
addEventListener("dragover", (event) => { event.preventDefault(); $("pick").classList.add("over"); });
addEventListener("dragleave", () => $("pick").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  $("pick").classList.remove("over");
  take(event.dataTransfer.files[0]);
});

// ---- the frame around the part

function setBox(next) {
  box = next;
  $("box").toggleAttribute("hidden", !box);
  $("clear").hidden = !box;
  if (!box) return;
  for (const name of ["x", "y", "width", "height"]) $("box").setAttribute(name, box[name]);
}

function place(event) {
  // the photo is fitted into the frame, so there may be room beside or above it
  const room = $("frame").getBoundingClientRect();
  const scale = Math.min(room.width / photo.width, room.height / photo.height);
  const left = room.left + (room.width - photo.width * scale) / 2;
  const top = room.top + (room.height - photo.height * scale) / 2;
  const clip = (value, most) => Math.max(0, Math.min(most, value));
  return { x: clip((event.clientX - left) / scale, photo.width), y: clip((event.clientY - top) / scale, photo.height) };
}

let start = null;
$("frame").addEventListener("pointerdown", (event) => {
  start = place(event);
  $("frame").setPointerCapture(event.pointerId);
});
$("frame").addEventListener("pointermove", (event) => {
  if (!start) return;
  const end = place(event);
  const drawn = { x: Math.min(start.x, end.x), y: Math.min(start.y, end.y),
    width: Math.abs(start.x - end.x), height: Math.abs(start.y - end.y) };
  if (drawn.width > 8 && drawn.height > 8) setBox(drawn);
});
for (const name of ["pointerup", "pointercancel"]) $("frame").addEventListener(name, () => { start = null; });

// Frames around what is in the photo: parts that differ from the colours along its border, and from what is
// beside them, grown together; the one with most of that comes first. In clutter everything grows together, and
// what is left over is small: it is not suggested.
function busyParts(image) {
  const scale = 72 / Math.max(photo.width, photo.height);
  const width = Math.max(8, Math.round(photo.width * scale)), height = Math.max(8, Math.round(photo.height * scale));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  const data = context.getImageData(0, 0, width, height).data, count = width * height;
  const on = (x, y) => x < 2 || y < 2 || x >= width - 2 || y >= height - 2;
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1] ?? 0;
  const border = [0, 1, 2].map((c) => median(Array.from({ length: count }, (_, i) => i)
    .filter((i) => on(i % width, Math.floor(i / width))).map((i) => data[4 * i + c])));
  const strange = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const [x, y] = [i % width, Math.floor(i / width)];
    for (let c = 0; c < 3; c++) {
      const own = data[4 * i + c];
      strange[i] += Math.abs(own - border[c]);
      if (x + 1 < width) strange[i] += Math.abs(own - data[4 * (i + 1) + c]);
      if (y + 1 < height) strange[i] += Math.abs(own - data[4 * (i + width) + c]);
    }
  }
  const least = strange.reduce((a, b) => a + b, 0) / count, seen = new Uint8Array(count), parts = [];
  const all = strange.reduce((a, b) => a + (b > least ? b : 0), 0);
  for (let first = 0; first < count; first++) {
    if (seen[first] || strange[first] <= least) continue;
    const part = { left: width, top: height, right: 0, bottom: 0, sum: 0 }, todo = [first];
    seen[first] = 1;
    while (todo.length) {
      const i = todo.pop(), [x, y] = [i % width, Math.floor(i / width)];
      part.left = Math.min(part.left, x); part.right = Math.max(part.right, x + 1);
      part.top = Math.min(part.top, y); part.bottom = Math.max(part.bottom, y + 1);
      part.sum += strange[i];
      // two steps, so that small gaps do not cut a thing into pieces
      for (let dy = -2; dy <= 2; dy++) for (let dx = -2; dx <= 2; dx++) {
        const [a, b] = [x + dx, y + dy], j = b * width + a;
        if (a < 0 || b < 0 || a >= width || b >= height || seen[j] || strange[j] <= least) continue;
        seen[j] = 1;
        todo.push(j);
      }
    }
    const share = (part.right - part.left) * (part.bottom - part.top) / count;
    if (share > 0.01 && share < 0.9 && part.sum > 0.2 * all) parts.push(part);
  }
  return parts.sort((a, b) => b.sum - a.sum).slice(0, 3).map(({ left, top, right, bottom }) => {
    const [x, y] = [left / scale, top / scale];
    return { x, y, width: Math.min(photo.width, right / scale) - x, height: Math.min(photo.height, bottom / scale) - y };
  });
}

const middle = (share) => ({ x: photo.width * (1 - share) / 2, y: photo.height * (1 - share) / 2,
  width: photo.width * share, height: photo.height * share });
let suggestion = 0;
$("suggest").addEventListener("click", () => {
  const frames = photo.frames ??= [...busyParts($("photo")), middle(0.6), middle(0.35)];
  setBox(frames[suggestion++ % frames.length]);
});
$("clear").addEventListener("click", () => setBox(null));
$("frame").addEventListener("keydown", (event) => {
  const step = Math.max(photo.width, photo.height) / 40;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  const move = moves[event.key];
  if (event.key === "Escape") setBox(null);
  if (!move) return;
  event.preventDefault();
  const next = { ...(box ?? middle(0.6)) };
  if (event.shiftKey) {
    next.width = Math.max(16, Math.min(photo.width - next.x, next.width + move[0]));
    next.height = Math.max(16, Math.min(photo.height - next.y, next.height + move[1]));
  } else {
    next.x = Math.max(0, Math.min(photo.width - next.width, next.x + move[0]));
    next.y = Math.max(0, Math.min(photo.height - next.height, next.y + move[1]));
  }
  setBox(next);
});

// ---- searching

$("ask").addEventListener("submit", (event) => { event.preventDefault(); search(); });
$("again").addEventListener("click", () => {
  photo = null; asked = null;
  for (const id of ["camera", "file", "text"]) $(id).value = "";
  for (const id of ["chosen", "results", "adding", "again"]) $(id).hidden = true;
  $("pick").hidden = false;
  tell("");
  $("file").focus();
});

async function search() {
  const form = new FormData();
  if (photo) form.append("photo", photo.blob, "photo");
  if (photo && box) form.append("box", [box.x, box.y, box.width, box.height].map((v) => v.toFixed(1)).join(","));
  form.append("text", $("text").value);
  form.append("where", $("where").value);
  $("go").disabled = true;
  tell(say("searching"));
  try {
    asked = { ...(await call("/api/search", { method: "POST", body: form })), photo: photo && { ...photo } };
    tell("");
    show(asked);
    $("results-title").focus();
  } catch (error) {
    tell(error.message);
    for (const id of ["results", "adding"]) $(id).hidden = true; // they are those of another question
  }
  $("go").disabled = false;
}

const make = (name, values = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(values)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== null) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
};
const draw = (name, values = {}, ...children) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(values)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};
const small = (id, size = "small") => `/api/photo?id=${encodeURIComponent(id)}&size=${size}`;

function reason(found) {
  if (found.points === null) return say("score_global");
  if (found.points === 0) return say("score_no_points");
  return say(found.points < 12 ? "score_few" : "score_points", { count: found.points });
}

function show(answer) {
  $("results").hidden = false;
  $("none").hidden = !answer.none;
  const { photos, seconds, filtered, without_descriptor: without } = answer.searched;
  const said = [say("searched", { count: photos, seconds: seconds.toFixed(2) })];
  if (filtered) said.push(say("filtered", { count: filtered }));
  if (without) said.push(say("without", { count: without }));
  $("searched").textContent = said.join(say("between"));
  if (!answer.objects.length) tell(say("nothing"));
  $("objects").replaceChildren(...answer.objects.map((found) => item(answer, found)));
  $("adding").hidden = !(answer.photo && status?.role === "write");
}

function pictured(found) {
  const [width, height] = found.size[0] ? found.size : [4, 3];
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" },
    draw("image", { href: small(found.id), width, height }));
  if (found.region) {
    const { x, y, width: w, height: h } = found.region;
    for (const css of ["halo", "region"]) picture.append(draw("rect", { x, y, width: w, height: h, class: css }));
  }
  return picture;
}

function item(answer, found) {
  const name = found.name || say("unnamed");
  const picture = pictured(found.photo);
  picture.setAttribute("aria-label", name);
  const labels = Object.entries(found.photo.labels).map(([key, value]) => `${key}: ${value}`).join(" · ");
  const facts = make("div", {}, make("h3", {}, name), make("p", { class: "reason" }, reason(found.photo)));
  if (found.photos > 1) facts.append(make("p", { class: "small" }, say("photos", { count: found.photos })));
  if (labels) facts.append(make("p", { class: "small" }, labels));
  const row = make("p", { class: "row" });
  const entry = make("li", {}, make("figure", {}, picture), facts);
  if (found.photo.points && answer.photo?.url) {
    const why = make("button", { type: "button", "aria-expanded": "false" }, say("show_matches"));
    why.addEventListener("click", () => explain(answer, found, name, entry, why));
    row.append(why);
  }
  if (status?.feedback) {
    for (const [right, word] of [[true, "this"], [false, "not_this"]]) {
      row.append(make("button", { type: "button", "aria-pressed": "false", "data-right": right,
        onclick: (event) => judge(answer, found, right, event.currentTarget) }, say(word)));
    }
  }
  if (row.children.length) facts.append(row);
  return entry;
}

async function judge(answer, found, right, button) {
  try {
    await call("/api/feedback", { method: "POST", headers: { "content-type": "application/json" },
      body: JSON.stringify({ search: answer.search, photo: found.photo.id, right }) });
    for (const other of button.parentElement.querySelectorAll("[aria-pressed]"))
      other.setAttribute("aria-pressed", other === button);
    tell(say("thanks"));
  } catch (error) { tell(error.message); }
}

async function explain(answer, found, name, entry, button) {
  const shown = entry.querySelector(".why-picture");
  if (shown) {
    shown.remove();
    button.setAttribute("aria-expanded", "false");
    button.textContent = say("show_matches");
    return;
  }
  try {
    const pairs = await call(
      `/api/searches/${encodeURIComponent(answer.search)}/matches?photo=${encodeURIComponent(found.photo.id)}`);
    entry.append(sideBySide(answer, found, name, pairs));
    button.setAttribute("aria-expanded", "true");
    button.textContent = say("hide_matches");
  } catch (error) { tell(error.message); }
}

function sideBySide(answer, found, name, pairs) {
  const own = answer.photo, [width, height] = found.photo.size;
  const high = 1000, left = high / own.height, right = high / height, gap = 40;
  const from = own.width * left + gap;
  const picture = draw("svg", { viewBox: `0 0 ${from + width * right} ${high}`, role: "img", class: "why-picture",
    "aria-label": pairs.lines.length ? say("matches_label", { count: pairs.points, name }) : say("no_matches") },
    draw("image", { href: own.url, width: own.width * left, height: high }),
    draw("image", { href: small(found.photo.id, "large"), x: from, width: width * right, height: high }));
  if (pairs.outline) {
    const corners = pairs.outline.map(([x, y]) => `${from + x * right},${y * right}`).join(" ");
    for (const css of ["halo", "region"]) picture.append(draw("polygon", { points: corners, class: css }));
  }
  for (const [a, b, c, d] of pairs.lines)
    picture.append(draw("line", { x1: a * left, y1: b * left, x2: from + c * right, y2: d * right, class: "match" }));
  return picture;
}

// ---- adding

$("object").addEventListener("input", async () => {
  try {
    const found = await call(`/api/objects?starts=${encodeURIComponent($("object").value)}`);
    $("names").replaceChildren(...found.objects.map((name) => make("option", { value: name })));
  } catch { /* suggestions only */ }
});
$("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData();
  form.append("photo", asked.photo.blob, "photo");
  form.append("object", $("object").value.trim());
  try {
    await call("/api/photos", { method: "POST", body: form });
    tell(say("added"));
    $("object").value = "";
  } catch (error) { tell(error.message); }
});

begin();
