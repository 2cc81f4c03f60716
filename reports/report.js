// Sorts and filters the table of all pairs. Without it the table is complete, in the order of the file.
const table = document.getElementById("every")
if (table) {
  const body = table.tBodies[0], rows = [...body.rows], count = document.getElementById("count")
  const value = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent
  // A minus may be typed as a hyphen; cells stand apart, so that no text is found across two of them.
  const plain = text => text.toLowerCase().replaceAll("−", "-")
  const texts = rows.map(row => plain([...row.cells].map(cell => cell.textContent).join("\n")))
  const bar = document.getElementById("filter")
  bar.hidden = false
  const [words, group] = bar.querySelectorAll("input, select")
  const filter = () => {
    const wanted = plain(words.value)
    let shown = 0
    rows.forEach((row, i) => {
      const hit = (!group.value || row.cells[2].textContent === group.value) && texts[i].includes(wanted)
      row.hidden = !hit
      shown += hit
    })
    count.textContent = `${shown} of ${rows.length} pairs`
  }
  words.addEventListener("input", filter)
  group.addEventListener("change", filter)
  ;[...table.tHead.rows[0].cells].forEach((head, i) => {
    const button = document.createElement("button")
    button.type = "button"
    button.textContent = head.textContent
    head.replaceChildren(button)
    const numeric = head.classList.contains("right")
    const key = row => numeric ? parseFloat(value(row, i)) : value(row, i)
    const order = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, undefined, { numeric: true })
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending"
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort")
      head.setAttribute("aria-sort", down ? "descending" : "ascending")
      const keyed = rows.map(row => [key(row), row])
      const known = keyed.filter(([a]) => a === a), unknown = keyed.filter(([a]) => a !== a)
      known.sort(([a], [b]) => down ? order(b, a) : order(a, b))
      body.remove() // a table that is not shown takes its rows at once
      body.append(...known.concat(unknown).map(([, row]) => row)) // what has no number stands last
      table.append(body)
    })
  })
  filter()
  for (const plot of document.querySelectorAll("svg.plot")) plot.addEventListener("click", event => {
    const line = event.target.dataset?.line, row = line && document.getElementById(`row-${line}`)
    if (!row) return
    if (row.hidden) {
      words.value = group.value = ""
      filter()
    }
    row.closest("details").open = true
    row.scrollIntoView({ block: "center" })
    table.querySelector(".found")?.classList.remove("found")
    row.classList.add("found")
  })
}
