// The distinct ids of hours and days, from the archive of a service that has one.

const SPANS = [
  { id: "hours", by: "hour", step: HOUR, count: 24 },
  { id: "days", by: "day", step: DAY, count: 14 },
];
const SPAN_COLUMNS = [["UTC"], ["Distinct ids", true], ["Notes"]];
const SPANS_AGAIN = 600_000; // ms
let spansAsked = -Infinity;

// One query at a time: a service answers only one.
async function loadSpans(seconds) {
  if (performance.now() - spansAsked < SPANS_AGAIN) return;
  spansAsked = performance.now();
  for (const { id, by, step, count } of SPANS) {
    const until = Math.floor(seconds / step) * step;
    const query = `since=${until - count * step}&until=${until}&by=${by}`;
    try {
      const answer = await ask(`/api/verve/distinct?${query}`);
      if (answer.status === 404 || answer.status === 401 || answer.status === 403) return;
      byId("archive").hidden = false;
      const found = await answer.json();
      if (answer.ok) showSpans(id, found);
      else put(`${id}-note`, `Not counted: ${found.error}. Reload the page to ask again.`);
    } catch {
      // The connection says that it is lost.
    }
  }
}

function showSpans(id, found) {
  // What was before the archive began says nothing.
  const first = found.buckets.findIndex((one) => one.complete || one.distinct > 0);
  const rows = first < 0 ? [] : found.buckets.slice(first).toReversed();
  put(`${id}-note`, rows.length ? "" : "The archive has none yet.");
  fill(id, rows, () => [scrolling(`Distinct ids of ${id}`, table(`Distinct ids of ${id}`,
    SPAN_COLUMNS, rows.map((one) => [
      id === "days" ? one.span_start.slice(0, 10) : utcMoment(one.span_start),
      figure(one.distinct),
      one.complete ? "" : "incomplete: windows are missing",
    ])))]);
}
