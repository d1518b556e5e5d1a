"use strict";

// Light or dark: the system's choice until the button is used.
const root = document.documentElement;
const theme = document.getElementById("theme");
const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
const label = () => (theme.textContent = dark() ? "Light theme" : "Dark theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  root.dataset.theme = dark() ? "light" : "dark";
  label();
});
label();

// Figures: enlarge in a dialog, save the file that is embedded here.
const viewer = document.getElementById("viewer");
const enlarge = (figure) => {
  const { src, alt } = figure.querySelector("img");
  Object.assign(viewer.querySelector("img"), { src, alt, className: figure.className });
  viewer.showModal();
};
for (const figure of document.querySelectorAll("figure:has(img)")) {
  const image = figure.querySelector("img");
  const save = figure.querySelector(".save");
  figure.querySelector(".actions").hidden = false;
  figure.querySelectorAll(".enlarge").forEach((button) => button.addEventListener("click", () => enlarge(figure)));
  save.addEventListener("click", () => {
    Object.assign(document.createElement("a"), { href: image.src, download: save.dataset.name }).click();
  });
}
viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());

// Tables: a click on a column's name sorts by it, another one the other way round. Empty cells stay last.
const collator = new Intl.Collator("en", { numeric: true });
const key = (row, column) => {
  const text = (row.cells[column].dataset.value ?? row.cells[column].textContent).trim();
  const number = Number(text.replaceAll(",", "").replace("inf", "Infinity"));
  return text === "" || Number.isNaN(number) ? text : number;
};
const order = (a, b, direction) => {
  if (a === "" || b === "") return (a === "") - (b === "");
  return direction * (typeof a === "number" && typeof b === "number" ? a - b || 0 : collator.compare(a, b));
};
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  headers.forEach((header, column) => {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      headers.forEach((each) => each.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      table.tBodies[0].append(...rows.sort((a, b) => order(key(a, column), key(b, column), direction)));
    });
  });
}

// The section that is being read is marked in the navigation.
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const watcher = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        links.get(target.id)?.setAttribute("aria-current", "true");
        const list = document.querySelector("nav ul");
        const link = links.get(target.id);
        if (list.scrollWidth > list.clientWidth && link) list.scrollLeft = link.offsetLeft - list.clientWidth / 2;
      } else links.get(target.id)?.removeAttribute("aria-current");
    }
  },
  { rootMargin: "-15% 0px -84% 0px" },
);
document.querySelectorAll("main > section").forEach((section) => watcher.observe(section));

// On paper nothing stays folded.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((each) => (each.open = true));
});
addEventListener("afterprint", () => folded.forEach((each) => (each.open = false)));
