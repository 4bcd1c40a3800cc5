// OpenAI's npm package, against the server at $SERVED.
import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({ baseURL: `${process.env.SERVED}/v1`, apiKey: "none", maxRetries: 0 });
const model = process.env.SERVED_MODEL;
const logit_bias = JSON.parse(process.env.NO_SPACES);
const messages = [{ role: "user", content: "Hello!" }];
const asked = { model, messages, max_tokens: 24, seed: 7 };
const ofJson = { ...asked, max_tokens: 300, logit_bias };

const Answer = z.object({ mood: z.enum(["good", "bad"]), stars: z.int().min(1).max(5) });
const Weather = z.object({ city: z.enum(["Kyiv", "Graz"]) });
const weather = zodFunction({ name: "weather", parameters: Weather });

test("the model is listed", async () => {
  const names = [];
  for await (const listed of client.models.list()) names.push(listed.id);
  assert.deepEqual(names, [model]);
});

test("a stream is the answer in pieces", async () => {
  const whole = await client.chat.completions.create(asked);
  const stream_options = { include_usage: true };
  const stream = await client.chat.completions.create({ ...asked, stream: true, stream_options });
  let text = "";
  let usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.deepEqual(usage, whole.usage);
});

test("the helper for streams ends with the same answer", async () => {
  const whole = await client.chat.completions.create(asked);
  const runner = client.chat.completions.stream(asked);
  assert.equal(await runner.finalContent(), whole.choices[0].message.content);
});

test("several at once get what each gets alone", async () => {
  const ask = (seed) => client.chat.completions.create({ ...asked, seed });
  const together = await Promise.all([1, 2, 3, 4].map(ask));
  for (const [i, answer] of together.entries()) {
    const alone = await ask(i + 1);
    assert.equal(answer.choices[0].message.content, alone.choices[0].message.content);
  }
});

test("structured outputs are what zod asks for", async () => {
  const response_format = zodResponseFormat(Answer, "answer");
  const answer = await client.chat.completions.parse({ ...ofJson, response_format });
  assert.deepEqual(answer.choices[0].message.parsed, Answer.parse(
    JSON.parse(answer.choices[0].message.content),
  ));
});

test("a tool that must be called is called", async () => {
  const answer = await client.chat.completions.parse({
    ...ofJson, tools: [weather], tool_choice: "required", parallel_tool_calls: false,
  });
  const [call] = answer.choices[0].message.tool_calls;
  assert.equal(call.function.name, "weather");
  Weather.parse(call.function.parsed_arguments);
});

test("a tool is run and its result is read", async () => {
  const asking = { type: "function", function: { name: "weather" } };
  const called = await client.chat.completions.create({
    ...ofJson, tools: [weather], tool_choice: asking, parallel_tool_calls: false,
  });
  const { message } = called.choices[0];
  const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "Rain." };
  const answer = await client.chat.completions.create({
    ...asked, messages: [...messages, message, result], tools: [weather],
  });
  assert.equal(typeof answer.choices[0].message.content, "string");
});

test("plain completions", async () => {
  const answer = await client.completions.create({ model, prompt: "Once upon", max_tokens: 8 });
  assert.ok(answer.choices[0].text.length > 0);
});

test("errors are the package's own", async () => {
  await assert.rejects(
    client.chat.completions.create({ ...asked, temperature: -1 }),
    OpenAI.BadRequestError,
  );
});

test("an aborted stream frees its place", async () => {
  const long = { ...asked, max_tokens: 3000, ignore_eos: true };
  const stream = await client.chat.completions.create({ ...long, stream: true });
  for await (const _ of stream) break; // which aborts it
  for (;;) {
    const health = await (await fetch(`${process.env.SERVED}/health`)).json();
    if (health.under_way === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
});
