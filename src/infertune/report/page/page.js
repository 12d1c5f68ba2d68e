"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const made = (name, text, kind) => {
    const found = document.createElement(name);
    if (text !== undefined && text !== null) found.textContent = String(text);
    if (kind) found.className = kind;
    return found;
  };
  const three = (value) => (value === null ? "\u2013" : Number(value.toPrecision(3)).toString());
  document.documentElement.classList.add("scripted");

  // ------------------------------------------------------------ one trial and its launches
  const panel = one("#trial");
  const svgMade = (name, attributes) => {
    const found = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
    return found;
  };

  function strip(launches) {
    const speeds = launches.map((launch) => launch[2]).filter((speed) => speed !== null);
    if (speeds.length < 2) return null;
    const low = Math.min(...speeds), span = Math.max(...speeds) - low || 1;
    const chart = svgMade("svg", { viewBox: "0 0 760 44", width: 760, height: 44, role: "img", class: "chart" });
    chart.setAttribute("aria-label", `launches from ${three(low)} to ${three(low + span)} samples per second`);
    chart.append(svgMade("line", { x1: 20, y1: 16, x2: 740, y2: 16, class: "grid" }));
    for (const launch of launches) {
      if (launch[2] === null) continue;
      const x = 20 + (720 * (launch[2] - low)) / span;
      const dot = svgMade("circle", { cx: x.toFixed(1), cy: 16, r: 5, class: `launch ${launch[8] ? "flagged" : ""}` });
      const hint = svgMade("title", {});
      hint.textContent = `${launch[0]}, block ${launch[1]}: ${three(launch[2])} samples/s`;
      dot.append(hint);
      chart.append(dot);
    }
    for (const [x, value, anchor] of [[20, low, "start"], [740, low + span, "end"]]) {
      const text = svgMade("text", { x, y: 40, "text-anchor": anchor, class: "tick" });
      text.textContent = three(value);
      chart.append(text);
    }
    return chart;
  }

  function launchTable(launches) {
    const table = made("table");
    const head = made("tr");
    for (const name of ["purpose", "block", "samples/s", "p50 ms", "p99 ms", "requests", "in flight", "others' CPU", "flags"]) {
      const cell = made("th", name);
      cell.scope = "col";
      head.append(cell);
    }
    const top = made("thead"), body = made("tbody");
    top.append(head);
    for (const launch of launches) {
      const row = made("tr");
      launch.forEach((value, place) => {
        const number = place >= 2 && place <= 7;
        const shown = place === 7 && value !== null ? `${(100 * value).toFixed(0)} %` : number ? three(value) : value;
        row.append(made("td", shown, number ? "num" : ""));
      });
      body.append(row);
    }
    table.append(top, body);
    const scroll = made("div", null, "wide");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", "Launches of the trial");
    scroll.append(table);
    return scroll;
  }

  function select(number) {
    const trial = data.trials[number];
    if (!trial) return;
    for (const old of all(".selected")) old.classList.remove("selected");
    for (const mark of all(`[data-trial="${number}"]`)) mark.classList.add("selected");
    const facts = made("dl");
    const fact = (label, text) => text && facts.append(made("dt", label), made("dd", text));
    fact("role", trial.role);
    fact("status", trial.status);
    fact("failed", trial.failure);
    fact("artifact", trial.build);
    fact("settings", trial.settings.map(([name, value]) => `${name}=${value}`).join("  "));
    panel.replaceChildren(made("h3", `Trial ${number}: ${trial.words}`), facts);
    if (trial.launches.length) {
      const dots = strip(trial.launches);
      if (dots) panel.append(dots);
      panel.append(launchTable(trial.launches));
    } else panel.append(made("p", "No launch."));
    panel.hidden = false;
  }

  document.addEventListener("click", (event) => {
    const found = event.target.closest("[data-trial], [data-select]");
    if (!found) return;
    select(found.dataset.select || found.dataset.trial);
    if (found.dataset.select) panel.scrollIntoView({ block: "nearest" });
  });

  // ------------------------------------------------------------ arrow keys through the trade-off
  const scatter = one("#scatter");
  if (scatter) {
    const marks = all("circle[data-trial]", scatter).sort((a, b) => a.getAttribute("cx") - b.getAttribute("cx"));
    let at = -1;
    scatter.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step && marks.length) {
        at = (at + step + marks.length) % marks.length;
        for (const mark of marks) mark.classList.toggle("near", mark === marks[at]);
        one("#said").textContent = one("title", marks[at]).textContent;
      } else if ((event.key === "Enter" || event.key === " ") && at >= 0) {
        select(marks[at].dataset.trial);
      } else return;
      event.preventDefault();
    });
  }

  // ------------------------------------------------------------ hover
  const tip = one("#tip");
  document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest && event.target.closest("svg :has(> title)");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = one("title", mark).textContent;
    const right = event.clientX + tip.offsetWidth + 24 > window.innerWidth;
    tip.style.left = `${Math.max(4, event.clientX + (right ? -tip.offsetWidth - 12 : 14))}px`;
    tip.style.top = `${Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 4)}px`;
  });

  // ------------------------------------------------------------ the table: filter, sort, download
  const table = one("#trials");
  if (table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const names = all("thead th", table).map((cell) => cell.dataset.column);
    const said = one("#shown");
    const cellOf = (row, name) => row.cells[names.indexOf(name)];
    const tests = {
      "=": (a, b) => String(a).toLowerCase() === b.toLowerCase(),
      ":": (a, b) => String(a).toLowerCase().includes(b.toLowerCase()),
      "<": (a, b) => a !== "" && Number(a) < Number(b),
      ">": (a, b) => a !== "" && Number(a) > Number(b),
    };
    function matches(row, word) {
      const asked = /^([\w.]+)([=:<>])(.+)$/.exec(word);
      if (asked && names.includes(asked[1])) return tests[asked[2]](cellOf(row, asked[1]).dataset.value, asked[3]);
      return row.textContent.toLowerCase().includes(word.toLowerCase());
    }
    function filter() {
      const asked = one("#filter").value.split(/\s+/).filter(Boolean);
      let count = 0;
      for (const row of rows) {
        row.hidden = !asked.every((word) => matches(row, word));
        count += !row.hidden;
      }
      said.textContent = `${count} of ${rows.length} trials`;
    }
    one("#filter").addEventListener("input", filter);
    table.tHead.addEventListener("click", (event) => {
      const head = event.target.closest("th");
      if (!head) return;
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of all("th", table.tHead)) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const column = head.cellIndex, sign = down ? -1 : 1;
      const key = (row) => row.cells[column].dataset.value;
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const numeric = x !== "" && y !== "" && !isNaN(x) && !isNaN(y);
        return sign * (numeric ? x - y : x < y ? -1 : x > y ? 1 : 0);
      };
      rows.sort(order);
      body.append(...rows);
    });
    one("#download").addEventListener("click", () => {
      const lines = rows.filter((row) => !row.hidden).map((row) => data.csv.lines[row.dataset.trial]);
      const file = new Blob([[data.csv.header, ...lines, ""].join("\n")], { type: "text/csv" });
      const link = made("a");
      link.href = URL.createObjectURL(file);
      link.download = "trials.csv";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
    filter();
  }

  // ------------------------------------------------------------ copying
  for (const button of all("button[data-copy]")) {
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent);
      } catch {
        const range = document.createRange();
        range.selectNodeContents(source);
        const selection = window.getSelection();
        selection.removeAllRanges();
        selection.addRange(range);
        document.execCommand("copy");
      }
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
  }
})();
