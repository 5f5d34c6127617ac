// Changes in the mailbox, as they happen: the browser's side of Postern's event streams (docs/push.md).
//
//   import { PosternEvents } from "./postern-events.js";
//   const events = new PosternEvents({ url: "/jmap/events/" });
//   events.addEventListener("change", ({ detail }) => refresh(detail.changed));   // {account: {type: state}}
//   events.addEventListener("current", ({ detail }) => compare(detail.states));   // behind each (re)connect
//   events.addEventListener("status", ({ detail }) => show(detail.state));
//   events.start();
//
// One stream serves all tabs of a site: the tab that holds a Web Lock has it, and tells the others by BroadcastChannel.
// A tab that can't (no locks, no channel) has a stream of its own. EventSource first; where that is missing, never opens
// or brings nothing, fetch with a streamed body; where that brings nothing either, long polling.
//
// States: "starting", "connecting", "open", "waiting" (for the next attempt), "offline", "unauthorized" (sign in, then
// retry()), "stopped".

const RETRY_MS = 30_000; // behind a stream that was refused or broke for good; up to half as much again at random
const SLEEP_CHECK_MS = 60_000;
const SLEPT_MS = 65_000; // more than this between two checks: the machine was asleep
const EVENTSOURCE_FAILURES_MAX = 2; // in a row, refused or held back
const REFUSED_ALIKE_MAX = 5; // in a row, of fetch as well
const FIRST_EVENT_MS = 10_000; // a stream that hasn't opened, or brought its first event, is held back on its way
const RECONNECT_MS = 5_000; // an EventSource that broke pauses so long at most before it asks anew
const FIRST_ANSWER_MS = 20_000; // the first poll is answered at once: otherwise nothing gets through at all
const WAY_AGAIN_MS = 60_000; // behind a fallback, twice as long behind the next: what held streams back may have gone
const SILENCE_FACTOR = 2.5; // of the ping interval
const POLL_PAUSE_MS = 250; // between two polls
const POLL_SILENCE_MS = 330_000; // a poll that isn't answered for so long is dead: nginx ends one after 300 s
const CURRENT_MS = 2_000; // a stream that has told nothing so long after it opened has nothing to tell
const EVENT_BYTES_MAX = 1 << 20;
const NO_STATES = "1."; // the id of an event of which nothing is known
const NOTHING_NEW = [304, 408, 410]; // of a poll: nothing has happened, or its channel has ended

const environmentOf = (given) => ({
  EventSource: globalThis.EventSource,
  BroadcastChannel: globalThis.BroadcastChannel,
  fetch: globalThis.fetch?.bind(globalThis),
  locks: globalThis.navigator?.locks,
  now: () => Date.now(),
  random: () => Math.random(),
  isOnline: () => globalThis.navigator?.onLine !== false,
  window: globalThis,
  ...given,
});

// Server-sent events (HTML, 9.2.6) out of a text that comes in pieces.
export class EventParser {
  #rest = "";
  #event = {};
  constructor(onEvent) { this.onEvent = onEvent; }
  push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    if (this.#rest.length > EVENT_BYTES_MAX) throw new Error("an event is too large");
    for (const line of lines) this.#line(line);
  }
  #line(line) {
    if (line === "") {
      if (this.#event.data !== undefined) this.onEvent({ type: "message", ...this.#event });
      this.#event = {};
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#event.data = this.#event.data === undefined ? value : `${this.#event.data}\n${value}`;
    else if (name === "event") this.#event.type = value;
    else if (name === "id") this.#event.id = value;
  }
}

export class PosternEvents extends EventTarget {
  #options;
  #env;
  #states = {}; // account -> type -> state
  #state = "stopped";
  #transport = null; // {name, close()}
  #timer = null;
  #sleepTimer = null;
  #silenceTimer = null;
  #currentTimer = null;
  #heldTimer = null; // until the first of a stream has come, or the first poll's answer
  #lastCheck = 0;
  #failures = 0; // of EventSource, without an event
  #refusedAlike = 0;
  #way = "eventsource";
  #fellBack = 0; // when that became another one than was wanted
  #wayAgain = WAY_AGAIN_MS; // and is tried again
  #fresh = false; // the next event is the first behind a connect
  #channel = null;
  #releaseLock = null;
  #leading = false;
  #abortLock = null;
  #position = {}; // of long polling and fetch: what to send back

  // url: the path of the event stream. types, ping: as RFC 8620, 7.3 has them. shared: one stream for all tabs.
  // way: "eventsource", "fetch" or "poll" to begin with. environment: for tests.
  constructor(options = {}) {
    super();
    this.#options = { url: "/jmap/events/", types: "*", ping: 30, shared: true, way: "eventsource", ...options };
    this.#env = environmentOf(options.environment);
    this.#way = this.#options.way;
  }

  get state() { return this.#state; }
  // "eventsource", "fetch", "poll", or "shared" where another tab has the stream.
  get transport() {
    return this.#leading || !this.#channel ? (this.#transport?.name ?? null) : "shared";
  }
  get states() { return structuredClone(this.#states); }

  start() {
    if (this.#state !== "stopped") return;
    this.#report("starting");
    this.#env.window.addEventListener?.("online", this.#onOnline);
    this.#env.window.addEventListener?.("offline", this.#onOffline);
    this.#lastCheck = this.#env.now();
    this.#sleepTimer = setInterval(this.#checkSleep, SLEEP_CHECK_MS);
    if (this.#options.shared && this.#env.locks && this.#env.BroadcastChannel) this.#share();
    else this.#lead();
  }

  stop() {
    if (this.#state === "stopped") return;
    this.#closeTransport();
    clearInterval(this.#sleepTimer);
    this.#env.window.removeEventListener?.("online", this.#onOnline);
    this.#env.window.removeEventListener?.("offline", this.#onOffline);
    this.#leading = false;
    this.#abortLock?.abort();
    this.#releaseLock?.();
    this.#releaseLock = this.#abortLock = null;
    this.#channel?.close();
    this.#channel = null;
    this.#report("stopped");
  }

  // Now, whatever was being waited for: after signing in, or when the person asks.
  retry() {
    if (this.#state === "stopped") return;
    if (this.#leading) this.#connect();
    else this.#channel?.postMessage({ kind: "retry" });
  }

  // --- One stream for all tabs ---

  #share() {
    const name = `postern-events:${this.#options.url}:${this.#options.types}`;
    this.#channel = new this.#env.BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#fromTab(data);
    this.#channel.postMessage({ kind: "hello" });
    this.#abortLock = new AbortController();
    this.#env.locks
      .request(name, { signal: this.#abortLock.signal }, () => {
        if (this.#state === "stopped") return undefined;
        this.#abortLock = null;
        const held = new Promise((resolve) => (this.#releaseLock = resolve));
        this.#lead();
        return held;
      })
      .catch((error) => {
        if (error.name !== "AbortError") this.#lead(); // locks that don't work here
      });
  }

  #lead() {
    if (this.#leading || this.#state === "stopped") return;
    this.#leading = true;
    this.#connect();
  }

  #fromTab(message) {
    if (this.#leading) {
      if (message.kind === "hello" || message.kind === "retry") {
        // A page that has just been loaded may be one of somebody who has signed in again.
        if (message.kind === "hello" && this.#state === "unauthorized") return this.#connect();
        this.#channel.postMessage({ kind: "status", state: this.#state });
        if (this.#state === "open") this.#channel.postMessage({ kind: "states", changed: this.#states, fresh: true });
      }
      if (message.kind === "retry" && this.#state !== "open") this.#connect();
      return;
    }
    if (message.kind === "status") this.#report(message.state);
    if (message.kind === "states") this.#take(message.changed, message.fresh);
  }

  // --- Connecting ---

  #connect() {
    this.#closeTransport();
    if (!this.#env.isOnline()) return this.#report("offline");
    this.#fresh = true;
    this.#report("connecting");
    if (this.#state !== "connecting") return; // whoever heard of it has stopped, or begun, something
    if (this.#mayTryAgain()) this.#beginAsAtFirst(2);
    if (this.#way === "eventsource" && !this.#env.EventSource) this.#way = "fetch";
    const open = { eventsource: this.#openEventSource, fetch: this.#openFetch, poll: this.#openPoll }[this.#way];
    this.#transport = open.call(this);
    this.#noticeSilence();
  }

  #fallBack(way) {
    [this.#way, this.#fellBack] = [way, this.#env.now()];
  }
  #mayTryAgain = () => this.#way !== this.#options.way && this.#env.now() - this.#fellBack > this.#wayAgain;
  #beginAsAtFirst(later = 1) {
    this.#wayAgain = Math.min(later * this.#wayAgain, 60 * WAY_AGAIN_MS);
    [this.#way, this.#failures] = [this.#options.way, 0];
  }

  #closeTransport() {
    for (const timer of [this.#timer, this.#silenceTimer, this.#currentTimer, this.#heldTimer]) clearTimeout(timer);
    this.#timer = this.#silenceTimer = this.#currentTimer = this.#heldTimer = null;
    const transport = this.#transport;
    this.#transport = null;
    transport?.close();
  }

  #retryLater(ms = RETRY_MS * (1 + this.#env.random() / 2)) {
    this.#closeTransport();
    if (!this.#env.isOnline()) return this.#report("offline");
    this.#report("waiting");
    if (this.#state !== "waiting") return; // whoever heard of it has stopped, or begun, something
    this.#timer = setTimeout(() => this.#connect(), ms);
  }

  #onOnline = () => {
    if (this.#leading && this.#state !== "unauthorized") this.#connect();
  };
  #onOffline = () => {
    if (!this.#leading) return;
    this.#closeTransport();
    this.#report("offline");
  };

  #checkSleep = () => {
    const now = this.#env.now();
    const slept = now - this.#lastCheck > SLEPT_MS;
    this.#lastCheck = now;
    if (slept && this.#leading && this.#state !== "unauthorized") this.#connect();
  };

  #heard() {
    clearTimeout(this.#heldTimer);
    this.#failures = 0;
    this.#noticeSilence();
  }
  // Where pings are expected, a longer silence means that the connection is dead; and so it does of a poll that should
  // have been answered.
  #noticeSilence() {
    clearTimeout(this.#silenceTimer);
    const poll = this.#way === "poll";
    if (!poll && !this.#options.ping) return;
    const most = poll ? POLL_SILENCE_MS : Math.max(this.#options.ping, 30) * 1000 * SILENCE_FACTOR;
    this.#silenceTimer = setTimeout(() => this.#connect(), most);
  }

  // The stream is there. Where that tells nothing, nothing is new: the page hears that as well.
  #opened() {
    clearTimeout(this.#currentTimer);
    this.#currentTimer = setTimeout(() => {
      if (!this.#fresh || Object.keys(this.#states).length === 0) return;
      this.#fresh = false;
      this.#channel?.postMessage({ kind: "states", changed: this.#states, fresh: true });
      this.#take({}, true);
    }, CURRENT_MS);
    this.#report("open");
  }

  // Where nothing comes of the transport, nor does it fail.
  #expectFirst(ms, run) {
    clearTimeout(this.#heldTimer);
    this.#heldTimer = setTimeout(run, ms);
  }
  // Of what has opened a ping at least is due: there may be no state to tell.
  #expectOfOpen(run) {
    clearTimeout(this.#heldTimer);
    if (this.#options.ping) this.#expectFirst(1000 * this.#options.ping + FIRST_EVENT_MS, run);
  }

  #address(closeAfter) {
    const url = new URL(this.#options.url, globalThis.location?.href);
    url.searchParams.set("types", this.#options.types);
    url.searchParams.set("closeafter", closeAfter);
    url.searchParams.set("ping", this.#way === "poll" ? 0 : this.#options.ping);
    return url.href;
  }

  // --- EventSource: it reconnects by itself, until it is refused ---

  #openEventSource() {
    let source;
    try {
      source = new this.#env.EventSource(this.#address("no"), { withCredentials: true });
    } catch {
      this.#fallBack("fetch"); // blocked here
      return this.#openFetch();
    }
    let opened = false;
    const mine = () => this.#transport?.source === source;
    const failed = () => ++this.#failures < EVENTSOURCE_FAILURES_MAX || this.#fallBack("fetch");
    // What waits for the whole of an answer before it passes it on lets it neither open nor fail.
    const held = () => {
      failed();
      this.#connect();
    };
    source.onopen = () => {
      if (!mine()) return;
      // A new one is told all at first; one that came back by itself, what is new.
      if (opened) this.#heard();
      else this.#expectOfOpen(held);
      opened = true;
      this.#fresh = true;
      this.#refusedAlike = 0;
      this.#opened();
    };
    source.addEventListener("state", ({ data }) => mine() && this.#onData(data));
    source.addEventListener("ping", () => mine() && this.#heard());
    source.addEventListener("resume", () => mine() && this.#connect());
    source.onerror = () => {
      if (!mine()) return;
      if (source.readyState !== this.#env.EventSource.CLOSED) {
        clearTimeout(this.#currentTimer);
        this.#expectFirst(RECONNECT_MS + FIRST_EVENT_MS, held);
        return this.#report("connecting");
      }
      if (!opened) failed();
      if (this.#way !== "eventsource") return this.#retryLater(0);
      this.#retryLater();
      this.#askWhy();
    };
    this.#expectFirst(FIRST_EVENT_MS, held);
    return { name: "eventsource", source, close: () => source.close() };
  }

  // A refused EventSource doesn't say why; fetch does. Whoever has to sign in shouldn't hear of it a minute later.
  async #askWhy() {
    if (this.#state !== "waiting") return;
    const abort = new AbortController();
    this.#transport = { name: null, abort, close: () => abort.abort() };
    try {
      await this.#request(abort, "no", { Accept: "text/event-stream" });
    } catch {
      // As EventSource found it, which is to blame for nothing, unless that goes on.
      if (!abort.signal.aborted && ++this.#refusedAlike < REFUSED_ALIKE_MAX) this.#failures = 0;
    }
    abort.abort();
  }

  // --- fetch, streamed or one event at a time ---

  // Resolves with the response, or undefined where there is nothing to read.
  async #request(abort, closeAfter, headers) {
    const response = await this.#env.fetch(this.#address(closeAfter), {
      headers,
      credentials: "same-origin",
      cache: "no-store",
      signal: abort.signal,
    });
    if (response.status === 401) {
      if (this.#transport?.abort !== abort) return undefined;
      this.#closeTransport();
      this.#beginAsAtFirst();
      this.#report("unauthorized");
      return undefined;
    }
    if (NOTHING_NEW.includes(response.status)) return undefined;
    if (!response.ok) throw new Error(`the event stream was answered ${response.status}`);
    return response;
  }

  #openFetch() {
    const abort = new AbortController();
    const mine = () => this.#transport?.abort === abort;
    const headers = { Accept: "text/event-stream" };
    if (this.#position.id) headers["Last-Event-ID"] = this.#position.id;
    // Held back on its way: then long polling will do better.
    const poll = () => {
      this.#fallBack("poll");
      this.#connect();
    };
    this.#expectFirst(FIRST_EVENT_MS, poll);
    const run = async () => {
      try {
        const response = await this.#request(abort, "no", headers);
        if (!mine()) return;
        if (!response) return this.#retryLater();
        if (!response.body?.getReader) return poll();
        this.#expectOfOpen(poll);
        const parser = new EventParser((event) => mine() && this.#onStreamEvent(event));
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let first = true; ; first = false) {
          const { value, done } = await reader.read();
          if (!mine()) return;
          if (done) return this.#retryLater(1000 * (1 + this.#env.random()));
          this.#heard();
          if (first) this.#opened();
          parser.push(value);
        }
      } catch (error) {
        if (mine()) this.#retryLater();
      }
    };
    queueMicrotask(run);
    return { name: "fetch", abort, close: () => abort.abort() };
  }

  #openPoll() {
    const abort = new AbortController();
    const mine = () => this.#transport?.abort === abort;
    // The first one is to be told all, whatever this session has been told before: so it is answered at once.
    this.#position = {};
    this.#expectFirst(FIRST_ANSWER_MS, () => {
      this.#beginAsAtFirst(); // no way of asking is to blame
      this.#retryLater();
    });
    const run = async () => {
      try {
        for (; mine(); await new Promise((resolve) => setTimeout(resolve, POLL_PAUSE_MS))) {
          if (this.#mayTryAgain()) return this.#connect();
          const headers = { "X-Long-Poll": "Yes", Accept: "application/json" };
          const { id, tag, time } = this.#position;
          if (id || !tag) headers["Last-Event-ID"] = id ?? NO_STATES;
          if (tag) headers["If-None-Match"] = tag;
          if (time) headers["If-Modified-Since"] = time;
          this.#noticeSilence();
          const response = await this.#request(abort, "state", headers);
          if (!mine()) return;
          const text = await response?.text();
          if (!mine()) return;
          this.#heard();
          this.#report("open");
          if (!response || !mine()) continue;
          if (response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
            this.#position = {};
            new EventParser((event) => mine() && this.#onStreamEvent(event)).push(text);
          } else {
            this.#position = { tag: response.headers.get("Etag"), time: response.headers.get("Last-Modified") };
            this.#onData(text);
          }
        }
      } catch (error) {
        if (mine()) this.#retryLater();
      }
    };
    queueMicrotask(run);
    return { name: "poll", abort, close: () => abort.abort() };
  }

  // --- What has come ---

  #onStreamEvent(event) {
    if (event.id) this.#position.id = event.id;
    if (event.type === "state") this.#onData(event.data);
    // The mail service has been restarted, and watches again once it is asked.
    if (event.type === "resume" && this.#way !== "poll") this.#connect();
  }

  #onData(data) {
    this.#heard();
    let change;
    try {
      change = JSON.parse(data);
    } catch {
      return;
    }
    if (change?.["@type"] !== "StateChange" || typeof change.changed !== "object") return;
    const fresh = this.#fresh;
    this.#fresh = false;
    if (this.#state !== "open") this.#report("open");
    this.#channel?.postMessage({ kind: "states", changed: change.changed, fresh });
    this.#take(change.changed, fresh);
  }

  // Tells the page what is new to it, and behind a (re)connect all that is known.
  #take(changed, fresh) {
    const news = {};
    for (const [account, types] of Object.entries(changed ?? {})) {
      const known = (this.#states[account] ??= {});
      for (const [type, state] of Object.entries(types)) {
        if (known[type] === state) continue;
        known[type] = state;
        (news[account] ??= {})[type] = state;
      }
    }
    if (Object.keys(news).length > 0) this.#tell("change", { changed: news });
    if (fresh) this.#tell("current", { states: this.states });
  }

  #report(state) {
    if (state === this.#state) return;
    this.#state = state;
    if (this.#leading) this.#channel?.postMessage({ kind: "status", state });
    this.#tell("status", { state, transport: this.transport });
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
