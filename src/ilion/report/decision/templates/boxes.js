"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const rows = data.rows;
  if (!rows.length) return;
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
  const number = new Intl.NumberFormat(document.documentElement.lang);
  const STORE = `ilion-boxes:${location.pathname}`;
  const SIDES = ["x", "y", "width", "height"];
  let at = 0, box = null, start = null;

  // What was drawn before the page was closed; only boxes of photos that are still in the table.
  try {
    const kept = JSON.parse(localStorage.getItem(STORE) ?? "{}");
    for (const row of rows) Object.assign(row, kept[row.file + "\n" + row.object] ?? {});
  } catch { /* a private window keeps nothing */ }

  const hasBox = (row) => SIDES.every((side) => row[side] !== undefined && row[side] !== "");
  const size = () => ({ width: $("photo").naturalWidth, height: $("photo").naturalHeight });

  function keep() {
    const row = rows[at];
    SIDES.forEach((side) => { row[side] = box ? String(Math.round(box[side])) : ""; });
    row.clutter = $("clutter").value.trim();
    try {
      const drawn = {};
      for (const each of rows) {
        if (hasBox(each) || each.clutter) drawn[each.file + "\n" + each.object] =
          Object.fromEntries([...SIDES, "clutter"].map((key) => [key, each[key] ?? ""]));
      }
      localStorage.setItem(STORE, JSON.stringify(drawn));
    } catch { /* see above */ }
    count();
  }

  function count() {
    const left = rows.filter((row) => !hasBox(row)).length;
    $("left").textContent = left
      ? fill(data.say.left, { left: number.format(left), total: number.format(rows.length) }) : data.say.done;
    $("previous").disabled = at === 0;
    $("next").disabled = at === rows.length - 1;
    $("clear").disabled = !box;
  }

  // The photo is fitted into its frame, so there may be room beside or above it.
  function place() {
    const room = $("photo").getBoundingClientRect(), full = size();
    const scale = Math.min(room.width / full.width, room.height / full.height) || 1;
    return { scale, left: room.left + (room.width - full.width * scale) / 2,
      top: room.top + (room.height - full.height * scale) / 2 };
  }

  function draw() {
    const p = place(), room = $("drawing").getBoundingClientRect(), full = size();
    for (const id of ["halo", "box"]) {
      const rect = $(id);
      rect.style.display = box ? "" : "none";
      if (!box) continue;
      rect.setAttribute("x", p.left - room.left + box.x * p.scale);
      rect.setAttribute("y", p.top - room.top + box.y * p.scale);
      rect.setAttribute("width", box.width * p.scale);
      rect.setAttribute("height", box.height * p.scale);
    }
    const share = box && full.width ? 100 * box.width * box.height / (full.width * full.height) : 0;
    $("share").textContent = share ? fill(data.say.share, { share: `${number.format(Number(share.toPrecision(2)))}%` }) : "";
    $("clear").disabled = !box;
  }

  function show(next) {
    at = next;
    const row = rows[at];
    box = hasBox(row) ? Object.fromEntries(SIDES.map((side) => [side, Number(row[side])])) : null;
    $("photo").hidden = false;
    $("gone").hidden = true;
    $("photo").src = `${data.base}/${row.file.split("/").map(encodeURIComponent).join("/")}`;
    $("object").textContent = row.object;
    $("file").textContent = row.file;
    $("clutter").value = row.clutter ?? "";
    $("drawing").setAttribute("aria-label", fill(data.say.frame, { object: row.object }));
    count();
    draw();
  }

  $("photo").addEventListener("load", draw);
  $("photo").addEventListener("error", () => {
    $("photo").hidden = true;
    $("gone").hidden = false;
    $("gone").textContent = data.say.gone;
  });
  addEventListener("resize", draw);

  const clip = (value, most) => Math.max(0, Math.min(most, value));
  function point(event) {
    const p = place(), full = size();
    return { x: clip((event.clientX - p.left) / p.scale, full.width), y: clip((event.clientY - p.top) / p.scale, full.height) };
  }
  $("drawing").addEventListener("pointerdown", (event) => {
    if (!size().width) return;
    start = point(event);
    $("drawing").setPointerCapture(event.pointerId);
    event.preventDefault();
    $("drawing").focus({ preventScroll: true });
  });
  $("drawing").addEventListener("pointermove", (event) => {
    if (!start) return;
    const end = point(event);
    const drawn = { x: Math.min(start.x, end.x), y: Math.min(start.y, end.y),
      width: Math.abs(start.x - end.x), height: Math.abs(start.y - end.y) };
    if (drawn.width >= 4 && drawn.height >= 4) { box = drawn; draw(); }
  });
  for (const name of ["pointerup", "pointercancel"])
    $("drawing").addEventListener(name, () => { if (start) { start = null; keep(); } });

  $("drawing").addEventListener("keydown", (event) => {
    const full = size();
    if (event.key === "Enter" && at < rows.length - 1) { event.preventDefault(); keep(); show(at + 1); return; }
    const step = Math.max(full.width, full.height) / 100;
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (!move || !full.width) return;
    event.preventDefault();
    const next = box ? { ...box } : { x: full.width / 3, y: full.height / 3, width: full.width / 3, height: full.height / 3 };
    if (event.shiftKey) {
      next.width = Math.max(4, Math.min(full.width - next.x, next.width + move[0]));
      next.height = Math.max(4, Math.min(full.height - next.y, next.height + move[1]));
    } else {
      next.x = clip(next.x + move[0], full.width - next.width);
      next.y = clip(next.y + move[1], full.height - next.height);
    }
    box = next;
    draw();
    keep();
  });

  $("clear").addEventListener("click", () => { box = null; draw(); keep(); });
  $("clutter").addEventListener("change", keep);
  $("previous").addEventListener("click", () => { keep(); show(at - 1); });
  $("next").addEventListener("click", () => { keep(); show(at + 1); });

  // A table as spreadsheets read it: quotes where they are needed, and a mark that it is UTF-8.
  const cell = (text) => /[",\n\r;]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  $("save").addEventListener("click", () => {
    keep();
    const all = [...data.kept, ...rows.filter((row) => hasBox(row) || row.clutter || row.date)];
    const lines = [data.columns, ...all.map((row) => data.columns.map((column) => row[column] ?? ""))];
    const text = "\ufeff" + lines.map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = "photos.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  show(0);
})();
