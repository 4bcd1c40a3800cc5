#include "rewardshift/decode/decoder.h"

#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

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
  BoundDecoder(std::vector<Reader> readers, std::vector<Shift> shifts,
               std::optional<std::size_t> base, const DecoderOptions& options)
      : decoder_(std::move(readers), std::move(shifts), base, options, steady_seconds) {}

  /// Steps until a request is finished, all are, or so many seconds have passed; at least once.
  void run(double seconds) {
    const double end = steady_seconds() + seconds;
    run_interruptibly([this, end] {
      bool is_finished = false;
      do {
        auto events = decoder_.step();
        for (Event& event : events) {
          is_finished |= event.finish.has_value();
          events_.push_back(std::move(event));
        }
      } while (!is_finished && decoder_.has_work() && steady_seconds() < end);
    });
  }

  std::vector<Event> take_events() { return std::exchange(events_, {}); }

  Scores score(const Prompts& prompts, const std::vector<Token>& continuation,
               const RequestParams& params) {
    return run_interruptibly([&] { return decoder_.score(prompts, continuation, params); });
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
    case Origin::forced:
      return "forced";
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
      .def_ro("reader_logprobs", &EmittedToken::reader_logprobs)
      .def_ro("twins", &EmittedToken::twins)
      .def_ro("log_z", &EmittedToken::log_z)
      .def_ro("paper_distance", &EmittedToken::paper_distance)
      .def_ro("target_entropy", &EmittedToken::target_entropy)
      .def_ro("top_logprobs", &EmittedToken::top_logprobs);

  nb::class_<Statistics>(m, "Statistics", "Counts of one request.")
      .def_ro("rounds", &Statistics::rounds)
      .def_ro("drafted", &Statistics::drafted)
      .def_ro("accepted", &Statistics::accepted)
      .def_ro("drafted_by", &Statistics::drafted_by, "Plain, shifted, table, quote.")
      .def_ro("accepted_by", &Statistics::accepted_by, "Likewise.")
      .def_ro("drafted_at", &Statistics::drafted_at)
      .def_ro("accepted_at", &Statistics::accepted_at)
      .def_ro("empty_residuals", &Statistics::empty_residuals)
      .def_ro("reader_seconds", &Statistics::reader_seconds)
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
      .def_ro("readers", &Scores::readers)
      .def_ro("goal", &Scores::goal)
      .def_ro("log_z", &Scores::log_z)
      .def_ro("top", &Scores::top);
}

}  // namespace

void register_decoder(nb::module_& m) {
  register_results(m);
  nb::class_<Shift>(m, "Shift", "What multiplies the target: (draft / reference)^strength.")
      .def(nb::init<std::string, std::size_t, std::optional<std::size_t>, double>(), "name"_a,
           "draft"_a, "reference"_a.none(), "strength"_a = 1.0,
           "Draft and reference are readers, by number; without a reference the draft is a head.")
      .def_ro("name", &Shift::name)
      .def_ro("draft", &Shift::draft)
      .def_ro("reference", &Shift::reference)
      .def_ro("strength", &Shift::strength);

  nb::class_<BoundDecoder>(m, "Decoder", "The engine: many requests, one round loop.")
      .def(
          "__init__",
          [](BoundDecoder* self, const std::vector<std::pair<std::string, LanguageModel*>>& readers,
             std::vector<Shift> shifts, std::optional<std::size_t> base,
             const DecoderOptions& options) {
            std::vector<Reader> named;
            for (const auto& [name, model] : readers) named.push_back({name, model});
            new (self) BoundDecoder(std::move(named), std::move(shifts), base, options);
          },
          "readers"_a, "shifts"_a, "base"_a.none(), "options"_a, nb::keep_alive<1, 2>(),
          "Readers are names and models, the target first.")
      .def(
          "submit",
          [](BoundDecoder& self, Prompts prompts, const RequestParams& params) {
            return self.decoder().submit(std::move(prompts), params);
          },
          "prompts"_a, "params"_a,
          "Queues a request with a prompt by reader; one that is empty or left out is the "
          "target's.")
      .def("calibrate", &BoundDecoder::calibrate,
           "Measures what batches cost, so that draft lengths can be chosen by it.")
      .def("step", &BoundDecoder::run, "seconds"_a = 0.0,
           "Advances all requests, without the GIL: once, or again and again until one is finished "
           "or so many seconds have passed.")
      .def("take_events", &BoundDecoder::take_events, "The events since the last call.")
      .def(
          "cancel", [](BoundDecoder& self, RequestId id) { self.decoder().cancel(id); }, "id"_a)
      .def_prop_ro("has_work", [](BoundDecoder& self) { return self.decoder().has_work(); })
      .def("score", &BoundDecoder::score, "prompts"_a, "continuation"_a, "params"_a)
      .def(
          "piece",
          [](BoundDecoder& self, Token token) {
            const std::string bytes = self.decoder().piece(token);
            return nb::bytes(bytes.data(), bytes.size());
          },
          "token"_a, "The bytes a token adds to the text.")
      .def(
          "spelling",
          [](BoundDecoder& self, Token token) {
            const std::string bytes = self.decoder().spelling(token);
            return nb::bytes(bytes.data(), bytes.size());
          },
          "token"_a, "The same, but for control tokens what they are written as.")
      .def_prop_ro("vocab_size", [](BoundDecoder& self) { return self.decoder().vocab_size(); })
      .def_prop_ro("context_size", [](BoundDecoder& self) { return self.decoder().context_size(); })
      .def_prop_ro(
          "places", [](BoundDecoder& self) { return self.decoder().places(); },
          "Requests that are decoded at the same time.");
}

}  // namespace rewardshift::bindings
