// Forms work without this file; it adds the total daily dose, one submit a form, and the "Now" buttons.
"use strict";

// Doses are counted in whole micrograms, never in floating point.
const micrograms = (text) => {
  const match = /^(\d{1,4})(?:\.(\d{1,3}))?$/.exec(text.trim());
  return match ? Number(match[1]) * 1000 + Number((match[2] || "").padEnd(3, "0")) : null;
};
const milligrams = (count) => {
  const rest = String(count % 1000).padStart(3, "0").replace(/0+$/, "");
  return Math.floor(count / 1000) + (rest ? "." + rest : "") + " mg/day";
};

for (const box of document.querySelectorAll("[data-total-mg]")) {
  const inputs = [...box.querySelectorAll("input")];
  const output = box.querySelector("[data-total]");
  const before = micrograms(box.dataset.totalMg);
  const show = () => {
    const doses = inputs.map((input) => micrograms(input.value));
    if (doses.includes(null)) { output.textContent = ""; return; }
    const total = doses.reduce((sum, dose) => sum + dose, 0);
    let text = "Total " + milligrams(total);
    if (before) {
      const percent = Math.round(((total - before) * 100) / before);
      text += "; now " + milligrams(before) + (percent ? " (" + (percent > 0 ? "+" : "\u2212") + Math.abs(percent) + "\u00a0%)" : " (no change)");
    }
    output.textContent = text;
  };
  box.addEventListener("input", show);
  show();
}

// What the server says of an order while it is typed. Without an answer nothing is lost: the review says it again.
for (const form of document.querySelectorAll("form[data-remarks]")) {
  let asked = 0, waiting = 0;
  const ask = async () => {
    const mine = ++asked;
    let said = {};
    try {
      const answer = await fetch(form.dataset.remarks, { method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "manual" });
      if (answer.ok) said = await answer.json();
    } catch { said = {}; }
    if (mine !== asked) return;
    for (const place of form.querySelectorAll("[data-remark]")) place.textContent = said[place.dataset.remark] || "";
  };
  form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(ask, 300); });
}

for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "yes";
    for (const button of form.querySelectorAll("button:not([type=button])")) button.setAttribute("aria-disabled", "true");
  });
}
// The browser's back button may show a form that was sent.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[aria-disabled]")) button.removeAttribute("aria-disabled");
  }
});

// "Now" by the clinic's clock: the page's own time and what has passed since, whatever zone the browser is in.
for (const button of document.querySelectorAll("button[data-now]")) {
  const input = document.getElementById(button.dataset.for);
  const loaded = Date.parse(button.dataset.now + "Z") - performance.now();
  button.addEventListener("click", () => {
    input.value = new Date(loaded + performance.now()).toISOString().slice(0, 16);
    input.focus();
  });
  button.hidden = false;
}
