/* The page: the controls' state in, one grid of images out. Nothing here asks for anything beside this folder. */

import { latents, slerp, turn } from "./latents.js";

const ROWS = 6;
const GAP = 2; // pixels between images, as in the pictures that ganzoo writes
const STEP = 0.05; // of an arrow key, in radii of the pad; five of them with Shift
const TIMINGS = 15; // draws that the milliseconds are the median of
const DIRECTIONS = 2n ** 64n - 1n; // the seed whose latents 0 and 1 are what the pad moves towards

const $ = (id) => document.getElementById(id);

/** What the controls say. `seeds` are BigInts; `chosen` is a class, or null for all. */
const state = { seeds: [0n, 1n], t: 0, position: [0, 0], chosen: null };

/** The model, once it is loaded: see `load`. */
let model;

/** The generator, ready to run, with what it takes and draws. */
async function load() {
  const info = await (await fetched("info.json")).json();
  const bytes = new Uint8Array(await (await fetched("generator.onnx")).arrayBuffer());
  const ort = await import("./ort.wasm.min.js");
  const at = (name) => new URL(name, import.meta.url).href;
  ort.env.wasm.numThreads = 1; // more would need headers that a plain static server does not send
  ort.env.wasm.wasmPaths = { mjs: at("ort-wasm-simd-threaded.js"), wasm: at("ort-wasm-simd-threaded.wasm") };
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  const { latent_dim: latentDim, image_shape: shape, num_classes: classes, uniform_codes: codes = 0 } = info.generator;
  // Columns in whole rounds of the classes, where they fit: then a column is a class.
  const columns = !classes ? ROWS : classes <= 20 ? classes * Math.max(1, Math.floor(8 / classes)) : 8;
  const directions = [0, 1].map((i) => latents(DIRECTIONS, latentDim, i, i + 1, codes));
  return { ort, session, info, size: bytes.length, latentDim, codes, shape, classes, columns, directions };
}

async function fetched(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} cannot be loaded (${response.status} ${response.statusText})`);
  return response;
}

// Drawing

const timings = [];
const known = new Map(); // seed -> its latents, of the last few seeds

/** Draw what `state` says now; the canvas then shows it, and says so. */
async function draw() {
  const { ort, session, latentDim, classes, columns } = model;
  const now = structuredClone(state);
  const count = ROWS * columns;
  const labels = classes && BigInt64Array.from({ length: count }, (_, i) => BigInt(now.chosen ?? i % classes));
  const inputs = { z: new ort.Tensor("float32", wanted(now, count), [count, latentDim]) };
  if (labels) inputs.labels = new ort.Tensor("int64", labels, [count]);
  const began = performance.now();
  const { images } = await session.run(inputs);
  timings.unshift((performance.now() - began) / count);
  timings.length = Math.min(timings.length, TIMINGS);
  paint(images.data);
  images.dispose();
  describe(now, count);
}

/** The latents of a state, float32 [count * latentDim]: between the seeds, then turned towards the pad's position. */
function wanted({ seeds, t, position }, count) {
  const [from, to] = seeds.map((seed) => latentsOf(seed, count));
  const between = t === 0 ? from : t === 1 ? to : slerp(from, to, t, model.latentDim, model.codes);
  return turn(between, position, model.directions, model.latentDim, model.codes);
}

function latentsOf(seed, count) {
  if (!known.has(seed)) {
    if (known.size > 8) known.clear();
    known.set(seed, latents(seed, model.latentDim, 0, count, model.codes));
  }
  return known.get(seed);
}

/** The images, float [N, C, H, W] in [-1, 1] or bytes [N, H, W, C], in rows on the canvas, with clear gaps. */
function paint(images) {
  const [channels, height, width] = model.shape;
  const floats = images instanceof Float32Array;
  const [ofImage, ofChannel] = [channels * height * width, floats ? height * width : 1];
  const ofPixel = floats ? 1 : channels;
  const canvas = $("images");
  const picture = new ImageData(canvas.width, canvas.height);
  for (let i = 0; i < images.length / ofImage; i++) {
    const [top, left] = [Math.floor(i / model.columns) * (height + GAP), (i % model.columns) * (width + GAP)];
    for (let pixel = 0; pixel < height * width; pixel++) {
      const to = 4 * ((top + Math.floor(pixel / width)) * canvas.width + left + (pixel % width));
      picture.data[to + 3] = 255;
      for (let c = 0; c < Math.max(3, channels); c++) {
        const value = images[i * ofImage + Math.min(c, channels - 1) * ofChannel + pixel * ofPixel];
        picture.data[to + c] = floats ? 127.5 * value + 127.5 : value; // which rounds to even and clamps
      }
    }
  }
  canvas.getContext("2d", { willReadFrequently: true }).putImageData(picture, 0, 0); // drawn pixel by pixel: no GPU
}

/** Draw soon. One draw is on its way at a time; what changes meanwhile is drawn next, in its newest state only. */
let stale = false;
async function redraw() {
  stale = true;
  if (document.body.dataset.state !== "ready") return;
  document.body.dataset.state = "drawing";
  try {
    while (stale) {
      stale = false;
      await draw();
      await new Promise(requestAnimationFrame); // let the browser show it, and hear what comes next
    }
    settled();
  } catch (error) {
    fail(error);
  }
}

/** `data-state` of the body is loading, drawing, ready (the canvas shows what the controls say) or failed. */
function settled() {
  document.body.dataset.state = "ready";
  if (stale) redraw();
}

function fail(error) {
  document.body.dataset.state = "failed";
  $("loading").hidden = true;
  $("error").hidden = false;
  $("error").textContent =
    `The generator cannot draw: ${error.message}. Is the folder whole, as ganzoo export wrote it? ` +
    "Export it again, serve all of it, and reload this page.";
}

// What the page says

function present() {
  const { info, size, latentDim, shape, classes, columns } = model;
  const [channels, height, width] = shape;
  const source = info.run?.data?.source;
  const { title, description } = info.page ?? {}; // the user's own texts
  $("title").textContent = title ?? info.generator.variant;
  $("subtitle").textContent = description ?? (source ? `trained on ${source}` : "");
  document.title = title ?? [info.generator.variant, source, "ganzoo"].filter(Boolean).join(" · ");
  const canvas = $("images");
  canvas.width = columns * (width + GAP) - GAP;
  canvas.height = ROWS * (height + GAP) - GAP;
  document.documentElement.style.setProperty("--aspect", canvas.width / canvas.height);
  facts({
    "Training step": info.step?.toLocaleString("en"),
    "Latent size": latentDim,
    "Image size": `${width} × ${height}, ${{ 1: "grey", 4: "colour and transparency" }[channels] ?? "colour"}`,
    Classes: classes,
    "Model file": `${Math.ceil(size / 1024).toLocaleString("en")} KiB`,
    [`FID-${info.evaluation?.judge?.name}`]: info.evaluation?.figures?.fid?.mean.toFixed(1), // in the judge's features
    Runtime: `onnxruntime-web ${model.ort.env.versions.web}`,
  });
  if (classes) offerClasses(info.generator.class_names ?? Array.from({ length: classes }, (_, i) => `${i}`));
  readAddress();
}

function facts(entries) {
  for (const [name, value] of Object.entries(entries)) {
    if (value === undefined || value === null) continue;
    const fact = document.createElement("div");
    fact.append(element("dt", name), element("dd", value));
    $("facts").append(fact);
  }
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function offerClasses(names) {
  const chips = ["All", ...names].map((name, i) => {
    const radio = document.createElement("input");
    Object.assign(radio, { type: "radio", name: "class", value: i - 1, checked: i === 0 });
    const label = document.createElement("label");
    label.append(radio, element("span", name));
    return label;
  });
  $("classes").querySelector(".chips").append(...chips);
  $("classes").hidden = false;
}

/** The controls as the state has them. */
function show() {
  const { seeds, t, position } = state;
  const [across, up] = position.map((value) => Math.round(100 * value));
  $("seed-a").value = seeds[0];
  $("seed-b").value = seeds[1];
  $("scrubber").value = Math.round(100 * t);
  const radio = document.querySelector(`input[name="class"][value="${state.chosen ?? -1}"]`);
  if (radio) radio.checked = true;
  $("percent").textContent = `${Math.round(100 * t)} %`;
  $("pad").style.setProperty("--across", position[0]);
  $("pad").style.setProperty("--up", position[1]);
  $("pad").setAttribute("aria-valuenow", across);
  $("pad").setAttribute("aria-valuetext", `across ${across} %, up ${up} %`);
}

/** Say what the canvas shows: at once to whoever looks at it, and in the status line once nothing moves any more. */
let announcement;
function describe({ seeds, t, position, chosen }, count) {
  const { info, classes, columns } = model;
  const names = info.generator.class_names;
  const drawn = !classes ? "" : chosen === null ? " of all classes" : ` of class ${names?.[chosen] ?? chosen}`;
  const seed = t === 0 ? `seed ${seeds[0]}` : t === 1 ? `seed ${seeds[1]}` : `between seeds ${seeds.join(" and ")}`;
  const moved = position.some((value) => value !== 0) ? ", moved" : "";
  $("speed").textContent = median(timings).toLocaleString("en", { maximumSignificantDigits: 2 });
  $("images").setAttribute(
    "aria-label",
    `${count} generated images${drawn} in ${ROWS} rows of ${columns}, ${seed}${moved}`,
  );
  clearTimeout(announcement);
  announcement = setTimeout(() => {
    if (document.querySelector('input[aria-invalid="true"]')) return; // what is wrong stands there until it is mended
    $("status").textContent = `${count} images${drawn}, ${seed}${moved}`;
  }, 300);
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

// The address

const DEFAULTS = { seed: "0", class: "-1", b: "1", mix: "0", x: "0", y: "0" };

/** Take the state from the address, such as #seed=7&class=3. A part that is missing or invalid has its default. */
function readAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const value = (name, fits) => {
    const text = parts.get(name) ?? DEFAULTS[name];
    return fits(text) ? text : DEFAULTS[name];
  };
  const seed = (text) => /^\d{1,39}$/.test(text);
  const within = (low, high) => (text) => text.trim() !== "" && Number(text) >= low && Number(text) <= high;
  const chosen = Number(value("class", (text) => /^\d{1,9}$/.test(text) && Number(text) < (model.classes ?? 0)));
  const position = ["x", "y"].map((name) => Number(value(name, within(-1, 1))));
  const r = Math.max(1, Math.hypot(...position));
  Object.assign(state, {
    seeds: ["seed", "b"].map((name) => BigInt(value(name, seed))),
    t: Math.round(Number(value("mix", within(0, 100)))) / 100,
    position: position.map((part) => part / r),
    chosen: chosen === -1 ? null : chosen,
  });
  show();
}

/** Put the state into the address, soon: browsers refuse many changes a second. */
let addressed;
function writeAddress() {
  clearTimeout(addressed);
  addressed = setTimeout(() => {
    const { seeds, t, position, chosen } = state;
    const [x, y] = position.map((part) => `${Math.round(1000 * part) / 1000}`);
    const now = { seed: `${seeds[0]}`, class: `${chosen ?? -1}`, b: `${seeds[1]}`, mix: `${Math.round(100 * t)}`, x, y };
    const parts = Object.entries(now).filter(([name, text]) => text !== DEFAULTS[name] && text !== "-0");
    const hash = new URLSearchParams(parts).toString();
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }, 300);
}

// What the page hears

function change(changes) {
  Object.assign(state, changes);
  show();
  writeAddress();
  redraw();
}

function listen() {
  $("classes").addEventListener("change", ({ target }) => {
    change({ chosen: target.value === "-1" ? null : Number(target.value) });
  });
  $("scrubber").addEventListener("input", ({ target }) => change({ t: target.value / 100 }));
  for (const [i, name] of ["a", "b"].entries()) {
    $(`seed-${name}`).addEventListener("input", ({ target }) => takeSeed(i, target));
    $(`new-${name}`).addEventListener("click", () => {
      $(`seed-${name}`).removeAttribute("aria-invalid");
      setSeed(i, BigInt(crypto.getRandomValues(new Uint32Array(1))[0]));
    });
  }
  $("pad").addEventListener("keydown", movePadByKey);
  $("pad").addEventListener("pointerdown", (event) => {
    $("pad").setPointerCapture(event.pointerId);
    movePadTo(event);
  });
  $("pad").addEventListener("pointermove", (event) => {
    if ($("pad").hasPointerCapture(event.pointerId)) movePadTo(event);
  });
  $("download").addEventListener("click", download);
  addEventListener("hashchange", () => {
    for (const name of ["a", "b"]) $(`seed-${name}`).removeAttribute("aria-invalid");
    readAddress();
    redraw();
  });
}

function takeSeed(i, input) {
  const valid = /^\d+$/.test(input.value);
  input.setAttribute("aria-invalid", !valid);
  if (valid) setSeed(i, BigInt(input.value));
  else $("status").textContent = "A seed is a whole number from 0 up.";
}

function setSeed(i, seed) {
  change({ seeds: state.seeds.with(i, seed) });
}

function movePadByKey(event) {
  const step = event.shiftKey ? 5 * STEP : STEP;
  const [a, b] = state.position;
  const moves = {
    ArrowLeft: [a - step, b],
    ArrowRight: [a + step, b],
    ArrowDown: [a, b - step],
    ArrowUp: [a, b + step],
    Home: [0, 0],
  };
  if (!(event.key in moves)) return;
  event.preventDefault(); // the arrow keys would scroll the page
  movePad(moves[event.key].map((value) => Math.round(100 * value) / 100));
}

function movePadTo({ clientX, clientY }) {
  const { left, top, width, height } = $("pad").getBoundingClientRect();
  movePad([(2 * (clientX - left)) / width - 1, 1 - (2 * (clientY - top)) / height]);
}

/** To a point of the plane, or where the line to it leaves the unit disc. */
function movePad(point) {
  const r = Math.max(1, Math.hypot(...point));
  change({ position: point.map((value) => value / r) });
}

/** The images as a PNG, pixel for pixel, on black as in the pictures that ganzoo writes. */
function download() {
  const images = $("images");
  const canvas = Object.assign(document.createElement("canvas"), { width: images.width, height: images.height });
  const context = canvas.getContext("2d");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(images, 0, 0);
  const link = document.createElement("a");
  link.href = canvas.toDataURL("image/png");
  link.download = `${model.info.generator.variant}-seed-${state.seeds[0]}.png`;
  link.click();
}

// To begin with

try {
  model = await load();
  document.body.dataset.state = "drawing";
  present();
  await draw();
  $("loading").hidden = true;
  document.querySelector("main").hidden = false;
  listen();
  timings.length = 0; // the first draw was slower than all that follow
  stale = true;
  settled();
} catch (error) {
  fail(error);
}
