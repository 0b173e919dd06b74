// The closed windows of the last day, by their start; a revision replaces its window.

const HOUR = 3600;
const DAY = 86400;
const windows = new Map();
let windowSeconds = 60;

function keepWindow(item) {
  const start = Date.parse(item.window_start) / 1000;
  const key = `${start}/${item.window_seconds}`;
  const known = windows.get(key);
  if (known && known.revision > item.revision) return;
  windows.set(key, { ...item, start });
  windowSeconds = item.window_seconds;
}

function forgetOld(now) {
  for (const [key, item] of windows) if (item.start < now - DAY - 60) windows.delete(key);
}

// The windows that began in the last `span` seconds, oldest first.
function lastWindows(now, span) {
  return [...windows.values()].filter((item) => item.start >= now - span - item.window_seconds)
    .sort((one, other) => one.start - other.start);
}

function notes(item) {
  const found = [];
  if (item.revision > 1) found.push(`revision ${figure(item.revision)}`);
  // Revision 0 is what a host of a cluster knows alone; its record follows within seconds.
  if (!item.revision) found.push("provisional: the count of this host");
  else if (item.degraded) found.push("degraded: ids may be missing");
  if (item.gap) found.push("gap: not counted in full");
  return found.join("; ");
}

function windowRow(item) {
  return [
    utcMoment(item.window_start), localSeconds.format(new Date(item.window_start)), figure(item.unique),
    figure(item.requests), figure(item.duplicates), figure(item.late), figure(item.rejected),
    notes(item),
  ];
}

const WINDOW_COLUMNS = [
  ["UTC"], [localZone], ["Distinct ids", true], ["Requests", true], ["Duplicates", true],
  ["Late", true], ["Rejected", true], ["Notes"],
];
