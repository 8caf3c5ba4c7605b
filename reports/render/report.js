// A click on a column's head sorts the table by it; a second click turns the order round.
const value = (row, column) => row.cells[column].textContent.trim();

// "1,234" and "+12%" are numbers, "x14" is fourteenfold, "gone" and "new" are the ends.
function key(text) {
  if (text === "gone") return -1e300;
  if (text === "new") return 1e300;
  const times = /^(?:> )?x([\d.,e+]+)/.exec(text);
  if (times) return 100 * (Number(times[1].replaceAll(",", "")) - 1);
  const number = Number.parseFloat(text.replaceAll(",", "").replace("\u2212", "-").replace("< ", ""));
  return Number.isNaN(number) ? null : number;
}

function order(a, b) {
  const [x, y] = [key(a), key(b)];
  if (x !== null && y !== null) return x - y;
  if (x !== null) return -1;
  if (y !== null) return 1;
  return a.localeCompare(b);
}

for (const head of document.querySelectorAll("th")) {
  head.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0];
    const numeric = head.classList.contains("number");
    const compare = numeric ? order : (a, b) => a.localeCompare(b);
    const rows = [...body.rows].sort(
      (a, b) => (up ? 1 : -1) * compare(value(a, head.cellIndex), value(b, head.cellIndex)),
    );
    body.append(...rows);
  });
}

// A link to a view unfolds it.
function unfold() {
  const view = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (view instanceof HTMLDetailsElement) view.open = true;
}
addEventListener("hashchange", unfold);
unfold();
