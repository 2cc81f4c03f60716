// Sorts and filters the table of all pairs. Without it the table is complete, in the order of the file.
const table = document.getElementById("every")
if (table) {
  const body = table.tBodies[0], rows = [...body.rows], count = document.getElementById("count")
  const value = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent
  const bar = document.getElementById("filter")
  bar.hidden = false
  const [words, group] = bar.querySelectorAll("input, select")
  const filter = () => {
    const wanted = words.value.toLowerCase()
    let shown = 0
    for (const row of rows) {
      const hit = (!group.value || row.cells[2].textContent === group.value)
        && (!wanted || row.textContent.toLowerCase().includes(wanted))
      row.hidden = !hit
      shown += hit
    }
    count.textContent = `${shown} of ${rows.length} pairs`
  }
  words.addEventListener("input", filter)
  group.addEventListener("change", filter)
  ;[...table.tHead.rows[0].cells].forEach((head, i) => {
    const button = document.createElement("button")
    button.type = "button"
    button.textContent = head.textContent
    head.replaceChildren(button)
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending"
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort")
      head.setAttribute("aria-sort", down ? "descending" : "ascending")
      const numeric = head.classList.contains("right")
      const keyed = rows.map(row => [value(row, i), row])
      keyed.sort(([a], [b]) => numeric ? a - b : a.localeCompare(b))
      if (down) keyed.reverse()
      body.remove() // a table that is not shown takes its rows at once
      body.append(...keyed.map(([, row]) => row))
      table.append(body)
    })
  })
  filter()
  for (const plot of document.querySelectorAll("svg.plot")) plot.addEventListener("click", event => {
    const line = event.target.dataset?.line, row = line && document.getElementById(`row-${line}`)
    if (!row) return
    row.closest("details").open = true
    row.hidden = false
    row.scrollIntoView({ block: "center" })
    row.classList.add("found")
  })
}
