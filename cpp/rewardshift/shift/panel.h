// The models of a decoder, what each of them reads, and what their opinions amount to.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rewardshift/error.h"
#include "rewardshift/math/distribution.h"
#include "rewardshift/shift/combination.h"
#include "rewardshift/shift/metered_model.h"

namespace rewardshift {

/// One model reading one version of the conversation. Its name is for errors and results.
struct Reader {
  std::string name;
  LanguageModel* model;  ///< borrowed, and to outlive the panel; several readers may have one model
};

/// What multiplies p: (draft / reference)^strength, as two readers say it, whether files, an
/// adapter or a prompt tell the two apart; or what a head on the target's features says of that
/// ratio, which is one reader.
struct Shift {
  std::string name;
  std::size_t draft;  ///< a reader; of a head, the head
  std::optional<std::size_t>
      reference;          ///< a reader, which several shifts may share; none of a head
  double strength = 1.0;  ///< unless a request says otherwise

  bool is_head() const { return !reference.has_value(); }
};

/// A reader's history of which rows are wanted; see LogitsRequest.
struct Question {
  std::size_t reader;
  int place;  ///< a request's place, in [0, places()]; the last one is for scoring
  std::span<const Token> tokens;
  int n_rows;
  int n_drafts = 0;
};

/// A row of a reader that must be right about some tokens; see Refinement.
struct Doubt {
  std::size_t reader;
  int place;                      ///< where it was asked about this history last
  std::span<const Token> tokens;  ///< the history
  std::span<const Token> likely;
};

/// A row that is not a distribution: what the model remembers may be damaged too.
class BadRowError final : public EvaluationError {
 public:
  using EvaluationError::EvaluationError;
};

/// All readers of a decoder. Reader 0 is the target.
///
/// Readers of one model share its batches: it keeps a range of sequences for each of them.
class Panel {
 public:
  static constexpr std::size_t kTarget = 0;

  /// `base` is a reader that drafts unless it is told otherwise, apart from all shifts.
  /// Throws std::invalid_argument for readers that make no sense together.
  Panel(std::vector<Reader> readers, std::vector<Shift> shifts, std::optional<std::size_t> base,
        Clock clock);

  std::size_t size() const { return readers_.size(); }
  const std::string& name(std::size_t reader) const { return readers_[reader].name; }
  std::span<const Shift> shifts() const { return shifts_; }
  std::optional<std::size_t> base() const { return base_; }

  /// Requests that have room at the same time.
  std::size_t places() const { return places_; }

  int vocab_size() const { return vocab_size_; }              ///< ids below it all readers know
  std::size_t context_size() const { return context_size_; }  ///< tokens of the longest history
  std::size_t capacity() const { return capacity_; }          ///< tokens of all requests' histories

  // --- what readers say

  /// The goal's readers: the target, and both of each shift that has a strength other than 0.
  Combination goal(std::span<const double> strengths) const;

  /// b(x) times the shifts that are known while drafting, of these strengths: what heads say is
  /// known only once the target was asked. Who has no weight in it is not asked.
  Combination shifted(std::size_t base, std::span<const double> strengths) const;

  /// Rows of the questions, one after another, all of which go to readers of one model. Rows live
  /// until the next call for that model.
  std::span<const float* const> rows(std::span<const Question> questions);

  /// What the rows must say of likely tokens, by doubt; all doubts are about readers of one model,
  /// which is_rough(). Lives until the next call for that model.
  std::span<const std::vector<Correction>> refine(std::span<const Doubt> doubts);

  /// Frees what these places hold, of every reader.
  void free(std::span<const int> places);

  /// Nobody goes on with what these places hold for now; see LanguageModel.
  void put_aside(std::span<const int> places);

  /// Whether a reader is a head that shifts: what it says is no law, but a ratio up to a constant.
  bool shifts_by_head(std::size_t reader) const;

  /// Whether a reader's rows are rough until it is asked to refine them; see LanguageModel.
  bool is_rough(std::size_t reader) const { return readers_[reader].model->is_rough(); }
  bool has_rough_readers() const;

  /// Whether a reader's rows tell log-probabilities; see LanguageModel.
  bool tells_log_probabilities(std::size_t reader) const {
    return readers_[reader].model->tells_log_probabilities();
  }

  /// A reader's row as a part of a weighted sum.
  Term term(std::size_t reader, std::span<const float> row, double weight) const {
    return {row, weight, tells_log_probabilities(reader)};
  }

  /// The normaliser of a reader's row at temperature 1. Throws BadRowError, naming reader and
  /// position, where the row is not a distribution, or holds no log-probabilities.
  double require_normaliser(std::span<const float> row, std::size_t reader,
                            std::size_t position) const;

  /// The tokens that a reader may propose, as a mask; empty: all.
  std::span<const std::uint32_t> proposable(std::size_t reader) const {
    return readers_[reader].model->proposable();
  }

  /// A reader's histories hold tokens below it.
  int history_vocab_size(std::size_t reader) const;

  /// Whether any model takes the token for the end: an aligned draft may know one that its target
  /// does not.
  bool ends(Token token) const;

  // --- the models

  std::size_t models() const { return models_.size(); }

  /// All of them, in the order in which a block is scored: what needs to live longest is last, but
  /// for heads, which read what the target told.
  std::span<const std::size_t> scoring_order() const { return scoring_order_; }

  std::size_t model_of(std::size_t reader) const { return model_of_[reader]; }
  const LanguageModel& model(std::size_t model) const { return models_[model].model(); }
  const CostCurve& costs(std::size_t model) const { return models_[model].costs(); }

  /// The first reader whose model cannot take back whatever it read, if there is one.
  std::optional<std::size_t> rereader() const;

  void calibrate(const CostMeasurement& how);
  void forget();

  /// Seconds spent on each reader's questions so far; those of a batch are divided by rows.
  const std::vector<double>& seconds() const { return seconds_; }

  /// Of these, seconds spent on refining.
  double refining_seconds() const { return refining_seconds_; }

 private:
  void assign_models(Clock clock);
  void measure_room();
  int sequence_of(std::size_t reader, int place) const;
  void add_shifts(std::vector<double>& weights, std::span<const double> strengths) const;

  std::vector<Reader> readers_;
  std::vector<Shift> shifts_;
  std::optional<std::size_t> base_;
  std::deque<MeteredModel> models_;    ///< each once
  std::vector<std::size_t> model_of_;  ///< by reader
  std::vector<std::size_t> scoring_order_;
  std::vector<std::size_t> range_of_;  ///< by reader: how many of its model come before it
  std::size_t places_ = 0;
  int vocab_size_ = 0;
  std::size_t context_size_ = 0;
  std::size_t capacity_ = 0;
  std::vector<double> seconds_;
  double refining_seconds_ = 0.0;
  std::vector<LogitsRequest> batch_;
  std::vector<Refinement> refinements_;
};

}  // namespace rewardshift
