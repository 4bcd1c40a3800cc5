#include "rewardshift/decode/decoder.h"

#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <iterator>
#include <utility>

#include "bindings.h"
#include "interrupt.h"

namespace rewardshift::bindings {

using namespace nb::literals;

namespace {

/// Keeps events until they are taken: an exception that Ctrl-C raises between a step and its
/// caller must not lose them.
class BoundDecoder {
 public:
  BoundDecoder(LanguageModel* target, LanguageModel* draft, LanguageModel* reference,
               const DecoderOptions& options)
      : decoder_({target, draft, reference}, options, steady_seconds) {}

  void step() {
    auto events = run_interruptibly([this] { return decoder_.step(); });
    events_.insert(events_.end(), std::make_move_iterator(events.begin()),
                   std::make_move_iterator(events.end()));
  }

  std::vector<Event> take_events() { return std::exchange(events_, {}); }

  Scores score(const Prompt& prompt, const std::vector<Token>& continuation,
               const RequestParams& params) {
    return run_interruptibly([&] { return decoder_.score(prompt, continuation, params); });
  }

  void calibrate() {
    run_interruptibly([this] { decoder_.calibrate(); });
  }

  Decoder& decoder() { return decoder_; }

 private:
  Decoder decoder_;
  std::vector<Event> events_;
};

const char* name_of(Origin origin) {
  switch (origin) {
    case Origin::draft:
      return "draft";
    case Origin::correction:
      return "correction";
    case Origin::bonus:
      return "bonus";
  }
  return "unknown";
}

const char* name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::cancelled:
      return "cancelled";
    case FinishReason::error:
      return "error";
  }
  return "unknown";
}

void register_results(nb::module_& m) {
  nb::class_<EmittedToken>(m, "EmittedToken", "A token and the opinions that led to it.")
      .def_ro("id", &EmittedToken::id)
      .def_prop_ro("origin", [](const EmittedToken& t) { return name_of(t.origin); })
      .def_ro("logprob", &EmittedToken::logprob)
      .def_ro("target_logprob", &EmittedToken::target_logprob)
      .def_ro("draft_logprob", &EmittedToken::draft_logprob)
      .def_ro("reference_logprob", &EmittedToken::reference_logprob)
      .def_ro("log_z", &EmittedToken::log_z)
      .def_ro("paper_distance", &EmittedToken::paper_distance)
      .def_ro("target_entropy", &EmittedToken::target_entropy)
      .def_ro("top_logprobs", &EmittedToken::top_logprobs);

  nb::class_<Statistics>(m, "Statistics", "Counts of one request.")
      .def_ro("rounds", &Statistics::rounds)
      .def_ro("drafted", &Statistics::drafted)
      .def_ro("accepted", &Statistics::accepted)
      .def_ro("drafted_at", &Statistics::drafted_at)
      .def_ro("accepted_at", &Statistics::accepted_at)
      .def_ro("empty_residuals", &Statistics::empty_residuals)
      .def_ro("role_seconds", &Statistics::role_seconds, "Target, draft, reference.")
      .def_ro("own_seconds", &Statistics::own_seconds);

  nb::class_<Event>(m, "Event", "What happened to a request in a step.")
      .def_ro("id", &Event::id)
      .def_ro("tokens", &Event::tokens)
      .def_prop_ro("text", [](const Event& e) { return nb::bytes(e.text.data(), e.text.size()); })
      .def_prop_ro("finish",
                   [](const Event& e) {
                     return e.finish ? std::optional<std::string>(name_of(*e.finish))
                                     : std::nullopt;
                   })
      .def_ro("error", &Event::error)
      .def_ro("statistics", &Event::statistics);

  nb::class_<Scores>(m, "Scores", "Log-probabilities of a continuation, by position.")
      .def_ro("target", &Scores::target)
      .def_ro("draft", &Scores::draft)
      .def_ro("reference", &Scores::reference)
      .def_ro("goal", &Scores::goal)
      .def_ro("log_z", &Scores::log_z);
}

}  // namespace

void register_decoder(nb::module_& m) {
  register_results(m);
  nb::class_<BoundDecoder>(m, "Decoder", "The engine: many requests, one round loop.")
      .def(nb::init<LanguageModel*, LanguageModel*, LanguageModel*, const DecoderOptions&>(),
           "target"_a, "draft"_a.none(), "reference"_a.none(), "options"_a, nb::keep_alive<1, 2>(),
           nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>())
      .def(
          "submit",
          [](BoundDecoder& self, std::vector<Token> target, std::vector<Token> draft,
             std::vector<Token> reference, const RequestParams& params) {
            return self.decoder().submit(
                {std::move(target), std::move(draft), std::move(reference)}, params);
          },
          "target"_a, "draft"_a, "reference"_a, "params"_a,
          "Queues a request with a prompt per role; an empty one is the target's.")
      .def("calibrate", &BoundDecoder::calibrate,
           "Measures what batches cost, so that draft lengths can be chosen by it.")
      .def("step", &BoundDecoder::step, "Advances all requests, without the GIL.")
      .def("take_events", &BoundDecoder::take_events, "The events since the last call.")
      .def(
          "cancel", [](BoundDecoder& self, RequestId id) { self.decoder().cancel(id); }, "id"_a)
      .def_prop_ro("has_work", [](BoundDecoder& self) { return self.decoder().has_work(); })
      .def(
          "score",
          [](BoundDecoder& self, std::vector<Token> target, std::vector<Token> draft,
             std::vector<Token> reference, const std::vector<Token>& continuation,
             const RequestParams& params) {
            return self.score({std::move(target), std::move(draft), std::move(reference)},
                              continuation, params);
          },
          "target"_a, "draft"_a, "reference"_a, "continuation"_a, "params"_a)
      .def(
          "piece",
          [](BoundDecoder& self, Token token) {
            const std::string bytes = self.decoder().piece(token);
            return nb::bytes(bytes.data(), bytes.size());
          },
          "token"_a, "The bytes a token adds to the text.")
      .def_prop_ro("vocab_size", [](BoundDecoder& self) { return self.decoder().vocab_size(); })
      .def_prop_ro("context_size",
                   [](BoundDecoder& self) { return self.decoder().context_size(); });
}

}  // namespace rewardshift::bindings
