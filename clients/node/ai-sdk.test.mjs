// Vercel's AI SDK by @ai-sdk/openai-compatible, against the server at $SERVED.
import assert from "node:assert/strict";
import { test } from "node:test";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const provider = createOpenAICompatible({
  name: "rewardshift",
  baseURL: `${process.env.SERVED}/v1`,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const model = provider(process.env.SERVED_MODEL);
const logit_bias = JSON.parse(process.env.NO_SPACES);
const asked = { model, prompt: "Hello!", maxOutputTokens: 24, seed: 7, maxRetries: 0 };
const ofJson = {
  ...asked, maxOutputTokens: 300, providerOptions: { rewardshift: { logit_bias } },
};
const City = z.object({ city: z.enum(["Kyiv", "Graz"]) }).strict();

test("a stream is the answer in pieces", async () => {
  const whole = await generateText(asked);
  const streamed = streamText(asked);
  let text = "";
  for await (const piece of streamed.textStream) text += piece;
  assert.equal(text, whole.text);
  assert.ok((await streamed.usage).outputTokens > 0);
  assert.equal(await streamed.finishReason, whole.finishReason);
});

test("structured outputs", async () => {
  const { output } = await generateText({ ...ofJson, output: Output.object({ schema: City }) });
  City.parse(output);
});

test("a tool is called and what comes of it is read", async () => {
  const weather = tool({
    description: "The weather.",
    inputSchema: City,
    execute: async ({ city }) => `Rain in ${city}.`,
  });
  const answer = await generateText({
    ...ofJson,
    tools: { weather },
    prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
    stopWhen: stepCountIs(2),
  });
  const [first, second] = answer.steps;
  assert.ok(first.toolCalls.length > 0);
  assert.ok(first.toolCalls.every((call) => City.safeParse(call.input).success));
  assert.equal(first.toolResults.length, first.toolCalls.length);
  assert.equal(second.toolCalls.length, 0);
});

test("a plain completion", async () => {
  const { text } = await generateText({
    ...asked, model: provider.completionModel(process.env.SERVED_MODEL),
  });
  assert.ok(text.length > 0);
});

test("what is wrong is said", async () => {
  await assert.rejects(generateText({ ...asked, temperature: -1 }), /temperature/);
});
