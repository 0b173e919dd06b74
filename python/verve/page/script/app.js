// The page: what each event and each state of the connection shows.

const hour = new History("hour", HOUR, "last hour");
const day = new History("day", DAY, "last day");
let figures = null;
let figuresAt = 0;
let state = { kind: "connecting" };
// The last seconds as [time, requests since the page was opened], for the rate.
let recent = [];
let drawing = 0;

function now() {
  return figures ? figures.now + (performance.now() - figuresAt) / 1000 : Date.now() / 1000;
}

function drawHistory() {
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(() => {
    forgetOld(now());
    hour.show(lastWindows(now(), HOUR), now());
    day.show(lastWindows(now(), DAY), now());
    showEmpty();
  });
}

// The stream has the last 60 windows; those of the day come by one request. Figures come each
// second, and ask again until one request has succeeded.
const DAY_RETRY = 10_000; // ms
let dayAsked = -Infinity;
let hasDay = false;

async function loadDay() {
  dayAsked = performance.now();
  try {
    const since = Math.floor(Date.now() / 1000) - DAY;
    const answer = await ask(`/api/verve/windows?limit=10080&since=${since}`);
    if (!answer.ok) return;
    const history = await answer.json();
    hasDay = true;
    history.windows.forEach(keepWindow);
    showTrouble(history.incomplete);
    drawHistory();
  } catch {
    // The connection says that it is lost.
  }
}

function showTrouble(incomplete) {
  byId("history-trouble").hidden = !incomplete;
  if (incomplete) put("history-trouble", `Windows are missing here: ${incomplete}`);
}

function showEmpty() {
  const counted = (figures?.window.requests ?? 0) > 0
    || [...windows.values()].some((item) => item.requests > 0);
  byId("empty").hidden = counted || !figures;
}

function rate(window) {
  const last = recent.at(-1);
  const same = last && last.start === window.window_start;
  const added = !last ? 0 : window.requests - (same ? last.requests : 0);
  recent.push({
    time: figures.now, start: window.window_start, requests: window.requests,
    total: (last?.total ?? 0) + Math.max(0, added),
  });
  recent = recent.filter(({ time }) => time > figures.now - 5.5 && time <= figures.now);
  const [first] = recent;
  const span = figures.now - first.time;
  return span > 0 ? (recent.at(-1).total - first.total) / span : null;
}

function showNow(window) {
  const start = new Date(window.window_start);
  const length = window.window_seconds;
  put("now-title", length === 60 ? "Current minute" : `Current window of ${figure(length)} s`);
  byId("unique").dataset.start = window.window_start;
  byId("unique").dataset.value = window.unique;
  put("unique", figure(window.unique));
  const gone = Math.max(0, Math.min(length, figures.now - start / 1000));
  byId("elapsed").max = length;
  byId("elapsed").value = gone;
  put("span", `${figure(Math.floor(gone))} of ${figure(length)} s since ${bothTimes(start)}`);
  put("rate", figure(rate(window), oneDigit));
  for (const name of ["requests", "duplicates", "late", "rejected"]) put(name, figure(window[name]));
  byId("host-tile").hidden = window.host_unique === undefined;
  put("host-unique", figure(window.host_unique));
  document.title = `${figure(window.unique)} \u00b7 Verve`;
}

function onEvent(kind, data) {
  if (kind === "figures") {
    figures = data;
    figuresAt = performance.now();
    byId("figures").hidden = false;
    showNow(data.window);
    showHealth(data);
    showWorkers(data);
    showSinks(data);
    showReasons(data);
    showCallbacks(data);
    showCluster(data, lastWindows(now(), DAY));
    showHosts(data);
    showEmpty();
    if (!hour.plot) drawHistory();
    if (!hasDay && performance.now() - dayAsked > DAY_RETRY) loadDay();
    loadSpans(data.now);
  } else if (kind === "window" || kind === "revision") {
    keepWindow(data);
    drawHistory();
  } else if (kind === "reset") {
    windows.clear();
    hasDay = false;
    data.windows.forEach(keepWindow);
    showTrouble(data.incomplete);
    drawHistory();
    loadDay();
  }
}

function onState(kind, details) {
  state = { kind, ...details };
  byId("access").hidden = kind !== "access";
  if (kind === "access") {
    byId("figures").hidden = true;
    byId("empty").hidden = true;
    put("access-text", token
      ? "The service does not accept this token."
      : `The figures are not open to you: ${details.text}`);
    byId("token").toggleAttribute("aria-invalid", Boolean(token));
    byId("token").focus();
  }
  showState();
}

// Called each second too: figures may stop while the stream stays open.
function showState() {
  let { kind } = state;
  let text = { connecting: "Connecting", live: "Live", access: "A token is needed",
    hidden: "Paused while the tab is hidden" }[kind];
  const age = (performance.now() - figuresAt) / 1000;
  if (kind === "lost") text = `Connection lost since ${bothTimes(state.since)}. ${state.why}`;
  if (kind === "live" && figures && age > 4) {
    kind = "stale";
    text = `Live, but the last figures are of ${bothTimes(new Date(figures.now * 1000))}`;
  }
  byId("connection").dataset.state = kind;
  put("connection", text);
}

const connection = new Connection({ event: onEvent, state: onState });

function followVisibility() {
  if (document.hidden) {
    connection.close();
    if (state.kind !== "access") onState("hidden", {});
  } else if (state.kind !== "access") {
    if (state.kind === "hidden") onState("connecting", {});
    // The rate over the pause would be no rate.
    recent = [];
    connection.open();
  }
}

byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = byId("token").value.trim();
  // A header cannot carry other characters.
  keepToken(/^[\x21-\x7e]*$/.test(given) ? given : "invalid");
  byId("token").value = "";
  onState("connecting", {});
  connection.open();
});

byId("copy").addEventListener("click", async () => {
  const code = byId("curl");
  try {
    await navigator.clipboard.writeText(code.textContent);
    put("copied", "Copied");
  } catch {
    // The clipboard needs https or a loopback name; a selection does not.
    getSelection().selectAllChildren(code);
    put("copied", document.execCommand("copy") ? "Copied" : "Selected: copy it by keyboard");
  }
});

put("curl", `curl '${location.origin}/api/verve/accept?id=7'`);
put("zone", `Times are in ${localZone} and UTC. The axes of the charts are in ${localZone}.`);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  hour.recolour();
  day.recolour();
});
document.addEventListener("visibilitychange", followVisibility);
addEventListener("pageshow", (event) => {
  if (event.persisted) followVisibility();
});
setInterval(showState, 1000);
followVisibility();
