// One measurement of the peer: node bench_peer.mjs '{"model": PATH, "threads": N, "tests": ["pp512", "tg128", "tg24x16"],
// "depth": N}' prints {"pp512": tok/s, ...}; with "start": true it prints {"node": s, "first": s} instead, the seconds until
// this script ran and until the first token after a prompt of three, both since the process began. Batch 512, f16 KV, flash
// attention as it chooses, greedy; the clock of decoding starts when every sequence has yielded its first token.
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const {model, threads, tests = [], depth = 0, start = false} = JSON.parse(process.argv[2]);
const seconds = () => Number(process.hrtime.bigint()) / 1e9;
const sinceStart = () => process.uptime();

const node = sinceStart();
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error,
                              maxThreads: threads});
const loaded = await llama.loadModel({modelPath: model, gpuLayers: 0});
const nVocab = loaded.fileInfo.metadata.tokenizer.ggml.tokens.length;
let state = 12345;
const randomTokens = (n) => Array.from({length: n}, () => {
  state = (state * 1103515245 + 12345) & 0x7fffffff;
  return 1000 + state % Math.min(50000, nVocab - 2000);
});
const newContext = (tokens, sequences) => loaded.createContext({contextSize: tokens, batchSize: 512, threads, sequences,
                                                                flashAttention: "auto", ignoreMemorySafetyChecks: true});
const greedy = {temperature: 0, yieldEogTokens: true};

// Evaluates `prompt`, waits for `go` after the first token, then takes n more.
async function decode(sequence, prompt, n, first, go) {
  let taken = 0;
  for await (const _ of sequence.evaluate(prompt, greedy)) {
    if (taken === 0) {
      first();
      await go;
    }
    if (taken++ === n) {
      break;
    }
  }
}

async function timeDecoding(sequences, promptTokens, n) {
  let release, begin, waiting = sequences.length;
  const go = new Promise((resolve) => { release = resolve; });
  const first = () => {
    if (--waiting === 0) {
      begin = seconds();
      release();
    }
  };
  await Promise.all(sequences.map((sequence) => decode(sequence, randomTokens(promptTokens), n, first, go)));
  return sequences.length * n / (seconds() - begin);
}

if (start) {
  const context = await newContext(4096, 1);
  for await (const _ of context.getSequence().evaluate(randomTokens(3), greedy)) {
    break;
  }
  console.log(JSON.stringify({node, first: sinceStart()}));
  process.exit(0);
}

const result = {};
const past = randomTokens(depth);
for (const test of tests) {
  const [, kind, length, many] = /^(pp|tg)(\d+)(?:x(\d+))?$/.exec(test);
  const n = Number(length), sequences = Number(many ?? 1), promptTokens = many ? 32 : 4;
  const context = await newContext(depth + n + promptTokens + 64, sequences);
  const all = Array.from({length: sequences}, () => context.getSequence());
  await all[0].evaluateWithoutGeneratingNewTokens(randomTokens(8));  // warm-up
  for (const sequence of all) {
    await sequence.clearHistory();
    if (depth > 0) {
      await sequence.evaluateWithoutGeneratingNewTokens(past);
    }
  }
  if (kind === "pp") {
    const prompt = randomTokens(n);
    const begin = seconds();
    await all[0].evaluateWithoutGeneratingNewTokens(prompt);
    result[test] = n / (seconds() - begin);
  } else {
    result[test] = await timeDecoding(all, promptTokens, n);
  }
  await context.dispose();
}
console.log(JSON.stringify(result));
process.exit(0);
