// The timeline reads and prints without this file; it adds the crosshair, the note and the arrow keys.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const make = (parent, tag, attributes) => {
  const element = parent.appendChild(document.createElementNS(SVG, tag));
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

for (const svg of document.querySelectorAll("[data-timeline] svg.tl")) {
  const points = [...svg.querySelectorAll(".pt")];
  if (!points.length) continue;
  const view = svg.viewBox.baseVal;
  const centres = points.map((point) => {
    const box = point.getBBox();
    return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
  });

  const layer = make(svg, "g", { class: "hover", "aria-hidden": "true", visibility: "hidden", "pointer-events": "none" });
  const line = make(layer, "path", { fill: "none", stroke: "#12232b", class: "cross" });
  const ring = make(layer, "circle", { r: 10, fill: "none", stroke: "#12232b", "stroke-width": 2, class: "cross" });
  const box = make(layer, "rect", { rx: 6, fill: "#12232b", class: "note" });
  const head = make(layer, "text", { fill: "#fff", "font-weight": 600, class: "note-text" });
  const more = make(layer, "text", { fill: "#cfdde3", class: "note-text" });

  const measure = () => {
    // A drawing that was hidden when the page loaded has no boxes yet.
    points.forEach((point, index) => {
      const bounds = point.getBBox();
      centres[index] = { x: bounds.x + bounds.width / 2, y: bounds.y + bounds.height / 2 };
    });
  };
  const show = (index) => {
    const { x, y } = centres[index];
    const label = points[index].getAttribute("aria-label");
    const cut = label.indexOf(": ");
    head.textContent = label.slice(cut + 2);
    const dose = points[index].dataset.dose;
    more.textContent = label.slice(0, cut) + (dose ? (dose === "held" ? " · held" : " · on " + dose) : "");
    layer.setAttribute("visibility", "visible");
    const width = Math.max(head.getComputedTextLength(), more.getComputedTextLength()) + 20;
    const left = Math.min(Math.max(x - width / 2, 0), view.width - width);
    const top = y > 76 ? y - 62 : y + 18;
    line.setAttribute("d", "M" + x + " 22V" + (view.height - 38));
    ring.setAttribute("cx", x);
    ring.setAttribute("cy", y);
    for (const [name, value] of Object.entries({ x: left, y: top, width, height: 44 })) box.setAttribute(name, value);
    for (const [text, down] of [[head, 18], [more, 35]]) {
      text.setAttribute("x", left + 10);
      text.setAttribute("y", top + down);
    }
  };
  const hide = () => layer.setAttribute("visibility", "hidden");

  svg.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") return;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    measure();
    let best = 0;
    centres.forEach((centre, index) => {
      const far = (c) => Math.abs(c.x - at.x) + Math.abs(c.y - at.y) / 20;
      if (far(centre) < far(centres[best])) best = index;
    });
    if (Math.abs(centres[best].x - at.x) < 40) show(best); else hide();
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("focusout", hide);

  // One stop of the Tab key; the arrow keys move between the points.
  points.forEach((point, index) => {
    point.setAttribute("tabindex", index === points.length - 1 ? "0" : "-1");
    point.addEventListener("focus", () => { measure(); show(index); });
    point.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: points.length - 1 }[event.key];
      if (event.key === "Escape") hide();
      if (to === undefined || !points[to]) return;
      event.preventDefault();
      point.setAttribute("tabindex", "-1");
      points[to].setAttribute("tabindex", "0");
      points[to].focus();
    });
  });
}
