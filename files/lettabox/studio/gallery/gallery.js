// The gallery: the videos there are, those that are being made, and a way to ask for one.
// What the studio tells is text of strangers: it enters the page as textContent or as a checked address, never as HTML.

const PAGE = 60; // videos asked for at once
const EVERY = { busy: 4, idle: 15, longest: 60 }; // seconds between two looks
const LIMIT = 20; // seconds that one answer may take
const POSTER = 480; // pixels
const SHOWN = 300; // characters of a prompt outside the player
const JOBS = 24; // rows of the queue
const FRESH = 24 * 3600; // seconds for which a failed job is shown
const WRITING = 900; // seconds: a file that is not whole and older than this is not being written any more

const $ = (id) => document.getElementById(id);
const cards = new Map(); // path -> {video, card}
const rows = new Map(); // job id -> {job, row}
const tags = new Set();
const boxes = new Set();
const filter = { text: "", tag: "", box: "" };
const look = { timer: 0, failures: 0, running: false, again: false, offset: 0, next: null, epoch: 0 };
let token = sessionStorage.getItem("token") || "";
let shown = null; // path of the video in the player
let order = null; // {key, body} of a submission without an answer yet


// --- the studio ---------------------------------------------------------------------------------------------

/** No answer, or none of the studio. */
class Away extends Error {}

/** The studio's own "no": what is wrong, what to do, and with which field. */
class Refusal extends Error {
  constructor(status, error) {
    super([error.problem || `the studio answered ${status}`, error.fix].filter(Boolean).join("; "));
    this.status = status;
    this.field = String(error.field || "");
  }
}

async function ask(path, { method = "GET", body, key } = {}) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  let answer, content;
  try {
    answer = await fetch(path, { method, headers, body: JSON.stringify(body), signal: AbortSignal.timeout(LIMIT * 1000) });
    const text = await answer.text();
    content = text && answer.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : null;
  } catch {
    throw new Away("The studio does not answer.");
  }
  const date = Date.parse(answer.headers.get("Date"));
  if (date) look.offset = date - Date.now();
  if (answer.ok) return content;
  if (!content?.error) throw new Away(`The studio is not well (it answered ${answer.status}).`);
  throw new Refusal(answer.status, content.error);
}

/** Seconds since 1970 by the studio's clock, as far as its answers tell. */
const now = () => (Date.now() + look.offset) / 1000;
const seconds = (iso) => (iso ? Date.parse(iso) / 1000 : 0);

function query(path, values) {
  const wanted = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return `${path}?${new URLSearchParams(wanted)}`;
}

/** An address of the studio itself, or "" for anything else. */
function address(path, values = {}) {
  const url = new URL(String(path || ""), location.href);
  if (!path || url.origin !== location.origin) return "";
  for (const [name, value] of Object.entries(values)) url.searchParams.set(name, value);
  return url.pathname + url.search;
}


// --- words --------------------------------------------------------------------------------------------------

function short(text) {
  text = String(text ?? "");
  if (text.length <= SHOWN) return text;
  return `${text.slice(0, SHOWN).replace(/[\ud800-\udbff]$/, "")}…`;
}

function span(value) {
  const whole = Math.round(value);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let step = 0;
  while (bytes >= 1000 && step < units.length - 1) {
    bytes /= 1000;
    step += 1;
  }
  return `${step ? bytes.toFixed(1) : bytes} ${units[step]}`;
}

const dates = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const when = (iso) => (iso ? dates.format(new Date(iso)) : "");
const number = (value) => String(Math.round(value * 100) / 100);
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

function say(text) {
  $("said").textContent = "";
  requestAnimationFrame(() => { $("said").textContent = text; });
}

/** Set a text only where it changed, so that readers and selections are left in peace. */
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function stamp(template) {
  return $(template).content.firstElementChild.cloneNode(true);
}


// --- looking again and again --------------------------------------------------------------------------------

async function refresh() {
  clearTimeout(look.timer);
  if (look.running) {
    look.again = true;
    return;
  }
  look.running = true;
  let busy = false;
  try {
    do {
      look.again = false;
      busy = await once();
    } while (look.again);
  } finally {
    look.running = false;
  }
  if (document.hidden || look.failures < 0) return; // visibilitychange, or signing in, looks again
  const pause = look.failures ? EVERY.busy * 2 ** look.failures : busy ? EVERY.busy : EVERY.idle;
  look.timer = setTimeout(() => { if (!document.hidden) refresh(); }, Math.min(pause, EVERY.longest) * 1000);
}

/** One look at everything; true while something is being made. */
async function once() {
  try {
    const [, busy] = await Promise.all([refreshVideos(), refreshJobs()]);
    if (look.failures) say("The studio is back.");
    look.failures = 0;
    notice("");
    return busy;
  } catch (error) {
    failed(error);
    return false;
  }
}

function failed(error) {
  const known = error instanceof Away || error instanceof Refusal;
  if (error.status === 401 && token) {
    forgetToken();
    say("The token is not the studio's any more: signed out.");
    look.failures = 0;
    look.again = true; // reading may need none
  } else if (error.status === 401) {
    look.failures = -1; // nothing more until somebody signs in
    notice("This studio shows its videos to those who have its token.", "Sign in", () => open($("sign-in")));
  } else {
    look.failures = Math.max(look.failures, 0) + 1;
    const text = known ? error.message : `The gallery failed: ${error.message}`;
    notice(`${text} What is here is what was there last; it looks again by itself.`, "Try now", refresh);
  }
  if (!known) throw error;
}

function notice(text, label, act) {
  $("notice").hidden = !text;
  put($("notice-text"), text);
  put($("notice-button"), label || "");
  $("notice-button").onclick = act || null;
}


// --- videos -------------------------------------------------------------------------------------------------

function videosPath(cursor) {
  return query("/list_videos", { limit: PAGE, cursor, tag: filter.tag, box: filter.box });
}

/** Read the newest page, and put it where it belongs without touching the cards that stay as they are. */
async function refreshVideos() {
  const epoch = look.epoch;
  const page = await ask(videosPath());
  if (epoch !== look.epoch) return;
  const grid = $("videos");
  const first = cards.size === 0;
  const oldest = page.videos.length ? seconds(page.videos.at(-1).time) : Infinity;
  const paths = new Set(page.videos.map((video) => video.path));
  let fresh = 0;
  let place = grid.firstElementChild;
  for (const video of page.videos) {
    if (!cards.has(video.path)) fresh += 1;
    const card = settled(video);
    if (card === place) place = place.nextElementSibling;
    else grid.insertBefore(card, place);
  }
  // What is as new as this page and not in it is gone; what is older was read by "more".
  for (const [path, one] of cards) {
    if (!paths.has(path) && (!page.next || seconds(one.video.time) > oldest)) forget(path);
  }
  if (first || !page.next) look.next = page.next;
  unreachable(page.unreachable || []);
  counted();
  if (!first && fresh) say(`${plural(fresh, "new video")}.`);
}

async function more() {
  const epoch = look.epoch;
  $("more").disabled = true;
  try {
    const page = await ask(videosPath(look.next));
    if (epoch !== look.epoch) return;
    for (const video of page.videos) if (!cards.has(video.path)) $("videos").append(settled(video));
    look.next = page.next;
    counted();
  } catch (error) {
    failed(error);
  } finally {
    $("more").disabled = false;
  }
}

function settled(video) {
  const one = cards.get(video.path);
  if (one && JSON.stringify(one.video) === JSON.stringify(video)) return one.card;
  const card = one?.card || newCard(video.path);
  cards.set(video.path, { video, card });
  for (const tag of video.tags || []) tags.add(tag);
  boxes.add(video.box);
  fill(card, video);
  card.hidden = !matches(video);
  if (shown === video.path) describe(video);
  return card;
}

function newCard(path) {
  const card = stamp("video-card");
  card.querySelector(".open").addEventListener("click", () => {
    if (cards.get(path).video.ready) play(path);
  });
  card.querySelector("img").addEventListener("error", (event) => event.target.classList.add("hidden-text"));
  return card;
}

function fill(card, video) {
  const writing = !video.ready && now() - seconds(video.time) < WRITING;
  card.className = `card ${video.ready ? "whole" : writing ? "writing" : "broken"}`;
  const button = card.querySelector(".open");
  button.setAttribute("aria-disabled", String(!video.ready));
  const image = card.querySelector("img");
  const poster = video.ready ? address(video.poster, { width: POSTER }) : "";
  image.hidden = !poster;
  if (poster && image.getAttribute("src") !== poster) {
    image.classList.remove("hidden-text");
    image.src = poster;
  }
  const state = writing ? "being written…" : `cannot be played: ${video.problem || "it is not whole"}`;
  put(card.querySelector(".poster .state"), video.ready ? "" : state);
  put(card.querySelector(".length"), video.duration ? `${number(video.duration)} s` : "");
  put(card.querySelector(".prompt"), short(video.prompt || video.name));
  put(card.querySelector(".when"), when(video.time));
  put(card.querySelector(".seed"), video.seed === null || video.seed === undefined ? "" : `seed ${video.seed}`);
  put(card.querySelector(".box"), video.box);
  card.querySelector(".tags").replaceChildren(...(video.tags || []).map(tagButton));
}

function tagButton(tag) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = tag;
  button.setAttribute("aria-label", `Only videos tagged ${tag}`);
  button.addEventListener("click", () => {
    if ($("player").open) $("player").close();
    narrow({ tag });
  });
  item.append(button);
  return item;
}

function forget(path) {
  cards.get(path).card.remove();
  cards.delete(path);
}

function unreachable(names) {
  $("unreachable").hidden = !names.length;
  put($("unreachable"), names.length ? `${names.join(", ")} cannot be reached; the videos there are shown as last known.` : "");
  for (const name of names) boxes.add(name);
}

function counted() {
  const visible = [...cards.values()].filter((one) => !one.card.hidden).length;
  put($("videos-count"), cards.size ? `${visible}${look.next ? "+" : ""}` : "");
  $("more").hidden = !look.next;
  const narrowed = filter.text || filter.tag || filter.box;
  $("empty").hidden = visible > 0 || Boolean(look.next);
  put($("empty"), narrowed ? "No video fits the filter." : "There is no video yet.");
  choices($("filter-tag"), tags, filter.tag);
  choices($("filter-box"), boxes, filter.box);
  $("filter-box-label").hidden = boxes.size < 2 && !filter.box;
  $("filter-clear").hidden = !narrowed;
}

function choices(select, values, chosen) {
  const wanted = ["", ...new Set([...values, ...(chosen ? [chosen] : [])])];
  wanted.sort();
  if (select.options.length !== wanted.length) {
    const all = select.options[0].text;
    select.replaceChildren(...wanted.map((value) => new Option(value || all, value)));
  }
  select.value = chosen;
}


// --- filter -------------------------------------------------------------------------------------------------

/** Whether every word is in the prompt or the tags, or is the seed, or begins the job's id. */
function matches(video) {
  const text = `${video.prompt || video.name}\n${(video.tags || []).join("\n")}`.toLowerCase();
  return filter.text.toLowerCase().split(/\s+/).every((word) =>
    text.includes(word) || word === String(video.seed) || (word.length > 7 && video.job?.startsWith(word)));
}

/** Narrow the list. Tag and box are the studio's business; the text is looked for in what is here. */
function narrow(change) {
  const before = `${filter.tag}\n${filter.box}`;
  Object.assign(filter, change);
  $("filter-text").value = filter.text;
  history.replaceState(history.state, "", query("#", { q: filter.text, tag: filter.tag, box: filter.box }).replace("?", ""));
  if (`${filter.tag}\n${filter.box}` !== before) {
    look.epoch += 1;
    look.next = null;
    for (const path of [...cards.keys()]) forget(path);
    counted();
    refresh();
  } else {
    for (const { video, card } of cards.values()) card.hidden = !matches(video);
    counted();
  }
  if (filter.text) rest();
}

/** Read all pages: a text may be found in any of them. */
async function rest() {
  const text = filter.text;
  while (look.next && filter.text === text && !look.failures) await more();
}


// --- player -------------------------------------------------------------------------------------------------

function play(path) {
  const video = cards.get(path)?.video;
  if (!video) return;
  shown = path;
  const screen = $("video");
  $("player-problem").hidden = true;
  screen.poster = address(video.poster, { width: 1280 });
  screen.src = address(video.url);
  describe(video);
  if (!$("player").open) {
    open($("player"));
    history.pushState({ player: true }, ""); // a phone's "back" closes the player
  }
  screen.focus();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
    screen.play().catch((error) => {
      // A browser that wants a touch first, or the next video before this one began: nothing is wrong.
      if (!["NotAllowedError", "AbortError", "NotSupportedError"].includes(error.name)) throw error;
    });
  }
}

function describe(video) {
  put($("player-name"), video.name);
  put($("player-prompt"), video.prompt || "Its prompt is not known.");
  $("copy-prompt").hidden = !video.prompt;
  $("again").hidden = !token || !video.prompt;
  $("download").href = address(video.url);
  $("download").download = video.name;
  $("player-tags").replaceChildren(...(video.tags || []).map(tagButton));
  const known = (value) => value !== null && value !== undefined;
  facts([
    ["Seed", video.seed, true],
    ["Size", video.width && video.height ? `${video.width} × ${video.height}` : null],
    ["Duration", known(video.duration) ? `${number(video.duration)} s` : null],
    ["Frames", known(video.frames) ? `${video.frames}${video.fps ? ` at ${number(video.fps)} fps` : ""}` : null],
    ["Sound", known(video.audio) ? (video.audio ? "yes" : "no") : null],
    ["Written", when(video.time)],
    ["File", size(video.size)],
    ["Box", video.box],
    ["Job", video.job, true],
    ["Path", video.path, true],
  ]);
  const [before, after] = neighbours();
  $("previous").disabled = !before;
  $("following").disabled = !after;
}

function facts(list) {
  const items = [];
  for (const [name, value, copied] of list) {
    if (value === null || value === undefined || value === "") continue;
    const term = document.createElement("dt");
    const content = document.createElement("dd");
    const text = document.createElement("span");
    term.textContent = name;
    text.textContent = String(value);
    content.append(text);
    if (copied) content.append(copyButton(name, String(value)));
    items.push(term, content);
  }
  $("facts").replaceChildren(...items);
}

function copyButton(name, value) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy ${name.toLowerCase()}`);
  button.addEventListener("click", () => copy(value, button));
  return button;
}

async function copy(text, button) {
  const done = (await copied(text)) ? "Copied" : "Not copied";
  const label = button.dataset.label ||= button.textContent;
  button.textContent = done;
  say(done);
  setTimeout(() => { button.textContent = label; }, 1500);
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers keep that one for https and localhost; the old way works over plain http too.
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "hidden-text";
    ($("player").open ? $("player") : document.body).append(field);
    field.select();
    const good = document.execCommand("copy");
    field.remove();
    return good;
  }
}

/** Paths of the playable videos before and after the one that is shown. */
function neighbours() {
  const near = (step) => {
    for (let card = cards.get(shown)?.card[step]; card; card = card[step]) {
      if (!card.hidden && card.classList.contains("whole")) return pathOf(card);
    }
    return null;
  };
  return [near("previousElementSibling"), near("nextElementSibling")];
}

function pathOf(card) {
  for (const [path, one] of cards) if (one.card === card) return path;
  return null;
}

function step(by) {
  const path = neighbours()[by < 0 ? 0 : 1];
  if (path) play(path);
}

function frame(by) {
  const screen = $("video");
  const fps = cards.get(shown)?.video.fps || 24;
  screen.pause();
  screen.currentTime = Math.min(Math.max(screen.currentTime + by / fps, 0), screen.duration || 0);
}

const KEYS = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), ",": () => frame(-1), ".": () => frame(1) };

function pressed(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === " " && event.target === $("player-prompt")) {
    event.preventDefault();
    if ($("video").paused) $("video").play();
    else $("video").pause();
  } else if (KEYS[event.key]) {
    event.preventDefault();
    event.stopPropagation();
    KEYS[event.key]();
  }
}

function closed() {
  if ($("player").open) return; // again, before this was told
  const screen = $("video");
  screen.pause();
  screen.removeAttribute("src");
  screen.load(); // ends the download
  const card = cards.get(shown)?.card;
  shown = null;
  if (history.state?.player) history.back();
  card?.querySelector(".open").focus({ preventScroll: false });
}


// --- queue --------------------------------------------------------------------------------------------------

/** Read what runs, waits and has failed of late; true while something is being made. */
async function refreshJobs() {
  let answers;
  try {
    answers = await Promise.all([
      ask(query("/jobs", { state: "running", limit: JOBS })),
      ask(query("/jobs", { state: "queued", limit: 200 })),
      ask(query("/jobs", { state: "failed", limit: 5 })),
    ]);
  } catch (error) {
    if (!(error instanceof Refusal) || error.status === 401) throw error;
    $("queue").hidden = false;
    $("queue-problem").hidden = false;
    put($("queue-problem"), `The queue cannot be shown: ${error.message}`);
    return false;
  }
  const [running, queued, failures] = answers.map((answer) => answer.jobs);
  $("queue-problem").hidden = true;
  queued.sort((one, other) => (one.position ?? Infinity) - (other.position ?? Infinity));
  const late = failures.filter((job) => now() - seconds(job.ended) < FRESH);
  const listed = [...running, ...queued].slice(0, JOBS);
  place([...listed, ...late]);
  const beyond = running.length + queued.length - listed.length;
  $("jobs-more").hidden = !beyond;
  put($("jobs-more"), beyond ? `and ${beyond}${answers[1].next ? " or more" : ""} more waiting` : "");
  const counts = [running.length && `${running.length} rendering`, queued.length && `${queued.length} waiting`];
  put($("queue-count"), counts.filter(Boolean).join(", "));
  put($("summary"), counts.filter(Boolean).join(", ") || "nothing is being rendered");
  $("queue").hidden = !listed.length && !late.length;
  for (const job of [...running, ...queued]) for (const tag of job.tags || []) tags.add(tag);
  return running.length + queued.length > 0;
}

function place(jobs) {
  const list = $("jobs");
  const ids = new Set(jobs.map((job) => job.id));
  for (const [id, one] of rows) {
    if (ids.has(id)) continue;
    one.row.remove();
    rows.delete(id);
    if (one.job.state === "running" || one.job.state === "queued") look.again = true; // its video may be there
  }
  let at = list.firstElementChild;
  for (const job of jobs) {
    const row = rows.get(job.id)?.row || newRow(job.id);
    rows.set(job.id, { job, row });
    if (row === at) at = at.nextElementSibling;
    else list.insertBefore(row, at);
    row.className = `job ${job.state}`;
    put(row.querySelector(".state"), { running: "rendering", queued: "waiting", failed: "failed" }[job.state] || job.state);
    put(row.querySelector(".prompt"), short(job.prompt));
    row.querySelector(".cancel").hidden = !token || job.state === "failed";
    row.querySelector(".retry").hidden = !token || job.state !== "failed";
    put(row.querySelector(".error"), job.error ? (job.state === "failed" ? job.error : `Last attempt: ${job.error}`) : "");
    tick(row, job);
  }
}

function newRow(id) {
  const row = stamp("job-row");
  row.querySelector(".cancel").addEventListener("click", (event) => cancel(id, event.currentTarget));
  row.querySelector(".retry").addEventListener("click", () => compose(rows.get(id).job));
  return row;
}

/** What changes by the second: how long it runs, and how much is left by those before it. */
function tick(row, job) {
  const bar = row.querySelector("progress");
  const parts = [];
  bar.hidden = job.state !== "running";
  if (job.state === "queued") parts.push(job.position ? `position ${job.position}` : "");
  if (job.state === "failed") parts.push(when(job.ended));
  if (job.state === "running") {
    const past = Math.max(now() - seconds(job.started), 0);
    parts.push(`on ${job.box}`);
    bar.setAttribute("aria-label", "Estimated progress");
    if (job.expected) {
      bar.value = Math.min(past / job.expected, 0.98);
      const left = job.expected - past;
      parts.push(left > 0 ? `about ${span(left)} left (estimate)` : `longer than usual, ${span(past)}`);
    } else {
      bar.removeAttribute("value");
      parts.push(span(past));
    }
  }
  if (job.attempts > 1 && job.state !== "queued") parts.push(`attempt ${job.attempts}`);
  put(row.querySelector(".what"), parts.filter(Boolean).join(" · "));
}

async function cancel(id, button) {
  if (!button.dataset.sure) {
    button.dataset.sure = "yes";
    button.textContent = "Really cancel?";
    setTimeout(() => {
      delete button.dataset.sure;
      button.textContent = "Cancel";
    }, 4000);
    return;
  }
  button.disabled = true;
  try {
    await ask(`/jobs/${encodeURIComponent(id)}/cancel`, { method: "POST" });
    say("Cancelled.");
  } catch (error) {
    const row = rows.get(id)?.row;
    if (row) put(row.querySelector(".error"), `Not cancelled: ${error.message}`);
    if (error.status === 401) askAgain();
    if (!(error instanceof Away || error instanceof Refusal)) throw error;
    return;
  } finally {
    button.disabled = false;
  }
  refresh();
}


// --- signing in, and asking for a video ---------------------------------------------------------------------

function open(dialog) {
  dialog.showModal();
}

function signedIn() {
  $("sign").textContent = token ? "Sign out" : "Sign in";
  $("new").hidden = !token;
  for (const { job, row } of rows.values()) {
    row.querySelector(".cancel").hidden = !token || job.state === "failed";
    row.querySelector(".retry").hidden = !token || job.state !== "failed";
  }
}

async function signIn(given) {
  clearErrors($("sign-in-form"));
  if (!given) {
    mark("token", "Paste the token.");
    return;
  }
  try {
    await ask("/session", { method: "POST", body: { token: given } });
  } catch (error) {
    mark("token", error.status === 401 || error.status === 403 ? "That is not the studio's token." : error.message);
    if (!(error instanceof Away || error instanceof Refusal)) throw error;
    return;
  }
  token = given;
  sessionStorage.setItem("token", token);
  $("token").value = "";
  $("sign-in").close();
  signedIn();
  say("Signed in.");
  look.failures = 0;
  refresh();
}

function forgetToken() {
  token = "";
  sessionStorage.removeItem("token");
  signedIn();
}

async function signOut() {
  forgetToken();
  try {
    await ask("/session", { method: "DELETE" });
  } catch (error) {
    say("Signed out here; the studio did not answer, so this browser may still look.");
    if (!(error instanceof Away || error instanceof Refusal)) throw error;
    return;
  }
  say("Signed out.");
  refresh();
}

/** The token was refused when something was to be changed: ask for another one. */
function askAgain() {
  forgetToken();
  open($("sign-in"));
  mark("token", "The token is not the studio's any more.");
}

/** Open the form, with what `like` (a job or a video) was made of. */
function compose(like) {
  clearErrors($("order-form"));
  if (like) {
    const form = $("order-form").elements;
    form.prompt.value = like.prompt || "";
    form.seed.value = "";
    for (const name of ["width", "height", "frames"]) form[name].value = like[name] ?? "";
    form.tags.value = (like.tags || []).join(" ");
  }
  open($("order"));
  $("order-prompt").focus();
}

async function submit() {
  const form = $("order-form").elements;
  clearErrors($("order-form"));
  const wanted = { prompt: form.prompt.value };
  let good = true;
  for (const name of ["seed", "width", "height", "frames"]) {
    const text = form[name].value.trim();
    if (!text) continue;
    wanted[name] = Number(text);
    if (!/^\d{1,16}$/.test(text)) good = mark(name, "Write a whole number, or nothing.");
  }
  const words = form.tags.value.split(/[\s,]+/).filter(Boolean);
  if (words.length) wanted.tags = words;
  if (!wanted.prompt.trim()) good = mark("prompt", "Say what the video shows.");
  if (!good) return;
  // The same submission keeps its key, so that one that got no answer is not made twice.
  const body = JSON.stringify(wanted);
  if (order?.body !== body) order = { key: randomKey(), body };
  $("order-send").disabled = true;
  try {
    const job = await ask("/jobs", { method: "POST", body: wanted, key: order.key });
    order = null;
    $("order").close();
    $("order-form").reset();
    say(job.position ? `Submitted: position ${job.position} in the queue.` : "Submitted.");
    refresh();
  } catch (error) {
    if (error.status === 401) {
      $("order").close();
      askAgain();
    } else if (error instanceof Away || error instanceof Refusal) {
      mark(error.field?.split(".")[0], error.message);
    } else {
      throw error;
    }
  } finally {
    $("order-send").disabled = false;
  }
}

function randomKey() {
  // randomUUID is kept for https and localhost.
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Show a problem at its field, or below the form when it has none; false. */
function mark(name, text) {
  const field = name === "token" ? $("token") : name && $(`order-${name}`);
  const place = field ? $(`${field.id}-error`) : $("order-error");
  place.textContent = place.textContent ? `${place.textContent} ${text}` : text;
  if (field && !document.querySelector("[aria-invalid=true]")) field.focus();
  field?.setAttribute("aria-invalid", "true");
  return false;
}

function clearErrors(form) {
  for (const one of form.querySelectorAll(".error")) one.textContent = "";
  for (const one of form.querySelectorAll("[aria-invalid]")) one.removeAttribute("aria-invalid");
}


// --- the page -----------------------------------------------------------------------------------------------

function begin() {
  const told = new URLSearchParams(location.hash.slice(1));
  Object.assign(filter, { text: told.get("q") || "", tag: told.get("tag") || "", box: told.get("box") || "" });
  $("filter-text").value = filter.text;

  let typing = 0;
  $("filter-text").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => narrow({ text: event.target.value.trim() }), 200);
  });
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  $("filter-tag").addEventListener("change", (event) => narrow({ tag: event.target.value }));
  $("filter-box").addEventListener("change", (event) => narrow({ box: event.target.value }));
  $("filter-clear").addEventListener("click", () => narrow({ text: "", tag: "", box: "" }));
  $("more").addEventListener("click", more);
  new IntersectionObserver((seen) => {
    if (seen.at(-1).isIntersecting && look.next && !look.running && !$("more").disabled) more();
  }, { rootMargin: "600px" }).observe($("more"));

  $("player").addEventListener("close", closed);
  $("player").addEventListener("keydown", pressed, true);
  $("player").addEventListener("click", (event) => {
    if (event.target === $("player")) $("player").close();
  });
  $("player-close").addEventListener("click", () => $("player").close());
  $("previous").addEventListener("click", () => step(-1));
  $("following").addEventListener("click", () => step(1));
  $("copy-prompt").addEventListener("click", (event) => copy(cards.get(shown).video.prompt, event.currentTarget));
  $("again").addEventListener("click", () => {
    const video = cards.get(shown).video;
    $("player").close();
    compose(video);
  });
  $("video").addEventListener("error", () => {
    if (!$("video").hasAttribute("src")) return;
    $("player-problem").hidden = false;
    put($("player-problem"), "This video cannot be played just now. It may be gone, or its box cannot be reached.");
  });
  addEventListener("popstate", () => {
    if ($("player").open) $("player").close();
  });

  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  $("sign").addEventListener("click", () => (token ? signOut() : open($("sign-in"))));
  $("sign-in-form").addEventListener("submit", (event) => {
    event.preventDefault();
    signIn($("token").value.trim());
  });
  $("sign-in").addEventListener("close", () => { $("token").value = ""; });
  $("new").addEventListener("click", () => compose());
  $("order-form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && look.failures >= 0) refresh();
  });
  setInterval(() => {
    if (!document.hidden) for (const { job, row } of rows.values()) if (job.state === "running") tick(row, job);
  }, 1000);
  signedIn();
  refresh().then(() => { if (filter.text) rest(); });
}

begin();
