// What llama.cpp (node-llama-cpp) makes of golden models: node peer.mjs FOLDER NAME...
// F32 KV cache, no flash attention. Prints the largest NMSE of logits or embeddings of each model.
// Copy it next to the node_modules that holds node-llama-cpp.
import fs from "node:fs";
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const [folder, ...names] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", skipDownload: true,
                              logLevel: process.env.PEER_LOG ? LlamaLogLevel.debug : LlamaLogLevel.error});

function nmse(got, want) {
  let error = 0, norm = 0;
  want.forEach((w, i) => {
    error += (got[i] - w) ** 2;
    norm += w ** 2;
  });
  return error / norm;
}

const unit = (v) => {
  const length = Math.hypot(...v);
  return v.map((x) => x / length);
};

async function causal(model, golden) {
  const context = await model.createContext({
    contextSize: golden.n_ctx, batchSize: golden.n_ctx, threads: 1, sequences: 1, flashAttention: false,
    experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32", swaFullCache: true,
    ignoreMemorySafetyChecks: true});
  const sequence = context.getSequence();
  let worst = 0;
  for (const prompt of golden.prompts) {
    await sequence.clearHistory();
    const wanted = prompt.tokens.map((token, i) =>
      String(i) in prompt.logits ? [token, {generateNext: {logits: true}}] : token);
    const out = await sequence.controlledEvaluate(wanted);
    for (const [position, row] of Object.entries(prompt.logits)) {
      const logits = out[Number(position)].next.logits;
      worst = Math.max(worst, nmse(row.values.map((_, i) => logits.get(i)), row.values));
    }
  }
  await context.dispose();
  return worst;
}

async function embedding(model, golden) {
  const context = await model.createEmbeddingContext({contextSize: golden.n_ctx, batchSize: golden.n_ctx,
                                                      threads: 1, ignoreMemorySafetyChecks: true});
  context._prepareInput = () => {};  // the tokens as they are
  let worst = 0;
  for (const prompt of golden.prompts) {
    const {vector} = await context.getEmbeddingFor([...prompt.tokens]);
    worst = Math.max(worst, nmse(unit(vector), unit(prompt.embedding)));
  }
  await context.dispose();
  return worst;
}

for (const name of names) {
  const golden = JSON.parse(fs.readFileSync(`${folder}/${name}.json`));
  try {
    const model = await llama.loadModel({modelPath: `${folder}/${golden.model}`, gpuLayers: 0});
    const worst = await (golden.kind === "causal" ? causal : embedding)(model, golden);
    console.log(`${name.padEnd(24)} ${worst.toExponential(1)}`);
    await model.dispose();
  } catch (error) {
    console.log(`${name.padEnd(24)} ${String(error).split("\n")[0]}`);
  }
}
process.exit(0);
