#include "rewardshift/vocabulary/reading.h"

#include <algorithm>
#include <utility>

#include "rewardshift/history.h"

namespace rewardshift {

void Reading::read(std::span<const Token> history) {
  const std::size_t known = common_prefix(history_, history);
  history_.resize(known);
  marks_.resize(known + 1);
  settled_.resize(marks_.back().settled);
  text_.resize(marks_.back().text);
  for (const Token token : history.subspan(known)) {
    Mark mark = marks_.back();
    add(token, mark);
    marks_.push_back(mark);
    history_.push_back(token);  // last: where anything above throws, all stays in step
  }
}

void Reading::add(Token token, Mark& mark) {
  const int own = token - map_->target().size();
  if (own >= 0) return add_as_is(own, mark);
  const auto begin = map_->foreign().begin;
  const bool is_first = history_.empty();
  if (is_first && begin) add_as_is(*begin, mark);
  if (is_first && token == map_->target().begin) return;
  const std::string_view bytes = map_->target().bytes_of(token);
  if (!bytes.empty()) return add_text(bytes, mark);
  if (map_->has_twin(token)) add_as_is(map_->pieces(token).front(), mark);
}

void Reading::add_text(std::string_view bytes, Mark& mark) {
  for (const char byte : bytes) {
    text_.push_back(byte);
    const auto run = std::string_view(text_).substr(mark.run);
    const auto cut = map_->tokenizer().boundary(run, mark.start - mark.run);
    if (cut) settle_up_to(mark.run + *cut, mark);
  }
  mark.text = text_.size();
}

void Reading::add_as_is(Token token, Mark& mark) {
  settle_up_to(text_.size(), mark);
  settled_.push_back(token);
  mark.settled = settled_.size();
  mark.run = text_.size();
}

void Reading::settle_up_to(std::size_t end, Mark& mark) {
  const auto text = std::string_view(text_).substr(mark.start, end - mark.start);
  const std::vector<Token> tokens = map_->tokenizer().tokens_between(text);
  settled_.insert(settled_.end(), tokens.begin(), tokens.end());
  mark.settled = settled_.size();
  mark.start = end;
}

std::vector<Token> Reading::after(std::size_t n) const {
  const Mark& mark = marks_[n];
  std::vector<Token> tokens(settled_.begin(),
                            settled_.begin() + static_cast<std::ptrdiff_t>(mark.settled));
  const auto rest = std::string_view(text_).substr(mark.start, mark.text - mark.start);
  const std::vector<Token> tail = map_->tokenizer().tokens_between(rest);
  tokens.insert(tokens.end(), tail.begin(), tail.end());
  return tokens;
}

}  // namespace rewardshift
