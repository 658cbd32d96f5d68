// Published clients against a running `lm serve`, unchanged: every call below is one that their users write.
//   node check_clients.mjs BASE_URL MODEL CALLER ENCODER PULLABLE IDS_JSON EXPECTED_TEXT_FILE
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { ChatOllama, OllamaEmbeddings } from '@langchain/ollama';
import { embed, generateText, jsonSchema, Output, streamText, tool } from 'ai';
import { Ollama } from 'ollama';
import { createOllama } from 'ollama-ai-provider-v2';
import OpenAI from 'openai';

const [base, model, caller, encoder, pullable, idsJson, expectedFile] = process.argv.slice(2);
const only = process.env.ONLY ?? '';
let passed = 0;
const failed = [];

async function check(name, run) {
  if (!name.includes(only)) return;
  try {
    await run();
    passed += 1;
  } catch (error) {
    failed.push(name);
    console.error(`FAILED ${name}: ${error?.stack ?? error}`);
  }
}

const parameters = {
  type: 'object',
  properties: { city: { enum: ['Paris', 'Oslo'] }, days: { type: 'integer', minimum: 1, maximum: 9 } },
  required: ['city', 'days'],
  additionalProperties: false,
};
const functionTool = { type: 'function', function: { name: 'weather', description: 'the weather', parameters } };
const messages = [{ role: 'user', content: 'Once upon a time' }];
const greedy = { temperature: 0, num_predict: 16 };

function isWeather(value) {
  assert.ok(['Paris', 'Oslo'].includes(value.city), JSON.stringify(value));
  assert.ok(Number.isInteger(value.days) && value.days >= 1 && value.days <= 9, JSON.stringify(value));
}
async function collect(stream, take) {
  let text = '';
  for await (const part of stream) text += take(part) ?? '';
  return text;
}
async function rejects(promise, test) {
  try {
    await promise;
  } catch (error) {
    test(error);
    return;
  }
  assert.fail('was not refused');
}

// What all of them must say.
let said = '';

const ollama = new Ollama({ host: base });
await check('ollama: chat', async () => {
  const answer = await ollama.chat({ model, messages, options: greedy });
  assert.equal(answer.done, true);
  assert.equal(answer.message.role, 'assistant');
  assert.equal(answer.eval_count, 16);
  assert.ok(answer.prompt_eval_count > 0 && answer.total_duration > 0);
  said = answer.message.content;
  assert.ok(said.length > 0);
});
await check('ollama: chat, streamed', async () => {
  const stream = await ollama.chat({ model, messages, options: greedy, stream: true });
  assert.equal(await collect(stream, (part) => part.message.content), said);
});
await check('ollama: generate', async () => {
  const stream = await ollama.generate({ model, prompt: messages[0].content, options: greedy, stream: true });
  assert.equal(await collect(stream, (part) => part.response), said);
});
await check('ollama: tools', async () => {
  const answer = await ollama.chat({ model: caller, messages, tools: [functionTool], tool_choice: 'required' });
  assert.equal(answer.message.tool_calls.length, 1);
  assert.equal(answer.message.tool_calls[0].function.name, 'weather');
  isWeather(answer.message.tool_calls[0].function.arguments);
  const next = await ollama.chat({
    model,
    options: greedy,
    messages: [...messages, answer.message, { role: 'tool', content: 'sunny', tool_name: 'weather' }],
  });
  assert.equal(next.done, true);
});
await check('ollama: schema', async () => {
  const answer = await ollama.chat({ model: caller, messages, format: parameters });
  isWeather(JSON.parse(answer.message.content));
});
await check('ollama: embed', async () => {
  const answer = await ollama.embed({ model: encoder, input: ['one', 'two'] });
  assert.equal(answer.embeddings.length, 2);
  assert.ok(Math.abs(answer.embeddings[0].reduce((sum, v) => sum + v * v, 0) - 1) < 1e-4);
  const old = await ollama.embeddings({ model: encoder, prompt: 'one' });
  old.embedding.forEach((v, i) => assert.ok(Math.abs(v - answer.embeddings[0][i]) < 1e-4));
});
await check('ollama: list, show, ps', async () => {
  const { models } = await ollama.list();
  assert.ok(models.some((m) => m.name === `${model}:latest`), JSON.stringify(models.map((m) => m.name)));
  const shown = await ollama.show({ model });
  assert.ok(shown.capabilities.includes('completion') && shown.capabilities.includes('tools'));
  assert.equal(shown.model_info['general.architecture'], shown.details.family);
  assert.ok((await ollama.ps()).models.some((m) => m.name === `${model}:latest`));
});
await check('ollama: an absent model', async () => {
  await rejects(ollama.chat({ model: 'nothing', messages }), (error) => {
    assert.equal(error.status_code, 404);
    assert.match(error.message, /not found/);
  });
});
await check('ollama: pull with progress, copy, delete', async () => {
  const seen = [];
  for await (const part of await ollama.pull({ model: pullable, stream: true })) seen.push(part);
  assert.equal(seen.at(-1).status, 'success');
  assert.ok(seen.some((part) => part.total > 0 && part.completed <= part.total));
  await ollama.copy({ source: pullable, destination: 'copied' });
  assert.ok((await ollama.list()).models.some((m) => m.name === 'copied:latest'));
  await ollama.delete({ model: 'copied' });
  assert.ok(!(await ollama.list()).models.some((m) => m.name === 'copied:latest'));
  await rejects(ollama.delete({ model: 'copied' }), (error) => assert.match(error.message, /not found/));
});
await check('ollama: abort', async () => {
  const client = new Ollama({ host: base });
  const stream = await client.chat({ model, messages, options: { num_predict: -1 }, stream: true });
  await rejects(
    (async () => {
      for await (const part of stream) {
        assert.equal(part.done, false);
        client.abort();
      }
    })(),
    (error) => assert.equal(error.name, 'AbortError'),
  );
});

const openai = new OpenAI({ baseURL: `${base}/v1`, apiKey: 'none' });
await check('openai: chat', async () => {
  const answer = await openai.chat.completions.create({ model, messages, temperature: 0, max_tokens: 16 });
  assert.equal(answer.choices[0].message.content, said);
  assert.equal(answer.choices[0].finish_reason, 'length');
  assert.equal(answer.usage.completion_tokens, 16);
});
await check('openai: chat, streamed', async () => {
  const stream = openai.chat.completions.stream({
    model, messages, temperature: 0, max_completion_tokens: 16, stream_options: { include_usage: true },
  });
  assert.equal(await collect(stream, (part) => part.choices[0]?.delta.content), said);
  assert.equal((await stream.totalUsage()).completion_tokens, 16);
});
await check('openai: tools', async () => {
  for (const stream of [false, true]) {
    const request = { model: caller, messages, tools: [functionTool], tool_choice: 'required' };
    const answer = stream
      ? await openai.chat.completions.stream(request).finalChatCompletion()
      : await openai.chat.completions.create(request);
    assert.equal(answer.choices[0].finish_reason, 'tool_calls');
    isWeather(JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments));
  }
});
await check('openai: schema', async () => {
  const answer = await openai.chat.completions.create({
    model: caller, messages, response_format: { type: 'json_schema', json_schema: { name: 'w', strict: true, schema: parameters } },
  });
  isWeather(JSON.parse(answer.choices[0].message.content));
});
await check('openai: n, seed, logprobs', async () => {
  const request = { model, messages, max_tokens: 8, seed: 5, n: 2, logprobs: true, top_logprobs: 2 };
  const [a, b] = [await openai.chat.completions.create(request), await openai.chat.completions.create(request)];
  assert.deepEqual(a.choices.map((c) => c.message.content), b.choices.map((c) => c.message.content));
  assert.equal(a.choices.length, 2);
  assert.ok(a.choices[0].logprobs.content[0].top_logprobs.length === 2);
});
await check('openai: completions say what `lm debug logits --greedy` decodes', async () => {
  const answer = await openai.completions.create({ model, prompt: JSON.parse(idsJson), temperature: 0, max_tokens: 16 });
  assert.equal(answer.choices[0].text, readFileSync(expectedFile, 'utf8'));
});
await check('openai: embeddings', async () => {
  const answer = await openai.embeddings.create({ model: encoder, input: ['one', 'two'] });
  const native = await ollama.embed({ model: encoder, input: ['one', 'two'] });
  answer.data.forEach((row, i) =>
    row.embedding.forEach((v, k) => assert.ok(Math.abs(v - native.embeddings[i][k]) < 1e-4)));
});
await check('openai: models', async () => {
  const ids = [];
  for await (const row of openai.models.list()) ids.push(row.id);
  assert.ok(ids.includes(`${model}:latest`), ids.join());
  assert.equal((await openai.models.retrieve(`${model}:latest`)).id, `${model}:latest`);
});
await check('openai: responses', async () => {
  const request = { model, input: messages[0].content, temperature: 0, max_output_tokens: 16 };
  const answer = await openai.responses.create(request);
  assert.equal(answer.output_text, said);
  assert.equal(answer.status, 'incomplete');
  const streamed = await openai.responses.stream(request).finalResponse();
  assert.equal(streamed.output_text, said);
  const called = await openai.responses
    .stream({ model: caller, input: 'x', tool_choice: 'required', tools: [{ type: 'function', name: 'weather', parameters, strict: true }] })
    .finalResponse();
  isWeather(JSON.parse(called.output[0].arguments));
});
await check('openai: errors', async () => {
  await rejects(openai.chat.completions.create({ model: 'nothing', messages }), (error) => {
    assert.equal(error.status, 404);
    assert.match(error.message, /not found/);
  });
  const long = [{ role: 'user', content: 'word '.repeat(5000) }];
  await rejects(openai.chat.completions.create({ model, messages: long }), (error) => {
    assert.equal(error.status, 400);
    assert.equal(error.code, 'context_length_exceeded');
  });
});
await check('openai: abort', async () => {
  const stream = await openai.chat.completions.create({ model, messages, max_tokens: 4000, stream: true });
  for await (const part of stream) {
    assert.equal(part.object, 'chat.completion.chunk');
    stream.controller.abort();
  }
});

const anthropic = new Anthropic({ baseURL: base, apiKey: 'none' });
const claude = { model, max_tokens: 16, messages, temperature: 0 };
await check('anthropic: messages', async () => {
  const answer = await anthropic.messages.create(claude);
  assert.equal(answer.content[0].text, said);
  assert.equal(answer.stop_reason, 'max_tokens');
  const counted = await anthropic.messages.countTokens({ model, messages });
  assert.equal(counted.input_tokens, answer.usage.input_tokens);
});
await check('anthropic: streamed', async () => {
  const stream = anthropic.messages.stream(claude);
  let text = '';
  stream.on('text', (piece) => (text += piece));
  const answer = await stream.finalMessage();
  assert.equal(text, said);
  assert.equal(answer.usage.output_tokens, 16);
});
await check('anthropic: tools', async () => {
  const request = {
    ...claude, model: caller, temperature: 1, max_tokens: 200, tools: [{ name: 'weather', input_schema: parameters }], tool_choice: { type: 'any' },
  };
  for (const answer of [await anthropic.messages.create(request), await anthropic.messages.stream(request).finalMessage()]) {
    assert.equal(answer.stop_reason, 'tool_use');
    isWeather(answer.content[0].input);
  }
});
await check('anthropic: errors', async () => {
  await rejects(anthropic.messages.create({ ...claude, model: 'nothing' }), (error) => {
    assert.equal(error.status, 404);
    assert.equal(error.error.error.type, 'not_found_error');
  });
});

const chain = new ChatOllama({ baseUrl: base, model, temperature: 0, numPredict: 16 });
await check('langchain: invoke and stream', async () => {
  const answer = await chain.invoke(messages[0].content);
  assert.equal(answer.content, said);
  assert.equal(answer.usage_metadata.output_tokens, 16);
  assert.equal(await collect(await chain.stream(messages[0].content), (part) => part.content), said);
});
await check('langchain: schema', async () => {
  const chat = new ChatOllama({ baseUrl: base, model: caller });
  isWeather(await chat.withStructuredOutput(parameters, { method: 'jsonSchema' }).invoke('x'));
});
await check('langchain: embeddings', async () => {
  const vectors = await new OllamaEmbeddings({ baseUrl: base, model: encoder }).embedDocuments(['one', 'two']);
  assert.equal(vectors.length, 2);
});

const weather = tool({ description: 'the weather', inputSchema: jsonSchema(parameters) });
const v1 = { baseURL: `${base}/v1`, apiKey: 'none' };
const providers = {
  'ollama-ai-provider-v2': createOllama({ baseURL: `${base}/api` }),
  '@ai-sdk/openai (responses)': createOpenAI(v1),
  '@ai-sdk/openai (chat)': createOpenAI(v1).chat,
  '@ai-sdk/openai-compatible': createOpenAICompatible({ ...v1, name: 'lm', supportsStructuredOutputs: true }),
};
for (const [name, provider] of Object.entries(providers)) {
  const request = { model: provider(model), prompt: messages[0].content, temperature: 0, maxOutputTokens: 16, maxRetries: 0 };
  await check(`ai: ${name}: text`, async () => {
    assert.equal((await generateText(request)).text, said);
    assert.equal(await collect(streamText(request).textStream, (piece) => piece), said);
  });
  await check(`ai: ${name}: tools`, async () => {
    const called = await generateText({
      model: provider(caller), prompt: 'x', tools: { weather }, toolChoice: 'required', maxRetries: 0 });
    isWeather(called.toolCalls[0].input);
  });
  await check(`ai: ${name}: schema`, async () => {
    const made = await generateText({
      model: provider(caller), prompt: 'x', output: Output.object({ schema: jsonSchema(parameters) }), maxRetries: 0 });
    isWeather(made.output);
  });
}
await check('ai: embeddings', async () => {
  const provider = createOllama({ baseURL: `${base}/api` });
  const { embedding } = await embed({ model: provider.embedding(encoder), value: 'one', maxRetries: 0 });
  assert.ok(embedding.length > 8);
  const compatible = createOpenAICompatible({ baseURL: `${base}/v1`, name: 'lm' });
  assert.ok((await embed({ model: compatible.embeddingModel(encoder), value: 'one', maxRetries: 0 })).embedding.length > 8);
});

// Somebody else ends the request while its client reads: the client must throw what the server says.
async function stopOne() {
  const { requests } = await (await fetch(`${base}/api/ps`)).json();
  const mine = requests.find((request) => request.model.startsWith(caller));
  const stopped = await fetch(`${base}/api/stop`, { method: 'POST', body: JSON.stringify({ request: mine.id }) });
  assert.equal(stopped.status, 200);
}
async function readUntilStopped(stream) {
  let parts = 0;
  for await (const part of stream) {
    assert.ok(part);
    if (++parts === 1) await stopOne();
  }
}
// A context that lasts, and never the token that ends a text.
const endless = { temperature: 1, options: { num_predict: 1000000, num_ctx: 16384, logit_bias: { 2: -100 } }, keep_alive: '1m' };
await check('errors in mid-stream', async () => {
  const asked = { model: caller, messages, ...endless, stream: true };
  await rejects(
    (async () => readUntilStopped(await ollama.chat(asked)))(),
    (error) => assert.match(error.message, /stopped/),
  );
  await rejects(
    (async () => readUntilStopped(await openai.chat.completions.create({ ...asked, messages })))(),
    (error) => assert.match(error.message, /stopped/),
  );
  await rejects(
    (async () => readUntilStopped(await anthropic.messages.create({ ...asked, max_tokens: 100000 })))(),
    (error) => assert.match(error.message, /stopped/),
  );
});

console.log(`clients: ${passed} passed, ${failed.length} failed${failed.length ? ': ' + failed.join('; ') : ''}`);
process.exit(failed.length ? 1 : 0);
