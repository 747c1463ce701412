/**
 * <day-chart data-column="n">: a bar a day of column n of #day-table.
 * Without a script the table says the same.
 */
class DayChart extends HTMLElement {
  connectedCallback() {
    const column = Number(this.dataset.column);
    const rows = [...document.querySelectorAll("#day-table tbody tr")];
    const style = getComputedStyle(this);
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    this.replaceChildren(canvas);
    this.chart = new window.Chart(canvas, {
      type: "bar",
      data: {
        labels: rows.map((row) => row.querySelector("th").textContent.trim()),
        datasets: [
          {
            data: rows.map((row) => Number(row.querySelectorAll("td")[column].dataset.value)),
            backgroundColor: style.color,
            borderRadius: 2,
          },
        ],
      },
      options: {
        animation: false,
        responsive: true,
        maintainAspectRatio: false,
        plugins: { legend: { display: false } },
        scales: { x: { display: false }, y: { display: false, beginAtZero: true } },
      },
    });
  }

  disconnectedCallback() {
    this.chart?.destroy();
  }
}

customElements.define("day-chart", DayChart);
