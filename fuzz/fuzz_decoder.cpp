// The whole engine over tables: any readers, shifts, base, grammar and way to draft, several
// requests at once. Whatever is asked for, it ends, and what is emitted may follow.
#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "input.h"
#include "rewardshift/decode/decoder.h"
#include "rewardshift/mask/list_grammar.h"
#include "rewardshift/table_model.h"

namespace rewardshift::fuzz {
namespace {

/// Each look at it takes a microsecond: what is measured does not depend on the machine.
double ticking() {
  static double now = 0.0;
  return now += 1e-6;
}

/// Logits of a few steps; now and then impossible, or no number.
std::vector<float> any_table(Input& input, std::size_t n) {
  std::vector<float> logits;
  const bool has_bad_rows = input.at_most(7) == 0;
  for (const std::int8_t z : input.values<std::int8_t>(n)) {
    const bool is_bad = has_bad_rows && z == 127;
    logits.push_back(z < -120 ? -INFINITY : is_bad ? NAN : static_cast<float>(z) / 32);
  }
  return logits;
}

struct World {
  int vocab_size;
  std::deque<TableModel> models;
  std::vector<Reader> readers;
  std::vector<Shift> shifts;
  std::optional<std::size_t> base;
};

World any_world(Input& input) {
  World world;
  world.vocab_size = 2 + static_cast<int>(input.at_most(5));
  const auto vocab = static_cast<std::size_t>(world.vocab_size);
  const int order = static_cast<int>(input.at_most(1));
  const std::size_t n_models = 1 + input.at_most(4);
  for (std::size_t i = 0; i < n_models; ++i) {
    TableModel::Facts facts;
    if (input.at_most(3) > 0) facts.end_of_generation.insert(0);
    if (input.at_most(7) == 0) facts.fails_on.insert(world.vocab_size - 1);
    facts.max_sequences = 12;
    facts.context_size = 24 + input.at_most(400);
    world.models.emplace_back(any_table(input, order == 0 ? vocab : vocab * vocab),
                              world.vocab_size, order, facts);
  }
  for (std::size_t i = 0; i < n_models; ++i) {
    world.readers.push_back({"reader " + std::to_string(i), &world.models[i]});
  }
  if (n_models > 1 && input.at_most(3) == 0) {
    world.readers.push_back({"another", &world.models[1 + input.at_most(n_models - 2)]});
  }
  const std::size_t last = world.readers.size() - 1;
  for (std::size_t i = last > 0 ? input.at_most(3) : 0; i > 0; --i) {
    world.shifts.push_back({"shift", input.at_most(last), input.at_most(last),
                            static_cast<double>(input.take<std::int8_t>()) / 32});
  }
  if (last > 0 && input.at_most(1) == 0) world.base = 1 + input.at_most(last - 1);
  return world;
}

std::vector<Token> any_tokens(Input& input, std::size_t most, int vocab_size) {
  std::vector<Token> tokens;
  for (std::size_t n = input.at_most(most); n > 0; --n) {
    tokens.push_back(static_cast<Token>(input.at_most(static_cast<std::size_t>(vocab_size) - 1)));
  }
  return tokens;
}

std::shared_ptr<const Grammar> any_grammar(Input& input, int vocab_size) {
  if (input.at_most(1) == 0) return nullptr;
  std::vector<std::vector<Token>> responses;
  for (std::size_t n = 1 + input.at_most(6); n > 0; --n) {
    auto& response = responses.emplace_back(any_tokens(input, 5, vocab_size));
    std::erase(response, 0);
  }
  return std::make_shared<ListGrammar>(responses, vocab_size, std::set<Token>{0});
}

RequestParams any_params(Input& input, const World& world,
                         const std::shared_ptr<NgramTable>& table) {
  RequestParams params;
  params.max_tokens = static_cast<int>(input.at_most(14));
  params.temperature = static_cast<double>(input.at_most(20)) / 10;
  params.top_k = static_cast<int>(input.at_most(4));
  if (input.at_most(3) == 0) params.top_p = 0.7;
  if (input.at_most(3) == 0) params.presence_penalty = 0.5;
  if (input.at_most(3) == 0) params.logit_bias.emplace_back(1, -INFINITY);
  if (input.at_most(1) == 0) params.num_draft_tokens = static_cast<int>(input.at_most(6));
  if (input.at_most(2) == 0) params.drafter = table;
  if (input.at_most(1) == 0) params.prompt_lookup = input.at_most(3) > 0;
  if (input.at_most(2) == 0) params.tree_width = 1 + static_cast<int>(input.at_most(3));
  params.verification = input.at_most(1) == 0 ? Verification::block : Verification::token;
  params.rule = static_cast<Rule>(std::min<std::size_t>(input.at_most(11), 2));
  if (input.at_most(1) == 0) {
    for (std::size_t i = 0; i < world.shifts.size(); ++i) {
      params.strengths.push_back(static_cast<double>(input.take<std::int8_t>() / 16) / 4);
    }
  }
  params.grammar = any_grammar(input, world.vocab_size);
  params.top_logprobs = static_cast<int>(input.at_most(2));
  params.entropy = input.at_most(1) == 0;
  params.paper_distance = input.at_most(1) == 0;
  params.seed = input.take<std::uint8_t>();
  return params;
}

/// What a request asked for, and got so far.
struct Asked {
  RequestParams params;
  std::vector<Token> response;
  bool is_finished = false;
};

void check_token(Asked& asked, const EmittedToken& token, const World& world) {
  check(token.id >= 0 && token.id < world.vocab_size, "a token is in the vocabulary");
  check(!asked.params.forbids(token.id), "a token is not forbidden");
  if (asked.params.grammar != nullptr) {
    const auto walk = asked.params.grammar->start();
    const Mask allowed = walk->allowed_after(asked.response);
    check(is_allowed(allowed, token.id), "a token may follow");
    check(token.origin != Origin::forced || count_allowed(allowed) == 1, "what is forced must be");
  }
  check(token.logprob > -INFINITY && token.logprob <= 1e-5, "a token has a probability");
  check(token.reader_logprobs.size() == world.readers.size(), "each reader has an entry");
  asked.response.push_back(token.id);
}

void hear(std::map<RequestId, Asked>& requests, const Event& event, const World& world) {
  Asked& asked = requests.at(event.id);
  check(!asked.is_finished, "nothing comes after the end");
  for (const EmittedToken& token : event.tokens) check_token(asked, token, world);
  check(asked.response.size() <= static_cast<std::size_t>(asked.params.max_tokens),
        "no response is longer than was asked for");
  check((event.finish == FinishReason::error) == !event.error.empty(), "an error has its reason");
  asked.is_finished = event.finish.has_value();
}

void run(Input& input) {
  World world = any_world(input);
  DecoderOptions options;
  options.n_threads = 1 + static_cast<int>(input.at_most(15) == 0);
  options.prefill_chunk = 1 + static_cast<int>(input.at_most(20));
  Decoder decoder(world.readers, world.shifts, world.base, options, ticking);
  try {
    if (input.at_most(1) == 0) decoder.calibrate();
  } catch (const EvaluationError&) {  // of a model that fails on what it is measured with
  }
  const auto table = std::make_shared<NgramTable>();
  std::map<RequestId, Asked> requests;
  std::size_t steps = 0;
  for (std::size_t n = 1 + input.at_most(4); n > 0; --n) {
    Prompts prompts;
    for (std::size_t i = 1 + input.at_most(world.readers.size() - 1); i > 0; --i) {
      prompts.push_back(any_tokens(input, 12, world.vocab_size));
    }
    const RequestParams params = any_params(input, world, table);
    try {
      requests[decoder.submit(prompts, params)].params = params;
    } catch (const std::invalid_argument&) {
    } catch (const ContextOverflowError&) {
    }
    for (std::size_t k = input.at_most(3); k > 0; --k) {
      for (const Event& event : decoder.step()) hear(requests, event, world);
    }
    if (input.at_most(7) == 0) decoder.cancel(static_cast<RequestId>(input.at_most(4)));
  }
  for (; decoder.has_work(); ++steps) {
    check(steps < 1000, "all requests end");
    for (const Event& event : decoder.step()) hear(requests, event, world);
  }
  for (const auto& [_, asked] : requests) check(asked.is_finished, "each request is told its end");
}

}  // namespace
}  // namespace rewardshift::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rewardshift::fuzz::Input input(data, size);
  try {
    rewardshift::fuzz::run(input);
  } catch (const std::invalid_argument&) {  // a decoder that makes no sense
  }
  return 0;
}
