// The cards below the charts, from the event `figures`.

function named(key) {
  return key.replaceAll("_", " ");
}

// A list of counts, the zeros left out.
function counts(label, title, found) {
  const rows = Object.entries(found ?? {}).filter(([, value]) => value)
    .sort(([, one], [, other]) => other - one)
    .map(([key, value]) => [named(key), figure(value)]);
  return rows.length ? table(label, [[title], ["Number", true]], rows) : null;
}

function showHealth({ ready, parts }) {
  fill("health", [ready, parts], () => {
    const troubled = Object.entries(parts ?? {}).filter(([, part]) => part.state !== "ok");
    const head = make("p", {}, badge(ready ? "ok" : "failed", ready ? "Ready" : "Not ready"));
    if (!troubled.length) return [head, make("p", { text: "No part reports trouble." })];
    return [head, table("Parts with trouble", [["Part"], ["State"], ["Why"]],
      troubled.map(([name, part]) => [named(name), badge(part.state), part.detail]))];
  });
}

function showWorkers({ workers, leader }) {
  fill("workers", [workers, leader], () => {
    const pids = workers.map(({ pid }) => pid);
    const rows = pids.map((pid) => [String(pid), leader?.pid === pid ? "leads" : ""]);
    const found = [table("Workers", [["Process"], ["Role"]], rows)];
    if (!leader) found.push(make("p", {}, badge("failed", "No process leads.")));
    else if (!pids.includes(leader.pid)) {
      found.push(make("p", { text: `Process ${leader.pid} leads.` }));
    }
    return found;
  });
}

function showSinks({ sinks }) {
  fill("sinks", sinks, () => {
    const columns = [["Sink"], ["State"], ["Lag", true], ["Windows waiting", true]];
    const rows = sinks.map((sink) => [
      sink.sink, badge(sink.state), seconds(sink.lag_seconds), figure(sink.windows_waiting),
    ]);
    const errors = sinks.filter((sink) => sink.last_error || sink.trouble || sink.detail)
      .map((sink) => make("p", {
        name: "error", text: `${sink.sink}: ${sink.last_error || sink.trouble || sink.detail}`,
      }));
    return [scrolling("Table of sinks", table("Sinks", columns, rows)), ...errors,
      ...(errors.length ? [] : [make("p", { name: "quiet", text: "No sink reports an error." })])];
  });
}

function showReasons({ rejected }) {
  fill("reasons", rejected, () => [
    counts("Rejected, by reason", "Reason", rejected)
      ?? make("p", { text: "No request was rejected." }),
    make("p", { name: "quiet", text: "Since the segment was made." }),
  ]);
}

function showCallbacks({ callbacks }) {
  fill("callbacks", callbacks, () => {
    if (!callbacks?.enabled) return [make("p", { text: "Callbacks are off." })];
    const found = [make("p", {
      text: `${figure(callbacks.pending)} pending, ${figure(callbacks.retried)} retried, `
        + `${figure(callbacks.taken_over)} taken over.`,
    })];
    const ended = counts("Callbacks, by outcome", "Outcome", callbacks.ended);
    found.push(ended ?? make("p", { text: "None has ended yet." }));
    const failures = counts("Failed attempts, by cause", "Cause", callbacks.failures);
    if (failures) found.push(make("h3", { text: "Failed attempts" }), failures);
    return found;
  });
}

// A host that is not live comes with the time of its last heartbeat.
function hostRow(own, host) {
  const name = make("span", {}, host.name ?? "", " ",
    make("span", { name: "quiet", text: host.host_id }), host.host_id === own ? " this host" : "");
  const since = host.last_heartbeat ? `since ${bothTimes(new Date(host.last_heartbeat))}` : "";
  const state = make("span", {}, badge(host.state), " ", since);
  return [name, state, `${fine.format(host.skew)} s`, figure(host.unsent_windows)];
}

function showCluster({ cluster }, day) {
  byId("cluster").hidden = !cluster;
  if (!cluster) return;
  const hosts = cluster.hosts ?? [];
  const late = hosts.filter(({ state }) => state === "late");
  const incomplete = day.filter((item) => item.degraded || item.gap);
  fill("cluster", [cluster, incomplete.length], () => {
    const rows = [
      ["Name", cluster.cluster],
      ["State", badge(cluster.state)],
      ["Live hosts", figure(cluster.live_hosts - late.length)],
      ["Late hosts", figure(late.length)],
      ["Skew of the clock", cluster.skew_seconds === null || cluster.skew_seconds === undefined
        ? figure(null) : `${fine.format(cluster.skew_seconds)} s`],
      ["Lag", seconds(cluster.lag_seconds)],
      ["Windows not sent", figure(cluster.unsent_windows)],
      ["Incomplete windows of the last day", figure(incomplete.length)],
    ];
    const error = cluster.last_error || cluster.trouble || cluster.detail;
    return [
      table("Cluster", [["Figure"], ["Value", true]], rows),
      ...(error ? [make("p", { name: "error", text: error })] : []),
      ...(incomplete.length ? [make("p", {
        name: "quiet",
        text: `The newest incomplete window: ${utcMoment(incomplete.at(-1).window_start)} UTC.`,
      })] : []),
    ];
  });
}

function showHosts({ cluster }) {
  const hosts = cluster?.hosts ?? [];
  byId("hosts").hidden = !hosts.length;
  if (!hosts.length) return;
  fill("hosts", [cluster.host_id, hosts], () => [scrolling("Table of hosts", table("Hosts",
    [["Host"], ["State"], ["Skew", true], ["Unsent windows", true]],
    hosts.map((host) => hostRow(cluster.host_id, host))))]);
}
