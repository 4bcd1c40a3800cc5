// The options, with their defaults and documentation from the C++ structs.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>

#include "bindings.h"
#include "rewardshift/decode/decoder.h"
#include "rewardshift/llama/context.h"
#include "rewardshift/llama/model.h"

namespace rewardshift::bindings {
namespace {

const char* name_of(Rule rule) {
  switch (rule) {
    case Rule::exact:
      return "exact";
    case Rule::paper:
      return "paper";
    case Rule::speculative:
      return "speculative";
  }
  return "unknown";
}

Rule rule_named(const std::string& name) {
  for (const Rule rule : {Rule::exact, Rule::paper, Rule::speculative}) {
    if (name == name_of(rule)) return rule;
  }
  throw std::invalid_argument("rule must be 'exact', 'paper' or 'speculative', not '" + name + "'");
}

}  // namespace

void register_options(nb::module_& m) {
  nb::class_<RequestParams>(m, "RequestParams", "What a request asks for.")
      .def(nb::init<>())
      .def_rw("max_tokens", &RequestParams::max_tokens,
              "Most tokens to generate; -1 goes on until the context is full.")
      .def_rw("temperature", &RequestParams::temperature,
              "Of the goal distribution; 0 is greedy, the lowest id winning ties.")
      .def_rw("top_k", &RequestParams::top_k,
              "Keep the k most probable tokens of the goal; 0 keeps all.")
      .def_rw("top_p", &RequestParams::top_p,
              "Of those, keep the fewest most probable ones that reach this mass, in (0, 1].")
      .def_rw("min_p", &RequestParams::min_p,
              "Of those, keep the ones at least this share of the most probable one, in [0, 1].")
      .def_rw("logit_bias", &RequestParams::logit_bias,
              "Added to the goal's logits: pairs of token id and bias, -inf to forbid.")
      .def_rw("repeat_penalty", &RequestParams::repeat_penalty,
              "Divides positive and multiplies negative logits of recent tokens; 1 is off.")
      .def_rw("frequency_penalty", &RequestParams::frequency_penalty,
              "Subtracted from the logit of a recent token per occurrence.")
      .def_rw("presence_penalty", &RequestParams::presence_penalty,
              "Subtracted once from the logit of a recent token.")
      .def_rw("penalty_last_n", &RequestParams::penalty_last_n,
              "How many tokens of prompt and response are recent; -1 is all.")
      .def_rw("strengths", &RequestParams::strengths,
              "Exponent of each shift, in the decoder's order; none is each shift's default.")
      .def_prop_rw(
          "rule", [](const RequestParams& p) { return name_of(p.rule); },
          [](RequestParams& p, const std::string& name) { p.rule = rule_named(name); },
          "How drafts are verified: 'exact', 'paper' or 'speculative'.")
      .def_rw(
          "num_draft_tokens", &RequestParams::num_draft_tokens, nb::arg().none(),
          "Tokens drafted per round, 0 to 64; None lets the decoder choose what is fastest here, "
          "or 3 where a seed is given: texts depend on it.")
      .def_rw("drafter", &RequestParams::drafter, nb::arg().none(),
              "An NgramTable that drafts instead of the draft model, and learns from what is "
              "emitted; requests that share it must differ in seed or substream.")
      .def_prop_rw(
          "verification",
          [](const RequestParams& p) {
            return p.verification == Verification::block ? "block" : "token";
          },
          [](RequestParams& p, const std::string& name) {
            if (name != "block" && name != "token") {
              throw std::invalid_argument("verification must be 'block' or 'token', not '" + name +
                                          "'");
            }
            p.verification = name == "block" ? Verification::block : Verification::token;
          },
          "How a chain of drafts is verified: 'block', all of them jointly, which accepts more, or "
          "'token', one after another. The law is the same.")
      .def_rw("prompt_lookup", &RequestParams::prompt_lookup, nb::arg().none(),
              "Whether drafts are also quoted from prompt and response, where their end occurred "
              "before; None does wherever the decoder chooses what is drafted.")
      .def_prop_rw(
          "grammar",
          [](const RequestParams& p) { return std::const_pointer_cast<Grammar>(p.grammar); },
          [](RequestParams& p, std::shared_ptr<Grammar> grammar) {
            p.grammar = std::move(grammar);
          },
          nb::arg().none(), "What may follow; masks the goal and every proposal.")
      .def_rw("tree_width", &RequestParams::tree_width,
              "Most branches of the tree that a round's drafts make, 1 to 64; 1 is a chain. Each "
              "takes the place of a request (n_seq_max).")
      .def_rw("seed", &RequestParams::seed, "Seed of the random numbers, 64 bits.")
      .def_rw("reproducible", &RequestParams::reproducible,
              "Lets nothing that is measured choose the draft length, on which texts depend.")
      .def_rw(
          "substream", &RequestParams::substream,
          "Tells requests of one seed apart: their random numbers have nothing in common. 32 bits; "
          "request i of generate_batch adds i.")
      .def_rw("stop", &RequestParams::stop, "The text ends before the first of these strings.")
      .def_rw("visible_tokens", &RequestParams::visible_tokens,
              "Control tokens whose spelling is part of the text; that of others is not.")
      .def_rw("top_logprobs", &RequestParams::top_logprobs,
              "How many of the goal's most probable tokens to report per position.")
      .def_rw("entropy", &RequestParams::entropy,
              "Whether to report the entropy of the target's own distribution per position.")
      .def_rw("paper_distance", &RequestParams::paper_distance,
              "Whether to report how far the paper's rule would be from pi*, where its draft "
              "drafted.");

  nb::class_<DecoderOptions>(m, "DecoderOptions", "How a decoder schedules its requests.")
      .def(nb::init<>())
      .def_rw("num_draft_tokens", &DecoderOptions::num_draft_tokens,
              "Tokens drafted per round where neither the request nor a measurement says.")
      .def_rw("max_draft_tokens", &DecoderOptions::max_draft_tokens,
              "Most tokens that are drafted per round where the decoder chooses.")
      .def_rw("prefill_chunk", &DecoderOptions::prefill_chunk,
              "Most prompt tokens that one step evaluates per model, over all requests.")
      .def_rw(
          "prefills_whole", &DecoderOptions::prefills_whole,
          "Whether prompts are read in chunks of their own, but for the last token. Else what is "
          "left of one and fits into a chunk is read by its first round, in a batch less.")
      .def_rw(
          "refined_tokens", &DecoderOptions::refined_tokens,
          "How many of the target's most probable tokens readers of another vocabulary weigh by "
          "all of their pieces in it; others that it lacks count by their first piece.")
      .def_rw("refined_share", &DecoderOptions::refined_share,
              "Of these, only such as have at least this share of the target's mass.")
      .def_rw("n_threads", &DecoderOptions::n_threads,
              "Threads for our own work on the rows of several requests.");

  nb::class_<llama::ModelOptions>(m, "ModelOptions", "How a model file is loaded.")
      .def(nb::init<>())
      .def_rw("n_gpu_layers", &llama::ModelOptions::n_gpu_layers,
              "Layers kept on the GPU; -1 is all, where there is one.")
      .def_rw("use_mmap", &llama::ModelOptions::use_mmap, nb::arg().none(),
              "Map the file instead of reading it; None does, but where the CPU computes with most "
              "of the weights in another order than the file's, and would hold them twice.")
      .def_rw("use_mlock", &llama::ModelOptions::use_mlock,
              "Keep the weights from being swapped out.");

  nb::class_<llama::ContextOptions>(m, "ContextOptions", "How a model is evaluated.")
      .def(nb::init<>())
      .def_rw(
          "n_ctx", &llama::ContextOptions::n_ctx,
          "Tokens that all requests under way hold together, per model; 0 is what the model was "
          "trained for, 4096 at most.")
      .def_rw("n_batch", &llama::ContextOptions::n_batch,
              "Most tokens evaluated by one call of llama.cpp.")
      .def_rw("n_ubatch", &llama::ContextOptions::n_ubatch,
              "Most tokens in one of llama.cpp's compute graphs.")
      .def_rw("n_seq_max", &llama::ContextOptions::n_seq_max,
              "Requests decoded at the same time; more wait.")
      .def_rw(
          "kv_unified", &llama::ContextOptions::kv_unified,
          "One cache for all requests, in which prompts in common are stored once. Else each has "
          "an equal share of n_ctx to itself: faster where many requests have little in "
          "common, as every token attends over all of its cache.")
      .def_rw("n_histories", &llama::ContextOptions::n_histories,
              "Of each request: 2 where draft and reference share a context.")
      .def_rw("features", &llama::ContextOptions::features,
              "Whether features are told, too: the network's last hidden state behind each row.")
      .def_rw("n_threads", &llama::ContextOptions::n_threads,
              "Threads for single rows; 0 is one per physical core.")
      .def_rw("n_threads_batch", &llama::ContextOptions::n_threads_batch,
              "Threads for batches; 0 is as n_threads.")
      .def_rw(
          "poll", &llama::ContextOptions::poll,
          "How long threads that are done look out for more work before they sleep, from 0, not "
          "at all, to 100. It keeps others off the processor, also this program's other "
          "threads.")
      .def_rw("cache_ram", &llama::ContextOptions::cache_ram,
              "Most MiB of memory for what requests left behind that others take no part in; what "
              "begins like one of them goes on from there. 0 keeps none.")
      .def_rw(
          "flash_attn", &llama::ContextOptions::flash_attn, nb::arg().none(),
          "Flash attention; None is wherever a GPU supports it, and on the processor, where it is "
          "slower, only for quantised values.")
      .def_rw("type_k", &llama::ContextOptions::type_k, "ggml type of cached keys, such as 'f16'.")
      .def_rw("type_v", &llama::ContextOptions::type_v,
              "ggml type of cached values; quantised ones need flash attention.");
  m.def(
      "validate", [](const llama::ContextOptions& options) { llama::validate(options); },
      nb::arg("options"), "Raises ValueError, naming the option and the value given.");
}

}  // namespace rewardshift::bindings
