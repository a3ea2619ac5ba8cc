"use strict";
(() => {
  const source = document.getElementById("map-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const get = (name) => document.getElementById("map-" + name);
  const svg = get("dots"), ring = get("ring"), text = get("text");
  const canvas = get("image"), sheet = get("sheet"), legend = get("legend");
  const color = get("color"), plane = get("plane"), only = get("only");
  const circles = [...svg.querySelectorAll(".dot")];
  const NAMESPACE = "http://www.w3.org/2000/svg", SHOWN = 20;
  let places = data.places[plane.value], chosen = -1, pinned = false;

  const hue = (k) => "hsl(" + Math.round(k * 222.49) % 360 + ",70%,50%)";
  const fixed = (k) => "var(--c" + k + ")", GRAY = "var(--line)";
  const name = (k) => (k >= 0 ? data.classes[k] : "class unknown");
  const ofClass = (k) => (data.classes.length <= 8 ? fixed(k) : hue(k));
  // Each way to color: a dot to [order, words, color].
  const WAYS = {
    domain: (dot) => [dot.d, dot.d ? "target" : "source", fixed(dot.d)],
    class: (dot) => dot.k < 0 ? [1e9, "class unknown", GRAY] : [dot.k, name(dot.k), ofClass(dot.k)],
    predicted: (dot) => [dot.p, name(dot.p), ofClass(dot.p)],
    round: (dot) => dot.r < 0 ? [1e9, "not picked", GRAY]
      : [dot.r, dot.r ? "for round " + dot.r : "at the start", dot.r < 8 ? fixed(dot.r) : hue(dot.r)],
    right: (dot) => {
      if (dot.k < 0) return [4, "not counted: class unknown", GRAY];
      const wrong = Number(dot.p !== dot.k);
      const words = (wrong ? "wrong" : "right") + (dot.u ? ", trained on it" : "");
      return [wrong + 2 * dot.u, words, fixed(dot.u ? 6 - 3 * wrong : wrong)];
    },
  };

  const paint = () => {
    const found = new Map();
    const limit = Number(only.value);
    data.dots.forEach((dot, i) => {
      const [order, words, fill] = WAYS[color.value](dot);
      const visible = limit < 0 || dot.k === limit || dot.p === limit;
      circles[i].setAttribute("fill", fill);
      circles[i].classList.toggle("faint", !visible);
      const entry = found.get(words) || { order, fill, count: 0 };
      entry.count += 1;
      found.set(words, entry);
    });
    const entries = [...found].sort((a, b) => a[1].order - b[1].order);
    legend.replaceChildren(...entries.slice(0, SHOWN).map(([words, entry]) => {
      const item = document.createElement("li"), bdi = document.createElement("bdi");
      const mark = document.createElementNS(NAMESPACE, "svg");
      const dot = document.createElementNS(NAMESPACE, "circle");
      mark.setAttribute("viewBox", "0 0 10 10");
      mark.setAttribute("aria-hidden", "true");
      [["cx", 5], ["cy", 5], ["r", 4], ["fill", entry.fill]].forEach(([k, v]) => dot.setAttribute(k, v));
      mark.append(dot);
      bdi.textContent = words + " (" + entry.count + ")";
      item.append(mark, bdi);
      return item;
    }));
    if (entries.length > SHOWN) {
      const more = document.createElement("li");
      more.textContent = "and " + (entries.length - SHOWN) + " more";
      legend.append(more);
    }
    if (data.left) {
      const left = document.createElement("li");
      left.textContent = "not drawn: " + data.left + " images";
      legend.append(left);
    }
  };

  const place = () => {
    places = data.places[plane.value];
    circles.forEach((circle, i) => {
      circle.setAttribute("cx", places[i][0]);
      circle.setAttribute("cy", places[i][1]);
    });
    if (chosen >= 0) show(chosen);
  };

  const show = (i) => {
    chosen = i;
    get("about").classList.remove("empty");
    const dot = data.dots[i];
    ring.setAttribute("cx", places[i][0]);
    ring.setAttribute("cy", places[i][1]);
    const words = [dot.n, dot.d ? "target" : "source", name(dot.k),
      "predicted " + name(dot.p) + ", " + Math.round(100 * dot.c) + "\u00a0%"];
    if (dot.r >= 0) words.push(dot.r ? "picked for round " + dot.r : "picked at the start");
    text.textContent = words.join(" · ");
    canvas.hidden = !sheet || dot.t < 0;
    if (canvas.hidden) return;
    const side = Number(sheet.dataset.side), columns = Number(sheet.dataset.columns);
    const brush = canvas.getContext("2d");
    brush.imageSmoothingEnabled = side > 32;
    brush.drawImage(sheet, (dot.t % columns) * side, Math.floor(dot.t / columns) * side,
      side, side, 0, 0, canvas.width, canvas.height);
  };

  const isVisible = (i) => !circles[i].classList.contains("faint");
  const nearest = (x, y, most) => {
    let best = -1, least = most * most;
    places.forEach(([a, b], i) => {
      const away = (a - x) ** 2 + (b - y) ** 2;
      if (away < least && isVisible(i)) [best, least] = [i, away];
    });
    return best;
  };
  const at = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY);
    return point.matrixTransform(svg.getScreenCTM().inverse());
  };
  svg.addEventListener("pointermove", (event) => {
    if (pinned) return;
    const { x, y } = at(event), i = nearest(x, y, 14);
    if (i >= 0 && i !== chosen) show(i);
  });
  svg.addEventListener("click", (event) => {
    const { x, y } = at(event), i = nearest(x, y, 22);
    pinned = i >= 0 && !(pinned && i === chosen);
    if (i >= 0) show(i);
  });
  const TURNS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  svg.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { pinned = false; return; }
    const turn = TURNS[event.key];
    if (!turn || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (chosen < 0) { const i = nearest(320, 230, 1e9); if (i >= 0) show(i); return; }
    const [x, y] = places[chosen];
    let best = -1, least = Infinity;
    places.forEach(([a, b], i) => {
      const ahead = (a - x) * turn[0] + (b - y) * turn[1];
      const aside = Math.abs((a - x) * turn[1] + (b - y) * turn[0]);
      if (i === chosen || ahead <= 0 || aside > ahead * 1.5 || !isVisible(i)) return;
      const cost = ahead + 2 * aside;
      if (cost < least) [best, least] = [i, cost];
    });
    pinned = true;
    if (best >= 0) show(best);
  });
  svg.addEventListener("focus", () => {
    if (chosen < 0) { const i = nearest(320, 230, 1e9); if (i >= 0) show(i); }
  });
  data.classes.forEach((label, k) => {
    const option = document.createElement("option");
    option.value = k;
    option.textContent = label;
    only.append(option);
  });
  color.addEventListener("change", paint);
  plane.addEventListener("change", place);
  only.addEventListener("change", paint);
  svg.parentElement.querySelector(".controls").hidden = false;
  place();
  paint();
})();
