"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const STEP = 100; // rows of a table that are drawn at once

  // ---- elements; whatever a name holds is shown as text ----
  const NS = "http://www.w3.org/2000/svg";
  const fill = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  };
  const html = (tag, attributes = {}, ...children) =>
    fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS(NS, tag), attributes, children);
  // Fixed digits, but for scores that would be all zeros or longer than a cell; what
  // rounding leaves of 0 is 0.
  const number = (value, digits = 3) => {
    if (value === null || value === undefined) return "-";
    const size = Math.abs(value);
    const odd = size >= 1e7 || (digits > 2 && size > 1e-12 && size < 0.5 * 10 ** -digits);
    return (odd ? value.toExponential(1) : value.toFixed(digits)).replace("-", "−");
  };
  const short = (text, n) => {
    const letters = Array.from(text);
    return letters.length > n ? letters.slice(0, n - 1).join("") + "…" : text;
  };
  const mean = (values) => {
    const known = values.filter((v) => v !== null && v !== undefined);
    return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
  };

  // ---- the state stands in the address: #sort=table-1:score:desc&q=...&row=3 ----
  const state = new URLSearchParams();
  const readState = () => {
    const text = location.hash.slice(1);
    if (!text.includes("=")) return false;
    for (const key of [...state.keys()]) state.delete(key);
    for (const [key, value] of new URLSearchParams(text)) state.append(key, value);
    return true;
  };
  const keep = (key, value) => {
    if (value === null || value === "") state.delete(key);
    else state.set(key, value);
    try {
      history.replaceState(null, "", `#${state}`);
    } catch {
      // a page in a frame may not change its address
    }
  };

  // ---- sorting ----
  const compare = (a, b, down) => {
    if (a === null || b === null) return (a === null) - (b === null); // unknown last
    const order = typeof a === "number" && typeof b === "number"
      ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
    return down ? -order : order;
  };
  const valueOf = (cell) => {
    const value = cell.getAttribute("data-value");
    if (value === null) return cell.textContent.trim();
    return value === "" ? null : Number(value);
  };
  const markSorted = (table, key, down) => {
    for (const th of table.tHead.querySelectorAll("th")) {
      if (th.dataset.key === key) th.setAttribute("aria-sort", down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    }
  };
  const sortRows = (table, key, down) => {
    const heads = [...table.tHead.rows[0].cells];
    const column = heads.findIndex((th) => th.dataset.key === key);
    if (column < 0) return;
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[column]), row]);
    rows.sort((a, b) => compare(a[0], b[0], down));
    table.tBodies[0].append(...rows.map(([, row]) => row));
    markSorted(table, key, down);
  };
  const makeSortable = (table, sort) => {
    for (const th of table.tHead.querySelectorAll("th")) {
      const button = html("button", { type: "button" }, ...th.childNodes);
      th.append(button);
      button.addEventListener("click", () => {
        const down = th.getAttribute("aria-sort") === "ascending";
        sort(th.dataset.key, down);
        keep("sort", `${table.id}:${th.dataset.key}:${down ? "desc" : "asc"}`);
      });
    }
  };
  const wanted = (id) => {
    const [table, key, direction] = (state.get("sort") || "").split(":");
    return table === id ? [key, direction === "desc"] : null;
  };

  // ---- axes ----
  const ticks = (low, high, n = 5) => {
    const raw = (high - low) / n || 1;
    const size = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * size).find((s) => s >= raw * 0.999);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
    return [found, Math.min(20, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)))];
  };
  const scale = (values, width, left, right) => {
    const known = values.filter((v) => Number.isFinite(v));
    let [low, high] = [Math.min(...known), Math.max(...known)];
    if (!known.length) [low, high] = [0, 1];
    const size = Math.max(Math.abs(low), Math.abs(high)) || 1;
    // Values that differ by rounding only would have ticks without end.
    const pad = 0.06 * (high - low > 1e-9 * size ? high - low : size);
    [low, high] = [low - pad, high + pad];
    const place = (v) => left + ((v - low) / (high - low)) * (width - left - right);
    return { low, high, place };
  };
  const drawAxis = (parent, axis, top, bottom, label) => {
    const [marks, digits] = ticks(axis.low, axis.high);
    for (const v of marks) {
      const x = axis.place(v);
      parent.append(
        svg("line", { class: "grid", x1: x, x2: x, y1: top, y2: bottom }),
        svg("text", { x, y: bottom + 16, "text-anchor": "middle", class: "muted" }, number(v, digits)));
    }
    const middle = (axis.place(axis.low) + axis.place(axis.high)) / 2;
    parent.append(svg("text", { x: middle, y: bottom + 34, "text-anchor": "middle" }, label));
  };
  const narrow = () => window.matchMedia("(max-width: 40rem)").matches;
  const diamond = (x, y, r = 5) =>
    svg("path", { class: "b", d: `M${x - r},${y}L${x},${y - r}L${x + r},${y}L${x},${y + r}Z` });

  // Points with intervals, one line for each row; those of `hollow` rows are diamonds.
  const drawIntervals = (rows, { label, lines, describe }) => {
    const width = narrow() ? 420 : 760;
    const left = narrow() ? 140 : 210;
    const [top, step] = [24, 22];
    const bottom = top + step * rows.length;
    const spread = rows.flatMap((r) => [r.value, r.low, r.high]).concat(lines.map((l) => l.value));
    const axis = scale(spread.filter((v) => v !== null), width, left, 16);
    const out = svg("svg", { viewBox: `0 0 ${width} ${bottom + 42}`, role: "img", "aria-label": describe });
    drawAxis(out, axis, top, bottom, label);
    lines.forEach((line) => {
      if (line.value === null) return;
      const x = axis.place(line.value);
      out.append(svg("line", { class: line.style, x1: x, x2: x, y1: top - 4, y2: bottom }));
      const anchor = x > width * 0.75 ? "end" : x < left + 60 ? "start" : "middle";
      out.append(svg("text", { x, y: top - 10, "text-anchor": anchor, class: "muted" }, line.name));
    });
    rows.forEach((row, i) => {
      const y = top + step * (i + 0.5);
      const name = svg("text", { x: left - 10, y: y + 4, "text-anchor": "end" },
        short(row.name, narrow() ? 18 : 28));
      name.append(svg("title", {}, row.name));
      out.append(name);
      if (row.value === null) {
        out.append(svg("text", { x: left + 8, y: y + 4, class: "muted" }, "no score"));
        return;
      }
      const x = axis.place(row.value);
      if (row.low !== null && row.high !== null) {
        out.append(svg("line", { class: `${row.hollow ? "b" : "a"} bar`, y1: y, y2: y,
          x1: axis.place(row.low), x2: axis.place(row.high) }));
      }
      out.append(row.hollow ? diamond(x, y) : svg("circle", { class: "a", cx: x, cy: y, r: 4 }));
    });
    return out;
  };
  const show = (figure, drawing, caption) => {
    figure.replaceChildren(drawing, html("figcaption", {}, caption));
    figure.hidden = false;
  };

  const drawLeaderboards = () => {
    for (const figure of document.querySelectorAll(".forest")) {
      const rows = data.leaderboard.filter((r) => r.metric === figure.dataset.metric);
      const best = rows.find((r) => r.model === r.best_baseline);
      const ceiling = rows.find((r) => r.ceiling !== null);
      const lines = [];
      if (best) lines.push({ name: "best baseline", style: "dashed", value: best.mean });
      if (ceiling) lines.push({ name: "ceiling", style: "ceiling", value: ceiling.ceiling });
      const drawing = drawIntervals(
        rows.map((r) => ({ name: r.model, value: r.mean, low: r.ci_low, high: r.ci_high,
          hollow: r.kind === "baseline" })),
        { label: figure.dataset.metric, lines,
          describe: `Scores of ${rows.length} models by ${figure.dataset.metric}, with intervals. The table below has the numbers.` });
      show(figure, drawing, "Points are means, bars their intervals; diamonds are baselines. " +
        "Intervals of two models overlap more than that of their difference tells: see the table.");
    }
  };
  const drawSlopes = () => {
    const figure = byId("slopes");
    if (!figure) return;
    const last = new Map();
    for (const row of data.calibration) last.set(row.model, row); // all contexts come last
    const rows = [...last.values()];
    const drawing = drawIntervals(
      rows.map((r) => ({ name: r.model, value: r.slope, low: r.low, high: r.high, hollow: false })),
      { label: "slope of measured on predicted", lines: [{ name: "calibrated", style: "dashed", value: 1 }],
        describe: `Slopes of ${rows.length} models over all contexts, with intervals. The table below has the numbers.` });
    show(figure, drawing, "All contexts. Models that predict no response have no slope.");
  };
  const drawCoverage = () => {
    const figure = byId("coverage");
    if (!figure) return;
    const [width, height, left, bottom] = [420, 360, 50, 310];
    const x = (v) => left + v * (width - left - 16);
    const y = (v) => bottom - v * (bottom - 16);
    const out = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "square",
      "aria-label": "Coverage of intervals against what they say. The table below has the numbers." });
    for (const v of [0, 0.25, 0.5, 0.75, 1]) {
      out.append(
        svg("line", { class: "grid", x1: x(v), x2: x(v), y1: y(0), y2: y(1) }),
        svg("line", { class: "grid", x1: x(0), x2: x(1), y1: y(v), y2: y(v) }),
        svg("text", { x: x(v), y: bottom + 16, "text-anchor": "middle", class: "muted" }, number(v, 2)),
        svg("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end", class: "muted" }, number(v, 2)));
    }
    out.append(svg("path", { class: "dashed", d: `M${x(0)},${y(0)}L${x(1)},${y(1)}` }),
      svg("text", { x: x(0.5), y: bottom + 36, "text-anchor": "middle" }, "what intervals say"));
    const curves = new Map();
    for (const row of data.coverage) {
      if (row.group !== "all" || row.coverage === null) continue;
      if (!curves.has(row.model)) curves.set(row.model, []);
      curves.get(row.model).push([row.confidence, row.coverage]);
    }
    for (const [name, curve] of curves) {
      curve.sort((a, b) => a[0] - b[0]);
      out.append(svg("path", { class: "a line", d: "M" + curve.map(([u, v]) => `${x(u)},${y(v)}`).join("L") },
        svg("title", {}, name)));
      for (const [u, v] of curve) out.append(svg("circle", { class: "a", cx: x(u), cy: y(v), r: 3 }));
    }
    show(figure, out, `Share of measured entries inside of the intervals: ${[...curves.keys()].join(", ")}.`);
  };

  // ---- the explorer ----
  const explorer = data.explorer;
  const table = byId("table-conditions");
  const modes = { condition: "condition", perturbation: "perturbation" };
  if (explorer && explorer.contexts) modes.context = "context";
  let view = { key: "strength", down: true, n: STEP };
  const columns = (by) => {
    const found = [];
    if (by !== "context") found.push(["perturbation", "perturbation", false]);
    if (by !== "perturbation" && explorer.contexts) found.push(["context", "context", false]);
    found.push(by === "condition" ? ["fold", "fold", false] : ["rows", "conditions", true]);
    found.push(["strength", "measured strength", true]);
    for (const metric of explorer.metrics) found.push([metric.name, metric.name, true]);
    if (explorer.baseline !== null) found.push(["gain", "from best baseline", true]);
    return found;
  };
  const listRows = () => {
    const model = explorer.models.indexOf(byId("model").value);
    const baseline = explorer.models.indexOf(explorer.baseline);
    const single = explorer.perturbation.map((p, i) => {
      const row = {
        place: i, rows: 1, fold: explorer.fold[i], strength: explorer.strength[i],
        perturbation: explorer.perturbations[p],
        context: explorer.contexts ? explorer.contexts[explorer.context[i]] : "",
      };
      explorer.metrics.forEach((metric, m) => { row[metric.name] = explorer.scores[m][model][i]; });
      const [own, other] = [explorer.scores[0][model][i], baseline < 0 ? null : explorer.scores[0][baseline][i]];
      row.gain = own === null || other === null ? null : own - other;
      return row;
    });
    const by = byId("by").value;
    if (by === "condition") return single;
    const groups = new Map();
    for (const row of single) {
      if (!groups.has(row[by])) groups.set(row[by], []);
      groups.get(row[by]).push(row);
    }
    const keys = ["strength", "gain", ...explorer.metrics.map((m) => m.name)];
    return [...groups].map(([name, rows]) => {
      const group = { perturbation: "", context: "", [by]: name, rows: rows.length, place: rows[0].place };
      for (const key of keys) group[key] = mean(rows.map((r) => r[key]));
      return group;
    });
  };
  const drawRows = () => {
    const by = byId("by").value;
    const heads = columns(by);
    if (!heads.some(([key]) => key === view.key)) Object.assign(view, { key: "strength", down: true });
    const sought = byId("q").value.trim().toLocaleLowerCase();
    const all = listRows();
    const found = all.filter((r) => `${r.perturbation}\n${r.context}`.toLocaleLowerCase().includes(sought));
    found.sort((a, b) => compare(a[view.key], b[view.key], view.down));
    const head = html("tr", {}, ...heads.map(([key, label, numeric]) =>
      html("th", { scope: "col", "data-key": key, class: numeric ? "n" : null }, label)));
    table.tHead.replaceChildren(head);
    makeSortable(table, sortConditions);
    markSorted(table, view.key, view.down);
    const shown = chosen();
    table.tBodies[0].replaceChildren(...found.slice(0, view.n).map((row) => {
      const line = html("tr", { class: by === "condition" && row.place === shown ? "chosen" : null });
      heads.forEach(([key, , numeric], i) => {
        if (numeric) {
          line.append(html("td", { class: "n" }, key === "rows" ? String(row.rows) : number(row[key])));
        } else if (i === 0) {
          const name = html("bdi", {}, row[key]);
          const pick = html("button", { type: "button", class: "pick" }, name);
          if (by === "condition") pick.setAttribute("aria-pressed", String(line.className === "chosen"));
          pick.addEventListener("click", () => (by === "condition" ? choose(row.place) : open(row[key])));
          line.append(html("th", { scope: "row" }, pick));
        } else line.append(html("td", {}, key === "context" ? html("bdi", {}, row[key]) : row[key]));
      });
      return line;
    }));
    const plural = `${modes[by]}s`;
    byId("count").textContent = `${found.length} of ${all.length} ${plural}` +
      (found.length > view.n ? `, the first ${view.n} shown.` : ".") +
      (by === "condition" ? "" : " Scores are means over their conditions; a name shows these.");
    byId("more").hidden = found.length <= view.n;
    byId("more").textContent = `Show all ${found.length}`;
  };
  // The condition whose genes are drawn: the strongest, until one is chosen.
  const chosen = () => {
    const row = Number(state.get("row") ?? NaN);
    if (row in explorer.strength) return row;
    return explorer.strength.reduce((best, v, i, all) => (v > all[best] ? i : best), 0);
  };
  const sortConditions = (key, down) => {
    Object.assign(view, { key, down });
    drawRows();
    const button = table.tHead.querySelector(`th[data-key="${CSS.escape(key)}"] button`);
    if (button) button.focus({ preventScroll: true });
  };
  const open = (name) => {
    byId("by").value = "condition";
    byId("q").value = name;
    keep("by", null);
    keep("q", name);
    drawRows();
    byId("q").focus();
  };
  const choose = (place) => {
    keep("row", place);
    drawRows();
    drawSignature(place);
    const button = table.querySelector("tr.chosen .pick");
    if (button) button.focus({ preventScroll: true });
  };
  const drawSignature = (i) => {
    const model = explorer.models.indexOf(byId("model").value);
    const name = explorer.perturbations[explorer.perturbation[i]];
    const context = explorer.contexts ? explorer.contexts[explorer.context[i]] : null;
    const genes = explorer.top[i].map((g) => explorer.genes[g]);
    const [measured, predicted] = [explorer.measured[i], explorer.predicted[model][i]];
    const [width, left, top, step] = [420, 120, 10, 16];
    const bottom = top + step * genes.length;
    const axis = scale([0, ...measured, ...predicted].filter((v) => v !== null), width, left, 14);
    const out = svg("svg", { viewBox: `0 0 ${width} ${bottom + 42}`, role: "img",
      "aria-label": `Measured and predicted response of ${genes.length} genes to ${name}. The table below has the numbers.` });
    drawAxis(out, axis, top, bottom, "response");
    out.append(svg("line", { class: "axis", x1: axis.place(0), x2: axis.place(0), y1: top, y2: bottom }));
    genes.forEach((gene, g) => {
      const y = top + step * (g + 0.5);
      const label = svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, short(gene, 15));
      label.append(svg("title", {}, gene));
      out.append(label);
      if (measured[g] !== null) {
        out.append(svg("line", { class: "a bar", x1: axis.place(0), x2: axis.place(measured[g]), y1: y, y2: y }),
          svg("circle", { class: "a", cx: axis.place(measured[g]), cy: y, r: 4 }));
      }
      if (predicted[g] !== null) out.append(diamond(axis.place(predicted[g]), y, 4.5));
    });
    const figure = html("figure", {});
    show(figure, out, `Dots: measured. Diamonds: predicted by ${explorer.models[model]}, fitted without this row. ` +
      `These are the ${genes.length} genes with the strongest measured response; being chosen for that, ` +
      "they look stronger than predicted even for a good model.");
    const rows = genes.map((gene, g) => html("tr", {}, html("th", { scope: "row" }, html("bdi", {}, gene)),
      html("td", { class: "n" }, number(measured[g], 2)), html("td", { class: "n" }, number(predicted[g], 2))));
    const numbers = html("details", {}, html("summary", {}, "Numbers"),
      html("table", {}, html("caption", {}, "Measured and predicted response"),
        html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "gene"),
          html("th", { scope: "col", class: "n" }, "measured"), html("th", { scope: "col", class: "n" }, "predicted"))),
        html("tbody", {}, ...rows)));
    const title = html("h3", {}, html("bdi", {}, name));
    if (context !== null) title.append(", ", html("bdi", {}, context));
    byId("signature").replaceChildren(title, figure, numbers);
  };
  const startExplorer = () => {
    byId("model").append(...explorer.models.map((m) => html("option", { value: m }, short(m, 60))));
    byId("by").append(...Object.entries(modes).map(([value, label]) => html("option", { value }, label)));
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
    byId("model").addEventListener("change", () => {
      keep("model", byId("model").value);
      drawRows();
      drawSignature(chosen());
    });
    byId("by").addEventListener("change", () => { keep("by", byId("by").value); drawRows(); });
    byId("q").addEventListener("input", () => { keep("q", byId("q").value); drawRows(); });
    byId("more").addEventListener("click", () => { view.n = Infinity; drawRows(); });
    if (explorer.baseline !== null) {
      table.caption.append("; differences are from ", html("bdi", {}, explorer.baseline));
    }
    byId("explorer").hidden = false;
    return () => {
      byId("model").value = explorer.models.includes(state.get("model")) ? state.get("model") : explorer.models[0];
      byId("by").value = Object.hasOwn(modes, state.get("by")) ? state.get("by") : "condition";
      byId("q").value = state.get("q") || "";
      const sort = wanted("table-conditions");
      if (sort) Object.assign(view, { key: sort[0], down: sort[1] });
      drawRows();
      drawSignature(chosen());
    };
  };

  const sortables = [...document.querySelectorAll("table.sortable")].filter((t) => t !== table);
  for (const each of sortables) makeSortable(each, (key, down) => sortRows(each, key, down));
  const restoreExplorer = explorer ? startExplorer() : () => {};
  const restore = () => {
    for (const each of sortables) {
      const sort = wanted(each.id);
      if (sort) sortRows(each, ...sort);
    }
    restoreExplorer();
  };
  readState();
  restore();
  const drawFigures = () => { drawLeaderboards(); drawSlopes(); drawCoverage(); };
  drawFigures();
  window.matchMedia("(max-width: 40rem)").addEventListener("change", drawFigures);
  window.addEventListener("hashchange", () => { if (readState()) restore(); });
})();
