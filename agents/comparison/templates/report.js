"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// A schedule's name in a legend hides and shows what is drawn of it, in its figure.
for (const entry of all("svg [data-legend]")) {
  const name = entry.dataset.legend, figure = entry.closest("figure");
  const toggle = () => {
    const off = !entry.classList.contains("off");
    for (const part of all("[data-schedule], [data-legend]", figure))
      if ((part.dataset.schedule ?? part.dataset.legend) === name) part.classList.toggle("off", off);
    for (const twin of all("[data-legend]", figure))
      if (twin.dataset.legend === name) twin.setAttribute("aria-pressed", String(!off));
  };
  entry.setAttribute("role", "button");
  entry.setAttribute("aria-pressed", "true");
  if (entry.querySelector("text")) {
    entry.setAttribute("tabindex", "0");
    entry.setAttribute("aria-label", name);
  }
  entry.addEventListener("click", toggle);
  entry.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(); }
  });
}

for (const tools of all(".tools")) {
  const table = document.getElementById(tools.dataset.for), body = table.tBodies[0];
  const heads = all("th", table), rows = [...body.rows];
  const key = (row, column) => {
    const cell = row.cells[column], value = cell.dataset.value;
    return value === undefined ? cell.textContent : Number(value);
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  const sort = (column, down) => {
    const sorted = column < 0 ? rows : [...rows].sort((a, b) => compare(key(a, column), key(b, column)) * (down ? -1 : 1));
    heads.forEach((head, place) => place === column
      ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
    body.append(...sorted);
  };
  const falls = (column) => rows.length > 0 && typeof key(rows[0], column) === "number";
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const now = head.getAttribute("aria-sort");
    sort(column, now === null ? falls(column) : now === "ascending");
  }));
  const select = tools.querySelector("select"), filter = tools.querySelector("input");
  select.addEventListener("change", () => {
    const column = select.value === "" ? -1 : Number(select.value);
    sort(column, column >= 0 && falls(column));
  });
  filter?.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
  });
}

for (const button of all(".copy")) {
  const source = document.getElementById(button.dataset.copies);
  button.addEventListener("click", () => {
    const range = document.createRange();
    range.selectNodeContents(source);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    navigator.clipboard?.writeText(source.textContent).then(() => { button.textContent = "copied"; }, () => {});
  });
}
