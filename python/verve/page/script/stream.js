// The events of /api/verve/stream, read through `fetch`: EventSource cannot send a token.

const STREAM = "/api/verve/stream";
const SILENCE_MS = 5000;
const TOKEN_KEY = "verve-token";

// The token stays in this tab: it is in no URL and on no disk of another tab.
let token = "";
try {
  token = sessionStorage.getItem(TOKEN_KEY) ?? "";
} catch {
  // Storage is off: the page asks again after a reload.
}

function keepToken(given) {
  token = given;
  try {
    sessionStorage.setItem(TOKEN_KEY, given);
  } catch {
    // As above.
  }
}

function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.authorization = `Bearer ${token}`;
  return fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
}

// Splits text into events, as the HTML standard describes them; `take` gets each.
class EventReader {
  constructor(take) {
    this.take = take;
    this.rest = "";
    this.lastId = null;
    this.clear();
  }

  clear() {
    this.kind = "message";
    this.data = [];
  }

  // Returns what `take` threw, if it did: the rest of the text is then left out.
  feed(text) {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    try {
      for (const line of lines) this.line(line.endsWith("\r") ? line.slice(0, -1) : line);
    } catch (error) {
      return error;
    }
    return null;
  }

  line(line) {
    if (line === "") {
      if (this.data.length) this.take(this.kind, JSON.parse(this.data.join("\n")));
      this.clear();
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.kind = value;
    if (field === "data") this.data.push(value);
    if (field === "id") this.lastId = value;
  }
}

// Keeps one stream open while the tab is visible. `on` gets: event, state (with its time).
class Connection {
  constructor(on) {
    this.on = on;
    this.lastId = null;
    this.running = null;
    this.timer = 0;
    this.failures = 0;
    // Events that this page could not show, one after the other.
    this.faults = 0;
    this.lostSince = null;
    this.lastSeen = null;
  }

  open() {
    this.close();
    this.running = new AbortController();
    this.run(this.running);
  }

  close() {
    clearTimeout(this.timer);
    this.running?.abort();
    this.running = null;
  }

  lost(why) {
    this.lostSince ??= this.lastSeen ?? new Date();
    this.on.state("lost", { since: this.lostSince, why });
  }

  // Tries again after a while that grows to 5 s, unless the server names one.
  again(controller, wait) {
    if (this.running !== controller) return;
    const tries = this.failures + this.faults;
    this.timer = setTimeout(() => this.open(), wait ?? Math.min(5000, 500 * 2 ** tries));
    this.failures += 1;
  }

  async run(controller) {
    const headers = this.lastId ? { "last-event-id": this.lastId } : {};
    let answer;
    try {
      const late = setTimeout(() => controller.abort(), SILENCE_MS);
      answer = await ask(STREAM, { headers, signal: controller.signal });
      clearTimeout(late);
    } catch {
      if (this.running === controller) {
        this.lost("The service does not answer.");
        this.again(controller);
      }
      return;
    }
    if (this.running !== controller) return;
    if (answer.status !== 200) {
      await this.refused(controller, answer);
      return;
    }
    const fault = await this.read(controller, answer);
    controller.abort();
    if (fault && this.running === controller) {
      console.error(fault);
      this.lost(`This page cannot show what it received: ${fault.message}.`);
      this.again(controller);
      this.failures = 0;
      this.faults += 1;
      return;
    }
    // A stream ends after some minutes, and another is opened at once.
    this.again(controller, this.failures + this.faults ? undefined : 100);
  }

  async refused(controller, answer) {
    let text = "";
    try {
      const refusal = await answer.json();
      text = [refusal.error, refusal.hint].filter(Boolean).join("; hint: ");
    } catch {
      // A proxy answers with a page of its own.
    }
    if (answer.status === 401) {
      this.running = null;
      this.on.state("access", { text });
      return;
    }
    this.lost(text || `The answer has status ${answer.status}.`);
    const wait = Number(answer.headers.get("retry-after"));
    this.again(controller, wait > 0 ? wait * 1000 : undefined);
  }

  // Returns the error of an event that could not be shown; without one, the connection has ended.
  async read(controller, answer) {
    const began = performance.now();
    const events = new EventReader((kind, data) => {
      // First, so that an event that cannot be shown does not come again.
      this.lastId = events.lastId ?? this.lastId;
      this.on.event(kind, data);
      this.failures = 0;
      if (performance.now() - began > SILENCE_MS) this.faults = 0;
      this.lostSince = null;
      this.lastSeen = new Date();
      this.on.state("live", {});
    });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let silence = 0;
    let fault = null;
    try {
      while (!fault) {
        silence = setTimeout(() => reader.cancel().catch(() => {}), SILENCE_MS);
        const { done, value } = await reader.read();
        clearTimeout(silence);
        if (done || this.running !== controller) break;
        fault = events.feed(value);
      }
    } catch {
      // The connection broke, or this page closed it.
    }
    clearTimeout(silence);
    return fault;
  }
}
