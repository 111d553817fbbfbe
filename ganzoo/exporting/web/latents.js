/*
 * Latents z ~ N(0, I), the very numbers of `ganzoo.seeds.latents`, and paths through them that stay such latents.
 *
 * A block of 256 latents is numpy's `Generator(Philox(SeedSequence([seed, crc32("latents"), block])))
 * .standard_normal(dtype=float32)`: O'Neill's seed_seq hash (2015) makes a key, Philox4x64-10 (Salmon et al. 2011,
 * "Parallel random numbers: as easy as 1, 2, 3") turns key and counter into bits, and the ziggurat (Marsaglia & Tsang
 * 2000, "The ziggurat method for generating random variables") turns bits into normal numbers. `Math.fround` stands
 * wherever numpy computes in float32.
 */

const BLOCK = 256;
const STREAM = 0xd26e1e70; // crc32 of "latents"
const CODES = 0xe5adc14d; // crc32 of "codes"
const U32 = 0xffffffffn;
const U64 = 0xffffffffffffffffn;
const { exp, fround, log, log1p, imul } = Math;

/**
 * The latents `start` to `stop` of `seed`, a BigInt from 0 up: a Float32Array [(stop - start) * latentDim]. The last
 * `codes` columns are uniform in [-1, 1), from a stream of their own.
 */
export function latents(seed, latentDim, start, stop, codes = 0) {
  const z = new Float32Array(Math.max(0, stop - start) * latentDim);
  for (let first = start - (start % BLOCK); first < stop; first += BLOCK) {
    const normal = normals(uniforms(key(seed, STREAM, first / BLOCK)));
    const bits = uniforms(key(seed, CODES, first / BLOCK));
    for (let index = first; index < Math.min(first + BLOCK, stop); index++) {
      for (let d = 0; d < latentDim; d++) {
        const value = d < latentDim - codes ? normal() : 2 * ((bits() >>> 8) / 2 ** 24) - 1;
        if (index >= start) z[(index - start) * latentDim + d] = value;
      }
    }
  }
  return z;
}

/**
 * Each latent of `from` on its way to that of `to`, at `t` in [0, 1], as `ganzoo.runtime.generator.great_circle`: its
 * direction along the arc between theirs, its length between theirs; codes, and latents without an arc, on a line.
 */
export function slerp(from, to, t, latentDim, codes = 0) {
  const z = new Float32Array(from.length);
  for (let start = 0; start < z.length; start += latentDim) {
    const [a, b] = [from, to].map((all) => all.subarray(start, start + latentDim - codes));
    const [first, last] = [a, b].map((end) => Math.sqrt(dot(end, end)));
    const omega = Math.acos(Math.min(1, Math.max(-1, dot(a, b) / (first * last))));
    const sine = Math.sin(omega);
    const apart = sine >= 1e-6; // not where both have one direction, opposite ones, or none: then there is no one arc
    const length = (1 - t) * first + t * last;
    const weights = [Math.sin((1 - t) * omega) / first, Math.sin(t * omega) / last].map((w) => (w * length) / sine);
    const [p, q] = apart ? weights : [1 - t, t];
    for (let d = 0; d < a.length; d++) z[start + d] = p * a[d] + q * b[d];
    for (let i = start + a.length; i < start + latentDim; i++) z[i] = (1 - t) * from[i] + t * to[i];
  }
  return z;
}

/**
 * Each latent turned towards a common direction, by a quarter turn at the rim of the unit disc: with r = |(a, b)|,
 * z' = cos(r π/2) z + sin(r π/2) (a u + b v) / r. As cos² + sin² = 1 it is as likely a draw from N(0, I) as z.
 * The last `codes` columns stay.
 */
export function turn(z, [a, b], [u, v], latentDim, codes = 0) {
  const r = Math.hypot(a, b);
  if (r === 0) return z;
  const [cosine, sine] = [Math.cos((r * Math.PI) / 2), Math.sin((r * Math.PI) / 2) / r];
  return z.map((value, i) => {
    const d = i % latentDim;
    return d < latentDim - codes ? cosine * value + sine * (a * u[d] + b * v[d]) : value;
  });
}

function dot(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

/** Philox's key, two BigInts, as SeedSequence([seed, stream, block]).generate_state(2, uint64) makes it. */
function key(seed, stream, block) {
  const entropy = [...words(seed), stream, ...words(BigInt(block))];
  const hash = hasher(0x43b0d7e5, 0x931e8875);
  const mix = (x, y) => folded(imul(0xca01f9dd, x) - imul(0x4973f715, y));
  const pool = [0, 1, 2, 3].map((i) => hash(entropy[i] ?? 0));
  for (const from of pool.keys()) {
    for (const to of pool.keys()) if (from !== to) pool[to] = mix(pool[to], hash(pool[from]));
  }
  for (const word of entropy.slice(4)) {
    for (const to of pool.keys()) pool[to] = mix(pool[to], hash(word));
  }
  const [a, b, c, d] = pool.map(hasher(0x8b51f9dd, 0x58f38ded)).map((word) => BigInt(word >>> 0));
  return [a | (b << 32n), c | (d << 32n)];
}

/** A natural number in words of 32 bits, the lowest first. */
function words(number) {
  const rest = number >> 32n;
  return [Number(number & U32), ...(rest ? words(rest) : [])];
}

function hasher(constant, multiplier) {
  return (word) => {
    const mixed = word ^ constant;
    constant = imul(constant, multiplier);
    return folded(imul(mixed, constant));
  };
}

function folded(word) {
  return word ^ (word >>> 16);
}

/** A function that gives Philox's next 32 bits: of each 64 the lower ones come first. */
function uniforms(key) {
  const bits = new Uint32Array(8);
  let counter = 0n;
  let at = bits.length;
  return () => {
    if (at === bits.length) {
      philox(++counter, key).forEach((word, i) => bits.set([Number(word & U32), Number(word >> 32n)], 2 * i));
      at = 0;
    }
    return bits[at++];
  };
}

/** Ten rounds of Philox4x64 on the counter (counter, 0, 0, 0): four BigInts of 64 bits. */
function philox(counter, [k0, k1]) {
  let [c0, c1, c2, c3] = [counter, 0n, 0n, 0n];
  for (let round = 0; round < 10; round++) {
    const p = 0xd2e7470ee14c6c93n * c0;
    const q = 0xca5a826395121157n * c2;
    [c0, c1, c2, c3] = [(q >> 64n) ^ c1 ^ k0, q & U64, (p >> 64n) ^ c3 ^ k1, p & U64];
    k0 = (k0 + 0x9e3779b97f4a7c15n) & U64;
    k1 = (k1 + 0xbb67ae8584caa73bn) & U64;
  }
  return [c0, c1, c2, c3];
}

const LAYERS = 256;
const STEPS = 2 ** 23; // across a layer's width
const TAIL = 3.6541528853610087963519472518; // where the base layer ends and the tail begins
const AREA = 0.004928673233974658; // of each layer, the tail in that of the base
const { inside, width, height } = ziggurat();

/** How many steps of a layer lie under the one above, a step's width, and the curve's height at a layer's edge. */
function ziggurat() {
  const bell = (x) => exp(-0.5 * x * x);
  const edges = new Float64Array(LAYERS); // of the layers 1 to 255, from the top down; edges[0] is the base's
  edges[0] = AREA / bell(TAIL);
  edges[LAYERS - 1] = TAIL;
  for (let i = LAYERS - 2; i > 0; i--) {
    edges[i] = Math.sqrt(-2 * log(AREA / edges[i + 1] + bell(edges[i + 1])));
  }
  const above = (i) => (i === 0 ? TAIL : i === 1 ? 0 : edges[i - 1]);
  return {
    inside: Uint32Array.from(edges, (edge, i) => Math.round((above(i) / edge) * STEPS)),
    width: Float32Array.from(edges, (edge) => edge / STEPS),
    height: Float32Array.from(edges, (edge, i) => (i === 0 ? 1 : bell(edge))),
  };
}

/** A function that gives the next number of N(0, 1): numpy's random_standard_normal_f. */
function normals(uniform) {
  const unit = () => (uniform() >>> 8) / 2 ** 24;
  return () => {
    for (;;) {
      const bits = uniform();
      const [layer, steps] = [bits & 0xff, bits >>> 9];
      const x = fround(steps * width[layer]) * (bits & 0x100 ? -1 : 1);
      if (steps < inside[layer]) return x;
      if (layer === 0) return tail(unit) * (steps & 0x100 ? -1 : 1);
      const rise = fround(fround(height[layer - 1] - height[layer]) * unit());
      if (fround(rise + height[layer]) < exp(-0.5 * x * x)) return x;
    }
  };
}

function tail(unit) {
  for (;;) {
    const x = fround(fround(-1 / TAIL) * fround(log1p(-unit())));
    const y = -fround(log1p(-unit()));
    if (fround(y + y) > fround(x * x)) return fround(fround(TAIL) + x);
  }
}
