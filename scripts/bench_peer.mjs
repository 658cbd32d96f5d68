// One measurement of the peer: node bench_peer.mjs MODEL THREADS PP TG DEPTH prints {"pp":tok/s,"tg":tok/s}.
// Batch 512, f16 KV, flash attention as it chooses, greedy; the clock of decoding starts at the first token yielded.
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const [model, ...numbers] = process.argv.slice(2);
const [threads, pp, tg, depth] = numbers.map(Number);
const seconds = () => Number(process.hrtime.bigint()) / 1e9;

const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error,
                              maxThreads: threads});
const loaded = await llama.loadModel({modelPath: model, gpuLayers: 0});
const context = await loaded.createContext({contextSize: depth + pp + tg + 64, batchSize: 512, threads, sequences: 1,
                                            flashAttention: "auto", ignoreMemorySafetyChecks: true});
const sequence = context.getSequence();
const nVocab = loaded.fileInfo.metadata.tokenizer.ggml.tokens.length;
let state = 12345;
const randomTokens = (n) => Array.from({length: n}, () => {
  state = (state * 1103515245 + 12345) & 0x7fffffff;
  return 1000 + state % Math.min(50000, nVocab - 2000);
});
const past = randomTokens(depth);
const reset = async () => {
  await sequence.clearHistory();
  if (depth > 0) {
    await sequence.evaluateWithoutGeneratingNewTokens(past);
  }
};

await sequence.evaluateWithoutGeneratingNewTokens(randomTokens(8));  // warm-up
await reset();
const prompt = randomTokens(pp);
let begin = seconds();
await sequence.evaluateWithoutGeneratingNewTokens(prompt);
const result = {pp: pp / (seconds() - begin)};
await reset();
let n = 0;
for await (const _ of sequence.evaluate(randomTokens(4), {temperature: 0, yieldEogTokens: true})) {
  if (n === 0) {
    begin = seconds();
  }
  if (n++ === tg) {
    break;
  }
}
result.tg = tg / (seconds() - begin);
console.log(JSON.stringify(result));
process.exit(0);
